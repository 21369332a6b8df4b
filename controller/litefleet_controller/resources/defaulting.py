"""Defaults by schema: what a person left out, filled in; null dropped where the schema allows none."""

import copy
from typing import TYPE_CHECKING, Any

from litefleet_controller.resources.values import ABSENT

if TYPE_CHECKING:
    from litefleet_controller.resources.schema import Schema


def with_defaults(schema: "Schema", value: Any) -> Any:
    """A copy of `value`, filled in. A null member of a field with a default gets the default, as in Kubernetes."""
    if isinstance(value, dict):
        return _object(schema, value)
    if isinstance(value, list) and schema.items is not None:
        return [with_defaults(schema.items, item) for item in value]
    return copy.deepcopy(value)


def _object(schema: "Schema", value: dict[str, Any]) -> dict[str, Any]:
    filled: dict[str, Any] = {}
    for name, member in value.items():
        inner = schema.properties.get(name) or schema.additional
        if inner is None:
            filled[name] = copy.deepcopy(member)
        elif member is not None or inner.nullable:
            filled[name] = with_defaults(inner, member)
    for name, inner in schema.properties.items():
        if name not in filled and inner.default_value is not ABSENT:
            filled[name] = with_defaults(inner, inner.default_value)
    return filled
