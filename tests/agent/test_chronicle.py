"""What a board's history says of the core's steps: every way has its words, and says them once."""

from litefleet_agent import events as ev
from litefleet_agent.board import State, Step, restored, saved
from litefleet_agent.chronicle import notes
from litefleet_protocol.codes import Code
from litefleet_protocol.messages import SlotDesired

from .test_core import ME, A, B, Board, desired


class Told(Board):
    """The core, and all that was told of it."""

    def __init__(self, state=None):
        super().__init__(state)
        self.told = []

    def take(self, event):
        before = self.state
        effects = super().take(event)
        self.told += notes(before, self.state, event)
        return effects

    @property
    def events(self):
        return [note.event for note in self.told]

    def last(self, event):
        return [note for note in self.told if note.event == event][-1]


def serving(digest):
    board = Told()
    board.take(desired({"digits": digest}))
    board.until(Step.IDLE)
    board.told.clear()
    return board


def test_an_update_from_desire_to_proof():
    board = Told()
    board.take(desired({"digits": A}, epoch=2, counter=7))
    board.until(Step.IDLE)
    assert board.events == [
        "desired_received",
        "fetch_begun",
        "fetched",
        "verified",
        "swapped",
        "probation_passed",
        "settled",
    ]
    assert board.told[0].fields == {"epoch": 2, "counter": 7, "slots": "digits:v-a"}
    assert board.last("swapped").fields == {"slot": "digits", "version": "v-a", "artifact": "a" * 12}
    assert not any(note.bad for note in board.told)


def test_a_swap_names_what_it_replaces():
    board = serving(A)
    board.take(desired({"digits": B}, counter=2))
    board.until(Step.IDLE)
    assert board.last("swapped").fields["replaces"] == "v-a"


def test_the_same_desired_state_again_is_nothing_new():
    board = serving(A)
    board.take(desired({"digits": A}))
    assert board.told == []


def test_ticks_and_chunks_are_nothing_to_tell_of():
    board = Told()
    board.take(desired({"digits": A}))
    board.told.clear()
    board.take(ev.FetchProgressed("digits", board.slot().ticket, 3, 10))
    board.take(ev.Tick())
    board.take(ev.Connected())
    assert board.told == []


def test_a_refusal_says_where_and_why():
    board = serving(A)
    board.take(desired({"digits": B}, counter=2))
    board.until(Step.CHECKING)
    board.fail(Code.MODEL_CRASHED)
    note = board.last("refused")
    assert note.bad
    assert (note.fields["version"], note.fields["step"], note.fields["code"]) == ("v-b", "checking", "ModelCrashed")
    assert "rolling_back" not in board.events


def test_an_attempt_that_is_tried_again_is_no_refusal():
    board = serving(A)
    board.take(desired({"digits": B}, counter=2))
    board.until(Step.CHECKING)
    board.fail(Code.INTERNAL)
    assert (board.last("attempt_failed").fields["attempt"], "refused" in board.events) == (1, False)


def test_a_way_back_has_its_cause_its_begin_and_its_end():
    board = serving(A)
    board.take(desired({"digits": B}, counter=2))
    board.until(Step.PROBATION)
    board.told.clear()
    board.fail(Code.BAD_OUTPUT)
    board.until(Step.FAILED)
    assert board.events == ["probation_failed", "rolling_back", "rolled_back"]
    assert board.last("probation_failed").fields["code"] == "BadOutput"
    assert board.last("rolled_back").fields == {
        "slot": "digits", "version": "v-a", "artifact": "a" * 12, "replaces": "v-b",
    }  # fmt: skip


def test_a_first_version_that_fails_leaves_nothing_to_serve():
    board = Told()
    board.take(desired({"digits": A}))
    board.until(Step.PROBATION)
    board.fail(Code.BAD_OUTPUT)
    assert board.events[-2:] == ["probation_failed", "serving_stopped"]


def test_a_hang_of_what_is_proven_is_told_with_its_rebuilding():
    board = serving(A)
    board.take(ev.Misbehaved("digits", A, Code.TIMEOUT, "an inference does not come back"))
    board.until(Step.IDLE)
    assert board.events == ["serving_hung", "rolling_back", "serving_rebuilt"]


def test_a_start_tells_of_itself_and_of_what_serves_again():
    board = Told(restored(ME, saved(serving(A).state), State(ME).policy))
    board.take(ev.Started())
    board.until(Step.IDLE)
    assert board.events == ["started", "serving_restored"]
    assert board.told[0].fields["slots"] == 1


def test_a_desired_state_that_is_refused_is_told_of_once():
    board = serving(A)
    for _ in range(3):
        board.take(desired({"digits": B}, device="pi-2"))
    assert board.events == ["desired_refused"]
    assert board.told[0].fields["code"] == "WrongDevice"


def test_an_emptied_slot_is_told_of():
    board = serving(A)
    board.take(desired({}, counter=2))
    assert board.events == ["desired_received", "slot_emptied"]


def test_a_missed_deadline_is_told_of():
    board = Told()
    board.take(desired({"digits": SlotDesired(artifact=A, version="v-a", deadline_seconds=5)}))
    board.now = 6.0
    board.take(ev.Tick())
    assert board.last("deadline_missed").fields["code"] == "Timeout"


def test_a_newer_epoch_is_told_of():
    board = serving(A)
    board.take(ev.EpochReceived("fleet1", 9, 0.0))
    assert board.told[0].event == "epoch_adopted"
    assert board.told[0].fields["epoch"] == 9
