"""What counts as a wrong answer, a lost inference and a broken promise."""

import json

import numpy as np
import pytest

from litefleet_agent.health import capabilities
from litefleet_agent.state import Artifact, Saved, SavedSlot
from litefleet_protocol.messages import Reported, SlotReported
from tests.killing.judging import Oracle, broken_promises, forgotten_windows, judge
from tests.killing.scenarios import INPUTS, Scenario

ORACLE = Oracle(
    {"a": [np.full((1, 3), n) for n in range(len(INPUTS))], "b": [np.full((1, 3), -n) for n in range(len(INPUTS))]},
    {"sha256:a": "a", "sha256:b": "b", "sha256:bad": "bad"},
)
UPGRADE = Scenario("upgrade", [{"digits": "a"}], {"digits": "b"}, {"digits": "b"})
FAILING = Scenario("failing", [{"digits": "a"}], {"digits": "bad"}, {"digits": "a"}, frozenset({"digits"}))


def line(n: int, model: str, value: float) -> bytes:
    answer = {"seq": n, "input": f"{n % 4}.npy", "artifact": f"sha256:{model}", "output": [value] * 3}
    return json.dumps(answer).encode() + b"\n"


def failed(n: int, error: str) -> bytes:
    return json.dumps({"seq": n, "input": f"{n % 4}.npy", "error": error}).encode() + b"\n"


def verdict(after: bytes, before: bytes = b"", scenario: Scenario = UPGRADE):
    return judge("digits", before, after, SavedSlot(current=Artifact("sha256:a")), scenario, ORACLE)


def test_right_answers_by_the_old_and_then_the_new_model_are_fine():
    found = verdict(line(0, "a", 0) + line(1, "a", 1) + line(2, "b", -2))
    assert (found.answers, found.wrong, found.lost) == (3, [], [])


def test_line_torn_by_this_kill_and_by_the_one_before_are_the_kills_own():
    whole = line(0, "a", 0)
    found = verdict(whole + line(0, "a", 0) + b'{"seq"', before=whole + b'{"seq":1')
    assert (found.answers, found.wrong, found.lost) == (1, [], [])


@pytest.mark.parametrize(
    ("after", "complaint"),
    [
        (line(0, "a", 5), "input 0, a: "),
        (line(0, "b", 0), "b answered first"),
        (line(0, "a", 0) + line(1, "b", -1) + line(2, "a", 2), "went back and forth"),
        (line(0, "a", 0) + line(1, "bad", 1), "'bad'"),
        (line(0, "other", 0), "a stranger"),
    ],
)
def test_wrong_answer_is_found(after, complaint):
    assert any(complaint in wrong for wrong in verdict(after).wrong)


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        (b"", line(0, "a", 0) + line(2, "a", 2), "input 1 is missing"),
        (b"", b'{"seq":0' + line(0, "a", 0), "can't be read"),
        (b"", failed(0, "BadOutput: NaN"), "was not answered"),
        (line(0, "a", 0), line(1, "a", 1), "are gone"),
    ],
)
def test_lost_inference_is_found(before, after, complaint):
    assert any(complaint in lost for lost in verdict(after, before).lost)


def test_bad_model_may_fail_inferences_where_that_is_what_it_is_for():
    after = line(0, "a", 0) + failed(1, "BadOutput: NaN") + line(2, "a", 2)
    assert verdict(after, scenario=FAILING).lost == []
    assert verdict(failed(0, "Timeout: hangs"), scenario=FAILING).lost != []


def report(**slot) -> Reported:
    told = {"digits": SlotReported(**({"phase": "Updated", "current": "sha256:b", "desired": "sha256:b"} | slot))}
    return Reported(
        fleet="f",
        device="d",
        device_class="c",
        boot_id="",
        sequence=1,
        epoch=1,
        counter=2,
        slots=told,
        capabilities=capabilities(None),
    )


def remembers(counter: int = 2, **slot) -> Saved:
    return Saved(epoch=1, counter=counter, slots={"digits": SavedSlot(**slot)})


@pytest.mark.parametrize(
    ("told", "saved", "complaint"),
    [
        (report(), remembers(1), "followed (1, 2), remembers (1, 1)"),
        (report(), remembers(current=Artifact("sha256:a")), "proved sha256:b, remembers sha256:a"),
        (report(phase="Failed", bad=("sha256:b",)), remembers(), "are bad"),
        (report(phase="Verifying", attempts=1), remembers(), "forgot attempt 1"),
    ],
)
def test_broken_promise_is_found(told, saved, complaint):
    assert any(complaint in broken for broken in broken_promises(told, saved))


@pytest.mark.parametrize(
    "saved",
    [
        remembers(current=Artifact("sha256:b")),
        remembers(3, current=Artifact("sha256:a")),
    ],
    ids=["as told", "newer than told"],
)
def test_kept_promise_is_none_broken(saved):
    assert broken_promises(report(), saved) == []


def test_telemetry_may_lack_what_was_being_written_when_the_power_went_and_no_more():
    kept = [("boot", 1), ("boot", 2), ("boot", 3)]
    assert forgotten_windows(kept, kept[:2]) == []
    assert forgotten_windows(kept, kept[2:]) == ["telemetry ('boot', 1) is gone", "telemetry ('boot', 2) is gone"]
