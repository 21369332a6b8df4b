"""Admission: from what a person sent to what may be stored, or one error that names every cause.

Defaults are added, what was written stays as it was written (`10m` stays `10m`), so that a second `kubectl apply` of
the same file changes nothing.
"""

import dataclasses
import difflib
import json
from dataclasses import dataclass
from typing import Any, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from litefleet_controller.resources.causes import Cause, FieldError, InvalidError, Reason, plain
from litefleet_controller.resources.meta import Part
from litefleet_controller.resources.metadata import metadata_causes
from litefleet_controller.resources.registry import Kind

__all__ = ["Cause", "InvalidError", "Reason", "UnknownField", "admit", "check_status", "prune"]


@dataclass(frozen=True, slots=True)
class UnknownField:
    """A field that the kind doesn't have; `nearest` is the known name most like it."""

    path: str
    nearest: str


def prune(kind: Kind, body: dict[str, Any]) -> tuple[dict[str, Any], list[UnknownField]]:
    """`body` without the fields that the kind doesn't have, and which those were (fieldValidation decides what then).

    Serves merge patches too: a patch has the shape of what it patches.
    """
    unknown = [UnknownField(name, _nearest(name, _ROOT)) for name in body.keys() - _ROOT]
    kept = {k: v for k, v in body.items() if k in _ROOT}
    for part, model in (("spec", kind.spec), ("status", kind.status)):
        if isinstance(kept.get(part), dict):
            kept[part] = _prune(model, kept[part], part, unknown)
    return kept, sorted(unknown, key=lambda u: u.path)


def admit(kind: Kind, body: dict[str, Any], old: dict[str, Any] | None) -> dict[str, Any]:
    """`body` with spec defaults filled in, checked. `old` is the stored object of an update, None on create.

    `status` is not looked at here; see `check_status`.

    Raises:
        InvalidError: with every cause.
    """
    metadata = body.get("metadata")
    causes = metadata_causes({} if metadata is None else metadata, label_names=kind.label_names)
    spec = {} if body.get("spec") is None else _without_nulls(body["spec"])
    filled: dict[str, Any] = {}
    if not isinstance(spec, dict):
        causes.append(Cause("spec", "FieldValueTypeInvalid", f"must be an object, not {_type(spec)}", "TypeError"))
    else:
        try:
            filled = _overlay(_parse(kind.spec, spec).dump(), spec)
        except ValidationError as e:
            causes.extend(_causes("spec", e, kind.spec))
        else:
            if kind.immutable_spec and old is not None and old.get("spec") != filled:
                causes.extend(_changed(old.get("spec") or {}, filled))
    if causes:
        name = metadata.get("name", "") if isinstance(metadata, dict) else ""
        raise InvalidError(kind.kind, str(name), causes)
    return {**body, "spec": filled}


def check_status(kind: Kind, name: str, status: Any) -> dict[str, Any]:
    """A status that fits the kind, without nulls.

    Raises:
        InvalidError: with every cause.
    """
    given: dict[str, Any] = _without_nulls(status)
    try:
        _parse(kind.status, given)
    except ValidationError as e:
        raise InvalidError(kind.kind, name, _causes("status", e, kind.status)) from e
    return given


def _changed(old: dict[str, Any], new: dict[str, Any]) -> list[Cause]:
    message = "field is immutable: a change of it needs a new object"
    changed = sorted(f for f in old.keys() | new.keys() if old.get(f) != new.get(f))
    return [Cause(f"spec.{field}", "FieldValueInvalid", message, "Immutable") for field in changed]


def _parse(model: type[Part], value: Any) -> Part:
    """`value` as the model, as strictly as JSON allows: "5" is no number, and snake_case is no field."""
    return model.model_validate_json(json.dumps(value), strict=True, by_alias=True, by_name=False)


_ROOT = frozenset({"apiVersion", "kind", "metadata", "spec", "status"})


def _overlay(defaults: Any, written: Any) -> Any:
    """`written`, with what it leaves out taken from `defaults`."""
    if isinstance(defaults, dict) and isinstance(written, dict):
        merged = dict(defaults)
        for key, value in written.items():
            merged[key] = _overlay(defaults[key], value) if key in defaults else value
        return merged
    if isinstance(defaults, list) and isinstance(written, list) and len(defaults) == len(written):
        return [_overlay(d, w) for d, w in zip(defaults, written, strict=True)]
    return written


def _without_nulls(value: Any) -> Any:
    """Kubernetes drops null from a field that isn't nullable; none of ours is."""
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_without_nulls(v) for v in value]
    return value


