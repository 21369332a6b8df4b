"""What an applier sends laid over what is there: its leaves win, maps and keyed lists are merged, the rest stays."""

from collections.abc import Iterator
from typing import Any

from litefleet_controller.resources.schema import Schema
from litefleet_controller.resources.values import ABSENT
from litefleet_controller.store.apply.shapes import is_list, is_map, items, member


def merge(live: Any, applied: Any, schema: Schema | None) -> Any:
    """`live` with `applied` over it; neither is changed."""
    if is_map(schema, live) and is_map(schema, applied):
        merged = dict(live)
        for name, value in applied.items():
            merged[name] = merge(live[name], value, member(schema, name)) if name in live else value
        return merged
    if schema is not None and is_list(schema, live) and is_list(schema, applied):
        return _merge_lists(live, applied, schema)
    return applied


def _merge_lists(live: list[Any], applied: list[Any], schema: Schema) -> list[Any]:
    old = list(items(schema, live))
    before, after = dict(reversed(old)), dict(items(schema, applied))
    merged: list[Any] = []
    for step in _order([step for step, _ in old], list(after)):
        here, sent = before.get(step, ABSENT), after.get(step, ABSENT)
        if sent is ABSENT:
            merged.append(here)
        else:
            merged.append(sent if here is ABSENT else merge(here, sent, schema.items))
    return merged


def _order(live: list[str], applied: list[str]) -> Iterator[str]:
    """The applier's order for its own items; others stay where they are relative to those (structured-merge-diff)."""
    ours, theirs = set(applied), set(live)
    shared = [step for step in applied if step in theirs]
    done: set[str] = set()
    left = right = 0
    while left < len(live) or right < len(applied):
        if left < len(live):
            step = live[left]
            if right < len(applied) and step == applied[right]:
                left, right = left + 1, right + 1
                done.add(step)
                shared = [s for s in shared if s != step]
                yield step
                continue
            if step in done or (step in ours and right < len(applied) and shared and shared[0] != step):
                left += 1
                continue
            if step not in ours:
                left += 1
                yield step
                continue
        step = applied[right]
        right += 1
        done.add(step)
        shared = [s for s in shared if s != step]
        yield step
