"""What can't be applied, because nobody could own it: fields that the kind doesn't have, and items without identity.

A null is refused too: an applier who wants a field gone leaves it out. Values are admission's business, afterwards.
"""

import difflib
from collections.abc import Iterator
from typing import Any

from litefleet_controller.resources.causes import Cause
from litefleet_controller.resources.schema import Schema
from litefleet_controller.resources.values import ABSENT
from litefleet_controller.store.apply.fieldset import text
from litefleet_controller.store.apply.shapes import is_list, items, member


def check(value: Any, schema: Schema | None, path: str = "") -> Iterator[Cause]:
    """Every cause. Metadata that clients send as null, because their types have no other way, are let through."""
    if schema is None:
        return
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _field(name, inner, schema, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        if is_list(schema, value):
            yield from _identities(value, schema, path)
        for number, item in enumerate(value):
            yield from check(item, schema.items, f"{path}[{number}]")


def _field(name: str, value: Any, schema: Schema, path: str) -> Iterator[Cause]:
    inner = member(schema, name)
    if inner is None:
        if schema.type == "object" and not schema.preserves_unknown:
            close = next(iter(difflib.get_close_matches(name, schema.properties, n=1, cutoff=0.6)), "")
            hint = f'; did you mean "{close}"?' if close else ""
            yield Cause(path, "FieldValueInvalid", f"field not declared in schema{hint}", "UnknownField")
    elif value is None:
        if not inner.nullable and not path.startswith("metadata."):
            yield Cause(path, "FieldValueTypeInvalid", "Invalid value: null: leave the field out instead", "TypeError")
    else:
        yield from check(value, inner, path)


def _identities(value: list[Any], schema: Schema, path: str) -> Iterator[Cause]:
    seen: set[str] = set()
    for number, (step, item) in enumerate(items(schema, value)):
        if isinstance(item, dict):
            for key in schema.list_map_keys:
                inner = member(schema.items, key)
                if key not in item and (inner is None or inner.default_value is ABSENT):
                    text_ = "Required value: it tells the items of this list apart"
                    yield Cause(f"{path}[{number}].{key}", "FieldValueRequired", text_, "Required")
        if step in seen:
            yield Cause(f"{path}[{number}]", "FieldValueDuplicate", f"Duplicate value: {text((step,))}", "DuplicateKey")
        seen.add(step)
