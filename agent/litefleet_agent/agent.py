"""The agent: one main loop that feeds the core and carries out what it wants. Decides nothing itself.

Threads: this loop (`main`, or `agent` when embedded), `link`, `voucher` (signatures of control messages), `builder`
(verify, check, build) and one pipeline a slot. All of them talk to the loop through its queue.
"""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

from msgspec import Struct, field
from msgspec.structs import replace

from litefleet_agent import effects as fx
from litefleet_agent import events as ev
from litefleet_agent import health, heap
from litefleet_agent.board import Self, State, Step, kept_artifacts, saved
from litefleet_agent.chronicle import notes
from litefleet_agent.clockwatch import ClockWatch
from litefleet_agent.core import advance
from litefleet_agent.errors import AgentError
from litefleet_agent.fetch import Fetcher
from litefleet_agent.fileio import is_full
from litefleet_agent.inbox import Inbox
from litefleet_agent.interface import Incoming, Link
from litefleet_agent.logs import EventLog
from litefleet_agent.pipeline.loop import Pipeline
from litefleet_agent.probation import Probation
from litefleet_agent.slots import Slots
from litefleet_agent.state import Pointers, Saved
from litefleet_agent.survey import Survey
from litefleet_agent.swap import Builder, Generation, HotSlot
from litefleet_agent.telemetry import Meter
from litefleet_agent.uplink import Uplink
from litefleet_agent.verify import Trust, verify_artifact
from litefleet_agent.workers import Worker
from litefleet_protocol import codec, topics
from litefleet_protocol.codes import Code
from litefleet_protocol.envelope import PayloadType
from litefleet_protocol.errors import ProtocolError
from litefleet_protocol.messages import Ack

log = EventLog(__name__)
TICK_S = 0.1
QUIET_TICK_S = 0.4
"""Between looks while no slot is on its way anywhere: most of what an idle board costs is waking up."""
TELEMETRY_TICK_S = 0.5
SAVE_AGAIN_S = 1.0
SERVE_FIRST_S = 1.0
"""How long a start waits for the first model to serve before it connects."""
HEAD_START_S = 0.15
"""How long that model then has the processor to itself: importing the link's library holds up its first answers."""
PIPELINES_END_S = 0.8
"""Of the three seconds that an orderly end may take; the rest is for the broker."""


class Ready(Struct, frozen=True):
    """A generation that the builder made, on its way to the main loop, and what that means to the core."""

    event: ev.Checked | ev.Built
    generation: Generation


Item = Incoming | Ready | ev.Event | None
_IN_ORDER = (ev.DesiredReceived, ev.DesiredRefused, ev.EpochReceived)
_AFTER_THE_DISK = (ev.DesiredReceived, ev.EpochReceived, ev.Fetched)
"""Events that wait while the disk takes nothing: what was accepted must not be replaced by something older after a
kill, and an attempt must be counted before it can kill. All others go on: a way back must not wait for a full disk."""


class Place(Struct):
    """What the board runs for one slot."""

    hot: HotSlot
    meter: Meter
    pipeline: Pipeline | None = None
    probation: Probation | None = None
    stuck: int | None = None
    """Number of the generation whose hang the core has been told of."""


class Parts(Struct):
    """Everything that the loop is made of; built by `compose`."""

    me: Self
    state: State
    slots: Slots
    pointers: Pointers
    link: Link
    fetcher: Fetcher
    inbox: Inbox
    uplink: Uplink
    survey: Survey
    trust: Trust
    builder: Builder
    builder_worker: Worker
    voucher_worker: Worker
    make_place: Callable[[str], Place]
    pipelines: Mapping[str, Callable[[Place], Pipeline]]
    mailbox: "queue.SimpleQueue[Item]"
    unlock: Callable[[], None]
    """Gives the state directory free for another agent."""
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    clock_watch: ClockWatch = field(default_factory=ClockWatch)
    places: dict[str, Place] = {}


