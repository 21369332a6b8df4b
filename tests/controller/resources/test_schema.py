"""Structural schemas: defaults, pruning, validation and CEL rules, in the words of an API server."""

import pytest

from litefleet_controller.resources.cel import BUDGET
from litefleet_controller.resources.schema import SchemaError, compile_schema


def schema(**properties):
    return compile_schema({"type": "object", "properties": properties})


def messages(compiled, value, *old):
    return [(c.field, c.reason, c.message) for c in compiled.validate(value, *old)]


def test_defaults_go_as_deep_as_the_value_does():
    compiled = schema(
        accelerator={"type": "object", "default": {}, "properties": {"kind": {"type": "string", "default": "cpu"}}},
        steps={"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer", "default": 1}}}},
        limits={"type": "object", "properties": {"n": {"type": "integer", "default": 1}}},
    )
    assert compiled.default({"steps": [{}, {"n": 2}]}) == {
        "accelerator": {"kind": "cpu"},
        "steps": [{"n": 1}, {"n": 2}],
    }


def test_a_default_is_never_shared_between_objects():
    compiled = schema(labels={"type": "array", "default": []})
    compiled.default({})["labels"].append("x")
    assert compiled.default({}) == {"labels": []}


def test_null_is_dropped_replaced_by_a_default_or_kept_where_it_is_allowed():
    compiled = schema(
        plain={"type": "string"},
        filled={"type": "string", "default": "x"},
        kept={"type": "string", "nullable": True, "default": "y"},
    )
    filled = compiled.default({"plain": None, "filled": None, "kept": None})
    assert filled == {"filled": "x", "kept": None}
    assert messages(compiled, filled) == []


def test_pruning_keeps_what_is_preserved_and_names_the_rest():
    compiled = compile_schema(
        {
            "type": "object",
            "properties": {
                "spec": {
                    "type": "object",
                    "properties": {
                        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                        "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {}}},
                    },
                }
            },
        },
        embedded=True,
    )
    body = {"kind": "X", "metadata": {"a": 1}, "spec": {"free": {"a": 1}, "map": {"k": {"b": 1}}, "fre": 1}, "top": 1}
    pruned, unknown = compiled.prune(body)
    assert pruned == {"kind": "X", "metadata": {"a": 1}, "spec": {"free": {"a": 1}, "map": {"k": {}}}}
    assert [(u.path, u.nearest) for u in unknown] == [("spec.map.k.b", ""), ("spec.fre", "free"), ("top", "")]


@pytest.mark.parametrize(
    ("document", "value", "expected"),
    [
        ({"type": "integer"}, "x", ("FieldValueTypeInvalid", 'Invalid value: "string": f in body must be of type integer: "string"')),
        ({"type": "string"}, None, ("FieldValueTypeInvalid", 'Invalid value: "null": f in body must be of type string: "null"')),
        ({"type": "boolean"}, 1, ("FieldValueTypeInvalid", 'Invalid value: "integer": f in body must be of type boolean: "integer"')),
        ({"type": "integer"}, True, ("FieldValueTypeInvalid", 'Invalid value: "boolean": f in body must be of type integer: "boolean"')),
        ({"enum": ["a", "b"], "type": "string"}, "c", ("FieldValueNotSupported", 'Unsupported value: "c": supported values: "a", "b"')),
        ({"type": "number", "minimum": 0, "exclusiveMinimum": True}, 0, ("FieldValueInvalid", "Invalid value: 0: f in body should be greater than 0")),
        ({"type": "number", "maximum": 1.5}, 2, ("FieldValueInvalid", "Invalid value: 2: f in body should be less than or equal to 1.5")),
        ({"type": "integer", "multipleOf": 5}, 7, ("FieldValueInvalid", "Invalid value: 7: f in body should be a multiple of 5")),
        ({"type": "string", "maxLength": 2}, "abc", ("FieldValueTooLong", "Too long: may not be more than 2 bytes")),
        ({"type": "string", "pattern": "^a$"}, "a\n", ("FieldValueInvalid", "Invalid value: \"a\\n\": f in body should match '^a$'")),
        ({"type": "array", "maxItems": 1}, [1, 2], ("FieldValueTooMany", "Too many: 2: must have at most 1 items")),
        ({"type": "string", "format": "date-time"}, "now", ("FieldValueTypeInvalid", 'Invalid value: "now": f in body must be of type date-time: "now"')),
    ],
)  # fmt: skip
def test_a_bad_value_is_one_cause_in_the_servers_words(document, value, expected):
    assert messages(schema(f=document), {"f": value}) == [("f", *expected)]


@pytest.mark.parametrize(
    ("document", "value"),
    [
        ({"type": "number"}, 1),
        ({"type": "integer"}, 2.0),
        ({"x-kubernetes-int-or-string": True}, "10%"),
        ({"x-kubernetes-int-or-string": True}, 3),
        ({"type": "string", "format": "date-time"}, "2026-01-02T03:04:05.123456789+01:00"),
        ({"type": "string", "format": "of-tomorrow"}, "x"),
        ({}, {"anything": [1]}),
    ],
)
def test_what_fits_has_no_causes(document, value):
    assert messages(schema(f=document), {"f": value}) == []


