"""`check`: what a model may do to the child that tries it out, and what it is then called."""

import numpy as np
import pytest

from litefleet_agent.fileio import Disk
from litefleet_agent.slots import ArtifactFolder
from litefleet_agent.trial import try_out
from litefleet_agent.verdict import TrialLimits
from litefleet_protocol.tensors import Postprocess, Signature, TensorSpec

from .artifacts import DATA, FLOAT_SIGNATURE, LABELS, WIDE_SIGNATURE, golden_for, make, make_from, npz

LIMITS = TrialLimits(seconds=60, memory_bytes=1024**3)
RAW = Postprocess(kind="none")
WIDE_GOLDEN = npz(x0=np.ones((2, 4), np.float32), y0=np.zeros((2, 4), np.float32))


def put(tmp_path, made):
    folder = ArtifactFolder(Disk(), tmp_path / "artifact")
    folder.keep_manifest(made.envelope)
    folder.write_chunk(made.manifest, 0, b"".join(made.chunks))
    return folder.path


def tried(tmp_path, made, limits=LIMITS):
    """The verdict on an artifact; a good one comes with a model that answers."""
    verdict, trial = try_out(put(tmp_path, made), made.manifest.signature, limits)
    assert (trial is not None) == (verdict.code == "")
    return verdict


def model(name: str) -> bytes:
    return (DATA / name).read_bytes()


def test_good_float_model_passes_with_all_its_samples(tmp_path, key):
    verdict = tried(tmp_path, make_from(key, "a.tflite"))
    assert (verdict.code, verdict.samples) == ("", 3)
    assert verdict.worst < 1e-6


def test_quantized_model_passes_through_its_own_quantization(tmp_path, key):
    signature = Signature(
        inputs=(TensorSpec(name="x", shape=(1, 4), dtype="int8"),),
        outputs=(TensorSpec(name="z", shape=(1, 3), dtype="int8"),),
    )
    assert tried(tmp_path, make_from(key, "int8.tflite", signature=signature)).code == ""


CASES = {
    "GoldenMismatch": lambda key: make_from(key, "a.tflite", golden_shift=0.01),
    "BadOutput": lambda key: make(
        key, model("nan.tflite"), npz(x0=np.ones((1, 4), np.float32), y0=np.zeros((1, 3), np.float32))
    ),
    "BadShape": lambda key: make(key, model("wide-5-classes.tflite"), golden_for(DATA / "a.tflite")),
    "SignatureChanged": lambda key: make(key, model("int8.tflite"), golden_for(DATA / "a.tflite")),
    "ModelCrashed": lambda key: make(
        key, model("crash-4.tflite"), golden_for(DATA / "a.tflite"), signature=FLOAT_SIGNATURE
    ),
    "MemoryLimit": lambda key: make(
        key, model("huge-4.tflite"), WIDE_GOLDEN, signature=WIDE_SIGNATURE, postprocess=RAW
    ),
    "FormatMismatch": lambda key: make(key, b"not a model at all" * 10, golden_for(DATA / "a.tflite")),
}


@pytest.mark.parametrize("code", CASES)
def test_bad_model_gets_its_code(tmp_path, key, code):
    assert tried(tmp_path, CASES[code](key)).code == code


def test_model_that_never_returns_times_out(tmp_path, key):
    made = make(key, model("hang-4.tflite"), WIDE_GOLDEN, signature=WIDE_SIGNATURE, postprocess=RAW)
    assert tried(tmp_path, made, TrialLimits(seconds=3, memory_bytes=1024**3)).code == "Timeout"


def test_more_labels_than_classes_is_a_changed_signature(tmp_path, key):
    made = make_from(key, "a.tflite", postprocess=Postprocess(labels=(*LABELS, "three")))
    assert tried(tmp_path, made).code == "SignatureChanged"


def test_file_changed_after_fetching_is_a_digest_mismatch(tmp_path, key):
    made = make_from(key, "a.tflite")
    path = put(tmp_path, made)
    damaged = path / "files" / "model.tflite"
    data = bytearray(damaged.read_bytes())
    data[-1] ^= 1
    damaged.write_bytes(data)
    assert try_out(path, made.manifest.signature, LIMITS)[0].code == "DigestMismatch"


def test_golden_file_of_another_shape_is_a_mismatch(tmp_path, key):
    golden = npz(x0=np.ones((2, 5), np.float32), y0=np.ones((2, 3), np.float32))
    assert tried(tmp_path, make(key, model("a.tflite"), golden)).code == "GoldenMismatch"
