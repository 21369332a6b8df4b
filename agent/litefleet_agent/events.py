"""What can happen to a board, as plain values: the inputs of the core.

Structs here and in `effects`: making as many dataclasses took a tenth of the agent's start.
"""

from msgspec import Struct

from litefleet_protocol.messages import Desired


class Started(Struct, frozen=True):
    """The agent has come up with what it remembered."""


class Connected(Struct, frozen=True):
    """The link is up and subscribed."""


class Disconnected(Struct, frozen=True):
    """The link is down."""


class DesiredReceived(Struct, frozen=True):
    """A desired state whose signature holds."""

    desired: Desired


class DesiredRefused(Struct, frozen=True):
    """A desired state that couldn't be believed or read."""

    code: str
    message: str


class EpochReceived(Struct, frozen=True):
    """A signed epoch; `jitter_s` is drawn by the caller and spreads the fleet's answers."""

    fleet: str
    epoch: int
    jitter_s: float


class EnginesProbed(Struct, frozen=True):
    """What the board's engines run on is known."""


class Tick(Struct, frozen=True):
    """Time has passed."""


class FetchProgressed(Struct, frozen=True):
    """Chunks have arrived."""

    slot: str
    ticket: int
    received: int
    total: int


class Fetched(Struct, frozen=True):
    """The artifact lies whole on the disk."""

    slot: str
    ticket: int


class Verified(Struct, frozen=True):
    """Signature, files and class of the artifact are right. `version` is what the manifest calls itself."""

    slot: str
    ticket: int
    version: str


class Checked(Struct, frozen=True):
    """The artifact answered its golden samples in a child process, which stands ready to go on."""

    slot: str
    ticket: int


class Built(Struct, frozen=True):
    """An interpreter stands ready beside the one that serves."""

    slot: str
    ticket: int


class ProbationPassed(Struct, frozen=True):
    """The new model held its gates for its time."""

    slot: str
    ticket: int


class Misbehaved(Struct, frozen=True):
    """What serves hangs, or broke a gate of its probation."""

    slot: str
    digest: str
    code: str
    message: str


class StepFailed(Struct, frozen=True):
    """The step that was under way for this slot failed."""

    slot: str
    ticket: int
    code: str
    message: str


Ticketed = FetchProgressed | Fetched | Verified | Checked | Built | ProbationPassed | StepFailed
SlotEvent = Ticketed | Misbehaved
Event = (
    Started
    | Connected
    | Disconnected
    | DesiredReceived
    | DesiredRefused
    | EpochReceived
    | EnginesProbed
    | Tick
    | SlotEvent
)
