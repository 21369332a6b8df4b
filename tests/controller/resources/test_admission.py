"""Admission: defaults, and every cause of a refusal with its place and code."""

import copy

import pytest

from litefleet_controller.resources.admission import InvalidError, UnknownField, admit, check_status, prune
from litefleet_controller.resources.registry import KINDS, Registry

KIND = Registry().kind("ModelRollout")
VALID = {"metadata": {"name": "digits"}, "spec": {"modelRef": {"name": "digits"}}}


def rollout(**spec):
    return {**copy.deepcopy(VALID), "spec": {"modelRef": {"name": "digits"}, **spec}}


def steps(*given):
    return rollout(strategy={"canary": {"steps": list(given)}})


def causes(body, kind=KIND, old=None):
    with pytest.raises(InvalidError) as caught:
        admit(kind, body, old)
    # "<nil>" says once more, for the whole object, what another cause says of a field.
    return {(c.field, c.reason, c.code) for c in caught.value.causes if c.field != "<nil>"}


def test_defaults_are_added_and_what_was_written_stays():
    spec = admit(KIND, steps({"setWeight": 5}, {"pause": {"duration": "10m"}}, {"pause": {}}), None)["spec"]
    assert spec["strategy"]["canary"]["steps"] == [{"setWeight": 5}, {"pause": {"duration": "10m"}}, {"pause": {}}]
    assert spec["strategy"]["canary"]["maxUnavailable"] == "25%"
    assert (spec["paused"], spec["modelRef"]["version"]) == (False, "latest")


def test_admitting_twice_is_admitting_once():
    once = admit(KIND, steps({"setWeight": 5}, {"pause": {"duration": "10m"}}), None)
    assert admit(KIND, once, once) == once


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (steps({"setWeight": 101}), ("spec.strategy.canary.steps[0].setWeight", "FieldValueInvalid", "OutOfRange")),
        (steps({"setWeight": -1}), ("spec.strategy.canary.steps[0].setWeight", "FieldValueInvalid", "OutOfRange")),
        (steps({"setWeight": "no"}), ("spec.strategy.canary.steps[0].setWeight", "FieldValueTypeInvalid", "TypeError")),
        (steps({"setWeight": "5"}), ("spec.strategy.canary.steps[0].setWeight", "FieldValueTypeInvalid", "TypeError")),
        (steps({"setWeight": 5.5}), ("spec.strategy.canary.steps[0].setWeight", "FieldValueTypeInvalid", "TypeError")),
        (
            steps({"setWeight": float("nan")}),
            ("spec.strategy.canary.steps[0].setWeight", "FieldValueTypeInvalid", "TypeError"),
        ),
        (steps({"setWeight": 50}, {"setWeight": 5}), ("spec.strategy.canary.steps", "FieldValueInvalid", "OutOfRange")),
        (steps({"setWeight": 5, "pause": {}}), ("spec.strategy.canary.steps[0]", "FieldValueInvalid", "Invalid")),
        (steps({}), ("spec.strategy.canary.steps[0]", "FieldValueInvalid", "Invalid")),
        (steps("x"), ("spec.strategy.canary.steps[0]", "FieldValueTypeInvalid", "TypeError")),
        (rollout(paused="yes"), ("spec.paused", "FieldValueTypeInvalid", "TypeError")),
        (rollout(stratgy={}), ("spec.stratgy", "FieldValueForbidden", "UnknownField")),
        (rollout(on_failure="Pause"), ("spec.on_failure", "FieldValueForbidden", "UnknownField")),
        (rollout(onFailure="Shrug"), ("spec.onFailure", "FieldValueNotSupported", "NotSupported")),
        (rollout(modelRef={}), ("spec.modelRef.name", "FieldValueRequired", "Required")),
        (
            rollout(modelRef={"name": "m", "version": 1.5}),
            ("spec.modelRef.version", "FieldValueTypeInvalid", "TypeError"),
        ),
        (rollout(modelRef={"name": "m", "version": 0}), ("spec.modelRef.version", "FieldValueInvalid", "OutOfRange")),
        (
            rollout(selector={"matchLabels": {"bad key": "x"}}),
            ("spec.selector.matchLabels.bad key", "FieldValueInvalid", "InvalidName"),
        ),
        (
            rollout(selector={"matchExpressions": [{"key": "a", "operator": "Near"}]}),
            ("spec.selector.matchExpressions[0].operator", "FieldValueNotSupported", "NotSupported"),
        ),
        (rollout(successThreshold=float("nan")), ("spec.successThreshold", "FieldValueInvalid", "OutOfRange")),
        (rollout(successThreshold="200%"), ("spec.successThreshold", "FieldValueInvalid", "OutOfRange")),
        (rollout(successThreshold="lots"), ("spec.successThreshold", "FieldValueTypeInvalid", "TypeError")),
        (rollout(probationSeconds=float("inf")), ("spec.probationSeconds", "FieldValueInvalid", "OutOfRange")),
        ({"metadata": {"name": "a"}, "spec": []}, ("spec", "FieldValueTypeInvalid", "TypeError")),
        ({"metadata": {"name": "a"}}, ("spec", "FieldValueRequired", "Required")),
        ({**VALID, "metadata": "x"}, ("metadata", "FieldValueTypeInvalid", "TypeError")),
        ({**VALID, "metadata": None}, ("metadata.name", "FieldValueRequired", "Required")),
        ({**VALID, "metadata": {"name": 3}}, ("metadata.name", "FieldValueTypeInvalid", "TypeError")),
    ],
)
def test_each_bad_field_is_one_cause_with_its_place(body, expected):
    assert causes(body) == {expected}


