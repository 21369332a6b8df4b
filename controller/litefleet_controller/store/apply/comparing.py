"""What changed between two values, as sets of fields."""

from dataclasses import dataclass
from typing import Any

from litefleet_controller.resources.schema import Schema
from litefleet_controller.resources.values import ABSENT, same
from litefleet_controller.store.apply.fieldset import SELF, Fields, Path, compacted, field_step, put, union
from litefleet_controller.store.apply.shapes import is_list, is_map, items, member


@dataclass(frozen=True, slots=True)
class Comparison:
    """Fields by what became of them. A map or list that came or went is in the set beside what is in it."""

    added: Fields
    modified: Fields
    removed: Fields

    @property
    def written(self) -> Fields:
        """What the writer gave a value."""
        return union(self.added, self.modified)


def compare(old: Any, new: Any, schema: Schema | None) -> Comparison:
    """From `old` to `new`."""
    walk = _Walk({}, {}, {})
    walk.compare(old, new, schema, ())
    added, modified, removed = (compacted(t) for t in (walk.added, walk.modified, walk.removed))
    return Comparison(added, modified, removed)


@dataclass(frozen=True, slots=True)
class _Walk:
    added: dict[str, Any]
    modified: dict[str, Any]
    removed: dict[str, Any]

    def compare(self, old: Any, new: Any, schema: Schema | None, path: Path) -> None:
        if old is ABSENT:
            _put_all(self.added, new, schema, path)
        elif new is ABSENT:
            _put_all(self.removed, old, schema, path)
        elif same(old, new):
            return
        elif is_map(schema, old) and is_map(schema, new):
            for name in old | new:
                inner = member(schema, name)
                self.compare(old.get(name, ABSENT), new.get(name, ABSENT), inner, (*path, field_step(name)))
        elif schema is not None and is_list(schema, old) and is_list(schema, new):
            before, after = dict(items(schema, old)), dict(items(schema, new))
            for step in before | after:
                self.compare(before.get(step, ABSENT), after.get(step, ABSENT), schema.items, (*path, step))
        elif _is_leaf(schema, old) and _is_leaf(schema, new):
            put(self.modified, path)
        else:  # Another type of value: all of the old goes, all of the new comes.
            _put_all(self.removed, old, schema, path)
            _put_all(self.added, new, schema, path)


def _is_struct(value: Any, schema: Schema | None) -> bool:
    """Whether it isn't owned itself, only what is in it."""
    return bool(value) and schema is not None and schema.is_struct and not _is_leaf(schema, value)


def _is_leaf(schema: Schema | None, value: Any) -> bool:
    return not (is_map(schema, value) or is_list(schema, value))


def _put_all(tree: dict[str, Any], value: Any, schema: Schema | None, path: Path) -> None:
    node = put(tree, path) if path else tree
    if path and _is_struct(value, schema):
        del node[SELF]
    _mark_all(node, value, schema)


def _mark_all(node: dict[str, Any], value: Any, schema: Schema | None) -> None:
    if is_map(schema, value):
        for name, inner in value.items():
            below = member(schema, name)
            start: dict[str, Any] = {} if _is_struct(inner, below) else {SELF: {}}
            _mark_all(node.setdefault(field_step(name), start), inner, below)
    elif schema is not None and is_list(schema, value):
        for step, item in items(schema, value):
            _mark_all(node.setdefault(step, {SELF: {}}), item, schema.items)
