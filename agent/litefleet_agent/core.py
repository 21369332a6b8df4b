"""What a board decides: `advance(state, event, now)` gives the next state and what to do. Pure: no I/O, no clock.

The same code runs on a board, in a simulator and in property tests. A slot goes

    fetching -> verifying -> checking -> probation -> building -> idle

A model is checked in a process of its own and serves from there for its probation, so that nothing that it does can
take the agent with it; once it is proven, it is built in the agent's process, where an inference costs less. Every
failure leads to waiting (for another try) or failed; when what failed already serves, the way leads through
`returning` first, which is the same forward path with its arguments swapped: the target is what was proven before.
Serving is touched by two effects only, `Flip` and `EmptySlot`.

A digest that was rejected, or failed three times, is marked bad, and no tick, restart, reconnect or repetition of the
same desired state tries it again: three crashes must not become a loop. The way back is a decision of the controller's
side: a newer desired state (higher epoch or counter) that assigns the digest *anew*, where the slot was told to run
something else in between, lifts its mark and gives it three tries more. That is what retrying a rollout does (failed
boards go back first, then forward again), and so does emptying the slot. A change of counter alone lifts nothing: it
may be about another slot.
"""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from litefleet_agent import effects as fx
from litefleet_agent import events as ev
from litefleet_agent.board import (
    REMEMBERED_DIGESTS,
    RetryPolicy,
    Slot,
    State,
    Step,
    kept_artifacts,
    remember,
    saved,
    slot_reported,
    with_slot,
)
from litefleet_agent.state import Artifact
from litefleet_protocol.codes import Code, is_rejected
from litefleet_protocol.limits import MAX_SLOTS
from litefleet_protocol.messages import Desired, SlotDesired
from litefleet_protocol.names import is_digest, is_name

REPORT_INTERVAL_S = 1.0
"""Progress is reported at most this often; a change of phase at once."""

Effects = list[fx.Effect]
Moved = tuple[Slot, Effects]


def advance(state: State, event: ev.Event, now: float) -> tuple[State, tuple[fx.Effect, ...]]:
    """Take in `event` at monotonic time `now`."""
    after, wanted = _react(state, event, now)
    first: Effects = []
    last: Effects = []
    if after is not state:
        if saved(after) != saved(state):
            first.append(fx.Persist(saved(after)))
        if kept_artifacts(after) != kept_artifacts(state):
            last.append(fx.Collect(kept_artifacts(after)))
    # A board that remembers nothing (its pointer file is new, or was damaged) can't know what is worth keeping yet.
    if isinstance(event, ev.Started) and after.slots:
        last.append(fx.Collect(kept_artifacts(after)))
    after, reporting = _report(state, after, event, now)
    return after, (*first, *wanted, *last, *reporting)


def _react(state: State, event: ev.Event, now: float) -> tuple[State, Effects]:
    after = state
    wanted: Effects = []
    match event:
        case ev.DesiredReceived(desired):
            after, wanted = _desired(state, desired, now)
        case ev.DesiredRefused(code, message):
            after = replace(state, code=code, message=message)
        case ev.EpochReceived(fleet, epoch, jitter_s):
            if fleet == state.me.fleet and epoch > state.epoch:
                after = replace(state, epoch=epoch, report_at=now + jitter_s)
        case ev.Started():
            after, wanted = _each(state, _start, now)
        case ev.Tick():
            after, wanted = _each(state, _tick, now)
        case ev.Connected() | ev.Disconnected() | ev.EnginesProbed():
            pass
        case _:
            after, wanted = _slot_event(state, event, now)
    return after, wanted


def _report(before: State, after: State, event: ev.Event, now: float) -> tuple[State, Effects]:
    followed = isinstance(event, ev.DesiredReceived) and (before.epoch, before.counter) != (after.epoch, after.counter)
    if (
        isinstance(event, ev.Connected | ev.EnginesProbed)
        or followed
        or (before is not after and _visible(before) != _visible(after))
    ):
        due = True
    elif isinstance(event, ev.FetchProgressed) and after.report_at is None:
        after = replace(after, report_at=max(now, after.reported_at + REPORT_INTERVAL_S))
        due = False
    else:
        due = isinstance(event, ev.Tick) and after.report_at is not None and now >= after.report_at
    if not due:
        return after, []
    return replace(after, report_at=None, reported_at=now), [fx.Report()]


