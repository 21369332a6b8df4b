"""What a kind's pydantic models check beyond its schema, as causes: relations between fields, names, quantities.

The schema has spoken first, so a field that it refused is left out here.
"""

import dataclasses
import json
from collections.abc import Callable
from typing import Any, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from litefleet_controller.resources.causes import Cause, FieldError, Reason, plain
from litefleet_controller.resources.meta import Part
from litefleet_controller.resources.pruning import nearest

Check = Callable[[str, Any], list[Cause]]
"""("spec" or "status", its value without nulls) -> what else is wrong with it."""


def model_check(spec: type[Part], status: type[Part]) -> Check:
    """The check of a kind that is declared by models."""
    models = {"spec": spec, "status": status}

    def check(part: str, value: Any) -> list[Cause]:
        try:
            _parse(models[part], value)
        except ValidationError as e:
            return _found(part, e, models[part])
        return []

    return check


def _parse(model: type[Part], value: Any) -> Part:
    """`value` as the model, as strictly as JSON allows: "5" is no number, and snake_case is no field."""
    return model.model_validate_json(json.dumps(value), strict=True, by_alias=True, by_name=False)


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
}


def _found(root: str, error: ValidationError, model: type[Part]) -> list[Cause]:
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
            like = nearest(path.rpartition(".")[2], known)
            text = "unknown field" + (f"; did you mean {like!r}?" if like else "")
        case _ if code == "CredentialsInManifest":
            text = _said(item)  # not the value
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
        part = part_in(here)
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
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _type(value: object) -> str:
    names = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")


def part_in(annotation: Any) -> type[Part] | None:
    """The Part that an annotation is, holds in a list, or allows beside None."""
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = part_in(argument)
        if found is not None:
            return found
    return None
