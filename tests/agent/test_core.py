"""The core as tables: what a board does about what happens. No clock, no disk, no broker."""

import pytest
from msgspec.structs import replace

from litefleet_agent import effects as fx
from litefleet_agent import events as ev
from litefleet_agent.board import RetryPolicy, Self, State, Step, reported, restored, saved
from litefleet_agent.core import advance
from litefleet_agent.health import capabilities
from litefleet_agent.state import Artifact, Saved, SavedSlot
from litefleet_protocol import codec
from litefleet_protocol.limits import MAX_CONTROL_BYTES
from litefleet_protocol.messages import Desired, SlotDesired

ME = Self("fleet1", "default", "pi-1", "rpi-4")
A, B, C = (f"sha256:{letter * 64}" for letter in "abc")


def desired(slots, *, epoch=1, counter=1, **changes):
    named = {
        n: (s if isinstance(s, SlotDesired) else SlotDesired(artifact=s, version=f"v-{s[7]}")) for n, s in slots.items()
    }
    fields = {"fleet": "fleet1", "namespace": "default", "device": "pi-1", "device_class": "rpi-4", **changes}
    return ev.DesiredReceived(Desired(epoch=epoch, counter=counter, slots=named, **fields))


class Board:
    """Drives the core, remembering what it wanted."""

    def __init__(self, state=None):
        self.state = state or State(ME)
        self.now = 0.0
        self.log = []

    def take(self, event):
        self.state, effects = advance(self.state, event, self.now)
        self.log = list(effects)
        return self.log

    def slot(self, name="digits"):
        return self.state.slots[name]

    def wanted(self, kind):
        return [e for e in self.log if isinstance(e, kind)]

    def until(self, step, name="digits"):
        """Let everything go well until the slot stands at `step`."""
        for _ in range(20):
            slot = self.slot(name)
            if slot.step is step:
                return self
            ticket = slot.ticket
            good = {
                Step.FETCHING: ev.Fetched(name, ticket),
                Step.VERIFYING: ev.Verified(name, ticket, "from-manifest"),
                Step.CHECKING: ev.Checked(name, ticket),
                Step.BUILDING: ev.Built(name, ticket),
                Step.RETURNING: ev.Built(name, ticket),
                Step.PROBATION: ev.ProbationPassed(name, ticket),
            }
            self.take(good[slot.step])
        raise AssertionError(f"stands at {self.slot(name).step}")

    def fail(self, code, name="digits"):
        slot = self.slot(name)
        if slot.step is Step.PROBATION:
            return self.take(ev.Misbehaved(name, slot.serving.digest, code, "why"))
        return self.take(ev.StepFailed(name, slot.ticket, code, "why"))

    def phase(self, name="digits"):
        return reported(self.state, "boot", 1, capabilities(None)).slots[name].phase


def serving_a(counter=1):
    board = Board()
    board.take(desired({"digits": A}, counter=counter))
    return board.until(Step.IDLE)


def test_update_goes_through_every_step_in_order():
    board = Board()
    steps = []
    board.take(desired({"digits": A}))
    for step in (Step.FETCHING, Step.VERIFYING, Step.CHECKING, Step.PROBATION, Step.BUILDING, Step.IDLE):
        board.until(step)
        steps.append(board.phase())
    assert steps == ["Preparing", "Preparing", "Applying", "Verifying", "Verifying", "Updated"]
    assert board.slot().current == Artifact(A, "v-a")


def test_a_board_without_room_looks_again_every_quarter_of_a_minute_for_as_long_as_it_takes():
    board = serving_a()
    board.take(desired({"digits": B}, counter=2))
    pauses = []
    for _ in range(12):
        board.fail("DiskFull")
        assert board.slot().step is Step.WAITING
        pauses.append(board.slot().retry_at - board.now)
        board.now = board.slot().retry_at
        board.take(ev.Tick())
    assert pauses == [2, 4, 8, *[15] * 9]
    board.until(Step.IDLE)
    assert board.slot().current == Artifact(B, "v-b")


def test_attempt_is_persisted_before_the_check_begins():
    board = Board()
    board.take(desired({"digits": A}))
    board.take(ev.Fetched("digits", board.slot().ticket))
    kinds = [type(e) for e in board.log]
    assert kinds.index(fx.Persist) < kinds.index(fx.StartVerify)
    assert board.wanted(fx.Persist)[0].saved.slots["digits"].attempts == {A: 1}