def _visible(state: State) -> object:
    """What is reported at once when it changes: all but chunk counts, and the epoch, which is answered with jitter."""
    slots = {name: slot_reported(replace(s, received=0, total=0)) for name, s in state.slots.items()}
    return state.counter, state.code, state.message, slots


# --- desired state -----------------------------------------------------------------------------------------------


def _desired(state: State, desired: Desired, now: float) -> tuple[State, Effects]:
    refusal = refused(state, desired)
    if refusal is not None:
        return replace(state, code=refusal[0], message=refusal[1]), []
    newer = (desired.epoch, desired.counter) > (state.epoch, state.counter)
    after = replace(state, epoch=desired.epoch, counter=desired.counter, code="", message="")
    wanted: Effects = []
    slots: dict[str, Slot] = {}
    for name, slot_desired in desired.slots.items():
        # A slot that comes back must not take up answers that were meant for it before it was emptied.
        slot = state.slots.get(name) or Slot(name, ticket=desired.counter * 1_000_000)
        slots[name], more = _slot_desired(slot, slot_desired, newer=newer, now=now, policy=state.policy)
        wanted += more
    for name in state.slots:
        if name not in desired.slots:
            wanted += [fx.StopWork(name), fx.EmptySlot(name)]
    return replace(after, slots=slots), wanted


def refused(state: State, desired: Desired) -> tuple[str, str] | None:
    """Why `desired` must not be followed, None when it may."""
    me = state.me
    if (desired.fleet, desired.namespace, desired.device) != (me.fleet, me.namespace, me.device):
        return Code.WRONG_DEVICE, f"desired state of {desired.namespace}/{desired.device} in fleet {desired.fleet}"
    if desired.device_class != me.device_class:
        return Code.WRONG_CLASS, f"desired state for class {desired.device_class}; this board is {me.device_class}"
    unfit = _unfit(desired)
    if unfit is not None:
        return Code.BAD_MESSAGE, unfit
    if (desired.epoch, desired.counter) < (state.epoch, state.counter):
        return (
            Code.STALE_EPOCH,
            f"desired state {desired.epoch}/{desired.counter} is older than {state.epoch}/{state.counter}",
        )
    return None


def _unfit(desired: Desired) -> str | None:
    """What no controller should sign, and what must not reach topics or file names."""
    if len(desired.slots) > MAX_SLOTS:
        return f"{len(desired.slots)} slots; the limit is {MAX_SLOTS}"
    for name, slot in desired.slots.items():
        if not is_name(name):
            return f"{name[:80]!r} can't name a slot"
        if not is_digest(slot.artifact) or not (slot.fallback is None or is_digest(slot.fallback)):
            return f"slot {name}: an artifact that isn't a digest"
    return None


def _slot_desired(slot: Slot, desired: SlotDesired, *, newer: bool, now: float, policy: RetryPolicy) -> Moved:
    same = slot.desired is not None and slot.desired.artifact == desired.artifact
    again = newer and slot.step is Step.FAILED and desired.artifact not in slot.bad
    if newer and not same:
        slot = _absolve(slot, desired.artifact)
    slot = replace(slot, desired=desired)
    if same and not again:
        return slot, []
    deadline = None if desired.deadline_seconds is None else now + desired.deadline_seconds
    slot = replace(slot, code="", message="", failures=0, retry_at=None, deadline_at=deadline)
    if slot.step is Step.RETURNING:
        return replace(slot, then=None), []
    if _is_on_trial(slot) and slot.current is not None:
        moved, more = _return(slot, None, now, policy)
        return moved, [fx.StopWork(slot.name), *more]
    moved, more = _follow(slot, now, policy)
    return moved, [fx.StopWork(slot.name), *more]


def _absolve(slot: Slot, digest: str) -> Slot:
    """Give a digest its tries back: somebody has assigned it anew."""
    return replace(
        slot,
        attempts={d: n for d, n in slot.attempts.items() if d != digest},
        bad={d: c for d, c in slot.bad.items() if d != digest},
    )


