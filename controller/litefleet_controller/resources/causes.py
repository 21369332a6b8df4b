"""Why an object is refused: one cause a field, all of them together, in plain words.

Importers take these names from `admission`; they stand apart because metadata and admission both make causes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Reason = Literal[
    "FieldValueInvalid",
    "FieldValueRequired",
    "FieldValueTypeInvalid",
    "FieldValueNotSupported",
    "FieldValueForbidden",
    "FieldValueDuplicate",
    "FieldValueTooLong",
    "FieldValueTooMany",
]


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing wrong with one field. `code` is litefleet's stable code (UnknownField, OutOfRange, Immutable, ...)."""

    field: str
    reason: Reason
    message: str
    code: str = ""


class FieldError(ValueError):
    """A value that a field's own rule refuses; pydantic adds the place."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class InvalidError(ValueError):
    """The object as a whole is refused."""

    def __init__(self, kind: str, name: str, causes: list[Cause]) -> None:
        shown = ", ".join(f"{c.field}: {c.message}" if c.field else c.message for c in causes[:8])
        super().__init__(f"{kind} {shortened(name)!r} is invalid: {shown}")
        self.kind = kind
        self.name = name
        self.causes = causes


_READABLE = 512


def shortened(text: str) -> str:
    """`text`, cut where it would make a message unreadable."""
    return text if len(text) <= _READABLE else f"{text[: _READABLE - 3]}..."


_PLAIN: Mapping[str, str] = {
    "bool_type": "must be true or false",
    "dict_type": "must be an object",
    "finite_number": "must be a finite number",
    "float_type": "must be a number",
    "int_from_float": "must be a whole number",
    "int_type": "must be a whole number",
    "list_type": "must be a list",
    "model_type": "must be an object",
    "string_type": "must be text",
    "tuple_type": "must be a list",
    "literal_error": "must be {expected}",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "string_too_long": "must have at most {max_length} characters",
    "too_long": "must have {max_length} or fewer items, not {actual_length}",
    "too_short": "must have {min_length} or more items, not {actual_length}",
    "string_pattern_mismatch": "must match {pattern}",
}


def plain(type_: str, message: str, context: Mapping[str, Any]) -> str:
    """What pydantic says of an error of `type_`, in plain words where it is one of the common ones."""
    words = _PLAIN.get(type_)
    return message.removeprefix("Value error, ") if words is None else words.format_map(context)
