"""Taking fields out of a value."""

from typing import Any

from litefleet_controller.resources.schema import Schema
from litefleet_controller.resources.values import ABSENT
from litefleet_controller.store.apply.fieldset import (
    NOTHING,
    Fields,
    difference,
    field_step,
    intersection,
    is_member,
    union,
)
from litefleet_controller.store.apply.managers import Managed
from litefleet_controller.store.apply.shapes import is_list, is_map, items, member, of_value, with_named


def remove(value: dict[str, Any], fields: Fields, schema: Schema | None, held: Fields = NOTHING) -> dict[str, Any]:
    """`value` without `fields`. A map or list that loses all that it had goes too, unless it is in `held` itself."""
    rest = _without(value, fields, schema, held)
    return {} if rest is ABSENT else rest


def _without(value: Any, fields: Fields, schema: Schema | None, held: Fields) -> Any:
    if not value:
        return value
    if is_map(schema, value):
        kept = {}
        for name, inner in value.items():
            step = field_step(name)
            rest = _rest(inner, fields.get(step), member(schema, name), held.get(step))
            if rest is not ABSENT:
                kept[name] = rest
        return kept or ABSENT
    if schema is not None and is_list(schema, value):
        found = (_rest(item, fields.get(step), schema.items, held.get(step)) for step, item in items(schema, value))
        return [rest for rest in found if rest is not ABSENT] or ABSENT
    return value


def _rest(value: Any, node: Fields | None, schema: Schema | None, held: Fields | None) -> Any:
    if node is None:
        return value
    if is_member(node):
        return ABSENT
    rest = _without(value, node, schema, NOTHING if held is None else held)
    return type(value)() if rest is ABSENT and held is not None and is_member(held) else rest


def dropped(merged: dict[str, Any], managed: Managed, last: Fields, schema: Schema) -> dict[str, Any]:
    """`merged` without what its applier had applied before (`last`) and nobody owns any more, now that `managed` is so.

    Three steps, as structured-merge-diff takes them: take out all of `last`; put back what anyone owns, with the maps
    and items around it; put back what went along without having been the applier's.
    """
    before = with_named(last, schema)
    everything = with_named(of_value(merged, schema), schema)
    bare = with_named(of_value(remove(merged, before, schema), schema), schema)
    owned: Fields = NOTHING
    for entry in managed.values():
        owned = union(owned, entry.fields)
    around = with_named(owned, schema)
    unowned = difference(everything, union(bare, around))
    kept = with_named(of_value(remove(merged, unowned, schema, owned), schema), schema)
    gone = difference(intersection(difference(everything, kept), before), around)
    return remove(merged, gone, schema, owned)
