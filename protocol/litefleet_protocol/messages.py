"""Every message on the wire, as msgspec structs.

Each carries `v`, major.minor of this contract. Unknown fields of a newer minor are ignored (msgspec's default);
an unknown major is `UnsupportedVersion` (see codec). Times are Unix seconds as the sender's clock has them; a
receiver never decides by a sender's clock. Field names on the wire are camelCase, as in the manifests.
"""

from msgspec import UNSET, Struct, UnsetType

from litefleet_protocol.histogram import Histogram
from litefleet_protocol.tensors import Postprocess, Preprocess, Signature

VERSION = "1.0"


class Message(Struct, frozen=True, kw_only=True, omit_defaults=False, rename="camel"):
    """What every message has."""

    v: str = VERSION


# --- controller to devices ---------------------------------------------------------------------------------------


class Epoch(Message, frozen=True, kw_only=True):
    """The leader's epoch, signed. Devices adopt a higher one and report again, with jitter."""

    fleet: str
    epoch: int


class Gates(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a new model must hold on the board during probation; None switches a gate off."""

    max_latency_ms: float | None = None
    """95th percentile of an inference, milliseconds."""
    max_error_rate: float | None = 0.01
    max_memory_bytes: int | None = None


class SlotDesired(Struct, frozen=True, kw_only=True, rename="camel"):
    """What one slot shall run. `artifact` is the digest of an artifact manifest's payload."""

    artifact: str
    version: str
    """The ModelVersion's name, e.g. `digits-v3`, for people and for telemetry's attribution."""
    rollout: str = ""
    """The ModelRollout's name that put it there."""
    gates: Gates = Gates()
    probation_seconds: float = 10.0
    fallback: str | None = None
    """Digest of the manifest to go back to when `artifact` proves bad and no previous is on the disk."""
    deadline_seconds: float | None = None
    """After this long without success the device reports `Failed` with `Timeout`; serving goes on regardless."""


class Desired(Message, frozen=True, kw_only=True):
    """All that a device shall run, signed. A slot that isn't named is to be emptied."""

    fleet: str
    namespace: str
    device: str
    device_class: str
    epoch: int
    counter: int
    """Grows with every change of this device's desired state, across epochs."""
    slots: dict[str, SlotDesired] = {}


class Stream:
    """What an acknowledgement is about."""

    TELEMETRY = "telemetry"
    LOG = "log"


class Ack(Message, frozen=True, kw_only=True):
    """What of a device is durable in the database.

    Telemetry: every window of boot `boot_id` up to and including `sequence`. Log: the message that ends with that
    entry, and with it all that the device sent before.
    """

    boot_id: str
    sequence: int
    stream: str = Stream.TELEMETRY


class ArtifactFile(Struct, frozen=True, kw_only=True, rename="camel"):
    """One file of an artifact. Files lie one after the other; chunks run over their concatenation."""

    name: str
    """See runtimes.MODEL_FILES; and `golden.npz`."""
    digest: str
    size: int
    """Bytes."""


class ArtifactManifest(Message, frozen=True, kw_only=True):
    """What an artifact is and how to prove that it arrived whole. Signed; named by the SHA-256 of its bytes."""

    namespace: str
    model: str
    version: str
    device_class: str
    variant: str
    """The recipe: float32, float16, dynamic-int8, int8, ..."""
    runtime: str = "litert"
    """See runtimes.RuntimeName."""
    files: tuple[ArtifactFile, ...]
    chunk_bytes: int
    chunks: tuple[str, ...]
    """Hex SHA-256 of each chunk, in order."""
    signature: Signature
    preprocess: Preprocess = Preprocess()
    postprocess: Postprocess = Postprocess()
    golden_tolerance: float = 1e-3
    """Largest absolute difference of a (dequantized) output of the golden samples that still counts as the same."""
    golden_tolerances: tuple[float, ...] | UnsetType = UNSET
    """For each output, in place of that. Left out when unset: a manifest is named by its bytes."""
    arena_bytes: int | None = None


# --- device to controller ----------------------------------------------------------------------------------------


class Phase:
    """A slot's phases on a device, as the Device's status has them."""

    PENDING = "Pending"
    PREPARING = "Preparing"
    READY_TO_UPDATE = "ReadyToUpdate"
    APPLYING = "Applying"
    VERIFYING = "Verifying"
    UPDATED = "Updated"
    ROLLING_BACK = "RollingBack"
    FAILED = "Failed"
    ALL = (PENDING, PREPARING, READY_TO_UPDATE, APPLYING, VERIFYING, UPDATED, ROLLING_BACK, FAILED)


class SlotReported(Struct, frozen=True, kw_only=True, rename="camel"):
    """Where one slot stands."""

    phase: str
    current: str | None = None
    """Digest of the manifest that serves now."""
    current_version: str = ""
    previous: str | None = None
    desired: str | None = None
    code: str = ""
    message: str = ""
    attempts: int = 0
    bad: tuple[str, ...] = ()
    """Digests that were rejected or failed three times here; not tried again until they are assigned anew."""
    received_chunks: int = 0
    total_chunks: int = 0


class AcceleratorFound(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Something that an engine could run models on, as the board found it by trying."""

    name: str
    """As the engine calls it: `cpu`, `edgetpu`, `GPU`, `CUDAExecutionProvider`."""
    description: str = ""
    """What it is, when it works."""
    code: str = ""
    """`AcceleratorMissing` or `AcceleratorFailed`; empty when it works."""
    message: str = ""


class EngineFound(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """An engine on the board."""

    name: str
    """See runtimes.RuntimeName."""
    version: str = ""
    code: str = ""
    """`RuntimeMissing` or `RuntimeBroken`; empty when it loads."""
    message: str = ""
    accelerators: tuple[AcceleratorFound, ...] = ()


class Capabilities(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a board is and has."""

    agent: str
    """Version of the agent."""
    runtimes: dict[str, str]
    """Runtime to version, e.g. {"litert": "2.3.0"}."""
    engines: tuple[EngineFound, ...] = ()
    """What was found by loading and trying them, of what is installed; empty until that is done."""
    machine: str = ""
    python: str = ""
    memory_bytes: int | None = None
    disk_free_bytes: int | None = None


class Reported(Message, frozen=True, kw_only=True):
    """The whole state of a device."""

    fleet: str
    device: str
    device_class: str
    boot_id: str
    sequence: int
    """Grows with every report of this boot."""
    epoch: int
    counter: int
    """Of the desired state that it follows."""
    slots: dict[str, SlotReported] = {}
    capabilities: Capabilities
    code: str = ""
    """Why the last desired state was refused, empty when it wasn't."""
    message: str = ""


class Presence(Message, frozen=True, kw_only=True):
    """Online, or (as the connection's will) offline. A late will of connection A can't overwrite connection B."""

    online: bool
    connection: str
    """Random id of the connection that says so."""


class Need(Message, frozen=True, kw_only=True):
    """Chunks of an assigned artifact that the broker did not answer for. -1 stands for the manifest."""

    artifact: str
    chunks: tuple[int, ...]


class TelemetryWindow(Message, frozen=True, kw_only=True):
    """What one slot did under one artifact during one span of time. Never spans a flip."""

    boot_id: str
    sequence: int
    slot: str
    artifact: str
    version: str
    started: float
    """Unix seconds, the device's clock."""
    seconds: float
    """Length by the monotonic clock."""
    count: int
    """Inferences answered."""
    errors: int = 0
    dropped: int = 0
    """Inputs not answered because the pipeline couldn't keep up."""
    latency_ms: Histogram
    """Of one inference, pre- and post-processing included."""
    confidence: Histogram
    classes: dict[str, int] = {}
    """Answers by label."""
    rss_bytes: int | None = None
    temperature_c: float | None = None
    longest_gap_ms: float = 0.0
    """Longest time between two answers of this slot in this window."""
    clock_trusted: bool = True


LogValue = str | int | float | bool | None
"""What a field of a log entry may hold."""


class LogEntry(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One thing that happened on a device: a constant event name and its fields. Also a line of its journal."""

    boot_id: str
    """Of the agent's process that wrote it."""
    sequence: int
    """Grows with every entry of this boot, from 1 on."""
    at: float
    """Unix seconds, the device's clock."""
    monotonic: float
    """Seconds of the device's monotonic clock: what lies between two entries whatever was done to the clock."""
    clock_trusted: bool = True
    level: str
    """`info`, `warning` or `error`."""
    event: str
    fields: dict[str, LogValue] = {}


class DeviceLog(Message, frozen=True, kw_only=True):
    """Entries of a device's journal, in its order. One message is under way at a time; the next follows its `Ack`."""

    entries: tuple[LogEntry, ...]
