"""What every engine must do behind its port, and what becomes of a bad artifact of each in a trial and in the hot slot."""

import itertools
import time

import numpy as np
import pytest

from litefleet_agent.fileio import Disk
from litefleet_agent.pipeline.preprocess import Preparation
from litefleet_agent.runtime.engines import runtime
from litefleet_agent.runtime.interface import ModelError, at_once
from litefleet_agent.slots import Slots
from litefleet_agent.swap import Builder, HotSlot
from litefleet_agent.trial import try_out
from litefleet_agent.verdict import TrialLimits
from litefleet_protocol.runtimes import MODEL_FILES, RuntimeName
from litefleet_protocol.tensors import Postprocess, Preprocess, Signature, TensorSpec
from tests.agent.artifacts import WIDE_SIGNATURE, make, npz
from tests.agent.runtime.kits import WEIGHTS, files, golden, load, softmax
from tests.agent.test_check import put
from tests.agent.test_swap import put as install

LIMITS = TrialLimits(seconds=60, memory_bytes=1024**3)
ENGINES = tuple(map(str, RuntimeName))
every = pytest.mark.parametrize("engine", ENGINES)
others = pytest.mark.parametrize("engine", ENGINES[1:])  # LiteRT's are in test_check and test_trial
RAW = Postprocess(kind="none")
IMAGE_SIGNATURE = Signature(
    inputs=(TensorSpec(name="x", shape=(1, 2, 3, 3), dtype="float32"),),
    outputs=(TensorSpec(name="z", shape=(1, 3), dtype="float32"),),
)
ONES = npz(x0=np.ones((2, 4), np.float32), y0=np.zeros((2, 4), np.float32))


def artifact(key, engine, name, *, shift=0.0, **options):
    made = files(engine, name)
    return make(key, made, golden(engine, made, shift=shift), runtime=engine, **options)


def tried(tmp_path, made, limits=LIMITS):
    verdict, trial = try_out(put(tmp_path, made), made.manifest.signature, limits)
    assert (trial is not None) == (verdict.code == ""), verdict
    return verdict


@every
def test_answers_are_the_models_whichever_way_the_input_comes(tmp_path, engine):
    model = load(engine, files(engine, "a"), tmp_path)
    assert [(s.shape, s.dtype) for s in (*model.signature.inputs, *model.signature.outputs)] == [
        ((1, 4), "float32"), ((1, 3), "float32"),
    ]  # fmt: skip
    write = Preparation(Preprocess(scale=1 / 100), model.signature.inputs).in_place(np.zeros(4, np.uint8))
    for pixels in np.random.default_rng(1).integers(0, 256, (5, 4), dtype=np.uint8):
        x = (pixels / np.float32(100)).reshape(1, 4).astype(np.float32)
        expected = softmax(x @ WEIGHTS["a"].T)
        stored = np.zeros((1, 3), np.float32)
        model.run_stored([x], [stored])
        for found in (model.infer([x])[0], model.infer_in_place(write, pixels)[0], stored):
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, expected, atol=1e-6)


@every
def test_outputs_stay_what_they_were_when_the_next_input_comes(tmp_path, engine):
    model = load(engine, files(engine, "a"), tmp_path)
    first = model.infer([np.array([[1, 0, 0, 0]], np.float32)])[0]
    kept = first.copy()
    model.infer([np.array([[0, 0, 1, 0]], np.float32)])
    np.testing.assert_array_equal(first, kept)


@every
def test_an_input_that_does_not_fit_is_refused_and_the_next_is_answered(tmp_path, engine):
    model = load(engine, files(engine, "a"), tmp_path)
    with pytest.raises(ModelError):
        model.infer([np.ones((1, 5), np.float32)])
    assert model.infer([np.ones((1, 4), np.float32)])[0].shape == (1, 3)


@every
def test_each_file_is_hashed_when_it_is_loaded(tmp_path, engine):
    made = files(engine, "a")
    for name in MODEL_FILES[engine]:
        damaged = made[name][:-1] + bytes([made[name][-1] ^ 1])
        options = {"digest": ""} if name == MODEL_FILES[engine][0] else {"beside": {name: "sha256:other"}}
        with pytest.raises(ModelError, match=f"{name} is damaged") as caught:
            load(engine, made | {name: damaged}, tmp_path, **options)
        assert caught.value.code == "DigestMismatch"


@every
@pytest.mark.parametrize("rubbish", [b"not a model at all" * 10, b""])
def test_what_is_no_model_is_a_format_mismatch(tmp_path, engine, rubbish):
    with pytest.raises(ModelError) as caught:
        load(engine, dict.fromkeys(MODEL_FILES[engine], rubbish), tmp_path)
    assert caught.value.code == "FormatMismatch"


@every
def test_an_accelerator_that_the_board_has_not_is_named_with_what_there_is(tmp_path, engine):
    with pytest.raises(ModelError, match="NPU-9") as caught:
        load(engine, files(engine, "a"), tmp_path, accelerator="NPU-9")
    assert caught.value.code == "AcceleratorMissing"


