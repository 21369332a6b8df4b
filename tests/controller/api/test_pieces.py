"""The pure parts: paths, ages, protobuf, schemas, targets, selectors."""

from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from litefleet_controller.api.ages import age_of, human_duration
from litefleet_controller.api.errors import ApiError
from litefleet_controller.api.paths import look_up, parse_path
from litefleet_controller.api.protobuf import decode
from litefleet_controller.api.selectors import parse_fields, parse_labels
from litefleet_controller.api.target import Target, parse_target, verb_of
from litefleet_controller.resources.meta import Part
from litefleet_controller.resources.quantities import Duration
from litefleet_controller.resources.registry import KINDS
from litefleet_controller.resources.structural import document_of
from litefleet_controller.store.interface import LabelRequirement

OBJECT = {"a": {"b": [{"type": "X", "v": 1}, {"type": "Y", "v": 2}], "c.d": 3}}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".a.b[1].v", 2),
        ('.a.b[?(@.type=="X")].v', 1),
        ('.a.b[?(@.type=="Z")].v', None),
        (".a.b[7].v", None),
        (r".a.c\.d", 3),
        (".a.b.v", None),
        (".x.y", None),
    ],
)
def test_json_paths(path: str, found: object) -> None:
    assert look_up(OBJECT, path) == found


def test_every_printer_column_of_the_registry_is_a_path() -> None:
    for kind in KINDS:
        for column in kind.columns:
            assert parse_path(column.json_path)


@pytest.mark.parametrize("path", ["a.b", ".a[", ".a[*]", ".."])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="is not a path"):
        parse_path(path)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-5, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (200, "3m20s"),
        (600, "10m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 300, "3h5m"),
        (8 * 3600, "8h"),
        (47 * 3600, "47h"),
        (2 * 86400, "2d"),
        (2 * 86400 + 3600, "2d1h"),
        (8 * 86400, "8d"),
        (326 * 86400, "326d"),
        (2 * 365 * 86400, "2y"),
        (3 * 365 * 86400 + 86400, "3y1d"),
        (9 * 365 * 86400, "9y"),
    ],
)
def test_ages_are_shown_as_kubectl_shows_them(seconds: int, shown: str) -> None:
    assert human_duration(seconds) == shown


def test_an_unreadable_time_has_an_unknown_age() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert [age_of(t, now) for t in (None, "", "yesterday", "2026-01-01")] == ["<unknown>"] * 4
    assert age_of((now - timedelta(minutes=3)).isoformat(), now) == "3m"


def _field(number: int, value: bytes) -> bytes:
    return bytes([number << 3 | 2, len(value)]) + value


def _envelope(kind: str, raw: bytes) -> bytes:
    return b"k8s\x00" + _field(1, _field(1, b"v1") + _field(2, kind.encode())) + _field(2, raw)


def test_a_namespace_as_kubectl_sends_it() -> None:
    label = _field(1, b"a") + _field(2, b"b")
    metadata = _field(1, b"team-a") + bytes([7 << 3, 3]) + _field(11, label) + _field(14, b"f")
    expected = {"name": "team-a", "labels": {"a": "b"}, "finalizers": ["f"]}
    assert decode(_envelope("Namespace", _field(1, metadata) + _field(9, b"skipped"))) == {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": expected,
    }


@pytest.mark.parametrize(
    "data",
    [b"", b"k8s\x00", b"k9s\x00abc", _envelope("Pod", b""), _envelope("Namespace", b"\x0a\xff"), b"k8s\x00\x0f", b"k8s\x00" + b"\xff" * 20],
)  # fmt: skip
def test_broken_or_foreign_protobuf_is_a_bad_request(data: bytes) -> None:
    with pytest.raises(ApiError) as refused:
        decode(data)
    assert refused.value.code == 400


@given(st.binary(max_size=80))
def test_no_protobuf_breaks_the_decoder(tail: bytes) -> None:
    try:
        assert isinstance(decode(b"k8s\x00" + tail), dict)
    except ApiError as e:
        assert e.code == 400


class _Inner(Part):
    """Inside."""

    pair: tuple[int, int] | None = None
    only: Literal["one"] = "one"


