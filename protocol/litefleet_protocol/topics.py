"""Topics: how they are built, and how one that came in is read.

lf/v1/epoch                                  controller, retained
lf/v1/d/<device>/down/{desired,ack}          controller
lf/v1/d/<device>/up/{reported,presence,telemetry,need,log}   device
lf/v1/a/<namespace>/<hex>/manifest, .../c/<n>            controller, retained
"""

from enum import StrEnum

from msgspec import Struct

from litefleet_protocol.codes import Code
from litefleet_protocol.errors import ProtocolError
from litefleet_protocol.limits import MAX_CHUNKS
from litefleet_protocol.names import check_name, digest_hex, is_digest, is_name

ROOT = "lf/v1"
EPOCH = f"{ROOT}/epoch"
ALL_UP = f"{ROOT}/d/+/up/+"
"""What a controller subscribes to: everything that devices write."""


class Up(StrEnum):
    """The leaves a device writes under `up/`."""

    REPORTED = "reported"
    PRESENCE = "presence"
    TELEMETRY = "telemetry"
    NEED = "need"
    LOG = "log"


class Down(StrEnum):
    """The leaves a device reads under `down/`."""

    DESIRED = "desired"
    ACK = "ack"


class UpTopic(Struct, frozen=True):
    """A message from a device."""

    device: str
    leaf: Up


class DownTopic(Struct, frozen=True):
    """A message to a device."""

    device: str
    leaf: Down


class ManifestTopic(Struct, frozen=True):
    """An artifact's signed manifest."""

    namespace: str
    digest: str


class ChunkTopic(Struct, frozen=True):
    """One chunk of an artifact."""

    namespace: str
    digest: str
    index: int


class EpochTopic(Struct, frozen=True):
    """The leader's epoch."""


Topic = UpTopic | DownTopic | ManifestTopic | ChunkTopic | EpochTopic


def up(device: str, leaf: Up) -> str:
    """The topic that `device` writes `leaf` to."""
    return f"{ROOT}/d/{check_name(device, 'device')}/up/{leaf}"


def down(device: str, leaf: Down) -> str:
    """The topic that `device` reads `leaf` from."""
    return f"{ROOT}/d/{check_name(device, 'device')}/down/{leaf}"


def manifest(namespace: str, digest: str) -> str:
    """The topic of an artifact's manifest."""
    return f"{ROOT}/a/{check_name(namespace, 'namespace')}/{digest_hex(digest)}/manifest"


def chunk(namespace: str, digest: str, index: int) -> str:
    """The topic of chunk `index` of an artifact.

    Raises:
        ProtocolError: `BadChunk` when the index is out of range.
    """
    if not 0 <= index < MAX_CHUNKS:
        raise ProtocolError(Code.BAD_CHUNK, f"chunk index {index} is outside 0..{MAX_CHUNKS - 1}", field="index")
    return f"{ROOT}/a/{check_name(namespace, 'namespace')}/{digest_hex(digest)}/c/{index}"


def device_grants(device: str, namespace: str) -> tuple[str, tuple[str, ...]]:
    """What a device may do, as `(publish pattern, subscribe patterns)`: the broker's policy and the tests share it."""
    check_name(device, "device")
    check_name(namespace, "namespace")
    return f"{ROOT}/d/{device}/up/#", (f"{ROOT}/d/{device}/down/#", EPOCH, f"{ROOT}/a/{namespace}/#")


def parse(topic: str) -> Topic:
    """Read a topic that came in.

    Raises:
        ProtocolError: `BadMessage` for anything that isn't exactly one of the topics above.
    """
    levels = topic.split("/")
    if levels[:2] == ["lf", "v1"]:
        found = _parse_levels(levels[2:])
        if found is not None:
            return found
    shown = topic if len(topic) <= 120 else f"{topic[:117]}..."
    raise ProtocolError(Code.BAD_MESSAGE, f"no such topic: {shown!r}", field="topic")


def _parse_levels(levels: list[str]) -> Topic | None:
    match levels:
        case ["epoch"]:
            return EpochTopic()
        case ["d", device, "up", leaf] if is_name(device) and leaf in set(Up):
            return UpTopic(device, Up(leaf))
        case ["d", device, "down", leaf] if is_name(device) and leaf in set(Down):
            return DownTopic(device, Down(leaf))
        case ["a", namespace, hexes, "manifest"] if is_name(namespace) and is_digest(f"sha256:{hexes}"):
            return ManifestTopic(namespace, f"sha256:{hexes}")
        case ["a", namespace, hexes, "c", n] if is_name(namespace) and is_digest(f"sha256:{hexes}"):
            # isdecimal alone would accept other scripts' digits, and int() a leading zero: two names for one chunk.
            if n.isascii() and n.isdecimal() and str(int(n)) == n and int(n) < MAX_CHUNKS:
                return ChunkTopic(namespace, f"sha256:{hexes}", int(n))
    return None
