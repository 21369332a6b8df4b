"""Merge patches against the RFC's own words, JSON patches against copies."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litefleet_controller.resources.schema import Schema, compile_schema
from litefleet_controller.store.errors import PatchError
from litefleet_controller.store.interface import Patch
from litefleet_controller.store.patching import apply_patch, merge_patch

_SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=3)
_NAMES = st.sampled_from("abc")
_JSON = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3), max_leaves=12
)
_OBJECTS = st.dictionaries(_NAMES, _JSON, max_size=3)


def reference(target, patch):
    """RFC 7396, section 2, line by line."""
    if isinstance(patch, dict):
        target = copy.deepcopy(target) if isinstance(target, dict) else {}
        for name, value in patch.items():
            if value is None:
                if name in target:
                    del target[name]
            else:
                target[name] = reference(target.get(name), value)
        return target
    return copy.deepcopy(patch)


@given(_JSON, _JSON)
def test_merge_patch_does_what_the_rfc_says(target, patch):
    assert merge_patch(target, patch) == reference(target, patch)


@given(_OBJECTS, _OBJECTS)
def test_merge_patch_leaves_its_arguments_alone(target, patch):
    before = copy.deepcopy((target, patch))
    merge_patch(target, patch)
    assert (target, patch) == before


@given(_OBJECTS, _OBJECTS)
def test_merge_patch_twice_is_once(target, patch):
    once = merge_patch(target, patch)
    assert merge_patch(once, patch) == once


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch_of_the_rfc_s_appendix(target, patch, result):
    assert merge_patch(target, patch) == result


def test_json_patch_leaves_the_document_alone():
    document = {"a": {"b": [1]}}
    patched = apply_patch(document, Patch("json", [{"op": "add", "path": "/a/b/-", "value": 2}]), Schema())
    assert (document, patched) == ({"a": {"b": [1]}}, {"a": {"b": [1, 2]}})


CONTAINERS = compile_schema(
    {
        "type": "object",
        "properties": {
            "containers": {
                "type": "array",
                "items": {"type": "object", "properties": {"name": {"type": "string"}, "image": {"type": "string"}}},
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            },
            "args": {"type": "array", "items": {"type": "string"}},
        },
    }
)


@pytest.mark.parametrize(
    ("patch", "result"),
    [
        ({"containers": [{"name": "a", "image": "2"}]}, [{"name": "a", "image": "2"}, {"name": "b", "image": "1"}]),
        ({"containers": [{"name": "c"}]}, [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}, {"name": "c"}]),
        ({"containers": [{"name": "a", "$patch": "delete"}]}, [{"name": "b", "image": "1"}]),
        ({"containers": [{"$patch": "replace"}, {"name": "c"}]}, [{"name": "c"}]),
        ({"containers": [{"name": "a", "$patch": "replace"}]}, [{"name": "a"}, {"name": "b", "image": "1"}]),
        ({"containers": None}, None),
    ],
)
def test_a_strategic_patch_merges_lists_with_keys(patch, result):
    document = {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}
    assert apply_patch(document, Patch("strategic", patch), CONTAINERS).get("containers") == result
    assert document["containers"][0] == {"name": "a", "image": "1"}


def test_a_strategic_patch_replaces_other_lists():
    assert apply_patch({"args": ["a"]}, Patch("strategic", {"args": ["b"]}), CONTAINERS) == {"args": ["b"]}


@pytest.mark.parametrize("patch", [{"$retainKeys": ["a"]}, {"$patch": "nonsense"}, {"containers": [{"image": "1"}]}])
def test_a_strategic_patch_that_isn_t_understood_is_refused(patch):
    with pytest.raises(PatchError):
        apply_patch({}, Patch("strategic", patch), CONTAINERS)