def _follow(slot: Slot, now: float, policy: RetryPolicy) -> Moved:
    """What to do about what is desired, when nothing is under way."""
    slot = replace(slot, target=None, way_back=False, then=None, retry_at=None, received=0, total=0)
    desired = slot.desired
    if desired is None:
        return replace(slot, step=Step.IDLE), []
    if desired.artifact in slot.bad:
        cause = slot.bad[desired.artifact]
        message = f"this artifact failed here before ({cause}); retry its rollout to have it tried again"
        return replace(slot, step=Step.FAILED, code=Code.MARKED_BAD, message=message), []
    if slot.current is not None and slot.current.digest == desired.artifact:
        if slot.serving == slot.current:
            return replace(slot, step=Step.IDLE, code="", message="", deadline_at=None), []
        return _return(slot, None, now, policy)
    return _fetch(slot, Artifact(desired.artifact, desired.version), way_back=False)


def _fetch(slot: Slot, target: Artifact, *, way_back: bool) -> Moved:
    ticket = slot.ticket + 1
    moved = replace(slot, step=Step.FETCHING, target=target, way_back=way_back, ticket=ticket)
    return moved, [fx.StartFetch(slot.name, ticket, target.digest)]


# --- what happens to one slot --------------------------------------------------------------------------------------


def _slot_event(state: State, event: ev.SlotEvent, now: float) -> tuple[State, Effects]:
    slot = state.slots.get(event.slot)
    if slot is None:
        return state, []
    if isinstance(event, ev.Misbehaved):
        if slot.serving is None or slot.serving.digest != event.digest:
            return state, []
    elif event.ticket != slot.ticket:
        return state, []
    handler = TRANSITIONS.get((slot.step, type(event)))
    if handler is None:
        return state, []
    moved, wanted = handler(slot, event, now, state.policy)
    return with_slot(state, moved), wanted


def _each(state: State, act: Callable[[Slot, float, RetryPolicy], Moved], now: float) -> tuple[State, Effects]:
    wanted: Effects = []
    slots = {}
    changed = False
    for name, slot in state.slots.items():
        slots[name], more = act(slot, now, state.policy)
        changed = changed or slots[name] is not slot
        wanted += more
    return (replace(state, slots=slots) if changed else state), wanted


def _start(slot: Slot, now: float, policy: RetryPolicy) -> Moved:
    desired = slot.desired
    deadline = now + desired.deadline_seconds if desired and desired.deadline_seconds is not None else None
    slot = replace(slot, deadline_at=deadline)
    return _return(slot, None, now, policy) if slot.current else _follow(slot, now, policy)


def _tick(slot: Slot, now: float, policy: RetryPolicy) -> Moved:
    if slot.deadline_at is not None and now >= slot.deadline_at and slot.step in _INTERRUPTIBLE and not slot.way_back:
        message = "not updated within its deadline" + (f"; last: {slot.code}: {slot.message}" if slot.code else "")
        moved = replace(
            slot,
            step=Step.FAILED,
            target=None,
            ticket=slot.ticket + 1,
            retry_at=None,
            deadline_at=None,
            code=Code.TIMEOUT,
            message=message,
        )
        return moved, [fx.StopWork(slot.name)]
    if slot.step is Step.WAITING and slot.retry_at is not None and now >= slot.retry_at:
        return _follow(slot, now, policy)
    return slot, []


def _progressed(slot: Slot, event: ev.FetchProgressed, _now: float, _policy: RetryPolicy) -> Moved:
    return replace(slot, received=event.received, total=event.total), []


def _fetched(slot: Slot, _event: ev.Fetched, now: float, policy: RetryPolicy) -> Moved:
    """The attempt is counted here: `advance` persists it before the effect that could kill the agent."""
    target = _target(slot)
    count = slot.attempts.get(target.digest, 0)
    if count >= policy.max_attempts and not slot.way_back:
        return _fail(slot, Code.MARKED_BAD, f"{count} tries were interrupted or failed", now, policy)
    entries = [(d, n) for d, n in slot.attempts.items() if d != target.digest] + [(target.digest, count + 1)]
    moved = replace(slot, step=Step.VERIFYING, attempts=dict(entries[-REMEMBERED_DIGESTS:]))
    return moved, [fx.StartVerify(slot.name, slot.ticket, target.digest)]


