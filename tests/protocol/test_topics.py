"""Topics are read back as they were built, and nothing else passes for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litefleet_protocol import topics
from litefleet_protocol.codes import Code
from litefleet_protocol.errors import ProtocolError
from litefleet_protocol.limits import MAX_CHUNKS
from litefleet_protocol.topics import ChunkTopic, Down, DownTopic, EpochTopic, ManifestTopic, Up, UpTopic

names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
digests = st.binary(min_size=32, max_size=32).map(lambda b: f"sha256:{b.hex()}")
HEX = "a" * 64


@given(names, st.sampled_from(Up), st.sampled_from(Down))
def test_device_topics_round_trip(device: str, up: Up, down: Down) -> None:
    assert topics.parse(topics.up(device, up)) == UpTopic(device, up)
    assert topics.parse(topics.down(device, down)) == DownTopic(device, down)


@given(names, digests, st.integers(0, MAX_CHUNKS - 1))
def test_artifact_topics_round_trip(namespace: str, digest: str, index: int) -> None:
    assert topics.parse(topics.manifest(namespace, digest)) == ManifestTopic(namespace, digest)
    assert topics.parse(topics.chunk(namespace, digest, index)) == ChunkTopic(namespace, digest, index)


def test_the_epoch_round_trips() -> None:
    assert topics.parse(topics.EPOCH) == EpochTopic()


@given(st.text(max_size=100))
def test_any_text_is_refused_or_is_exactly_a_topic(text: str) -> None:
    try:
        parsed = topics.parse(text)
    except ProtocolError as e:
        assert e.code == Code.BAD_MESSAGE
    else:
        assert parsed == EpochTopic()


@pytest.mark.parametrize(
    "topic",
    [
        "lf/v1/d/board/up/secrets",
        "lf/v1/d/board/down/reported",
        "lf/v1/d/Board/up/reported",
        "lf/v1/d/+/up/reported",
        "lf/v1/d//up/reported",
        "lf/v1/d/board/up/reported/",
        "lf/v2/epoch",
        f"lf/v1/a/ns/{HEX}/c/01",
        f"lf/v1/a/ns/{HEX}/c/-1",
        f"lf/v1/a/ns/{HEX}/c/{MAX_CHUNKS}",
        f"lf/v1/a/ns/{HEX}/c/١",  # noqa: RUF001 - an Arabic digit one, which int() would read
        f"lf/v1/a/ns/{'A' * 64}/manifest",
        f"lf/v1/a/ns/{HEX[1:]}/manifest",
    ],
)
def test_what_looks_like_a_topic_is_refused(topic: str) -> None:
    with pytest.raises(ProtocolError):
        topics.parse(topic)


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a/b", "a+b", "a#", "ä", "a" * 64, "a.b", "a\n", "pi\u0435"])
def test_names_that_would_be_something_else_in_a_topic_are_refused(name: str) -> None:
    with pytest.raises(ProtocolError) as e:
        topics.up(name, Up.REPORTED)
    assert e.value.code == Code.INVALID_NAME


def test_a_device_is_granted_its_own_topics_and_its_namespaces_artifacts() -> None:
    publish, subscribe = topics.device_grants("pi-1", "line-a")
    assert publish == "lf/v1/d/pi-1/up/#"
    assert subscribe == ("lf/v1/d/pi-1/down/#", "lf/v1/epoch", "lf/v1/a/line-a/#")
