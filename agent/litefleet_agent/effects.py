"""What the core wants done, as plain values, in the order in which it must be done."""

from msgspec import Struct

from litefleet_agent.state import Saved
from litefleet_protocol.messages import Gates


class Persist(Struct, frozen=True):
    """Write the pointer file, durably, before anything that follows."""

    saved: Saved


class StartFetch(Struct, frozen=True):
    """Bring the artifact to the disk: `FetchProgressed`, `Fetched` or `StepFailed`."""

    slot: str
    ticket: int
    digest: str


class StartVerify(Struct, frozen=True):
    """Check signature, hashes, namespace and class: `Verified` or `StepFailed`."""

    slot: str
    ticket: int
    digest: str


class StartCheck(Struct, frozen=True):
    """Have it ready in a child process, where it answered its golden samples: `Checked` or `StepFailed`."""

    slot: str
    ticket: int
    digest: str


class StartBuild(Struct, frozen=True):
    """Have an interpreter ready: `Built` or `StepFailed`. One that is still held is ready at once."""

    slot: str
    ticket: int
    digest: str


class Flip(Struct, frozen=True):
    """Let what was checked or built under `ticket` serve from the next inference on."""

    slot: str
    ticket: int


class StartProbation(Struct, frozen=True):
    """Watch what serves: `ProbationPassed` or `Misbehaved`."""

    slot: str
    ticket: int
    digest: str
    gates: Gates
    seconds: float


class StopWork(Struct, frozen=True):
    """Drop whatever is under way for the slot; serving goes on."""

    slot: str


class LetGo(Struct, frozen=True):
    """Drop what the model on trial replaced, before it is built anew beside: a board has memory for one of them."""

    slot: str


class Settle(Struct, frozen=True):
    """Let go of the interpreters that no longer serve."""

    slot: str


class EmptySlot(Struct, frozen=True):
    """Stop serving in this slot."""

    slot: str


class Collect(Struct, frozen=True):
    """Remove artifacts that aren't in `keep`."""

    keep: frozenset[str]


class Report(Struct, frozen=True):
    """Tell the controller how things stand."""


Effect = (
    Persist
    | StartFetch
    | StartVerify
    | StartCheck
    | StartBuild
    | Flip
    | StartProbation
    | StopWork
    | LetGo
    | Settle
    | EmptySlot
    | Collect
    | Report
)
