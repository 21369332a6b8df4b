"""Why an object is refused: one cause a field, all of them together.

Importers take these names from `admission`; they stand apart because metadata and admission both make causes.
"""

from dataclasses import dataclass
from typing import Literal

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