REFUSALS = [
    ({"device": "pi-2"}, {}, "WrongDevice"),
    ({"fleet": "other"}, {}, "WrongDevice"),
    ({"namespace": "other"}, {}, "WrongDevice"),
    ({"device_class": "jetson"}, {}, "WrongClass"),
    ({}, {"epoch": 4, "counter": 9}, "StaleEpoch"),
    ({}, {"epoch": 5, "counter": 6}, "StaleEpoch"),
]


@pytest.mark.parametrize(("fields", "order", "code"), REFUSALS)
def test_wrong_or_stale_desired_state_is_refused_and_serving_goes_on(fields, order, code):
    board = serving_a()
    board.take(desired({"digits": A}, epoch=5, counter=7))
    board.take(desired({"digits": B}, **({"epoch": 9, "counter": 9} | order), **fields))
    assert board.state.code == code
    assert (board.slot().step, board.slot().serving.digest) == (Step.IDLE, A)
    assert board.wanted(fx.Report)


def test_refusal_is_forgotten_with_the_next_good_desired_state():
    board = serving_a()
    board.take(ev.DesiredRefused("BadSignature", "no"))
    assert board.state.code == "BadSignature"
    board.take(desired({"digits": A}, counter=2))
    assert board.state.code == ""


def test_higher_epoch_is_adopted_and_reported_with_jitter():
    board = serving_a()
    board.take(ev.EpochReceived("fleet1", 8, jitter_s=5.0))
    assert (board.state.epoch, board.wanted(fx.Report)) == (8, [])
    board.now = 4.9
    assert not board.take(ev.Tick())
    board.now = 5.0
    board.take(ev.Tick())
    assert board.wanted(fx.Report)
    board.take(desired({"digits": B}, epoch=7, counter=99))
    assert board.state.code == "StaleEpoch"


def test_epoch_of_another_fleet_changes_nothing():
    board = serving_a()
    before = board.state
    board.take(ev.EpochReceived("other", 8, jitter_s=0))
    assert board.state == before


def test_artifact_that_serves_already_is_a_no_op():
    board = serving_a()
    board.take(desired({"digits": A}, counter=2))
    assert not board.wanted(fx.StartFetch)
    assert board.slot().step is Step.IDLE


def test_rejected_code_fails_at_once_and_is_not_tried_again():
    board = serving_a()
    board.take(desired({"digits": B}, counter=2))
    board.until(Step.CHECKING)
    board.fail("ModelCrashed")
    assert (board.phase(), board.slot().code) == ("Failed", "ModelCrashed")
    assert board.slot().serving.digest == A
    board.now = 1e6
    board.take(ev.Tick())
    assert not board.wanted(fx.StartFetch)


def test_failed_code_is_tried_three_times_with_growing_pauses():
    board = serving_a()
    board.take(desired({"digits": B}, counter=2))
    pauses = []
    for _ in range(3):
        board.until(Step.CHECKING)
        board.fail("Timeout")
        if board.slot().step is Step.WAITING:
            pauses.append(board.slot().retry_at - board.now)
            board.now = board.slot().retry_at
            board.take(ev.Tick())
    assert board.slot().step is Step.FAILED
    assert pauses == [2.0, 4.0]
    assert board.slot().bad == {B: "Timeout"}


def marked_bad(code="GoldenMismatch"):
    """A board that serves A, was told to run B, and has marked it bad."""
    board = serving_a()
    board.take(desired({"digits": B}, counter=2))
    board.until(Step.CHECKING)
    board.fail(code)
    assert board.slot().bad == {B: code}
    return board


AGAIN = SlotDesired(artifact=B, version="v-b", rollout="another", deadline_seconds=60)
STAYS_BAD = {
    "the same message": ([({"digits": B}, 2)], {}),
    "a higher counter": ([({"digits": B}, 3)], {}),
    "a change of another slot": ([({"digits": B, "other": C}, 3)], {}),
    "a higher epoch": ([({"digits": B}, 3)], {"epoch": 2}),
    "another rollout of the same": ([({"digits": AGAIN}, 3)], {}),
}


@pytest.mark.parametrize(("messages", "order"), STAYS_BAD.values(), ids=STAYS_BAD)
def test_bad_digest_stays_bad_while_it_is_what_was_desired(messages, order):
    board = marked_bad()
    for slots, counter in messages:
        board.take(desired(slots, counter=counter, **order))
        assert not [e for e in board.wanted(fx.StartFetch) if e.digest == B]
    assert (board.phase(), list(board.slot().bad), board.slot().serving.digest) == ("Failed", [B], A)


