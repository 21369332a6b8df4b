"""What can happen to a board, as plain values: the inputs of the core."""

from dataclasses import dataclass

from litefleet_protocol.messages import Desired


@dataclass(frozen=True, slots=True)
class Started:
    """The agent has come up with what it remembered."""


@dataclass(frozen=True, slots=True)
class Connected:
    """The link is up and subscribed."""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The link is down."""


@dataclass(frozen=True, slots=True)
class DesiredReceived:
    """A desired state whose signature holds."""

    desired: Desired


@dataclass(frozen=True, slots=True)
class DesiredRefused:
    """A desired state that couldn't be believed or read."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class EpochReceived:
    """A signed epoch; `jitter_s` is drawn by the caller and spreads the fleet's answers."""

    fleet: str
    epoch: int
    jitter_s: float


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class FetchProgressed:
    """Chunks have arrived."""

    slot: str
    ticket: int
    received: int
    total: int


@dataclass(frozen=True, slots=True)
class Fetched:
    """The artifact lies whole on the disk."""

    slot: str
    ticket: int


@dataclass(frozen=True, slots=True)
class Verified:
    """Signature, files and class of the artifact are right. `version` is what the manifest calls itself."""

    slot: str
    ticket: int
    version: str


@dataclass(frozen=True, slots=True)
class Checked:
    """The artifact ran in a child process and answered its golden samples."""

    slot: str
    ticket: int


@dataclass(frozen=True, slots=True)
class Built:
    """An interpreter stands ready beside the one that serves."""

    slot: str
    ticket: int


@dataclass(frozen=True, slots=True)
class ProbationPassed:
    """The new model held its gates for its time."""

    slot: str
    ticket: int


@dataclass(frozen=True, slots=True)
class Misbehaved:
    """What serves hangs, or broke a gate of its probation."""

    slot: str
    digest: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class StepFailed:
    """The step that was under way for this slot failed."""

    slot: str
    ticket: int
    code: str
    message: str


Ticketed = FetchProgressed | Fetched | Verified | Checked | Built | ProbationPassed | StepFailed
SlotEvent = Ticketed | Misbehaved
Event = Started | Connected | Disconnected | DesiredReceived | DesiredRefused | EpochReceived | Tick | SlotEvent