def _verified(slot: Slot, event: ev.Verified, _now: float, _policy: RetryPolicy) -> Moved:
    target = _target(slot)
    named = target if target.version else Artifact(target.digest, event.version)
    return replace(slot, step=Step.CHECKING, target=named), [fx.StartCheck(slot.name, slot.ticket, target.digest)]


def _checked(slot: Slot, _event: ev.Checked, _now: float, _policy: RetryPolicy) -> Moved:
    """It stands ready in the child that checked it: let it serve from there. A way back needs no probation."""
    target = _target(slot)
    desired = slot.desired
    if slot.way_back or desired is None:
        return _build(slot)
    watch = fx.StartProbation(slot.name, slot.ticket, target.digest, desired.gates, desired.probation_seconds)
    return replace(slot, step=Step.PROBATION, serving=target), [fx.Flip(slot.name, slot.ticket), watch]


def _passed(slot: Slot, _event: ev.ProbationPassed, _now: float, _policy: RetryPolicy) -> Moved:
    moved, build = _build(slot)
    return moved, [fx.LetGo(slot.name), *build]


def _build(slot: Slot) -> Moved:
    return replace(slot, step=Step.BUILDING), [fx.StartBuild(slot.name, slot.ticket, _target(slot).digest)]


def _built(slot: Slot, _event: ev.Built, now: float, policy: RetryPolicy) -> Moved:
    flip = fx.Flip(slot.name, slot.ticket)
    moved = replace(slot, serving=_target(slot), failures=slot.failures if slot.way_back else 0)
    moved, more = _settle(moved, now, policy)
    return moved, [flip, *more]


def _settle(slot: Slot, now: float, policy: RetryPolicy) -> Moved:
    """The target is proven: it becomes `current`, and the slot stands where `then` says."""
    target = _target(slot)
    slot = replace(slot, attempts={d: n for d, n in slot.attempts.items() if d != target.digest})
    if slot.current is None or slot.current.digest != target.digest:
        slot = replace(slot, previous=slot.current, current=target)
    settle = fx.Settle(slot.name)
    if slot.then is not None:
        return _end_of_way(slot, slot.then), [settle]
    moved, more = _follow(slot, now, policy)
    return moved, [settle, *more]


def _end_of_way(slot: Slot, step: Step) -> Slot:
    return replace(slot, step=step, target=None, way_back=False, then=None, received=0, total=0)


# --- failing, and the way back ---------------------------------------------------------------------------------------


def _step_failed(slot: Slot, event: ev.StepFailed, now: float, policy: RetryPolicy) -> Moved:
    return _fail(slot, event.code, event.message, now, policy)


def _misbehaved(slot: Slot, event: ev.Misbehaved, now: float, policy: RetryPolicy) -> Moved:
    if _is_on_trial(slot):
        return _fail(slot, event.code, event.message, now, policy)
    return _hung(slot, event, now, policy)


def _is_on_trial(slot: Slot) -> bool:
    """Whether what serves is the target, and not proven yet."""
    return slot.step in (Step.PROBATION, Step.BUILDING) and not slot.way_back and slot.serving == slot.target


def _fail(slot: Slot, code: str, message: str, now: float, policy: RetryPolicy) -> Moved:
    """An attempt failed: whether to try again, and the way back when what failed already serves."""
    if slot.way_back:
        return _no_way_back(slot, now, policy)
    failed = _target(slot)
    tries = slot.attempts.get(failed.digest, 0)
    final = is_rejected(code) or tries >= policy.max_attempts
    slot = replace(slot, code=code, message=message, failures=slot.failures + 1)
    if final:
        step = Step.FAILED
        # An envelope isn't part of the digest: a broken signature condemns the messenger, not the artifact.
        if code != Code.BAD_SIGNATURE:
            slot = replace(slot, bad=remember(slot.bad, failed.digest, code), deadline_at=None)
    else:
        step = Step.WAITING
        slot = replace(slot, retry_at=now + policy.delay(slot.failures, code))
    # What serves may have proved bad before this attempt superseded its way back.
    if slot.serving is not None and (slot.serving.digest == failed.digest or slot.serving.digest in slot.bad):
        moved, wanted = _return(slot, step, now, policy)
        return moved, [fx.StopWork(slot.name), *wanted]
    return _end_of_way(slot, step), [fx.StopWork(slot.name)]