@pytest.mark.parametrize(
    "event", [ev.Tick(), ev.Connected(), ev.Started(), ev.EpochReceived("fleet1", 9, jitter_s=0.0)], ids=repr
)
def test_nothing_but_a_desired_state_lifts_a_bad_mark(event):
    board = restart(marked_bad())
    board.now = 1e6
    board.take(ev.Started())
    board.until(Step.FAILED)
    board.take(event)
    if board.slot().step is Step.RETURNING:
        board.until(Step.FAILED)
    assert (board.slot().code, board.slot().bad) == ("MarkedBad", {B: "GoldenMismatch"})


LIFTS_BAD = {
    "back to the proven one, then again (a rollout's retry)": [{"digits": A}, {"digits": B}],
    "something else in between": [{"digits": C}, {"digits": B}],
    "an emptied slot": [{}, {"digits": B}],
}


@pytest.mark.parametrize("messages", LIFTS_BAD.values(), ids=LIFTS_BAD)
def test_bad_digest_that_is_assigned_anew_gets_three_tries_more(messages):
    board = marked_bad()
    for counter, slots in enumerate(messages, start=3):
        board.take(desired(slots, counter=counter))
    board.until(Step.FETCHING)
    tries = 0
    while board.slot().step is not Step.FAILED:
        board.until(Step.CHECKING)
        board.fail("Timeout")
        tries += 1
        board.now += 1000
        board.take(ev.Tick())
    assert (tries, board.slot().bad) == (3, {B: "Timeout"})


def test_stale_desired_state_lifts_no_bad_mark():
    board = marked_bad()
    board.take(desired({"digits": A}, counter=3))
    board.take(desired({"digits": B}, counter=2))
    assert board.state.code == "StaleEpoch"
    assert board.slot().bad == {B: "GoldenMismatch"}


def test_broken_signature_does_not_condemn_the_artifact():
    board = serving_a()
    board.take(desired({"digits": B}, counter=2))
    board.until(Step.VERIFYING)
    board.fail("BadSignature")
    assert (board.phase(), board.slot().bad) == ("Failed", {})
    board.take(desired({"digits": B}, counter=3))
    assert board.slot().step is Step.FETCHING


def test_failed_probation_goes_back_to_what_was_proven():
    board = serving_a()
    board.take(desired({"digits": B}, counter=2))
    board.until(Step.PROBATION)
    assert board.slot().serving.digest == B
    board.fail("BadOutput")
    assert board.phase() == "RollingBack"
    assert board.wanted(fx.StartBuild)[0].digest == A
    board.take(ev.Built("digits", board.slot().ticket))
    assert [type(e) for e in board.log][:2] == [fx.Flip, fx.Settle]
    assert (board.slot().serving.digest, board.phase(), board.slot().code) == (A, "Failed", "BadOutput")


def test_model_that_misbehaves_after_its_probation_and_before_it_is_built_goes_back():
    board = serving_a()
    board.take(desired({"digits": B}, counter=2))
    board.until(Step.BUILDING)
    board.take(ev.Misbehaved("digits", B, "ModelCrashed", "why"))
    assert board.phase() == "RollingBack"
    board.until(Step.FAILED)
    assert (board.slot().serving.digest, board.slot().code) == (A, "ModelCrashed")


def test_what_a_proven_model_replaced_is_let_go_before_the_proven_one_is_built():
    board = serving_a()
    board.take(desired({"digits": B}, counter=2))
    board.until(Step.PROBATION)
    board.take(ev.ProbationPassed("digits", board.slot().ticket))
    assert [type(e) for e in board.log if not isinstance(e, fx.Report)] == [fx.LetGo, fx.StartBuild]


def test_proven_model_that_can_not_be_built_goes_back():
    board = serving_a()
    board.take(desired({"digits": B}, counter=2))
    board.until(Step.BUILDING)
    board.fail("MemoryLimit")
    assert (board.slot().step, board.slot().target.digest) == (Step.RETURNING, A)


def test_deadline_does_not_stop_what_serves_on_trial():
    board = serving_a()
    board.take(desired({"digits": SlotDesired(artifact=B, version="v-b", deadline_seconds=60)}, counter=2))
    board.until(Step.BUILDING)
    board.now = 61.0
    board.take(ev.Tick())
    board.until(Step.IDLE)
    assert board.slot().serving.digest == B


