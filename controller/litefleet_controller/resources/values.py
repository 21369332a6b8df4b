"""JSON values as Kubernetes tells them apart: no value is not null, and 1 is not true."""

import json
from typing import Any, Final


class _Absent:
    """The type of `ABSENT`."""

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final[Any] = _Absent()
"""No value at all, where null is one."""


def same(one: Any, other: Any) -> bool:
    """Whether both are the same JSON: Python's `==` takes 1 for true and 1.0."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(v, other[k]) for k, v in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return type(one) is type(other) and bool(one == other)


def json_type(value: Any) -> str:
    """Its type's name in JSON Schema; a number without fraction counts as integer when it is written as one."""
    if isinstance(value, bool):
        return "boolean"
    for type_, name in _NAMES:
        if isinstance(value, type_):
            return name
    return "null"


def shown(value: Any) -> str:
    """As error messages of an API server show it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


_NAMES: tuple[tuple[type, str], ...] = (
    (str, "string"),
    (int, "integer"),
    (float, "number"),
    (dict, "object"),
    (list, "array"),
)
