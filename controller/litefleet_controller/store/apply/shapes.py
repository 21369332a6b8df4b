"""What a value is to server-side apply: a leaf, a map, a set or a keyed list, by the schema where there is one.

Without a schema (below x-kubernetes-preserve-unknown-fields) maps are granular and lists are leaves, as in Kubernetes.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

from litefleet_controller.resources.schema import Schema, compile_schema
from litefleet_controller.resources.values import ABSENT
from litefleet_controller.store.apply.fieldset import Fields, field_step, is_member, key_step, value_step, within

_TEXT = {"type": "string"}
_TEXTS = {"type": "object", "additionalProperties": _TEXT}
_OWNER = {
    "type": "object",
    "x-kubernetes-map-type": "atomic",
    "properties": {
        **dict.fromkeys(("apiVersion", "kind", "name", "uid"), _TEXT),
        **{name: {"type": "boolean"} for name in ("controller", "blockOwnerDeletion")},
    },
}
_METADATA_TEXTS = (
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
)
METADATA = compile_schema(
    {
        "type": "object",
        "properties": {
            **dict.fromkeys(_METADATA_TEXTS, _TEXT),
            **{name: {"type": "integer"} for name in ("generation", "deletionGracePeriodSeconds")},
            "labels": _TEXTS,
            "annotations": _TEXTS,
            "finalizers": {"type": "array", "items": _TEXT, "x-kubernetes-list-type": "set"},
            "ownerReferences": {
                "type": "array",
                "items": _OWNER,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["uid"],
            },
        },
    }
)
"""ObjectMeta. managedFields aren't in it: they can't be applied, nor owned."""

_ROOT = {"apiVersion": METADATA.properties["name"], "kind": METADATA.properties["name"], "metadata": METADATA}


@lru_cache(maxsize=64)
def whole(schema: Schema) -> Schema:
    """A kind's schema, with what every object has: apiVersion, kind, and metadata as ObjectMeta."""
    return replace(schema, properties={**schema.properties, **_ROOT})


def is_map(schema: Schema | None, value: Any) -> bool:
    """Whether its members are owned one by one."""
    return isinstance(value, dict) and (schema is None or schema.map_type != "atomic")


def is_list(schema: Schema | None, value: Any) -> bool:
    """Whether its items are owned one by one: a set or a keyed list."""
    return isinstance(value, list) and schema is not None and schema.list_type != "atomic"


def is_declared(schema: Schema | None, name: str) -> bool:
    """Whether it is a field of the schema, and not some key of a map."""
    return schema is not None and name in schema.properties


def member(schema: Schema | None, name: str) -> Schema | None:
    """The schema of a map's member."""
    return None if schema is None else schema.properties.get(name, schema.additional)


def items(schema: Schema, value: list[Any]) -> Iterator[tuple[str, Any]]:
    """The items of a set or keyed list, each with its step."""
    for item in value:
        yield step_of(schema, item), item


def step_of(schema: Schema, item: Any) -> str:
    """The step to an item. A key that is left out has its default."""
    if schema.list_type == "set" or not isinstance(item, dict):
        return value_step(item)
    return key_step({key: item.get(key, _default(schema, key)) for key in schema.list_map_keys})


def _default(schema: Schema, key: str) -> Any:
    inner = member(schema.items, key)
    return None if inner is None or inner.default_value is ABSENT else inner.default_value


def below(schema: Schema | None, step: str) -> Schema | None:
    """The schema behind a step."""
    if step.startswith("f:"):
        return member(schema, step[2:])
    return None if schema is None else schema.items


def of_value(value: Any, schema: Schema | None) -> Fields:
    """The fields that someone owns who applies `value`: its leaves, and every item of a list that has identities."""
    if is_map(schema, value):
        found = ((name, _field(name, inner, schema)) for name, inner in value.items())
        return {field_step(name): node for name, node in found if node is not None}
    if schema is not None and is_list(schema, value):
        return {step: _marked(of_value(item, schema.items)) for step, item in items(schema, value)}
    return {}


def _field(name: str, value: Any, schema: Schema | None) -> Fields | None:
    """The set below a field; None when nobody owns any of it, e.g. of an empty list of identities."""
    inner = member(schema, name)
    if value == {} or not (is_map(inner, value) or is_list(inner, value)):
        return {}
    rest = of_value(value, inner)
    return (rest or None) if is_declared(schema, name) else _marked(rest)


def _marked(rest: Fields) -> Fields:
    return {".": {}, **rest} if rest else rest


def with_named(fields: Fields, schema: Schema | None) -> Fields:
    """The set, with every declared field on the way to what is in it.

    (structured-merge-diff: EnsureNamedFieldsAreMembers.) With it a map goes when the last of it goes.
    """
    result: dict[str, Any] = {}
    for step, node in fields.items():
        if step == ".":
            continue
        inner = with_named(within(node), below(schema, step))
        named = step.startswith("f:") and is_declared(schema, step[2:])
        result[step] = {".": {}, **inner} if inner and (named or is_member(node)) else inner
    return result
