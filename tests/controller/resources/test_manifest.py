"""People's YAML and JSON: what is read, and what each bad text gets."""

import contextlib
import json
import time

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from litefleet_controller.resources.manifest import MAX_ALIASED_NODES, MAX_DEPTH, ManifestError, parse_documents


def parse(text, **options):
    return parse_documents(text, source_name="model.yaml", **options)


def refused(text, **options):
    with pytest.raises(ManifestError) as caught:
        parse(text, **options)
    return caught.value


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "---\n---\n", "null", "~", b"", "\ufeff"])
def test_nothing_is_an_empty_document(text):
    error = refused(text)
    assert error.code == "EmptyDocument"
    assert error.hint


@pytest.mark.parametrize("text", ["- a\n- b\n", "[1]", "hello", "3", "true", '"x"', "a: 1\n---\n- b\n", "? [a]\n: b"])
def test_what_is_no_object_is_a_type_error(text):
    assert refused(text).code == "TypeError"


def test_the_document_that_is_none_is_named():
    assert str(refused("a: 1\n---\n- b\n")).startswith("model.yaml, document 2: ")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("a: 1\nb: 2\na: 3\n", "model.yaml:3:1"),
        ("spec:\n  a: {x: 1, x: 2}\n", "model.yaml:2:13"),
        ('{"a": 1, "a": 2}', "model.yaml"),
        ('{"b": {"a": 1, "a": 2}}', "model.yaml"),
    ],
)
def test_a_duplicate_key_is_refused_with_its_place(text, where):
    error = refused(text)
    assert (error.code, error.where) == ("DuplicateKey", where)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 10_000,
        "{a: " * 10_000,
        "- " * 10_000 + "x",
        "- " * 3_000_000,
        "\n".join(" " * i + "a:" for i in range(1_000)),
        '{"a":' * 10_000 + "1" + "}" * 10_000,
        "[" * 10_000 + "]" * 10_000,
        '{"a":' * (MAX_DEPTH + 1) + "1" + "}" * (MAX_DEPTH + 1),
        "{a: " * (MAX_DEPTH + 1) + "1" + "}" * (MAX_DEPTH + 1),
        "a: &a " + "[" * 40 + "]" * 40 + "\nb: " + "[" * 40 + "*a" + "]" * 40,
    ],
)
def test_what_is_nested_too_deep_is_refused(text):
    assert refused(text).code == "TooDeep"


@pytest.mark.parametrize("opening", ['{"a":', "{a: "])
def test_the_depth_that_is_allowed_is_read(opening):
    assert parse(opening * MAX_DEPTH + "1" + "}" * MAX_DEPTH)


def test_an_alias_bomb_is_refused():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    error = refused("\n".join(lines))
    assert error.code == "YamlAliasLimit"
    assert str(MAX_ALIASED_NODES) in str(error)


def test_aliases_within_the_limit_are_copies():
    [document] = parse("a: &x {k: [1]}\nb: *x\nc:\n  <<: *x\n  d: 2\n")
    assert document == {"a": {"k": [1]}, "b": {"k": [1]}, "c": {"k": [1], "d": 2}}
    document["a"]["k"].append(2)
    assert document["b"] == {"k": [1]}


@pytest.mark.parametrize("text", ["a: *nowhere", "a: &a {b: *a}", "a: &x 1\n---\nb: *x"])
def test_an_alias_without_an_anchor_is_refused(text):
    assert refused(text).code == "YamlSyntax"


@pytest.mark.parametrize(
    "tagged",
    ["!!python/object:os.system x", "!!python/object/apply:os.system [ls]", "!!python/name:os.system", "!foo {}", "!!binary aGk=",
     "!!set {a}", "!!omap [a: 1]", "!!timestamp 2026-01-02", "!" + "x" * 5000],
)  # fmt: skip
def test_tags_of_anything_but_plain_values_are_refused(tagged):
    if "timestamp" in tagged:
        assert parse(f"a: {tagged}") == [{"a": "2026-01-02"}]
        return
    error = refused(f"a: {tagged}")
    assert (error.code, error.where) == ("YamlTagForbidden", "model.yaml:1:4")
    assert len(str(error)) < 200


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("a: b: c", "model.yaml:1:5"),
        ("a: [1, 2\nb: 3", "model.yaml:2:2"),
        ("a:\n\tb: 1", "model.yaml:2:1"),
        ("a: \x00", "model.yaml"),
        ('{"a": 1,}x', "model.yaml:1:10"),
    ],
)
def test_a_syntax_error_has_line_and_column(text, where):
    error = refused(text)
    assert error.code == "YamlSyntax"
    assert error.where == where


