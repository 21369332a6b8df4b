"""What a step of the core is worth telling of: the difference between two states, as events. Pure.

The core decides and the main loop acts; neither says anything. This is where a board's history gets its words, so that
every event of a slot has one name and the same fields, whichever way led to it.
"""

from collections.abc import Callable, Mapping

from msgspec import Struct

from litefleet_agent import __version__
from litefleet_agent import events as ev
from litefleet_agent.board import Slot, State, Step
from litefleet_agent.state import Artifact
from litefleet_protocol.messages import LogValue

Fields = dict[str, LogValue]


class Note(Struct, frozen=True):
    """One event. `bad`: worth a warning."""

    event: str
    fields: Fields
    bad: bool = False


def notes(before: State, after: State, event: ev.Event) -> list[Note]:
    """What to tell of the step from `before` to `after` that `event` led to."""
    told: list[Note] = []
    if isinstance(event, ev.Started):
        told.append(Note("started", _of_start(after)))
    if after.code and (after.code, after.message) != (before.code, before.message):
        told.append(Note("desired_refused", {"code": after.code, "message": after.message}, bad=True))
    elif (after.epoch, after.counter) != (before.epoch, before.counter):
        told.append(_of_desired(after, event))
    for name, slot in after.slots.items():
        told += _of_slot(before.slots.get(name) or Slot(name), slot, event)
    told += [Note("slot_emptied", {"slot": name}) for name in before.slots if name not in after.slots]
    return told


def _of_start(state: State) -> Fields:
    return {"agent": __version__, "epoch": state.epoch, "counter": state.counter, "slots": len(state.slots)}


def _of_desired(after: State, event: ev.Event) -> Note:
    at: Fields = {"epoch": after.epoch, "counter": after.counter}
    if not isinstance(event, ev.DesiredReceived):
        return Note("epoch_adopted", at)
    wanted = {name: s.desired.version for name, s in sorted(after.slots.items()) if s.desired is not None}
    return Note("desired_received", at | {"slots": " ".join(f"{n}:{v}" for n, v in wanted.items())})


def _of_slot(before: Slot, after: Slot, event: ev.Event) -> list[Note]:
    if before.step == after.step and before.ticket == after.ticket:
        return []
    told = []
    failure = _failure(before, after, event)
    if failure is not None:
        told.append(failure)
    name = _NAMES.get((before.step, after.step))
    if name is not None:
        told.append(name(before, after))
    elif before.way_back and isinstance(event, ev.Built):
        told.append(_returned(before, after))
    if before.serving is not None and after.serving is None:
        told.append(Note("serving_stopped", _about(before.serving, before), bad=True))
    if after.step is Step.FETCHING and after.ticket != before.ticket:
        told.append(Note("fetch_begun", _about(after.target, after) | {"wayBack": after.way_back}))
    if after.step is Step.RETURNING and before.serving is not None:
        told.append(Note("rolling_back", _about(after.target, after) | _replacing(before), bad=failure is not None))
    return told


def _failure(before: Slot, after: Slot, event: ev.Event) -> Note | None:
    """An attempt that failed, a model that misbehaved, a deadline that passed."""
    match event:
        case ev.StepFailed(code=code, message=message):
            final = after.step is Step.FAILED or after.then is Step.FAILED
            name = "refused" if final else "attempt_failed"
            attempts = before.attempts.get(before.target.digest, 0) if before.target else 0
            more: Fields = {"step": str(before.step), "code": code, "message": message, "attempt": attempts}
            return Note(name, _about(before.target, before) | more, bad=True)
        case ev.Misbehaved(code=code, message=message):
            name = "probation_failed" if before.serving == before.target else "serving_hung"
            return Note(name, _about(before.serving, before) | {"code": code, "message": message}, bad=True)
        case ev.Tick() if after.step is Step.FAILED:
            about = _about(before.target, before) | {"code": after.code, "message": after.message}
            return Note("deadline_missed", about, bad=True)
        case _ if after.step is Step.FAILED and before.step is not Step.RETURNING:
            about = _about(before.target, after) | {"code": after.code, "message": after.message}
            return Note("refused", about, bad=True)
    return None


def _returned(before: Slot, after: Slot) -> Note:
    """The end of `returning`: a way back, what a start serves again, or the same built anew after it hung."""
    if before.serving is None:
        return Note("serving_restored", _about(after.serving, after))
    name = "serving_rebuilt" if before.serving == after.serving else "rolled_back"
    return Note(name, _about(after.serving, after) | _replacing(before))


def _swapped(before: Slot, after: Slot) -> Note:
    return Note("swapped", _about(after.serving, after) | _replacing(before))


def _named(event: str) -> Callable[[Slot, Slot], Note]:
    return lambda before, _after: Note(event, _about(before.target, before))


def _about(artifact: Artifact | None, slot: Slot) -> Fields:
    about: Fields = {"slot": slot.name}
    if artifact is not None:
        about |= {"version": artifact.version, "artifact": artifact.digest.removeprefix("sha256:")[:12]}
    return about


def _replacing(before: Slot) -> Fields:
    return {"replaces": before.serving.version} if before.serving is not None else {}


_NAMES: Mapping[tuple[Step, Step], Callable[[Slot, Slot], Note]] = {
    (Step.FETCHING, Step.VERIFYING): _named("fetched"),
    (Step.VERIFYING, Step.CHECKING): _named("verified"),
    (Step.CHECKING, Step.PROBATION): _swapped,
    (Step.PROBATION, Step.BUILDING): _named("probation_passed"),
    (Step.BUILDING, Step.IDLE): _named("settled"),
}
"""`checked` has numbers that the core doesn't know; the main loop tells of it."""
