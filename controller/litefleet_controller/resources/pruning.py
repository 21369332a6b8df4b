"""Pruning by schema: fields that a kind doesn't have go, and are named, so that somebody can be warned or refused."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from litefleet_controller.resources.schema import Schema

_OWN = frozenset({"apiVersion", "kind", "metadata"})
"""Kubernetes' members of every whole object, which schemas needn't name."""


@dataclass(frozen=True, slots=True)
class UnknownField:
    """A field that the schema doesn't have; `nearest` is the known name most like it, empty when none is."""

    path: str
    nearest: str = ""


def pruned(schema: "Schema", value: Any, path: str, unknown: list[UnknownField]) -> Any:
    """`value` as far as the schema knows it. What it doesn't is added to `unknown`. Fits merge patches too."""
    if isinstance(value, list) and schema.items is not None:
        return [pruned(schema.items, item, f"{path}[{i}]", unknown) for i, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    kept: dict[str, Any] = {}
    for name, member in value.items():
        place = f"{path}.{name}" if path else name
        inner = schema.properties.get(name) or schema.additional
        if schema.embedded and name in _OWN:
            kept[name] = member
        elif inner is not None:
            kept[name] = pruned(inner, member, place, unknown)
        elif schema.preserves_unknown:
            kept[name] = member
        else:
            unknown.append(UnknownField(place, nearest(name, schema.properties)))
    return kept


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name most like it, or nothing."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)), "")