def test_more_bytes_than_allowed_are_refused_unread():
    assert refused("[" * 11 * 1024 * 1024).code == "TooLarge"
    assert refused("a: ü", max_bytes=4).code == "TooLarge"
    assert parse("a: ü", max_bytes=5) == [{"a": "ü"}]


@pytest.mark.parametrize("text", [b"a: \xff", b"\xff\xfea\x00", "a: \ud800"])
def test_what_is_no_utf8_is_refused(text):
    assert refused(text).code == "NotUtf8"


@pytest.mark.parametrize("text", ['{"a": "\\ud800"}', '{"\\uDFFF": 1}'])
def test_half_a_surrogate_pair_is_no_text(text):
    assert refused(text).code == "NotUtf8"


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("10m", "10m"), ("1:30", "1:30"), ("2026-01-02", "2026-01-02"), ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
        ("yes", True), ("off", False), ("~", None), ("", None), ("0x1f", 31), ("1.5", 1.5), ("'1'", "1"), ("!!str 1", "1"),
        ("!!int '12'", 12), ("95%", "95%"), ("=", "="), ("|\n  x\n  y", "x\ny"),
    ],
)  # fmt: skip
def test_scalars_are_read_as_kubernetes_reads_them(written, value):
    assert parse(f"a: {written}") == [{"a": value}]


@pytest.mark.parametrize("key", ["1", "on", "~", "1.5"])
def test_a_key_that_is_no_text_is_refused_with_the_way_out(key):
    error = refused(f"{key}: x")
    assert (error.code, error.hint) == ("TypeError", "put it in quotes")
    assert parse(f'"{key}": x') == [{key: "x"}]


@pytest.mark.parametrize(
    "text", ["a: !!int x", "a: " + "9" * 5000, '{"a": ' + "9" * 5000 + "}", "a: !!bool 3", "a: !!float x"]
)
def test_a_number_that_is_none_is_refused(text):
    assert refused(text).code == "TypeError"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("a:\n  b: .nan", "model.yaml:2:6"), ("a: -.inf", "model.yaml:1:4"), ("a: !!float .NaN", "model.yaml:1:4"),
        ('{"a": NaN}', "model.yaml"), ('{"a": -Infinity}', "model.yaml"), ('{"a": 1e999}', "model.yaml"),
    ],
)  # fmt: skip
def test_a_number_that_is_not_finite_is_out_of_range(text, where):
    error = refused(text)
    assert error.code == ("OutOfRange" if where else "TypeError")


def test_documents_come_in_order_without_the_empty_ones():
    assert parse("---\na: 1\n---\n# nothing\n---\nb: 2\n") == [{"a": 1}, {"b": 2}]


@pytest.mark.parametrize(
    "text",
    [
        "a" * 9_000_000 + ": b",
        "'" * 3_000_000,
        "!" * 1_000_000,
        "? " * 100_000,
        "{" + ",".join(['"a":1'] * 300_000) + "}",
        "a: {" + ",".join(f"k{i}: 1" for i in range(50_000)) + "}",
        "&a " * 100_000,
        "# " * 4_000_000,
    ],
)
def test_nothing_takes_long(text):
    before = time.process_time()
    with contextlib.suppress(ManifestError):
        parse(text)
    assert time.process_time() - before < 3


_KEYS = st.text(st.characters(codec="utf-8", exclude_categories=("C",)), max_size=8)
_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(_KEYS, _PLAIN, min_size=1, max_size=4))
def test_json_is_read_as_json_reads_it(document):
    assert parse(json.dumps(document)) == [document]


@given(st.dictionaries(_KEYS, _PLAIN, min_size=1, max_size=4), st.booleans())
def test_dumped_yaml_is_read_back(document, flow):
    assert parse(yaml.safe_dump(document, default_flow_style=flow)) == [document]


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.text() | st.binary() | st.text(st.sampled_from("{}[]:,&*!|>-?#'\"ab1 \n\t<~%@")))
def test_any_text_is_read_or_refused_with_a_code(text):
    try:
        documents = parse(text)
    except ManifestError as e:
        assert e.code
        assert e.where.startswith("model.yaml")
        assert "\n" not in e.message
    else:
        assert all(isinstance(d, dict) for d in documents)
