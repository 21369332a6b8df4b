"""Sets of fields in FieldsV1's form: their algebra, against plain sets of paths."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litefleet_controller.store.apply.fieldset import (
    Fields,
    FieldsError,
    difference,
    intersection,
    key_step,
    leaves,
    of_paths,
    parsed,
    paths,
    text,
    union,
)

_STEPS = st.sampled_from(["f:a", "f:b", "f:c", 'k:{"type":"Ready"}', 'v:"int8"', "v:3", "i:0"])
_PATHS = st.frozensets(st.lists(_STEPS, min_size=1, max_size=4).map(tuple), max_size=12)


def fields(of: frozenset[tuple[str, ...]]) -> Fields:
    return of_paths(iter(of))


@given(_PATHS)
def test_a_set_holds_the_paths_that_it_was_made_of(some: frozenset[tuple[str, ...]]) -> None:
    assert frozenset(paths(fields(some))) == some


@given(_PATHS)
def test_a_set_goes_through_json_unchanged(some: frozenset[tuple[str, ...]]) -> None:
    assert parsed(json.loads(json.dumps(fields(some)))) == fields(some)


@given(_PATHS, _PATHS)
def test_the_algebra_is_that_of_sets_of_paths(
    one: frozenset[tuple[str, ...]], other: frozenset[tuple[str, ...]]
) -> None:
    assert union(fields(one), fields(other)) == fields(one | other)
    assert intersection(fields(one), fields(other)) == fields(one & other)
    assert difference(fields(one), fields(other)) == fields(one - other)


@given(_PATHS)
def test_leaves_are_the_paths_that_nothing_goes_beyond(some: frozenset[tuple[str, ...]]) -> None:
    wanted = {p for p in some if not any(len(q) > len(p) and q[: len(p)] == p for q in some)}
    assert frozenset(leaves(fields(some))) == wanted


def test_paths_come_in_the_order_of_messages_what_is_here_before_what_is_below() -> None:
    some = {"f:spec": {"f:modelRef": {"f:version": {}}, "f:paused": {}}}
    assert [text(p) for p in paths(some)] == [".spec.paused", ".spec.modelRef.version"]


@pytest.mark.parametrize(
    ("step", "shown"),
    [("f:a", ".a"), ('k:{"name":"x","port":1}', '[name="x",port=1]'), ('v:"int8"', '[="int8"]'), ("i:2", "[2]")],
)
def test_steps_are_shown_as_conflicts_name_them(step: str, shown: str) -> None:
    assert text((step,)) == shown


def test_keys_are_read_in_any_order_and_spelling() -> None:
    assert parsed({'k:{"port": 1, "name": "x"}': {}}) == {key_step({"name": "x", "port": 1}): {}}


def _deep(levels: int) -> dict[str, Any]:
    return {"f:a": _deep(levels - 1)} if levels else {}


@pytest.mark.parametrize(
    "broken", [[], {"f:a": 1}, {"x:a": {}}, {"a": {}}, {"k:3": {}}, {"k:{": {}}, {"v:": {}}, _deep(70)]
)
def test_what_is_no_fields_v1_is_refused(broken: Any) -> None:
    with pytest.raises(FieldsError):
        parsed(broken)
