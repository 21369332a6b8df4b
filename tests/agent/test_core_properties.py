"""The core under any sequence of events: what must hold whatever happens, in whatever order."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from litefleet_agent import effects as fx
from litefleet_agent import events as ev
from litefleet_agent.board import RetryPolicy, Self, State, Step, restored, saved
from litefleet_agent.core import advance
from litefleet_protocol.messages import Desired, SlotDesired

ME = Self("fleet1", "default", "pi-1", "rpi-4")
DIGESTS = [f"sha256:{letter * 64}" for letter in "abcd"]
CODES = ["Timeout", "ModelCrashed", "BadOutput", "TooSlow", "DiskFull", "DigestMismatch", "BadSignature"]
WORK = (fx.StartFetch, fx.StartVerify, fx.StartCheck, fx.StartBuild)


class Machine:
    """A board whose disk, builder and hot slot do what they are told, or fail when the test says so."""

    def __init__(self):
        self.state = State(ME)
        self.now = 0.0
        self.counter = 0
        self.jobs = []
        self.probation = None
        self.serving = None
        self.parked = {}
        self.on_disk = set()
        self.checked = set()
        self.tries = {}
        self.proven_once = False
        self.withdrawn = False
        self.durable = saved(self.state)

    def feed(self, event):
        self.state, effects = advance(self.state, event, self.now)
        for effect in effects:
            self.carry_out(effect)
        self.check()

    def carry_out(self, effect):
        match effect:
            case fx.Persist(whole):
                self.durable = whole
            case fx.StopWork() | fx.EmptySlot():
                self.probation = None
                if isinstance(effect, fx.EmptySlot):
                    self.serving, self.withdrawn = None, True
            case fx.Collect(keep):
                self.on_disk &= keep
            case fx.StartVerify(_, _, digest):
                assert digest in self.on_disk
                self.jobs.append(effect)
            case fx.StartCheck(_, _, digest):
                assert digest in self.on_disk
                assert self.durable.slots["m"].attempts.get(digest, 0) >= 1
                self.tries[digest] = self.tries.get(digest, 0) + 1
                self.jobs.append(effect)
            case fx.Flip(_, ticket):
                self.serving = self.parked.pop(ticket)
                assert self.serving in self.checked & self.on_disk
            case fx.StartProbation():
                self.probation = effect
            case _ if isinstance(effect, WORK):
                self.jobs.append(effect)

    def finish_job(self, index, code):
        if not self.jobs:
            return
        job = self.jobs.pop(index % len(self.jobs))
        if code is not None:
            self.feed(ev.StepFailed(job.slot, job.ticket, code, "why"))
            return
        match job:
            case fx.StartFetch(slot, ticket, digest):
                known = self.state.slots.get(slot)
                if known and known.ticket == ticket:  # a fetch that was stopped writes nothing more
                    self.on_disk.add(digest)
                self.feed(ev.Fetched(slot, ticket))
            case fx.StartVerify(slot, ticket, _):
                self.feed(ev.Verified(slot, ticket, "v"))
            case fx.StartCheck(slot, ticket, digest):
                self.checked.add(digest)
                known = self.state.slots.get(slot)
                if known and known.ticket == ticket:
                    self.parked[ticket] = digest
                    self.feed(ev.Checked(slot, ticket))
            case fx.StartBuild(slot, ticket, digest):
                known = self.state.slots.get(slot)
                if known and known.ticket == ticket:
                    self.parked[ticket] = digest
                    self.feed(ev.Built(slot, ticket))

    def go(self, steps):
        """Good luck for the newest work: the last job is the one that isn't stale."""
        for _ in range(steps):
            self.finish_job(-1, None)

    def end_probation(self, code):
        watch, self.probation = self.probation, None
        if watch is None:
            return
        if code is None:
            self.feed(ev.ProbationPassed("m", watch.ticket))
        else:
            self.feed(ev.Misbehaved("m", watch.digest, code, "why"))

    def desire(self, digest, fallback):
        self.counter += 1
        slots = {} if digest is None else {"m": SlotDesired(artifact=digest, version="v", fallback=fallback)}
        self.feed(
            ev.DesiredReceived(
                Desired(
                    fleet="fleet1",
                    namespace="default",
                    device="pi-1",
                    device_class="rpi-4",
                    epoch=1,
                    counter=self.counter,
                    slots=slots,
                )
            )
        )

    def kill(self):
        """kill -9: what was durable is all that is left."""
        self.state = restored(ME, self.durable, RetryPolicy())
        self.jobs, self.probation, self.serving, self.parked = [], None, None, {}
        self.withdrawn = True  # until it has built again, nothing serves
        self.feed(ev.Started())

    def check(self):
        slot = self.state.slots.get("m")
        if slot is None:
            assert self.serving is None
            self.proven_once = False
            return
        assert (slot.serving.digest if slot.serving else None) == self.serving
        if slot.current is not None and slot.serving == slot.current:
            self.proven_once, self.withdrawn = True, False
        if self.proven_once and not self.withdrawn:
            assert self.serving is not None
        for digest, count in slot.attempts.items():
            assert count <= 3 or slot.way_back, digest
        if slot.step is Step.WAITING:
            assert slot.retry_at is not None
            assert slot.retry_at - self.now <= 300
        if slot.step is Step.FAILED:
            assert slot.code
        if slot.step in (Step.WAITING, Step.FAILED) and slot.serving is not None:
            assert slot.serving.digest not in slot.bad
            assert slot.serving == slot.current or slot.current is None
        if slot.step in (Step.IDLE, Step.WAITING, Step.FAILED):
            assert slot.target is None