def test_failed_probation_with_a_failed_code_is_tried_again_after_the_way_back():
    board = serving_a()
    board.take(desired({"digits": B}, counter=2))
    board.until(Step.PROBATION)
    board.fail("TooSlow")
    board.until(Step.WAITING)
    assert board.slot().serving.digest == A
    board.now += 2
    board.take(ev.Tick())
    board.until(Step.IDLE)
    assert (board.slot().serving.digest, board.slot().previous.digest, board.slot().attempts) == (B, A, {})


def test_first_model_that_fails_its_probation_stops_serving():
    board = Board()
    board.take(desired({"digits": A}))
    board.until(Step.PROBATION)
    board.fail("BadOutput")
    assert board.wanted(fx.EmptySlot)
    assert (board.slot().serving, board.phase()) == (None, "Failed")


def test_fallback_is_fetched_when_nothing_was_proven_here():
    board = Board()
    board.take(desired({"digits": SlotDesired(artifact=A, version="v-a", fallback=C)}))
    board.until(Step.PROBATION)
    board.fail("BadOutput")
    assert board.wanted(fx.StartFetch)[0].digest == C
    board.until(Step.FAILED)
    assert board.slot().current == Artifact(C, "from-manifest")
    assert board.slot().code == "BadOutput"


def test_new_desired_state_supersedes_an_update_and_late_answers_are_ignored():
    board = serving_a()
    board.take(desired({"digits": B}, counter=2))
    board.until(Step.CHECKING)
    old = board.slot().ticket
    board.take(desired({"digits": C}, counter=3))
    assert [type(e) for e in board.log if not isinstance(e, fx.Report | fx.Collect)] == [
        fx.Persist,
        fx.StopWork,
        fx.StartFetch,
    ]
    board.take(ev.Checked("digits", old))
    assert board.slot().step is Step.FETCHING
    board.until(Step.IDLE)
    assert board.slot().serving.digest == C


def test_superseded_in_probation_goes_back_first_and_then_on():
    board = serving_a()
    board.take(desired({"digits": B}, counter=2))
    board.until(Step.PROBATION)
    board.take(desired({"digits": C}, counter=3))
    assert (board.slot().step, board.slot().target.digest) == (Step.RETURNING, A)
    board.take(ev.Built("digits", board.slot().ticket))
    assert (board.slot().step, board.slot().target.digest, board.slot().serving.digest) == (Step.FETCHING, C, A)


def test_undo_in_probation_goes_back_without_fetching():
    board = serving_a()
    board.take(desired({"digits": B}, counter=2))
    board.until(Step.PROBATION)
    board.take(desired({"digits": A}, counter=3))
    assert not board.wanted(fx.StartFetch)
    board.until(Step.IDLE)
    assert (board.slot().serving.digest, board.phase()) == (A, "Updated")


def test_slot_that_is_no_longer_desired_is_emptied_and_collected():
    board = serving_a()
    board.take(desired({"other": B}, counter=2))
    assert board.wanted(fx.EmptySlot) == [fx.EmptySlot("digits")]
    assert "digits" not in board.state.slots
    assert board.wanted(fx.Collect)[-1].keep == frozenset({B})


def test_slot_that_comes_back_ignores_answers_from_its_former_life():
    board = Board()
    board.take(desired({"digits": A}))
    old = board.slot().ticket
    board.take(desired({}, counter=2))
    board.take(desired({"digits": B}, counter=3))
    board.take(ev.Fetched("digits", old))
    assert board.slot().step is Step.FETCHING


def test_deadline_reports_timeout_and_serving_goes_on():
    board = serving_a()
    board.take(desired({"digits": SlotDesired(artifact=B, version="v-b", deadline_seconds=60)}, counter=2))
    board.now = 60.0
    board.take(ev.Tick())
    assert (board.phase(), board.slot().code, board.slot().serving.digest) == ("Failed", "Timeout", A)
    assert board.slot().bad == {}


def test_progress_is_reported_at_most_every_second():
    board = Board()
    board.take(desired({"digits": A}))
    ticket = board.slot().ticket
    reports = 0
    for n in range(40):
        board.now = n * 0.1
        board.take(ev.FetchProgressed("digits", ticket, n, 100))
        reports += len(board.wanted(fx.Report))
        board.take(ev.Tick())
        reports += len(board.wanted(fx.Report))
    assert reports == 3


def test_reconnecting_reports_again():
    board = serving_a()
    board.take(ev.Connected())
    assert board.wanted(fx.Report)


