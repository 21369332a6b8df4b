import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from litefleet_controller.cli.lastapplied import LAST_APPLIED, remembered, three_way, with_memory

Json = dict[str, Any]

values = st.recursive(
    st.integers(0, 3) | st.booleans() | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.sampled_from("abcd"), values, max_size=4)


def merge(target: Any, patch: Any) -> Any:
    """RFC 7396, section 2."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def covers(live: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(k in live and covers(live[k], v) for k, v in wanted.items())
    return type(live) is type(wanted) and bool(live == wanted)


@given(objects, objects, objects)
def test_after_the_patch_everything_wanted_is_there(original: Json, modified: Json, current: Json) -> None:
    assert covers(merge(current, three_way(original, modified, current)), modified)


@given(objects, objects)
def test_applying_again_changes_nothing(modified: Json, current: Json) -> None:
    after = merge(current, three_way({}, modified, current))
    assert three_way(modified, modified, after) == {}


@given(objects, objects, objects)
def test_what_was_dropped_is_gone_and_what_others_set_stays(original: Json, modified: Json, current: Json) -> None:
    after = merge(current, three_way(original, modified, current))
    for key in original.keys() - modified.keys():
        assert key not in after
    for key in current.keys() - original.keys() - modified.keys():
        assert after[key] == current[key]


def test_the_memory_is_written_as_go_writes_it() -> None:
    manifest = {
        "kind": "K",
        "metadata": {"name": "n", "annotations": {"a": "<&>\u2028ü"}},
        "spec": {"b": 1.0, "a": 0.5},
    }
    sent = with_memory(manifest, "ns")
    assert sent["metadata"]["annotations"][LAST_APPLIED] == (
        '{"kind":"K","metadata":{"annotations":{"a":"\\u003c\\u0026\\u003e\\u2028ü"},"name":"n","namespace":"ns"},'
        '"spec":{"a":0.5,"b":1}}\n'
    )


def test_an_old_memory_in_a_manifest_is_not_remembered() -> None:
    sent = with_memory({"metadata": {"name": "n", "annotations": {LAST_APPLIED: "old"}}}, None)
    assert json.loads(sent["metadata"]["annotations"][LAST_APPLIED]) == {"metadata": {"name": "n", "annotations": {}}}


def test_a_memory_that_cannot_be_read_counts_as_none() -> None:
    for text in ("{", "[]", '"x"', ""):
        assert remembered({"metadata": {"annotations": {LAST_APPLIED: text}}}) == {}
    assert remembered({"metadata": {}}) == {}
