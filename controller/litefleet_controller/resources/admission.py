"""Admission: from what a person sent to what may be stored, or one error that names every cause.

Defaults are added, what was written stays as it was written (`10m` stays `10m`), so that a second `kubectl apply` of
the same file changes nothing.
"""

import difflib
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from litefleet_controller.resources.meta import Part
from litefleet_controller.resources.names import check_label, check_label_key, check_label_value, check_name
from litefleet_controller.resources.registry import Kind

Reason = Literal[
    "FieldValueInvalid",
    "FieldValueRequired",
    "FieldValueTypeInvalid",
    "FieldValueNotSupported",
    "FieldValueForbidden",
    "FieldValueDuplicate",
]


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing wrong with one field. `code` is litefleet's stable code (UnknownField, OutOfRange, Immutable, ...)."""

    field: str
    reason: Reason
    message: str
    code: str = ""


class InvalidError(ValueError):
    """The object as a whole is refused."""

    def __init__(self, kind: str, name: str, causes: list[Cause]) -> None:
        shown = ", ".join(f"{c.field}: {c.message}" if c.field else c.message for c in causes[:8])
        super().__init__(f"{kind} {name!r} is invalid: {shown}")
        self.kind = kind
        self.name = name
        self.causes = causes


@dataclass(frozen=True, slots=True)
class UnknownField:
    """A field that the kind doesn't have; `nearest` is the known name most like it."""

    path: str
    nearest: str


def prune(kind: Kind, body: dict[str, Any]) -> tuple[dict[str, Any], list[UnknownField]]:
    """`body` without the fields that the kind doesn't have, and which those were (fieldValidation decides what then)."""
    unknown: list[UnknownField] = []
    kept = {k: v for k, v in body.items() if k in _ROOT}
    for name in body.keys() - _ROOT:
        unknown.append(UnknownField(name, _nearest(name, _ROOT)))
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
    causes = _metadata_causes(kind, body.get("metadata") or {})
    spec = body.get("spec")
    filled: dict[str, Any] = {}
    if spec is None:
        spec = {}
    if not isinstance(spec, dict):
        causes.append(Cause("spec", "FieldValueTypeInvalid", f"must be an object, not {type(spec).__name__}", "TypeError"))
    else:
        try:
            filled = _overlay(kind.spec.model_validate(spec).dump(), spec)
        except ValidationError as e:
            causes.extend(_causes("spec", e, kind.spec))
        else:
            if kind.immutable_spec and old is not None and old.get("spec") != filled:
                causes.append(Cause("spec", "FieldValueInvalid", "field is immutable", "Immutable"))
    if causes:
        raise InvalidError(kind.kind, str((body.get("metadata") or {}).get("name", "")), causes)
    return {**body, "spec": filled}


def check_status(kind: Kind, name: str, status: Any) -> dict[str, Any]:
    """A status that fits the kind.

    Raises:
        InvalidError: with every cause.
    """
    try:
        kind.status.model_validate(status)
    except ValidationError as e:
        raise InvalidError(kind.kind, name, _causes("status", e, kind.status)) from e
    result: dict[str, Any] = status
    return result


_ROOT = frozenset({"apiVersion", "kind", "metadata", "spec", "status"})


def _metadata_causes(kind: Kind, metadata: dict[str, Any]) -> list[Cause]:
    causes: list[Cause] = []

    def check(field: str, value: object, rule: Any, code: str) -> None:
        try:
            if not isinstance(value, str):
                raise ValueError("must be a string")
            rule(value)
        except ValueError as e:
            causes.append(Cause(field, "FieldValueInvalid", f"Invalid value: {_short(value)}: {e}", code))

    name = metadata.get("name")
    if not name:
        causes.append(Cause("metadata.name", "FieldValueRequired", "Required value: name or generateName is required"))
    else:
        check("metadata.name", name, check_label if kind.label_names else check_name, "InvalidName")
    for part in ("labels", "annotations"):
        values = metadata.get(part) or {}
        if not isinstance(values, dict):
            causes.append(Cause(f"metadata.{part}", "FieldValueTypeInvalid", "must be an object", "TypeError"))
            continue
        for key, value in values.items():
            check(f"metadata.{part}", key, check_label_key, "InvalidName")
            if part == "labels":
                check(f"metadata.labels.{key}", value, check_label_value, "InvalidName")
            elif not isinstance(value, str):
                causes.append(Cause(f"metadata.annotations.{key}", "FieldValueTypeInvalid", "must be a string", "TypeError"))
    return causes


def _overlay(defaults: Any, written: Any) -> Any:
    """`written`, with what it leaves out taken from `defaults`."""
    if isinstance(defaults, dict) and isinstance(written, dict):
        merged = dict(defaults)
        for key, value in written.items():
            if value is not None:
                merged[key] = _overlay(defaults[key], value) if key in defaults else value
        return merged
    if isinstance(defaults, list) and isinstance(written, list) and len(defaults) == len(written):
        return [_overlay(d, w) for d, w in zip(defaults, written, strict=True)]
    return written


def _prune(model: type[BaseModel], value: dict[str, Any], path: str, unknown: list[UnknownField]) -> dict[str, Any]:
    fields = {(f.alias or n): f.annotation for n, f in model.model_fields.items()}
    kept: dict[str, Any] = {}
    for key, inner in value.items():
        if key not in fields:
            unknown.append(UnknownField(f"{path}.{key}", _nearest(key, fields)))
            continue
        nested = _part_in(fields[key])
        if nested is not None and isinstance(inner, dict):
            inner = _prune(nested, inner, f"{path}.{key}", unknown)
        elif nested is not None and isinstance(inner, list):
            inner = [
                _prune(nested, v, f"{path}.{key}[{i}]", unknown) if isinstance(v, dict) else v for i, v in enumerate(inner)
            ]
        kept[key] = inner
    return kept


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
    "value_error": ("FieldValueInvalid", "Invalid"),
}


def _causes(root: str, error: ValidationError, model: type[BaseModel]) -> list[Cause]:
    causes: list[Cause] = []
    for item in error.errors(include_url=False, include_context=False):
        path = root
        for step in item["loc"]:
            path += f"[{step}]" if isinstance(step, int) else f".{step}"
        kind = item["type"]
        if kind.endswith("_type") or kind.endswith("_parsing") or kind == "int_from_float":
            reason, code = "FieldValueTypeInvalid", "TypeError"
        else:
            reason, code = _CODES.get(kind, ("FieldValueInvalid", "Invalid"))
        message = item["msg"].removeprefix("Value error, ")
        match kind:
            case "missing":
                text = "Required value"
            case "extra_forbidden":
                nearest = _nearest(str(item["loc"][-1]), _fields_at(model, item["loc"][:-1]))
                text = "unknown field" + (f"; did you mean {nearest!r}?" if nearest else "")
            case _:
                text = f"Invalid value: {_short(item['input'])}: {message}"
        causes.append(Cause(path, reason, text, code))  # type: ignore[arg-type]  # reason comes from the table above
    return causes


def _fields_at(model: type[BaseModel] | None, loc: tuple[int | str, ...]) -> list[str]:
    for step in loc:
        if model is None:
            return []
        if isinstance(step, str):
            found = next((f.annotation for n, f in model.model_fields.items() if step in (f.alias, n)), None)
            model = _part_in(found)
    return [f.alias or n for n, f in model.model_fields.items()] if model is not None else []


def _short(value: object) -> str:
    if isinstance(value, dict | list):
        return type(value).__name__
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
