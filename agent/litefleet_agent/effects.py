"""What the core wants done, as plain values, in the order in which it must be done."""

from dataclasses import dataclass

from litefleet_agent.state import Saved
from litefleet_protocol.messages import Gates


@dataclass(frozen=True, slots=True)
class Persist:
    """Write the pointer file, durably, before anything that follows."""

    saved: Saved


@dataclass(frozen=True, slots=True)
class StartFetch:
    """Bring the artifact to the disk: `FetchProgressed`, `Fetched` or `StepFailed`."""

    slot: str
    ticket: int
    digest: str


@dataclass(frozen=True, slots=True)
class StartVerify:
    """Check signature, hashes, namespace and class: `Verified` or `StepFailed`."""

    slot: str
    ticket: int
    digest: str


@dataclass(frozen=True, slots=True)
class StartCheck:
    """Run the golden samples in a child process: `Checked` or `StepFailed`."""

    slot: str
    ticket: int
    digest: str


@dataclass(frozen=True, slots=True)
class StartBuild:
    """Have an interpreter ready: `Built` or `StepFailed`. One that is still held is ready at once."""

    slot: str
    ticket: int
    digest: str


@dataclass(frozen=True, slots=True)
class Flip:
    """Let what was built under `ticket` serve from the next inference on."""

    slot: str
    ticket: int


@dataclass(frozen=True, slots=True)
class StartProbation:
    """Watch what serves: `ProbationPassed` or `Misbehaved`."""

    slot: str
    ticket: int
    digest: str
    gates: Gates
    seconds: float


@dataclass(frozen=True, slots=True)
class StopWork:
    """Drop whatever is under way for the slot; serving goes on."""

    slot: str


@dataclass(frozen=True, slots=True)
class Settle:
    """Let go of the interpreters that no longer serve."""

    slot: str


@dataclass(frozen=True, slots=True)
class EmptySlot:
    """Stop serving in this slot."""

    slot: str


@dataclass(frozen=True, slots=True)
class Collect:
    """Remove artifacts that aren't in `keep`."""

    keep: frozenset[str]


@dataclass(frozen=True, slots=True)
class Report:
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
    | Settle
    | EmptySlot
    | Collect
    | Report
)
