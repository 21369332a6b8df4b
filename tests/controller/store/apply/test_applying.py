"""The pure core of server-side apply, on a schema with every kind of list and map."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litefleet_controller.resources.causes import InvalidError
from litefleet_controller.resources.schema import compile_schema
from litefleet_controller.store.apply.applying import Outcome, apply
from litefleet_controller.store.apply.managers import MAX_UPDATERS, encode
from litefleet_controller.store.apply.shapes import whole
from litefleet_controller.store.apply.tracking import Writer, tracked, with_entries
from litefleet_controller.store.errors import ApplyConflictError

TEXT = {"type": "string"}
ITEM = {"type": "object", "properties": {"type": TEXT, "status": TEXT, "reason": TEXT}}
SPEC = {
    "a": TEXT,
    "b": {"type": "integer", "default": 0},
    "maybe": {"type": "string", "nullable": True},
    "map": {"type": "object", "additionalProperties": TEXT},
    "deep": {"type": "object", "additionalProperties": {"type": "object", "properties": {"x": TEXT, "y": TEXT}}},
    "whole": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": TEXT},
    "set": {"type": "array", "items": TEXT, "x-kubernetes-list-type": "set"},
    "list": {"type": "array", "items": TEXT},
    "keyed": {
        "type": "array",
        "items": ITEM,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    },
    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
}
PART = {"type": "object", "properties": SPEC}
SCHEMA = whole(compile_schema({"type": "object", "properties": {"spec": PART, "status": PART}}, embedded=True))
Json = dict[str, Any]


def body(spec: Json, **metadata: Any) -> Json:
    return {"apiVersion": "x.dev/v1", "kind": "X", "metadata": {"name": "x", **metadata}, "spec": spec}


def stored(outcome: Outcome) -> Json:
    return with_entries(outcome.body, encode(outcome.managed))


def applied(
    live: Json | None, manager: str, spec: Json, *, time: str = "1", force: bool = False, **metadata: Any
) -> Json:
    return stored(apply(SCHEMA, live, body(spec, **metadata), Writer(manager, time), force=force))


def patched(live: Json | None, manager: str, spec: Json, *, time: str = "1", sent: Any = None) -> Json:
    new = body(spec)
    if live is not None and "managedFields" in live["metadata"]:
        new["metadata"]["managedFields"] = live["metadata"]["managedFields"]
    return tracked(SCHEMA, live, new, sent, Writer(manager, time))


def owned(live: Json) -> dict[str, Any]:
    entries = live["metadata"].get("managedFields", [])
    return {e["manager"]: e["fieldsV1"].get("f:spec", e["fieldsV1"]) for e in entries}


def times(live: Json) -> dict[str, Any]:
    return {e["manager"]: e.get("time") for e in live["metadata"]["managedFields"]}


def conflicts(live: Json, manager: str, spec: Json) -> list[str]:
    with pytest.raises(ApplyConflictError) as caught:
        applied(live, manager, spec)
    return [c.field for c in caught.value.conflicts]


def test_an_applier_owns_its_leaves_and_the_items_of_its_lists() -> None:
    spec = {
        "a": "x",
        "map": {"k": "v"},
        "whole": {"k": "v"},
        "set": ["p"],
        "list": ["q"],
        "keyed": [{"type": "R", "status": "T"}],
        "free": {"m": {"n": 1}},
    }
    assert owned(applied(None, "me", spec))["me"] == {
        "f:a": {},
        "f:map": {"f:k": {}},
        "f:whole": {},
        "f:set": {'v:"p"': {}},
        "f:list": {},
        "f:keyed": {'k:{"type":"R"}': {".": {}, "f:type": {}, "f:status": {}}},
        "f:free": {"f:m": {".": {}, "f:n": {}}},
    }


def test_an_updater_owns_maps_and_lists_too() -> None:
    assert owned(patched(None, "me", {"map": {"k": "v"}, "set": ["p"]}))["me"] == {
        ".": {},
        "f:map": {".": {}, "f:k": {}},
        "f:set": {".": {}, 'v:"p"': {}},
    }


def test_an_empty_list_of_identities_is_nobodys_and_an_empty_map_is() -> None:
    assert owned(applied(None, "me", {"a": "x", "set": [], "map": {}}))["me"] == {"f:a": {}, "f:map": {}}


@pytest.mark.parametrize(
    ("first", "second", "result"),
    [
        ({"map": {"a": "1"}}, {"map": {"b": "2"}}, {"map": {"a": "1", "b": "2"}}),
        ({"set": ["a", "b"]}, {"set": ["c", "a"]}, {"set": ["c", "a", "b"]}),
        ({"set": ["a", "b", "c"]}, {"set": ["d", "c"]}, {"set": ["a", "b", "d", "c"]}),
        (
            {"keyed": [{"type": "R", "status": "T"}]},
            {"keyed": [{"type": "P"}, {"type": "R", "reason": "x"}]},
            {"keyed": [{"type": "P"}, {"type": "R", "status": "T", "reason": "x"}]},
        ),
        ({"deep": {"k": {"x": "1"}}}, {"deep": {"k": {"y": "2"}}}, {"deep": {"k": {"x": "1", "y": "2"}}}),
        ({"free": {"m": {"a": 1}}}, {"free": {"m": {"b": [1]}}}, {"free": {"m": {"a": 1, "b": [1]}}}),
    ],
)
def test_two_appliers_share_what_is_merged(first: Json, second: Json, result: Json) -> None:
    live = applied(applied(None, "one", first), "two", second)
    assert live["spec"] == result


@pytest.mark.parametrize(
    ("first", "second", "field"),
    [
        ({"a": "1"}, {"a": "2"}, ".spec.a"),
        ({"list": ["a"]}, {"list": ["a", "b"]}, ".spec.list"),
        ({"whole": {"a": "1"}}, {"whole": {"b": "2"}}, ".spec.whole"),
        ({"map": {"k": "1"}}, {"map": {"k": "2"}}, ".spec.map.k"),
        ({"keyed": [{"type": "R", "status": "T"}]}, {"keyed": [{"type": "R", "status": "F"}]},
         '.spec.keyed[type="R"].status'),
        ({"free": {"m": [1]}}, {"free": {"m": [2]}}, ".spec.free.m"),
        ({"free": {"m": True}}, {"free": {"m": 1}}, ".spec.free.m"),
    ],
)  # fmt: skip
def test_another_value_for_a_leaf_of_another_is_a_conflict(first: Json, second: Json, field: str) -> None:
    assert conflicts(applied(None, "one", first), "two", second) == [field]


def test_the_same_value_is_shared_and_then_belongs_to_both() -> None:
    live = applied(applied(None, "one", {"a": "1"}), "two", {"a": "1"})
    assert owned(live) == {"one": {"f:a": {}}, "two": {"f:a": {}}}
    assert applied(live, "one", {"b": 1})["spec"] == {"a": "1", "b": 1}


def test_force_takes_a_field_over() -> None:
    live = applied(applied(None, "one", {"a": "1", "b": 1}), "two", {"a": "2"}, force=True)
    assert (live["spec"]["a"], owned(live)) == ("2", {"one": {"f:b": {}}, "two": {"f:a": {}}})


def test_an_update_takes_fields_over_without_asking() -> None:
    live = patched(applied(None, "one", {"a": "1", "b": 1}), "two", {"a": "2", "b": 1})
    assert owned(live) == {"one": {"f:b": {}}, "two": {"f:a": {}}}


def test_an_update_that_takes_a_field_away_leaves_nobody_owning_it() -> None:
    live = patched(applied(None, "one", {"a": "1", "b": 1}), "two", {"b": 1})
    assert owned(live) == {"one": {"f:b": {}}}


@pytest.mark.parametrize(
    ("first", "then", "result"),
    [
        ({"a": "1", "b": 1}, {"b": 1}, {"b": 1}),
        ({"map": {"a": "1", "b": "2"}}, {"map": {"b": "2"}}, {"map": {"b": "2"}}),
        ({"map": {"a": "1"}, "b": 1}, {"b": 1}, {"b": 1}),
        ({"set": ["a", "b"]}, {"set": ["b"]}, {"set": ["b"]}),
        ({"keyed": [{"type": "R"}, {"type": "P"}]}, {"keyed": [{"type": "P"}]}, {"keyed": [{"type": "P"}]}),
        ({"free": {"m": {"a": 1, "b": 2}}}, {"free": {"m": {"b": 2}}}, {"free": {"m": {"b": 2}}}),
    ],
)
def test_what_an_applier_leaves_out_goes(first: Json, then: Json, result: Json) -> None:
    assert applied(applied(None, "me", first), "me", then)["spec"] == result


def test_an_item_stays_while_another_applier_has_it() -> None:
    live = applied(None, "one", {"keyed": [{"type": "R", "status": "T"}]})
    live = applied(live, "two", {"keyed": [{"type": "R", "reason": "x"}]})
    assert applied(live, "one", {"a": "1"})["spec"] == {"a": "1", "keyed": [{"type": "R", "reason": "x"}]}


def test_an_item_goes_with_its_applier_though_an_update_wrote_into_it() -> None:
    live = applied(None, "one", {"a": "1", "keyed": [{"type": "R"}]})
    live = patched(live, "two", {"a": "1", "keyed": [{"type": "R", "status": "T"}]})
    assert applied(live, "one", {"a": "1"})["spec"] == {"a": "1"}


def test_what_an_update_made_is_not_taken_away_by_an_applier_that_never_had_it() -> None:
    live = patched(applied(None, "one", {"a": "1"}), "two", {"a": "1", "b": 2})
    assert applied(live, "one", {"map": {"k": "v"}})["spec"] == {"b": 2, "map": {"k": "v"}}


def test_times_move_with_changes_only() -> None:
    live = applied(None, "one", {"a": "1"}, time="1")
    live = applied(live, "two", {"a": "1"}, time="2")
    assert times(live) == {"one": "1", "two": None}
    live = applied(live, "one", {"a": "1"}, time="3")
    assert times(live) == {"one": "1", "two": None}
    assert times(applied(live, "one", {"a": "1", "b": 1}, time="4")) == {"one": "4", "two": None}


def test_an_update_that_changes_nothing_gives_the_stored_object() -> None:
    live = patched(None, "one", {"a": "1"})
    assert patched(live, "two", {"a": "1"}, time="9") is live or patched(live, "two", {"a": "1"}, time="9") == live


def test_a_manager_has_one_entry_however_often_it_writes() -> None:
    live = patched(None, "one", {"a": "1"})
    live = patched(live, "one", {"a": "2", "b": 1}, time="2")
    assert owned(live) == {"one": {".": {}, "f:a": {}, "f:b": {}}}


def test_many_updaters_share_the_oldest_entry() -> None:
    live = patched(None, "m00", {"map": {}})
    for number in range(1, 15):
        spec = {"map": {**live["spec"]["map"], f"k{number}": "v"}}
        live = patched(live, f"m{number:02}", spec, time=f"{number:02}")
    names = list(owned(live))
    assert len(names) == MAX_UPDATERS
    assert "ancient-changes" in names
    assert "m14" in names


def test_an_object_that_nobody_tracked_belongs_to_before_first_apply() -> None:
    live = body({"a": "1", "b": 1})
    assert conflicts(live, "me", {"a": "2"}) == [".spec.a"]
    after = applied(live, "me", {"a": "1"})
    assert owned(after) == {"before-first-apply": {".": {}, "f:a": {}, "f:b": {}}, "me": {"f:a": {}}}


def test_an_object_that_nobody_tracked_is_left_so_by_updates() -> None:
    assert "managedFields" not in patched(body({"a": "1"}), "me", {"a": "2"})["metadata"]


def test_one_empty_entry_ends_tracking() -> None:
    assert "managedFields" not in patched(applied(None, "me", {"a": "1"}), "me", {"a": "1"}, sent=[{}])["metadata"]


def test_entries_that_a_client_sends_replace_the_stored_ones() -> None:
    live = patched(None, "one", {"a": "1", "b": 1})
    (entry,) = live["metadata"]["managedFields"]
    after = patched(
        live, "two", {"a": "1", "b": 1}, sent=[{**entry, "manager": "other", "operation": "Apply", "time": None}]
    )
    assert list(owned(after)) == ["other"]


@pytest.mark.parametrize(
    "entry",
    [
        "x",
        {"operation": "Delete", "fieldsType": "FieldsV1"},
        {"operation": "Apply", "fieldsType": "FieldsV2"},
        {"operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": {"x": {}}},
        {"operation": "Apply", "fieldsType": "FieldsV1", "time": "yesterday"},
        {"operation": "Apply", "fieldsType": "FieldsV1", "manager": "m" * 129},
    ],
)
def test_entries_that_are_none_are_refused(entry: Any) -> None:
    with pytest.raises(InvalidError) as caught:
        patched(applied(None, "me", {"a": "1"}), "me", {"a": "2"}, sent=[entry])
    assert caught.value.causes[0].field == "metadata.managedFields[0]"


@pytest.mark.parametrize(
    ("spec", "field", "code"),
    [
        ({"aa": "1"}, "spec.aa", "UnknownField"),
        ({"keyed": [{"type": "R", "stat": "T"}]}, "spec.keyed[0].stat", "UnknownField"),
        ({"keyed": [{"status": "T"}]}, "spec.keyed[0].type", "Required"),
        ({"keyed": [{"type": "R"}, {"type": "R"}]}, "spec.keyed[1]", "DuplicateKey"),
        ({"set": ["a", "a"]}, "spec.set[1]", "DuplicateKey"),
        ({"a": None}, "spec.a", "TypeError"),
    ],
)
def test_what_nobody_could_own_is_refused(spec: Json, field: str, code: str) -> None:
    with pytest.raises(InvalidError) as caught:
        applied(None, "me", spec)
    assert [(c.field, c.code) for c in caught.value.causes] == [(field, code)]


def test_a_null_is_applied_where_the_schema_allows_it() -> None:
    live = applied(None, "me", {"maybe": None})
    assert (live["spec"], owned(live)["me"]) == ({"maybe": None}, {"f:maybe": {}})


def test_identity_is_nobodys() -> None:
    live = applied(None, "me", {"a": "1"}, labels={"k": "v"}, namespace="n", uid="u", finalizers=["x.dev/y"])
    assert live["metadata"]["managedFields"][0]["fieldsV1"]["f:metadata"] == {
        "f:labels": {"f:k": {}},
        "f:finalizers": {'v:"x.dev/y"': {}},
    }


_NAMES = st.sampled_from(["k", "l", "m"])
_TEXTS = st.sampled_from(["1", "2", "3"])
_SPECS = st.fixed_dictionaries(
    {},
    optional={
        "a": _TEXTS,
        "b": st.integers(0, 3),
        "map": st.dictionaries(_NAMES, _TEXTS, max_size=3),
        "deep": st.dictionaries(_NAMES, st.fixed_dictionaries({}, optional={"x": _TEXTS, "y": _TEXTS}), max_size=2),
        "whole": st.dictionaries(_NAMES, _TEXTS, max_size=2),
        "set": st.lists(_TEXTS, unique=True, max_size=3),
        "list": st.lists(_TEXTS, max_size=3),
        "keyed": st.lists(
            st.fixed_dictionaries({"type": _NAMES}, optional={"status": _TEXTS, "reason": _TEXTS}),
            unique_by=lambda i: i["type"],
            max_size=3,
        ),
    },
)


def _covers(spec: Any, wanted: Any) -> bool:
    """Whether everything that was applied is there."""
    if isinstance(wanted, dict):
        return isinstance(spec, dict) and all(k in spec and _covers(spec[k], v) for k, v in wanted.items())
    if isinstance(wanted, list) and wanted and isinstance(wanted[0], dict):
        found = {i["type"]: i for i in spec}
        return all(_covers(found.get(i["type"]), i) for i in wanted)
    return bool(spec == wanted) or (isinstance(wanted, list) and set(wanted) <= set(spec))


@given(_SPECS, _SPECS)
def test_apply_twice_is_apply_once(before: Json, spec: Json) -> None:
    live = applied(None, "other", before)
    once = applied(live, "me", spec, force=True)
    assert applied(once, "me", spec, time="9") == once


@given(_SPECS, _SPECS)
def test_after_an_apply_all_of_it_is_there(before: Json, spec: Json) -> None:
    live = applied(applied(None, "other", before), "me", spec, force=True)
    assert _covers(live["spec"], {k: v for k, v in spec.items() if k not in ("set", "keyed") or v})


@given(_SPECS, _SPECS)
def test_managers_of_different_fields_never_conflict(one: Json, two: Json) -> None:
    rest = {k: v for k, v in two.items() if k not in one}
    live = applied(applied(None, "one", one), "two", rest)
    assert _covers(live["spec"], one)
    assert _covers(live["spec"], rest)


@given(_SPECS, _SPECS)
def test_an_applier_that_leaves_takes_nothing_of_others(one: Json, two: Json) -> None:
    rest = {k: v for k, v in two.items() if k not in one and v not in ([], {})}
    alone = applied(None, "one", one)
    live = applied(applied(alone, "two", rest), "two", {})
    assert (live.get("spec") or {}) == (alone.get("spec") or {})
    assert owned(live).get("one") == owned(alone).get("one")


@given(_SPECS, _SPECS, _SPECS)
def test_no_field_is_owned_that_is_not_there(one: Json, two: Json, three: Json) -> None:
    live = applied(applied(None, "one", one), "two", two, force=True)
    live = patched(live, "three", three)
    everything = owned(patched(None, "all", three))["all"]
    for fields in owned(live).values():
        assert _within(fields, everything)


def _within(fields: Any, everything: Any) -> bool:
    return all(step == "." or (step in everything and _within(node, everything[step])) for step, node in fields.items())


def test_a_status_that_is_no_subresource_is_written_with_the_rest() -> None:
    writer = Writer("me", "1", status_apart=False)
    live = stored(apply(SCHEMA, None, {**body({"a": "1"}), "status": {"b": 1}}, writer, force=False))
    assert live["status"] == {"b": 1}
    assert "f:status" in live["metadata"]["managedFields"][0]["fieldsV1"]


LAST = "kubectl.kubernetes.io/last-applied-configuration"


def from_client(spec: Json, last: str | None = None) -> Json:
    """An object as kubectl's client-side apply leaves it."""
    new = body(spec)
    text = json.dumps(body(spec)) if last is None else last
    new["metadata"]["annotations"] = {LAST: text}
    return tracked(SCHEMA, None, new, None, Writer("kubectl-client-side-apply", "1"))


def test_kubectl_takes_over_what_its_client_side_apply_wrote_and_keeps_the_annotation_current() -> None:
    live = applied(from_client({"a": "1"}), "kubectl", {"a": "2"})
    assert live["spec"]["a"] == "2"
    assert json.loads(live["metadata"]["annotations"][LAST])["spec"] == {"a": "2"}


def test_another_manager_does_not_take_over_from_client_side_apply() -> None:
    assert conflicts(from_client({"a": "1"}), "ci", {"a": "2"}) == [".spec.a"]


def test_kubectl_does_not_take_over_what_others_changed_since() -> None:
    live = from_client({"a": "1"})
    new = {**live, "spec": {"a": "3"}}
    live = tracked(SCHEMA, live, new, None, Writer("editor", "2"))
    assert conflicts(live, "kubectl", {"a": "2"}) == [".spec.a"]


@pytest.mark.parametrize("broken", ["", "{", "[]", "3", '{"metadata": 3}'])
def test_a_broken_annotation_allows_nothing(broken: str) -> None:
    assert conflicts(from_client({"a": "1"}, broken), "kubectl", {"a": "2"}) == [".spec.a"]