def _prune(model: type[BaseModel], value: dict[str, Any], path: str, unknown: list[UnknownField]) -> dict[str, Any]:
    fields = {(f.alias or n): f.annotation for n, f in model.model_fields.items()}
    kept: dict[str, Any] = {}
    for key, inner in value.items():
        if key not in fields:
            unknown.append(UnknownField(f"{path}.{key}", _nearest(key, fields)))
            continue
        kept[key] = _prune_value(_part_in(fields[key]), inner, f"{path}.{key}", unknown)
    return kept


def _prune_value(nested: type[Part] | None, value: Any, path: str, unknown: list[UnknownField]) -> Any:
    if nested is not None and isinstance(value, dict):
        return _prune(nested, value, path, unknown)
    if nested is not None and isinstance(value, list):
        return [_prune_value(nested, v, f"{path}[{i}]", unknown) for i, v in enumerate(value)]
    return value


def _part_in(annotation: Any) -> type[Part] | None:
    """The Part that an annotation is, holds in a list, or allows beside None."""
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _part_in(argument)
        if found is not None:
            return found
    return None


def _nearest(name: str, known: Any) -> str:
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)), "")


_TYPE_ERROR: tuple[Reason, str] = ("FieldValueTypeInvalid", "TypeError")
_INVALID: tuple[Reason, str] = ("FieldValueInvalid", "Invalid")
_CODES: dict[str, tuple[Reason, str]] = {
    "missing": ("FieldValueRequired", "Required"),
    "extra_forbidden": ("FieldValueForbidden", "UnknownField"),
    "literal_error": ("FieldValueNotSupported", "NotSupported"),
    "enum": ("FieldValueNotSupported", "NotSupported"),
    "greater_than_equal": ("FieldValueInvalid", "OutOfRange"),
    "less_than_equal": ("FieldValueInvalid", "OutOfRange"),
    "greater_than": ("FieldValueInvalid", "OutOfRange"),
    "less_than": ("FieldValueInvalid", "OutOfRange"),
    "finite_number": ("FieldValueInvalid", "OutOfRange"),
    "too_short": ("FieldValueInvalid", "OutOfRange"),
    "too_long": ("FieldValueInvalid", "OutOfRange"),
}


def _causes(root: str, error: ValidationError, model: type[Part]) -> list[Cause]:
    causes: dict[str, Cause] = {}
    for item in error.errors(include_url=False):
        path, known = _place(root, model, item["loc"])
        # A union reports once for each of its members: one cause, which names what they want.
        if path in causes and causes[path].reason == "FieldValueTypeInvalid":
            wanted = _said(item).removeprefix("must be ")
            causes[path] = dataclasses.replace(causes[path], message=f"{causes[path].message} or {wanted}")
        elif path not in causes:
            causes[path] = _cause(path, item, known)
    return list(causes.values())


def _cause(path: str, item: ErrorDetails, known: list[str]) -> Cause:
    kind, refusal = item["type"], item.get("ctx", {}).get("error")
    if isinstance(refusal, FieldError):
        reason, code = _TYPE_ERROR if refusal.code == "TypeError" else ("FieldValueInvalid", refusal.code)
    elif kind.endswith(("_type", "_parsing")) or kind == "int_from_float":
        reason, code = _TYPE_ERROR
    else:
        reason, code = _CODES.get(kind, _INVALID)
    match kind:
        case "missing":
            text = "Required value"
        case "extra_forbidden":
            nearest = _nearest(path.rpartition(".")[2], known)
            text = "unknown field" + (f"; did you mean {nearest!r}?" if nearest else "")
        case _:
            text = f"Invalid value: {_short(item['input'])}: {_said(item)}"
    return Cause(path, reason, text, code)


def _said(item: ErrorDetails) -> str:
    return plain(item["type"], item["msg"], item.get("ctx", {}))


def _place(root: str, model: type[Part], loc: tuple[int | str, ...]) -> tuple[str, list[str]]:
    """The field path of a location, and the names of the fields beside it.

    Locations also hold steps that aren't in the document (a union's member, a dict's `[key]`): those are left out.
    """
    path = root
    here: Any = model
    beside: list[str] = []
    for number, step in enumerate(loc):
        if isinstance(step, int):
            path += f"[{step}]"
            continue
        part = _part_in(here)
        fields = {f.alias or n: f.annotation for n, f in part.model_fields.items()} if part is not None else {}
        if step in fields or (fields and number == len(loc) - 1):
            path += f".{step}"
            beside = list(fields)
            here = fields.get(step)
        elif _is_map(here):
            path += f".{step}"
            here = None
    return path, beside


def _is_map(annotation: Any) -> bool:
    return get_origin(annotation) is dict or any(_is_map(a) for a in getattr(annotation, "__args__", ()))


def _short(value: object) -> str:
    if isinstance(value, dict | list):
        return _type(value)
    text = f'"{value}"' if isinstance(value, str) else str(value).lower()
    return text if len(text) <= 60 else f"{text[:57]}..."


def _type(value: object) -> str:
    names = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")