@pytest.mark.parametrize("name", ["../x", "a" * 254, "a" * 64, "Digits", "d\u0456gits", "a_b", "-a", "a.b"])
def test_a_name_that_is_none_is_refused(name):
    assert causes({**VALID, "metadata": {"name": name}}) == {("metadata.name", "FieldValueInvalid", "InvalidName")}


@pytest.mark.parametrize(
    ("metadata", "field", "code"),
    [
        ({"namespace": "../x"}, "metadata.namespace", "InvalidName"),
        ({"namespace": ["x"]}, "metadata.namespace", "TypeError"),
        ({"labels": {"a b": "x"}}, "metadata.labels", "InvalidName"),
        ({"labels": {"a": "x y"}}, "metadata.labels", "InvalidName"),
        ({"labels": {"a": 1}}, "metadata.labels", "TypeError"),
        ({"labels": ["a"]}, "metadata.labels", "TypeError"),
        ({"annotations": {"a": {}}}, "metadata.annotations.a", "TypeError"),
        ({"annotations": "x"}, "metadata.annotations", "TypeError"),
        ({"annotations": {"a": "x" * 300_000}}, "metadata.annotations", "TooLarge"),
        ({"finalizers": "x"}, "metadata.finalizers", "TypeError"),
        ({"finalizers": ["not valid"]}, "metadata.finalizers", "InvalidName"),
        ({"finalizers": [3]}, "metadata.finalizers", "TypeError"),
        ({"ownerReferences": {}}, "metadata.ownerReferences", "TypeError"),
        ({"ownerReferences": ["x"]}, "metadata.ownerReferences[0]", "TypeError"),
        (
            {"ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "x"}]},
            "metadata.ownerReferences.uid",
            "Required",
        ),
        (
            {"ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "x", "uid": 3}]},
            "metadata.ownerReferences.uid",
            "TypeError",
        ),
    ],
)
def test_metadata_are_checked_for_every_kind(metadata, field, code):
    assert {(f, c) for f, _, c in causes({**VALID, "metadata": {"name": "digits", **metadata}})} == {(field, code)}


def test_all_causes_come_together():
    body = rollout(paused="x", stratgy=1, strategy={"canary": {"steps": [{"setWeight": 200}]}})
    body["metadata"]["labels"] = {"a": 1}
    assert len(causes(body)) == 4


def test_an_unknown_field_names_its_nearest():
    with pytest.raises(InvalidError, match="did you mean 'strategy'"):
        admit(KIND, rollout(stratgy={}), None)


def test_a_union_names_all_that_it_takes():
    with pytest.raises(InvalidError, match="must be of type integer,string"):
        admit(KIND, rollout(modelRef={"name": "m", "version": 1.5}), None)


def test_nulls_are_dropped_or_replaced_by_the_default():
    spec = admit(KIND, rollout(paused=None, selector={"matchLabels": None}), None)["spec"]
    assert spec["paused"] is False
    assert spec["selector"]["matchLabels"] == {}


def test_a_status_is_checked_and_loses_its_nulls():
    assert check_status(KIND, "x", {"phase": "Paused", "message": None, "classes": []}) == {
        "phase": "Paused",
        "classes": [],
    }
    for status, field in (({"phase": "Splendid"}, "status.phase"), ("x", "status"), ({"bogus": 1}, "status.bogus")):
        with pytest.raises(InvalidError) as caught:
            check_status(KIND, "x", status)
        assert [c.field for c in caught.value.causes] == [field]


def test_pruning_leaves_out_what_the_kind_does_not_have_and_says_so():
    body = {
        "kind": "ModelRollout",
        "bogus": 1,
        "metadata": {"name": "x"},
        "spec": {"stratgy": 1, "strategy": {"canary": {"steps": [{"setWeight": 5, "setWeigth": 6}], "x": {}}}},
        "status": {"phases": "x"},
    }
    pruned, unknown = prune(KIND, body)
    assert pruned == {
        "kind": "ModelRollout",
        "metadata": {"name": "x"},
        "spec": {"strategy": {"canary": {"steps": [{"setWeight": 5}]}}},
        "status": {},
    }
    assert unknown == [
        UnknownField("bogus", ""),
        UnknownField("spec.strategy.canary.steps[0].setWeigth", "setWeight"),
        UnknownField("spec.strategy.canary.x", ""),
        UnknownField("spec.stratgy", "strategy"),
        UnknownField("status.phases", "phase"),
    ]


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.kind)
def test_selectable_fields_and_columns_name_fields_that_exist(kind):
    for path in kind.selectable_fields:
        root, *names = path.removeprefix(".").split(".")
        _, unknown = prune(kind, {root: _nested(names)})
        assert unknown == []


def _nested(names):
    return {names[0]: _nested(names[1:])} if names else "x"