def test_items_of_sets_and_of_maps_by_key_are_there_once():
    compiled = schema(
        names={"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        conditions={
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
            "items": {"type": "object", "properties": {"type": {"type": "string"}}},
        },
    )
    value = {"names": ["a", "b", "a"], "conditions": [{"type": "Ready", "n": 1}, {"type": "Ready"}]}
    assert messages(compiled, value) == [
        ("names[2]", "FieldValueDuplicate", 'Duplicate value: "a"'),
        ("conditions[1]", "FieldValueDuplicate", 'Duplicate value: {"type":"Ready"}'),
    ]


def test_what_an_update_leaves_alone_is_not_judged_anew():
    compiled = schema(old={"type": "integer", "maximum": 5}, new={"type": "integer", "maximum": 5})
    assert [c.field for c in compiled.validate({"old": 9, "new": 9}, {"old": 9, "new": 1})] == ["new"]


def test_true_is_not_the_one_that_was_there():
    assert [c.field for c in schema(n={"type": "integer"}).validate({"n": True}, {"n": 1})] == ["n"]


def ruled(rule, **more):
    return {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}, "class": {"type": "string"}},
        "x-kubernetes-validations": [{"rule": rule, **more}],
    }


def test_a_rule_that_does_not_hold_is_a_cause_where_it_stands():
    compiled = schema(
        spec=ruled("self.a < self.b", message="a is below b", fieldPath=".a", reason="FieldValueForbidden")
    )
    assert messages(compiled, {"spec": {"a": 2, "b": 1}}) == [
        ("spec.a", "FieldValueForbidden", "Forbidden: a is below b")
    ]
    assert messages(compiled, {"spec": {"a": 1, "b": 2}}) == []


def test_a_message_may_be_computed():
    compiled = schema(spec=ruled("self.a < 3", messageExpression="'a is ' + string(self.a)"))
    assert messages(compiled, {"spec": {"a": 7}})[0][2] == "Invalid value: a is 7"


def test_a_transition_rule_runs_on_updates_only():
    compiled = schema(spec=ruled("self.a >= oldSelf.a", message="a only grows"))
    assert messages(compiled, {"spec": {"a": 1}}) == []
    assert messages(compiled, {"spec": {"a": 1}}, {"spec": {"a": 2}})[0][2] == "Invalid value: a only grows"


def test_rules_do_not_run_beside_a_wrong_type_and_it_says_so():
    compiled = schema(spec=ruled("self.a < self.b"))
    fields = [c.field for c in compiled.validate({"spec": {"a": "x", "b": 1}})]
    assert fields == ["spec.a", "<nil>"]


def test_a_rule_that_breaks_is_a_cause_and_no_crash():
    assert "can't be evaluated" in messages(schema(spec=ruled("self.a < self.b")), {"spec": {"a": 1}})[0][2]


def test_the_cost_of_rules_is_bounded():
    compiled = schema(
        l={"type": "array", "x-kubernetes-validations": [{"rule": "self.all(x, self.all(y, x + y >= 0))"}]}
    )
    assert messages(compiled, {"l": list(range(50))}) == []
    assert f"more than {BUDGET} steps" in messages(compiled, {"l": list(range(2_000))})[0][2]


def test_a_rule_with_an_optional_old_value_runs_on_creates_too():
    rule = "!oldSelf.hasValue() ? self.a == 1 : self.a >= oldSelf.value().a"
    compiled = schema(spec=ruled(rule, message="begins at 1 and never falls", optionalOldSelf=True))
    said = [("spec", "FieldValueInvalid", "Invalid value: begins at 1 and never falls")]

    def judged(new, *old):
        return [(c.field, c.reason, c.message) for c in compiled.validate({"spec": new}, *({"spec": o} for o in old))]

    assert (judged({"a": 1}), judged({"a": 2})) == ([], said)
    assert (judged({"a": 3}, {"a": 2}), judged({"a": 1}, {"a": 2})) == ([], said)


@pytest.mark.parametrize(
    "document",
    [
        {"type": "text"},
        {"type": "string", "pattern": "("},
        {"x-kubernetes-validations": [{"rule": "self."}]},
        {"x-kubernetes-validations": [{"rule": "true", "reason": "Whim"}]},
        {"x-kubernetes-validations": [{"rule": "oldSelf.optMap(o, o.a)", "optionalOldSelf": True}]},
        {"x-kubernetes-validations": [{"rule": "oldSelf.?a.hasValue()", "optionalOldSelf": True}]},
    ],
)
def test_a_document_that_is_no_schema_is_refused_with_its_place(document):
    with pytest.raises(SchemaError) as caught:
        schema(f=document)
    assert caught.value.field == ".f"