class Agent:
    """Runs from `run` until `stop`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._state = parts.state
        self._places_lock = threading.Lock()
        self._stopping = threading.Event()
        self._backlog: deque[ev.Event] = deque()
        """Events whose consequences the disk did not take; retried in order."""
        self._unsaved: tuple[Code, str] | None = None
        """Why the disk does not take the state, as the board reports it."""
        self._connect_at: float | None = None
        """When the link is started at the latest; None once it was."""
        self._next_save = float("-inf")
        self._next_tick = float("-inf")
        self._next_telemetry = float("-inf")

    def place(self, slot: str) -> Place:
        """A slot's place, made when first asked for. Any thread."""
        with self._places_lock:
            found = self._parts.places.get(slot)
            if found is None:
                found = self._parts.places[slot] = self._parts.make_place(slot)
            return found

    def stop(self) -> None:
        """Ask the loop to end. Any thread, signal handlers too."""
        self._stopping.set()
        self._parts.mailbox.put(None)

    def run(self) -> bool:
        """Work until `stop`; False when a thread hangs in a model and only the end of the process ends it."""
        parts = self._parts
        parts.mailbox.put(ev.Started())
        parts.builder_worker.start()
        parts.voucher_worker.start()
        for slot, make in parts.pipelines.items():
            place = self.place(slot)
            place.pipeline = make(place)
            place.pipeline.start()
        serves_soon = any(slot.current is not None for slot in self._state.slots.values())
        self._connect_at = parts.clock() + (SERVE_FIRST_S if serves_soon else 0.0)
        while not self._stopping.is_set():
            self._turn()
        return self._end()

    def _turn(self) -> None:
        try:
            item = self._parts.mailbox.get(timeout=self._patience_s())
        except queue.Empty:
            item = None
        try:
            if item is not None:
                self._take(item)
            self._connect_when_due(served=isinstance(item, Ready))
            self._pass_time()
        except Exception:  # the loop's edge: whatever went wrong, serving and the next event go on
            log.exception("event_failed")

    def _connect_when_due(self, *, served: bool) -> None:
        """What was proven serves first: the link's library alone takes a good part of the start."""
        if self._connect_at is None:
            return
        now = self._parts.clock()
        if served:
            self._connect_at = min(self._connect_at, now + HEAD_START_S)
        if now >= self._connect_at:
            self._connect_at = None
            self._parts.link.start()

    def _patience_s(self) -> float:
        """How long the loop may wait for something to happen."""
        if self._connect_at is None:
            return self._tick_s()
        return min(self._tick_s(), max(0.0, self._connect_at - self._parts.clock()))

    def _tick_s(self) -> float:
        resting = all(slot.step in (Step.IDLE, Step.FAILED) for slot in self._state.slots.values())
        return QUIET_TICK_S if resting and not self._backlog else TICK_S

    def _end(self) -> bool:
        parts = self._parts
        places = list(parts.places.values())
        pipelines = [place.pipeline for place in places if place.pipeline is not None]
        for pipeline in pipelines:
            pipeline.ask_to_stop()
        end = parts.clock() + PIPELINES_END_S
        stopped = [pipeline.wait(max(0.0, end - parts.clock())) for pipeline in pipelines]
        for place in places:
            parts.uplink.gather(place.meter, place.hot, everything=True)
        parts.link.stop()
        parts.builder_worker.stop()
        parts.voucher_worker.stop()
        parts.unlock()
        return all(stopped) and not any(place.stuck for place in places)

    # --- what comes in ---

    def _take(self, item: Incoming | Ready | ev.Event) -> None:
        match item:
            case Incoming():
                self._incoming(item)
            case Ready(event, generation):
                known = self._state.slots.get(event.slot)
                if known is not None and known.ticket == event.ticket:
                    self.place(event.slot).hot.park(event.ticket, generation)
                    self._advance(event)
            case _:
                if isinstance(item, ev.Connected):
                    heap.give_back()  # what TLS and the client took while they came up: 5 MiB
                    self._parts.uplink.reconnected()
                    # What one process at a time may open is left alone where a model may be about to need it.
                    serves = any(slot.current is not None for slot in self._state.slots.values())
                    self._parts.survey.start(leave_closed=serves)
                self._advance(item)

    def _incoming(self, message: Incoming) -> None:
        try:
            match topics.parse(message.topic):
                case topics.EpochTopic():
                    self._parts.inbox.put(PayloadType.EPOCH, message.payload)
                case topics.DownTopic(device, topics.Down.DESIRED) if device == self._parts.me.device:
                    self._parts.inbox.put(PayloadType.DESIRED, message.payload)
                case topics.DownTopic(device, topics.Down.ACK) if device == self._parts.me.device:
                    self._parts.uplink.acknowledged(codec.decode(Ack, message.payload))
                case topics.ManifestTopic() | topics.ChunkTopic() as part:
                    self._parts.fetcher.message(part, message.payload, self._parts.clock())
                case other:
                    log.warning("message_dropped", topic=other)
        except ProtocolError as e:
            log.warning("message_dropped", code=e.code, error=e)

    def _pass_time(self) -> None:
        now = self._parts.clock()
        if now < self._next_tick:
            return
        self._next_tick = now + self._tick_s()
        self._parts.fetcher.tick(now)
        for name, place in list(self._parts.places.items()):
            self._watch(name, place, now)
        if (self._backlog or self._unsaved) and now >= self._next_save:
            self._catch_up()
        self._advance(ev.Tick())
        if now >= self._next_telemetry:
            self._next_telemetry = now + TELEMETRY_TICK_S
            jumped = self._parts.clock_watch.look(self._parts.wall(), now)
            if jumped is not None:
                log.warning("clock_jumped", by_s=round(jumped, 1), trusted=health.clock_trusted(self._parts.wall()))
            for place in list(self._parts.places.values()):
                self._parts.uplink.gather(place.meter, place.hot)
            self._parts.uplink.send_telemetry(now)

    def _watch(self, name: str, place: Place, now: float) -> None:
        """Hangs at any time, gates during probation."""
        stuck = place.hot.stuck()
        if stuck is not None:
            if place.stuck != stuck.number:
                place.stuck = stuck.number
                self._advance(ev.Misbehaved(name, stuck.artifact, Code.TIMEOUT, "an inference does not come back"))
            return
        probation = place.probation
        if probation is None:
            return
        failing = probation.verdict(now, probation.generation.model.rss_bytes)
        if failing is not None:
            self._end_probation(place)
            artifact = probation.generation.artifact
            self._advance(ev.Misbehaved(name, artifact, failing.code, failing.message))
        elif now >= probation.ends_at and not probation.passed:
            probation.passed = True
            self._advance(ev.ProbationPassed(name, probation.ticket))

    # --- the core, and what it wants ---

    def _advance(self, event: ev.Event) -> None:
        if (self._backlog and isinstance(event, _IN_ORDER)) or not self._try(event):
            self._backlog.append(event)

    def _try(self, event: ev.Event) -> bool:
        """Feed the core; False when the disk did not take what must be durable first, and nothing has changed."""
        state, effects = advance(self._state, event, self._parts.clock())
        for effect in effects:
            if isinstance(effect, fx.Persist) and not self._save(effect.saved) and isinstance(event, _AFTER_THE_DISK):
                return False
        before, self._state = self._state, state
        for note in notes(before, state, event):
            (log.warning if note.bad else log.info)(note.event, **note.fields)
        for effect in effects:
            self._carry_out(effect)
        return True

    def _save(self, whole: Saved) -> bool:
        try:
            self._parts.pointers.save(whole)
        except OSError as e:
            self._next_save = self._parts.clock() + SAVE_AGAIN_S
            if not self._unsaved:
                log.warning("state_not_saved", error=e, again_in_s=SAVE_AGAIN_S)
                code = Code.DISK_FULL if is_full(e) else Code.INTERNAL
                self._unsaved = (code, f"the board's state can't be saved, and what needs that waits: {e.strerror}")
                self._report()
            return False
        if self._unsaved:
            log.info("state_saved_again")
            self._unsaved = None
            self._report()
        return True

    def _report(self) -> None:
        """Say where the board stands. What waits for the disk says nothing by itself: the board must say why."""
        state = self._state
        if self._unsaved:
            state = replace(state, code=self._unsaved[0], message=self._unsaved[1])
        self._parts.uplink.report(state)

    def _catch_up(self) -> None:
        """Save what the disk did not take, then the events that waited for it, then remove what had to stay."""
        if not self._save(saved(self._state)):
            return
        while self._backlog:
            event = self._backlog.popleft()
            if not self._try(event):
                self._backlog.appendleft(event)
                return
        self._collect(kept_artifacts(self._state))

    def _carry_out(self, effect: fx.Effect) -> None:
        """One row an effect. `Persist` was done first, by `_try`."""
        match effect:
            case fx.StartFetch() | fx.StartVerify() | fx.StartCheck() | fx.StartBuild():
                self._start_work(effect)
            case fx.Flip(slot, ticket):
                place = self.place(slot)
                self._revive_if(place, hung=place.hot.flip(ticket))
            case fx.StartProbation():
                self._start_probation(effect)
            case fx.StopWork(slot):
                self._parts.fetcher.stop(slot)
                self._end_probation(self.place(slot))
            case fx.LetGo(slot):
                self.place(slot).hot.let_go()
                heap.give_back()
            case fx.Settle(slot):
                self._end_probation(self.place(slot))
                self.place(slot).hot.release()
                heap.give_back()
            case fx.EmptySlot(slot):
                place = self.place(slot)
                self._revive_if(place, hung=place.hot.empty())
            case fx.Collect(keep):
                self._collect(keep)
            case fx.Report():
                self._report()

    def _start_work(self, effect: fx.StartFetch | fx.StartVerify | fx.StartCheck | fx.StartBuild) -> None:
        parts = self._parts
        slot, ticket, digest = effect.slot, effect.ticket, effect.digest
        match effect:
            case fx.StartFetch():
                parts.fetcher.start(slot, ticket, digest, parts.clock())
            case fx.StartVerify():
                self._in_background(slot, ticket, lambda: self._verify(slot, ticket, digest))
            case fx.StartCheck():
                self._in_background(slot, ticket, lambda: self._check(slot, ticket, digest))
            case fx.StartBuild():
                if self.place(slot).hot.park_held(ticket, digest):
                    parts.mailbox.put(ev.Built(slot, ticket))
                else:
                    self._in_background(
                        slot,
                        ticket,
                        lambda: Ready(
                            ev.Built(slot, ticket), parts.builder.build(digest, self.place(slot).hot.wait_pause)
                        ),
                    )

    def _in_background(self, slot: str, ticket: int, work: Callable[[], Ready | ev.Event]) -> None:
        """Run `work` on the builder thread, unless it is no longer wanted by then; its failure becomes an event."""

        def job() -> None:
            known = self._state.slots.get(slot)
            if known is None or known.ticket != ticket:
                return
            try:
                item: Item = work()
            except AgentError as e:
                item = ev.StepFailed(slot, ticket, str(e.code), str(e))
            except OSError as e:
                item = ev.StepFailed(slot, ticket, str(Code.INTERNAL), str(e))
            except Exception as e:  # the job's edge: a slot must not wait for ever
                log.exception("job_failed", slot=slot)
                item = ev.StepFailed(slot, ticket, str(Code.INTERNAL), type(e).__name__)
            self._parts.mailbox.put(item)

        self._parts.builder_worker.submit(job)

    def _verify(self, slot: str, ticket: int, digest: str) -> ev.Event:
        parts = self._parts
        manifest = verify_artifact(parts.slots, parts.trust, parts.me, digest)
        return ev.Verified(slot, ticket, manifest.version)

    def _check(self, slot: str, ticket: int, digest: str) -> Ready | ev.Event:
        verdict, generation = self._parts.builder.try_out(digest, self.place(slot).hot.wait_pause)
        if generation is None:
            return ev.StepFailed(slot, ticket, verdict.code, verdict.message)
        log.info("checked", slot=slot, artifact=digest, samples=verdict.samples, worst=verdict.worst)
        return Ready(ev.Checked(slot, ticket), generation)

    def _collect(self, keep: frozenset[str]) -> None:
        if self._unsaved:
            return  # the pointer file on the disk may still name what is to be removed
        try:
            self._parts.slots.collect(keep)
        except OSError as e:
            log.warning("artifacts_not_collected", error=e)

    def _start_probation(self, effect: fx.StartProbation) -> None:
        place = self.place(effect.slot)
        live = place.hot.live
        if live is not None:
            ends_at = self._parts.clock() + effect.seconds
            place.probation = Probation(effect.ticket, live, effect.gates, ends_at)
            place.hot.observe([place.meter, place.probation])

    def _end_probation(self, place: Place) -> None:
        place.probation = None
        place.hot.observe([place.meter])

    def _revive_if(self, place: Place, *, hung: bool) -> None:
        if hung and place.pipeline is not None:
            place.pipeline.start()