def test_reported_previous_is_what_it_would_go_back_to():
    board = serving_a()
    board.take(desired({"digits": B}, counter=2))
    board.until(Step.PROBATION)
    slot = reported(board.state, "boot", 1, capabilities(None)).slots["digits"]
    assert (slot.current, slot.previous, slot.desired) == (B, A, B)


def restart(board):
    return Board(restored(ME, saved(board.state), RetryPolicy()))


def test_restart_serves_what_was_proven_and_goes_on_with_the_update():
    board = serving_a()
    board.take(desired({"digits": B}, counter=2))
    board.until(Step.PROBATION)
    again = restart(board)
    again.take(ev.Started())
    assert again.wanted(fx.StartBuild)[0].digest == A
    again.take(ev.Built("digits", again.slot().ticket))
    assert again.wanted(fx.StartFetch)[0].digest == B
    again.until(Step.IDLE)
    assert again.slot().serving.digest == B


def test_artifact_that_kills_the_agent_three_times_is_marked_bad():
    board = serving_a()
    board.take(desired({"digits": B}, counter=2))
    for _ in range(3):
        board.until(Step.PROBATION)
        board = restart(board)
        board.take(ev.Started())
        board.take(ev.Built("digits", board.slot().ticket))
    board.take(ev.Fetched("digits", board.slot().ticket))
    assert (board.slot().step, board.slot().code, board.slot().serving.digest) == (Step.FAILED, "MarkedBad", A)


def test_damaged_current_falls_to_previous_and_is_fetched_again():
    remembered = Saved(
        epoch=1,
        counter=1,
        slots={
            "digits": SavedSlot(
                desired=SlotDesired(artifact=B, version="v-b"), current=Artifact(B, "v-b"), previous=Artifact(A, "v-a")
            )
        },
    )
    board = Board(restored(ME, remembered, RetryPolicy()))
    board.take(ev.Started())
    board.fail("DigestMismatch")
    assert board.wanted(fx.StartBuild)[0].digest == A
    board.take(ev.Built("digits", board.slot().ticket))
    assert board.slot().serving.digest == A
    assert board.wanted(fx.StartFetch)[0].digest == B


def test_proven_model_that_hangs_is_built_anew():
    board = serving_a()
    board.take(ev.Misbehaved("digits", A, "Timeout", "hangs"))
    assert board.wanted(fx.StartBuild)[0].digest == A
    board.until(Step.IDLE)
    assert board.slot().serving.digest == A


def test_started_board_without_memory_keeps_what_is_on_its_disk_until_it_is_told_what_to_run():
    board = Board()
    board.take(ev.Started())
    assert board.log == []
    board.take(desired({"digits": A}))
    assert board.wanted(fx.Collect) == [fx.Collect(frozenset({A}))]


def test_version_of_a_fallback_comes_from_its_manifest():
    board = Board()
    board.take(desired({"digits": SlotDesired(artifact=A, version="")}))
    board.until(Step.IDLE)
    assert board.slot().current.version == "from-manifest"
    assert replace(board.slot(), message="") is not board.slot()


@pytest.mark.parametrize(
    "slots",
    [
        {"Digits!": A},
        {"digits": "sha256:short"},
        {"digits": SlotDesired(artifact=A, version="v", fallback="../../etc")},
        {f"slot-{n}": A for n in range(65)},
    ],
)
def test_desired_state_that_cannot_be_meant_is_a_bad_message(slots):
    board = serving_a()
    board.take(desired(slots, counter=2))
    assert (board.state.code, board.slot().serving.digest) == ("BadMessage", A)


def test_report_of_a_full_board_stays_within_its_limit():
    board = Board()
    board.take(desired({f"slot-{n}": f"sha256:{n:064x}" for n in range(64)}))
    bad = {f"sha256:{n:064x}": "ModelCrashed" for n in range(64)}
    slots = {n: replace(s, bad=bad, message="x" * 1000) for n, s in board.state.slots.items()}
    full = reported(replace(board.state, slots=slots), "boot", 1, capabilities(None))
    assert len(codec.encode(full)) < MAX_CONTROL_BYTES


def test_desired_state_that_arrives_on_the_way_back_is_followed_afterwards():
    board = serving_a()
    board.take(desired({"digits": B}, counter=2))
    board.until(Step.PROBATION)
    board.fail("BadOutput")
    board.take(desired({"digits": C}, counter=3))
    assert board.slot().step is Step.RETURNING
    board.until(Step.IDLE)
    assert (board.slot().serving.digest, board.slot().code) == (C, "")