class _Outer(Part):
    """Outside."""

    above: float = Field(gt=0, description="More than nothing.")
    either: int | str = "x"
    wait: Duration | None = None
    inner: _Inner | None = Field(default=None, description="Its own words.")
    named: dict[str, _Inner] = {}


def test_schemas_are_structural_openapi() -> None:
    schema = document_of(_Outer)
    fields = schema["properties"]
    assert schema["required"] == ["above"]
    assert fields["above"] == {
        "type": "number",
        "minimum": 0,
        "exclusiveMinimum": True,
        "description": "More than nothing.",
    }
    assert fields["either"]["x-kubernetes-int-or-string"] is True
    assert "nullable" not in fields["wait"]
    assert fields["inner"]["description"] == "Its own words."
    assert fields["inner"]["properties"]["pair"] == {
        "type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2,
    }  # fmt: skip
    assert fields["named"]["additionalProperties"]["properties"]["only"]["enum"] == ["one"]
    assert "default" not in fields["inner"]


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/apis/g/v/namespaces/n/things", Target("g", "v", "things", "n")),
        ("/apis/g/v/namespaces/n/things/x/status", Target("g", "v", "things", "n", "x", "status")),
        ("/apis/g/v/things", Target("g", "v", "things", None)),
        ("/apis/g/v/watch/namespaces/n/things", Target("g", "v", "things", "n", watch=True)),
        ("/api/v1/namespaces", Target("", "v1", "namespaces", None)),
        ("/api/v1/namespaces/n", Target("", "v1", "namespaces", "n", "n")),
        ("/api/v1/namespaces/n/status", Target("", "v1", "namespaces", "n", "n", "status")),
        ("/api/v1/namespaces/n/events/", Target("", "v1", "events", "n")),
        ("/apis/g/v/namespaces//things", None),
        ("/apis/g/v/a/b/c/d", None),
        ("/apis/g", None),
        ("/other", None),
    ],
)
def test_targets(path: str, target: Target | None) -> None:
    assert parse_target(path) == target


def test_verbs() -> None:
    collection, one = Target("g", "v", "things", "n"), Target("g", "v", "things", "n", "x")
    assert [verb_of(m, collection, watch=False) for m in ("GET", "HEAD", "POST", "DELETE", "OPTIONS")] == [
        "list", "list", "create", "deletecollection", "",
    ]  # fmt: skip
    assert [verb_of(m, one, watch=True) for m in ("GET", "PUT", "PATCH", "DELETE")] == [
        "get",
        "update",
        "patch",
        "delete",
    ]
    assert verb_of("GET", collection, watch=True) == "watch"


KEYS, VALUES = st.sampled_from(["a", "b", "x.io/c"]), st.sampled_from(["1", "two", "3.x"])
REQUIREMENTS = st.one_of(
    st.builds(LabelRequirement, KEYS, st.sampled_from(["Exists", "DoesNotExist"])),
    st.builds(
        LabelRequirement, KEYS, st.sampled_from(["In", "NotIn"]), st.lists(VALUES, min_size=1, max_size=3).map(tuple)
    ),
)


def _written(requirement: LabelRequirement) -> str:
    match requirement.operator:
        case "Exists":
            return requirement.key
        case "DoesNotExist":
            return f"!{requirement.key}"
        case operator:
            return f"{requirement.key} {operator.lower()} ({','.join(requirement.values)})"


@given(st.lists(REQUIREMENTS, max_size=5))
def test_label_selectors_are_read_as_they_are_written(requirements: list[Any]) -> None:
    assert parse_labels(",".join(_written(r) for r in requirements)) == tuple(requirements)


@given(st.text(max_size=40))
def test_any_text_is_a_selector_or_a_bad_request(text: str) -> None:
    for parse in (parse_labels, lambda t: parse_fields(t, frozenset({"metadata.name"}))):
        try:
            parse(text)
        except ApiError as e:
            assert e.code == 400


def test_field_selectors_unescape_their_values() -> None:
    (found,) = parse_fields(r"a=b\,c\=d\\e", frozenset({"a"}))
    assert found.value == r"b,c=d\e"
