"""The hot slot: under load, with real LiteRT; and what happens to inferences that hang."""

import itertools
import threading
import time

import numpy as np
import pytest

from litefleet_agent.fileio import Disk
from litefleet_agent.runtime.engines import runtime
from litefleet_agent.runtime.interface import ModelError, at_once
from litefleet_agent.slots import Slots
from litefleet_agent.swap import Builder, HotSlot, NoModelError
from litefleet_agent.telemetry import Meter
from litefleet_agent.verdict import TrialLimits
from litefleet_protocol.codes import Code
from litefleet_protocol.tensors import Preprocess

from .artifacts import DATA, make, make_from
from .broker import until
from .models import Scripted, generation

LIMITS = TrialLimits(seconds=60, memory_bytes=1024**3)


@pytest.fixture
def hot():
    return HotSlot("digits", time.monotonic, hang_s=0.3)


TICKETS = itertools.count(1)


def serve(hot, made):
    ticket = next(TICKETS)
    hot.park(ticket, made)
    return hot.flip(ticket)


def put(slots, made):
    folder = slots.reopen(made.digest)
    folder.keep_manifest(made.envelope)
    folder.write_chunk(made.manifest, 0, b"".join(made.chunks))
    slots.finish(made.digest, made.manifest)


def test_slot_without_a_model_says_so(hot):
    with pytest.raises(NoModelError):
        hot.infer(np.zeros(4))


def test_swaps_under_load_lose_and_mix_nothing(tmp_path, key):
    """Two threads infer while two real models are swapped back and forth, each scaling its input in its own way."""
    # A machine that stands still for a moment must not look like a model that hangs: that has its own tests.
    hot = HotSlot("digits", time.monotonic, hang_s=30)
    slots = Slots(Disk(), tmp_path)
    made = {
        "v1": make_from(key, "a.tflite", version="v1", preprocess=Preprocess(scale=1.0)),
        "v2": make_from(key, "b.tflite", version="v2", preprocess=Preprocess(scale=0.5)),
    }
    for artifact in made.values():
        put(slots, artifact)
    builder = Builder(slots, runtime, LIMITS)
    x = np.array([1, 0, 0, 0], np.float32)
    expected = {
        v: g.model.infer([(x * g.manifest.preprocess.scale).reshape(1, 4).astype(np.float32)])[0]
        for v, g in ((v, builder.build(m.digest, at_once)) for v, m in made.items())
    }
    serve(hot, builder.build(made["v1"].digest, at_once))
    answers, stop, asked = [], threading.Event(), [0, 0]

    def ask(n):
        while not stop.is_set():
            asked[n] += 1
            answers.append(hot.infer(x))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for version in ["v2", "v1"] * 10:
        before = len(answers)
        serve(hot, builder.build(made[version].digest, at_once))
        hot.release()
        until(lambda before=before: len(answers) > before + 20, "answers go on")
    stop.set()
    for thread in threads:
        thread.join()
    assert len(answers) == sum(asked)
    for answer in answers:
        np.testing.assert_allclose(answer.outputs[0], expected[answer.version], atol=1e-6)
        assert answer.artifact == made[answer.version].digest
    assert {a.version for a in answers} == {"v1", "v2"}
    assert hot.longest_flip_gap_ms > 0


def test_what_was_flipped_away_is_held_until_released(hot):
    first = generation("v1")
    serve(hot, first)
    serve(hot, generation("v2"))
    assert hot.park_held(99, "sha256:v1")
    hot.flip(99)
    assert hot.live is first
    hot.release()
    assert not hot.park_held(100, "sha256:v2")


def test_hung_inference_is_noticed_and_others_go_over_to_its_successor(hot):
    hanging = Scripted()
    hanging.gate.clear()
    serve(hot, generation("v1", hanging))
    failures = []

    def stuck():
        try:
            hot.infer(np.ones(4))
        except ModelError as e:
            failures.append(e.code)

    first = threading.Thread(target=stuck)
    first.start()
    hanging.entered.wait(5)
    second_answer = []
    second = threading.Thread(target=lambda: second_answer.append(hot.infer(np.ones(4))))
    second.start()
    until(lambda: hot.stuck() is not None, "the hang is noticed")
    assert serve(hot, generation("v2", Scripted(2.0)))
    second.join(5)
    assert second_answer[0].version == "v2"
    assert not hot.park_held(7, "sha256:v1"), "a hung generation must not be gone back to"
    hanging.gate.set()
    first.join(5)
    assert failures == ["Timeout"]