def _return(slot: Slot, then: Step | None, now: float, policy: RetryPolicy) -> Moved:
    """Go (back) to what was proven; to the fallback when nothing was; or stop serving what proved bad."""
    slot = replace(slot, then=then, way_back=True)
    if slot.current is not None:
        ticket = slot.ticket + 1
        moved = replace(slot, step=Step.RETURNING, target=slot.current, ticket=ticket)
        return moved, [fx.StartBuild(slot.name, ticket, slot.current.digest)]
    fallback = slot.desired.fallback if slot.desired else None
    tried = slot.target is not None and slot.target.digest == fallback
    if then is not None and fallback and not tried and fallback not in slot.bad:
        return _fetch(slot, Artifact(fallback), way_back=True)
    if then is None:
        return _follow(slot, now, policy)
    return replace(_end_of_way(slot, then), serving=None), [fx.EmptySlot(slot.name)]


def _no_way_back(slot: Slot, now: float, policy: RetryPolicy) -> Moved:
    """What was proven can't be built any more (its files are damaged): the one before it is next."""
    lost = _target(slot)
    previous = slot.previous if slot.previous and slot.previous.digest != lost.digest else None
    return _return(replace(slot, current=previous, previous=None), slot.then, now, policy)


def _hung(slot: Slot, event: ev.Misbehaved, now: float, policy: RetryPolicy) -> Moved:
    """What is proven misbehaves after all: build it anew. An update that was under way begins again afterwards."""
    then = slot.step if slot.step in (Step.FAILED, Step.WAITING) else None
    if slot.serving != slot.current:
        return slot, []
    if not slot.code:
        slot = replace(slot, message=f"restarted after {event.code}: {event.message}")
    moved, wanted = _return(slot, then, now, policy)
    return moved, [fx.StopWork(slot.name), *wanted]


def _target(slot: Slot) -> Artifact:
    if slot.target is None:
        raise AssertionError(f"slot {slot.name} is {slot.step} without a target")
    return slot.target


_INTERRUPTIBLE = frozenset({Step.FETCHING, Step.VERIFYING, Step.CHECKING, Step.WAITING})
Handler = Callable[[Slot, Any, float, RetryPolicy], Moved]
"""Takes the event that its row names."""
TRANSITIONS: Mapping[tuple[Step, type[ev.SlotEvent]], Handler] = {
    (Step.FETCHING, ev.FetchProgressed): _progressed,
    (Step.FETCHING, ev.Fetched): _fetched,
    (Step.FETCHING, ev.StepFailed): _step_failed,
    (Step.VERIFYING, ev.Verified): _verified,
    (Step.VERIFYING, ev.StepFailed): _step_failed,
    (Step.CHECKING, ev.Checked): _checked,
    (Step.CHECKING, ev.StepFailed): _step_failed,
    (Step.BUILDING, ev.Built): _built,
    (Step.BUILDING, ev.StepFailed): _step_failed,
    (Step.PROBATION, ev.ProbationPassed): _passed,
    (Step.PROBATION, ev.Misbehaved): _misbehaved,
    (Step.RETURNING, ev.Built): _built,
    (Step.RETURNING, ev.StepFailed): _step_failed,
    (Step.IDLE, ev.Misbehaved): _hung,
    (Step.FETCHING, ev.Misbehaved): _hung,
    (Step.VERIFYING, ev.Misbehaved): _hung,
    (Step.CHECKING, ev.Misbehaved): _hung,
    (Step.BUILDING, ev.Misbehaved): _misbehaved,
    (Step.WAITING, ev.Misbehaved): _hung,
    (Step.FAILED, ev.Misbehaved): _hung,
}