actions = st.one_of(
    st.tuples(st.just("go"), st.integers(1, 5)),
    st.tuples(st.just("go"), st.integers(1, 5)),
    st.tuples(st.just("desire"), st.sampled_from([*DIGESTS, None]), st.sampled_from([*DIGESTS, None])),
    st.tuples(st.just("job"), st.integers(0, 3), st.sampled_from([None, None, None, None, *CODES])),
    st.tuples(st.just("probation"), st.sampled_from([None, None, *CODES])),
    st.tuples(st.just("hang")),
    st.tuples(st.just("time"), st.floats(0, 400)),
    st.tuples(st.just("kill")),
)


@settings(max_examples=600, deadline=None)
@given(st.lists(actions, max_size=60))
def test_never_serves_what_was_not_checked_and_never_loses_what_was_proven(script):
    machine = Machine()
    machine.feed(ev.Started())
    for action in script:
        match action:
            case ("desire", digest, fallback):
                machine.desire(digest, fallback)
            case ("job", index, code):
                machine.finish_job(index, code)
            case ("go", steps):
                machine.go(steps)
            case ("probation", code):
                machine.end_probation(code)
            case ("hang",):
                if machine.serving:
                    machine.probation = None
                    machine.feed(ev.Misbehaved("m", machine.serving, "Timeout", "hangs"))
            case ("time", seconds):
                machine.now += seconds
                machine.feed(ev.Tick())
            case ("kill",):
                machine.kill()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(["Timeout", "TooSlow", "DigestMismatch"]), min_size=3, max_size=10))
def test_a_digest_is_tried_three_times_at_most(codes):
    machine = Machine()
    machine.desire(DIGESTS[0], None)
    for code in codes:
        for _ in range(2):
            machine.finish_job(0, None)
        machine.finish_job(0, code)
        machine.now += 1000
        machine.feed(ev.Tick())
    assert machine.tries[DIGESTS[0]] == 3
    assert machine.state.slots["m"].step is Step.FAILED


@settings(max_examples=200, deadline=None)
@given(st.lists(actions, max_size=30))
@example(  # what serves proved bad, and the attempt that superseded its way back fails too
    [
        ("desire", DIGESTS[0], DIGESTS[1]),
        *[("go", 1)] * 4,
        ("probation", "ModelCrashed"),
        ("desire", DIGESTS[1], DIGESTS[0]),
        ("job", 1, "Timeout"),
    ]
)
def test_left_alone_it_comes_to_rest(script):
    """After any history, good luck leads to rest: what is desired serves, or it is refused with a code."""
    machine = Machine()
    for action in script:
        if action[0] == "desire":
            machine.desire(action[1], action[2])
        elif action[0] == "job":
            machine.finish_job(action[1], action[2])
        elif action[0] == "go":
            machine.go(action[1])
        elif action[0] == "probation":
            machine.end_probation(action[1])
        elif action[0] == "kill":
            machine.kill()
    for _ in range(40):
        machine.finish_job(0, None)
        machine.end_probation(None)
        machine.now += 301
        machine.feed(ev.Tick())
    slot = machine.state.slots.get("m")
    if slot is not None:
        assert slot.step in (Step.IDLE, Step.FAILED)
        if slot.step is Step.IDLE and slot.desired is not None:
            assert machine.serving == slot.desired.artifact
