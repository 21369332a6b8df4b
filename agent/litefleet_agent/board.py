"""A board's whole state as one frozen value, and what follows from it without deciding anything.

The core's transitions replace it; here are its shape and its projections: what to save, what to keep on the disk, what
to report. Pure.
"""

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from litefleet_agent.state import Artifact, Saved, SavedSlot
from litefleet_protocol.codes import Code
from litefleet_protocol.messages import Capabilities, Phase, Reported, SlotDesired, SlotReported

REPORTED_BAD = 8
"""Bad marks that are reported a slot, so that a report with every slot in use stays within its limit."""
REMEMBERED_DIGESTS = 64
"""Attempts and bad marks that a slot keeps: more than any history, and bounded."""


class Step(StrEnum):
    """Where a slot is on its way."""

    IDLE = "idle"
    """Nothing to do: what is desired serves, or nothing is desired."""
    FETCHING = "fetching"
    VERIFYING = "verifying"
    CHECKING = "checking"
    PROBATION = "probation"
    """It serves, from a process of its own."""
    BUILDING = "building"
    """Having it ready in this process."""
    RETURNING = "returning"
    """Building what was proven before: after a start, or after what replaced it proved bad."""
    WAITING = "waiting"
    """For the next try."""
    FAILED = "failed"
    """It won't be tried again until something else is desired, or the same anew."""


PHASES: Mapping[Step, str] = {
    Step.IDLE: Phase.UPDATED,
    Step.FETCHING: Phase.PREPARING,
    Step.VERIFYING: Phase.PREPARING,
    Step.CHECKING: Phase.APPLYING,
    Step.PROBATION: Phase.VERIFYING,
    Step.BUILDING: Phase.VERIFYING,
    Step.RETURNING: Phase.ROLLING_BACK,
    Step.WAITING: Phase.PENDING,
    Step.FAILED: Phase.FAILED,
}


class Self(Struct, frozen=True):
    """Who the board is."""

    fleet: str
    namespace: str
    device: str
    device_class: str


class RetryPolicy(Struct, frozen=True):
    """How often, and how patiently."""

    max_attempts: int = 3
    first_s: float = 2.0
    longest_s: float = 300.0
    longest_for_room_s: float = 15.0
    """A look whether a disk has room again costs nothing, and who freed it waits for the board to go on."""

    def delay(self, failures: int, code: str = "") -> float:
        """Seconds to wait after the `failures`-th failure in a row, the last for `code`."""
        longest = self.longest_for_room_s if code == Code.DISK_FULL else self.longest_s
        return min(self.first_s * 2.0 ** min(failures - 1, 30), longest)


class Slot(Struct, frozen=True):
    """One model's place on the board."""

    name: str
    desired: SlotDesired | None = None
    current: Artifact | None = None
    """The last one that ended its probation well."""
    previous: Artifact | None = None
    serving: Artifact | None = None
    """What answers now: `current`, or what is on trial."""
    target: Artifact | None = None
    """What is under way to serve."""
    step: Step = Step.IDLE
    way_back: bool = False
    """The target is what to fall back to; `then` is where the slot stands afterwards."""
    then: Step | None = None
    """None: look at what is desired again."""
    ticket: int = 0
    """Numbers the work that is under way, so that answers of work that was dropped are recognised."""
    attempts: Mapping[str, int] = {}
    bad: Mapping[str, str] = {}
    failures: int = 0
    retry_at: float | None = None
    deadline_at: float | None = None
    code: str = ""
    message: str = ""
    received: int = 0
    total: int = 0


class State(Struct, frozen=True):
    """Everything that decisions hang on."""

    me: Self
    policy: RetryPolicy = RetryPolicy()
    epoch: int = 0
    counter: int = 0
    slots: Mapping[str, Slot] = {}
    code: str = ""
    """Why the last desired state was refused."""
    message: str = ""
    report_at: float | None = None
    """When a report that can wait is due (monotonic seconds)."""
    reported_at: float = float("-inf")


def with_slot(state: State, slot: Slot) -> State:
    """The state with one slot replaced or added."""
    return replace(state, slots={**state.slots, slot.name: slot})


def saved(state: State) -> Saved:
    """What must survive a kill."""
    return Saved(
        epoch=state.epoch,
        counter=state.counter,
        slots={
            name: SavedSlot(
                desired=s.desired,
                current=s.current,
                previous=s.previous,
                attempts=dict(s.attempts),
                bad=dict(s.bad),
            )
            for name, s in state.slots.items()
        },
    )


def restored(me: Self, remembered: Saved, policy: RetryPolicy) -> State:
    """The state after a start, before anything serves."""
    slots = {
        name: Slot(name, desired=s.desired, current=s.current, previous=s.previous, attempts=s.attempts, bad=s.bad)
        for name, s in remembered.slots.items()
    }
    return State(me, policy, remembered.epoch, remembered.counter, slots)


def kept_artifacts(state: State) -> frozenset[str]:
    """Digests that must stay on the disk."""
    keep: set[str] = set()
    for slot in state.slots.values():
        keep.update(a.digest for a in (slot.current, slot.previous, slot.serving, slot.target) if a is not None)
        if slot.desired is not None:
            keep.add(slot.desired.artifact)
    return frozenset(keep)


def phase(slot: Slot) -> str:
    """The slot's phase in the words of the Device's status."""
    if slot.step is Step.IDLE and slot.desired is None:
        return Phase.PENDING
    if slot.step is Step.RETURNING and slot.serving is None:
        return Phase.APPLYING  # a start, not a way back
    return PHASES[slot.step]


def slot_reported(slot: Slot) -> SlotReported:
    """One slot as reported."""
    wanted = slot.desired.artifact if slot.desired else None
    fallback = slot.current if slot.current and slot.current != slot.serving else slot.previous
    return SlotReported(
        phase=phase(slot),
        current=slot.serving.digest if slot.serving else None,
        current_version=slot.serving.version if slot.serving else "",
        previous=fallback.digest if fallback else None,
        desired=wanted,
        code=slot.code,
        message=slot.message[:500],
        attempts=slot.attempts.get(wanted, 0) if wanted else 0,
        bad=tuple(slot.bad)[-REPORTED_BAD:],
        received_chunks=slot.received,
        total_chunks=slot.total,
    )


def reported(state: State, boot_id: str, sequence: int, capabilities: Capabilities) -> Reported:
    """The whole board as reported."""
    return Reported(
        fleet=state.me.fleet,
        device=state.me.device,
        device_class=state.me.device_class,
        boot_id=boot_id,
        sequence=sequence,
        epoch=state.epoch,
        counter=state.counter,
        slots={name: slot_reported(s) for name, s in sorted(state.slots.items())},
        capabilities=capabilities,
        code=state.code,
        message=state.message[:500],
    )


def remember(known: Mapping[str, str], key: str, value: str) -> dict[str, str]:
    """`known` with one entry more, the oldest dropped past the bound."""
    entries = [(k, v) for k, v in known.items() if k != key] + [(key, value)]
    return dict(entries[-REMEMBERED_DIGESTS:])
