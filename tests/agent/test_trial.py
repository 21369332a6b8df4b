"""A model on trial in its child: it answers as in this process, and whatever it does to a process it does to the child."""

import os
import time

import numpy as np
import pytest

from litefleet_agent.pipeline.preprocess import Preparation
from litefleet_agent.runtime.interface import ModelError
from litefleet_agent.runtime.litert import LiteRT
from litefleet_agent.swap import Generation, HotSlot
from litefleet_agent.trial import try_out
from litefleet_agent.verdict import TrialLimits
from litefleet_protocol.tensors import Postprocess, Preprocess
from tests.faults.ill import crashes, grows, loops

from .artifacts import DATA, WIDE_SIGNATURE, golden_for, make, make_from, npz, sha
from .broker import until
from .models import Scripted, generation
from .test_check import put

LIMITS = TrialLimits(seconds=60, memory_bytes=1024**3)
RAW = Postprocess(kind="none")
CALM = np.full((2, 4), 2e9, np.float32)
"""What all ill models answer well."""


def on_trial(tmp_path, made, limits=LIMITS):
    verdict, trial = try_out(put(tmp_path, made), made.manifest.signature, limits)
    assert trial is not None, verdict
    return trial


def ill(tmp_path, key, write, golden_x=CALM, limits=LIMITS):
    write(tmp_path / "ill.tflite")
    golden = npz(x0=golden_x, y0=golden_x)
    if write is crashes:
        golden = golden_for(tmp_path / "ill.tflite", x=golden_x)
    made = make(key, (tmp_path / "ill.tflite").read_bytes(), golden, signature=WIDE_SIGNATURE, postprocess=RAW)
    return on_trial(tmp_path, made, limits), made.manifest


@pytest.mark.parametrize("name", ["a.tflite", "int8.tflite"])
def test_it_answers_as_in_this_process(tmp_path, key, name):
    path = DATA / name
    inside = LiteRT().load(path, threads=1, digest=sha(path.read_bytes()))
    trial = on_trial(tmp_path, make_from(key, name, signature=inside.signature))
    assert trial.signature == inside.signature
    write = Preparation(Preprocess(scale=1 / 100), inside.signature.inputs).in_place(np.zeros(4, np.uint8))
    for pixels in np.random.default_rng(1).integers(0, 256, (20, 4), dtype=np.uint8):
        prepared = [(pixels / np.float32(100)).reshape(1, 4).astype(np.float32)]
        np.testing.assert_array_equal(trial.infer(prepared), inside.infer(prepared))
        np.testing.assert_array_equal(trial.infer_in_place(write, pixels), inside.infer_in_place(write, pixels))


def test_outputs_stay_what_they_were_when_the_next_input_comes(tmp_path, key):
    trial = on_trial(tmp_path, make_from(key, "a.tflite"))
    first = trial.infer([np.array([[1, 0, 0, 0]], np.float32)])[0]
    kept = first.copy()
    trial.infer([np.array([[0, 0, 1, 0]], np.float32)])
    np.testing.assert_array_equal(first, kept)


def test_crash_on_a_live_input_names_the_signal_and_every_later_inference_says_so(tmp_path, key):
    trial, _ = ill(tmp_path, key, crashes, np.full((2, 4), 2.0, np.float32))
    depths = []
    for _ in range(3):
        with pytest.raises(ModelError, match="SIGFPE") as caught:
            trial.infer([np.full((1, 4), -3e9, np.float32)])
        assert caught.value.code == "ModelCrashed"
        depths.append(len(caught.traceback))
    assert depths[2] <= depths[0], "what is raised again must not keep every input that it was raised for"


def test_hang_on_a_live_input_is_over_when_a_hundred_times_the_slowest_sample_is(tmp_path, key):
    trial, _ = ill(tmp_path, key, loops(1.0))
    began = time.monotonic()
    with pytest.raises(ModelError) as caught:
        trial.infer([np.ones((1, 4), np.float32)])
    assert caught.value.code == "Timeout"
    assert time.monotonic() - began < 10


def test_memory_past_the_childs_limit_fails_that_inference_and_the_next_is_answered(tmp_path, key):
    trial, _ = ill(tmp_path, key, grows, np.full((2, 4), 2.0, np.float32), TrialLimits(60, 512 * 1024**2))
    with pytest.raises(ModelError, match="BROADCAST_TO"):
        trial.infer([np.full((1, 4), 1e8, np.float32)])
    assert trial.infer([np.full((1, 4), 3.0, np.float32)])[0].tolist() == [[3.0] * 4]


def test_input_that_does_not_fit_is_refused_and_the_next_is_answered(tmp_path, key):
    trial = on_trial(tmp_path, make_from(key, "a.tflite"))
    with pytest.raises(ModelError) as caught:
        trial.infer([np.ones((1, 5), np.float32)])
    assert caught.value.code == "BadShape"
    assert trial.infer([np.ones((1, 4), np.float32)])[0].shape == (1, 3)


def test_child_ends_with_the_last_reference_to_it(tmp_path, key):
    trial = on_trial(tmp_path, make_from(key, "a.tflite"))
    pid = trial._child.process.pid
    assert trial.rss_bytes() > 1024**2
    del trial
    until(lambda: not os.path.exists(f"/proc/{pid}"), "the child is gone")  # noqa: PTH110


def test_what_a_model_on_trial_can_not_answer_is_answered_by_the_one_before_it(tmp_path, key):
    hot = HotSlot("digits", time.monotonic, hang_s=30)
    hot.park(1, generation("v1", model=Scripted(7.0)))
    hot.flip(1)
    trial, manifest = ill(tmp_path, key, crashes, np.full((2, 4), 2.0, np.float32))
    hot.park(2, Generation("sha256:v2", "v2", manifest, trial, is_on_trial=True))
    hot.flip(2)
    failures, answers = [], []

    class Heard:
        def answered(self, observation):
            answers.append(observation.version)

        def failed(self, generation, code, message):
            failures.append((generation.version, str(code)))

    hot.observe([Heard()])
    assert hot.infer(np.full(4, 2.0, np.float32)).version == "v2"
    answer = hot.infer(np.full(4, -3e9, np.float32))
    assert (answer.version, answer.outputs[0][0, 0]) == ("v1", pytest.approx(7 * -3e9))
    assert hot.infer(np.full(4, 2.0, np.float32)).version == "v1"
    assert answers == ["v2", "v1", "v1"]
    assert failures == [("v2", "ModelCrashed")] * 2


def test_failure_of_both_is_the_new_models(tmp_path, key):
    hot = HotSlot("digits", time.monotonic, hang_s=30)
    before = Scripted()
    before.error = ModelError("Internal", "the old one can't either")
    hot.park(1, generation("v1", model=before))
    hot.flip(1)
    trial, manifest = ill(tmp_path, key, crashes, np.full((2, 4), 2.0, np.float32))
    hot.park(2, Generation("sha256:v2", "v2", manifest, trial, is_on_trial=True))
    hot.flip(2)
    with pytest.raises(ModelError, match="SIGFPE"):
        hot.infer(np.full(4, -3e9, np.float32))