def test_slow_first_answer_after_a_long_idle_time_is_no_hang(hot):
    serve(hot, generation("v1"))
    hot.infer(np.ones(4))
    assert hot.stuck() is None


def test_failing_model_raises_and_is_counted(hot):
    model = Scripted()
    model.error = ModelError(Code.INTERNAL, "no")
    meter = Meter("digits", time.monotonic, time.time)
    hot.observe([meter])
    serve(hot, generation("v1", model))
    with pytest.raises(ModelError):
        hot.infer(np.ones(4))
    model.error = None
    hot.infer(np.ones(4))
    assert (meter.failed_total, meter.answered_total) == (1, 1)


def test_nan_on_live_input_is_a_bad_output(hot):
    serve(hot, generation("v1", Scripted(float("nan"))))
    with pytest.raises(ModelError) as caught:
        hot.infer(np.ones(4))
    assert caught.value.code == "BadOutput"


def test_build_refuses_a_file_that_changed_on_the_disk(tmp_path, key):
    slots = Slots(Disk(), tmp_path)
    made = make_from(key, "a.tflite")
    put(slots, made)
    path = slots.complete(made.digest).file("model.tflite")
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(ModelError) as caught:
        Builder(slots, runtime, LIMITS).build(made.digest, at_once)
    assert caught.value.code == "DigestMismatch"


def test_build_works_without_golden_samples(tmp_path, key, hot):
    slots = Slots(Disk(), tmp_path)
    made = make(key, (DATA / "small.tflite").read_bytes(), None)
    put(slots, made)
    serve(hot, Builder(slots, runtime, LIMITS).build(made.digest, at_once))
    assert hot.infer(np.array([0, 0, 1, 0], np.float32)).label == "two"


def test_missed_inputs_are_in_the_window_of_what_serves(hot):
    meter = Meter("digits", time.monotonic, time.time)
    serve(hot, generation("v1"))
    hot.observe([meter])
    hot.infer(np.ones(4))
    meter.missed(None, 5)
    meter.missed(hot.live, 2)
    meter.missed(hot.live, 1)
    (window,) = meter.collect(hot.live.number, 10.0, everything=True)
    assert (window.count, window.errors, window.dropped) == (1, 0, 3)


def test_live_input_of_nan_is_the_inputs_fault_not_the_models(hot):
    meter = Meter("digits", time.monotonic, time.time)
    serve(hot, generation("v1"))
    hot.observe([meter])
    with pytest.raises(ModelError) as caught:
        hot.infer(np.array([1, np.nan, 0, 0], np.float32))
    assert caught.value.code == Code.BAD_MESSAGE
    assert hot.infer(np.ones(4)).label


def test_a_pause_comes_with_the_end_of_an_inference(hot):
    serve(hot, generation("v1"))
    waiting = threading.Thread(target=hot.wait_pause, args=(60,), daemon=True)
    waiting.start()
    until(lambda: hot.infer(np.ones(4)) and not waiting.is_alive(), "the pause")


def test_a_pause_that_does_not_come_is_not_waited_for_long(hot):
    serve(hot, generation("v1"))
    began = time.monotonic()
    hot.wait_pause(0.05)
    assert 0.04 < time.monotonic() - began < 10


def test_what_was_let_go_answers_for_nobody_any_more(hot):
    serve(hot, generation("v1"))
    trial = generation("v2", model=Scripted())
    trial.stand_in = hot.live
    serve(hot, trial)
    hot.let_go()
    trial.model.error = ModelError("ModelCrashed", "why")
    with pytest.raises(ModelError, match="why"):
        hot.infer(np.ones(4))


def test_the_way_to_a_model_on_trial_is_in_what_the_asker_waits_and_not_in_what_is_told_of_the_model(hot):
    model = Scripted()
    model.handover_s = 0.5
    serve(hot, generation("v1", model=model))
    told = []

    class Heard:
        def answered(self, observation):
            told.append(observation.latency_ms)

    hot.observe([Heard()])
    answer = hot.infer(np.ones(4))
    assert told == [pytest.approx(answer.latency_ms - 500)]