@every
def test_the_processor_is_the_first_accelerator_and_works(engine):
    found = runtime(engine)
    assert found.version
    assert found.try_accelerator(found.accelerators()[0])


@others
def test_a_good_artifact_passes_its_trial_and_answers_from_there_as_here(tmp_path, key, engine):
    made = artifact(key, engine, "a")
    verdict, trial = try_out(put(tmp_path, made), made.manifest.signature, LIMITS)
    assert (verdict.code, verdict.samples) == ("", 3), verdict
    assert verdict.worst < 1e-6
    inside = load(engine, files(engine, "a"), tmp_path / "inside")
    assert trial.signature == inside.signature
    for x in np.random.default_rng(2).random((5, 1, 4), dtype=np.float32):
        np.testing.assert_array_equal(trial.infer([x]), inside.infer([x]))
    assert trial.rss_bytes() > 1024**2


CASES = {
    "GoldenMismatch": lambda key, engine: artifact(key, engine, "a", shift=0.01),
    "BadOutput": lambda key, engine: make(
        key, files(engine, "nan"), npz(x0=np.ones((1, 4), np.float32), y0=np.zeros((1, 3), np.float32)), runtime=engine
    ),
    "BadShape": lambda key, engine: artifact(key, engine, "wide"),
    "FormatMismatch": lambda key, engine: make(
        key, dict.fromkeys(MODEL_FILES[engine], b"not a model at all" * 10), None, runtime=engine
    ),
    "MemoryLimit": lambda key, engine: make(
        key, files(engine, "huge"), ONES, signature=WIDE_SIGNATURE, postprocess=RAW, runtime=engine
    ),
    "DigestMismatch": lambda key, engine: make(key, {"golden-only.txt": b"no model in it"}, None, runtime=engine),
}


@others
@pytest.mark.parametrize("code", CASES)
def test_bad_artifact_gets_its_code(tmp_path, key, engine, code):
    assert tried(tmp_path, CASES[code](key, engine)).code == code


@others
def test_a_model_that_never_returns_times_out(tmp_path, key, engine):
    made = make(key, files(engine, "hang"), ONES, signature=WIDE_SIGNATURE, postprocess=RAW, runtime=engine)
    assert tried(tmp_path, made, TrialLimits(seconds=3, memory_bytes=1024**3)).code == "Timeout"


def test_a_slot_goes_from_engine_to_engine_between_two_inferences(tmp_path, key):
    """Every engine's `a` and `b` in turns: each answer is by exactly one of them."""
    slots = Slots(Disk(), tmp_path)
    builder = Builder(slots, runtime, LIMITS)
    hot = HotSlot("digits", time.monotonic, hang_s=30)
    x = np.array([1, 0, 0, 0], np.float32)
    for ticket, (name, engine) in enumerate(itertools.product("ab", ENGINES)):
        made = artifact(key, engine, name, version=f"{name}-{engine}")
        install(slots, made)
        hot.park(ticket, builder.build(made.digest, at_once))
        hot.flip(ticket)
        answer = hot.infer(x)
        assert (answer.version, answer.label) == (f"{name}-{engine}", {"a": "zero", "b": "two"}[name])


@others
def test_images_are_taken_as_the_source_takes_them(tmp_path, key, engine):
    """Height, width, channels, whatever the engine likes best inside: the converter keeps the source's order."""
    made = make(key, files(engine, "image"), None, signature=IMAGE_SIGNATURE, runtime=engine)
    slots = Slots(Disk(), tmp_path)
    install(slots, made)
    hot = HotSlot("digits", time.monotonic, hang_s=30)
    hot.park(1, Builder(slots, runtime, LIMITS).build(made.digest, at_once))
    hot.flip(1)
    image = np.zeros((2, 3, 3), np.uint8)
    image[..., 1] = 9
    np.testing.assert_allclose(hot.infer(image).outputs[0], softmax(np.array([[0, 9, 0]], np.float32)), atol=1e-5)


@others
def test_several_outputs_come_in_the_order_of_the_signature_in_the_trial_as_inside(tmp_path, key, engine):
    inside = load(engine, files(engine, "pair"), tmp_path / "inside")
    assert [s.shape for s in inside.signature.outputs] == [(1, 3), (1, 1)]
    made = make(key, files(engine, "pair"), None, signature=inside.signature, runtime=engine)
    _, trial = try_out(put(tmp_path, made), made.manifest.signature, LIMITS)
    x = np.array([[1, 0, 3, 0]], np.float32)
    for model in (inside, trial):
        probabilities, largest = model.infer([x])
        np.testing.assert_allclose(probabilities, softmax(x @ WEIGHTS["a"].T), atol=1e-6)
        assert largest.tolist() == [[3.0]]


@others
def test_an_operator_that_the_engine_does_not_know_is_named(tmp_path, engine):
    made = {
        name: data.replace(b"Softmax", b"Softmix").replace(b"SoftMax", b"SoftMix")
        for name, data in files(engine, "a").items()
    }
    with pytest.raises(ModelError, match=r"(?i)softmix") as caught:
        load(engine, made, tmp_path)
    assert caught.value.code == "UnsupportedOp"
