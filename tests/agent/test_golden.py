"""Golden samples of models with several outputs, large ones among them."""

import io

import numpy as np
import pytest
from msgspec import UNSET

from litefleet_agent.golden import compare, read_golden
from litefleet_agent.runtime.interface import ModelError
from litefleet_protocol.messages import ArtifactManifest
from litefleet_protocol.tensors import Signature, TensorSpec

BOXES = TensorSpec(name="boxes", shape=(1, 3, 4), dtype="float32")
MASK = TensorSpec(name="mask", shape=(1, 100, 100), dtype="float32")
COUNT = TensorSpec(name="count", shape=(4,), dtype="float32")
SIGNATURE = Signature(inputs=(TensorSpec(name="x", shape=(1, 2), dtype="float32"),), outputs=(BOXES, MASK, COUNT))
RNG = np.random.default_rng(1)
Y0, Y1, Y2 = (RNG.random((2, *shape), dtype=np.float32) for shape in ((3, 4), (100, 100), (4,)))
PLACES = np.arange(0, 10_000, 7, dtype=np.int32)


def manifest(*tolerances, every=1e-3):
    return ArtifactManifest(
        namespace="default", model="m", version="m-v1", device_class="pi", variant="float32", files=(), chunk_bytes=1,
        chunks=(), signature=SIGNATURE, golden_tolerance=every, golden_tolerances=tolerances or UNSET,
    )  # fmt: skip


def written(tmp_path, **changes):
    given = {"x0": np.ones((2, 2), np.float32), "y0": Y0, "i1": PLACES, "y1": Y1.reshape(2, -1)[:, PLACES], "y2": Y2}
    file = io.BytesIO()
    np.savez(file, **(given | changes))
    (tmp_path / "golden.npz").write_bytes(file.getvalue())
    return tmp_path / "golden.npz"


def outputs(n=0):
    return [Y0[n][None].copy(), Y1[n][None].copy(), Y2[n].copy()]


def test_every_output_is_compared_and_of_large_ones_what_was_kept(tmp_path):
    samples = read_golden(written(tmp_path), SIGNATURE)
    assert [compare(outputs(n), sample.outputs, manifest()) for n, sample in enumerate(samples)] == [0.0, 0.0]


@pytest.mark.parametrize(("output", "place"), [(0, (0, 2, 3)), (1, (0, 0, 7)), (2, (3,))])
def test_any_output_that_is_off_is_a_mismatch_and_named(tmp_path, output, place):
    found = outputs()
    found[output][place] += 0.01
    with pytest.raises(ModelError, match=rf"output {output} of a golden sample differs by 0\.01") as caught:
        compare(found, read_golden(written(tmp_path), SIGNATURE)[0].outputs, manifest())
    assert caught.value.code == "GoldenMismatch"


def test_each_output_has_its_own_tolerance(tmp_path):
    found = outputs()
    found[0] += 0.5
    golden = read_golden(written(tmp_path), SIGNATURE)[0].outputs
    assert compare(found, golden, manifest(1.0, 1e-6, 1e-6)) == pytest.approx(0.5)
    with pytest.raises(ModelError, match="output 0"):
        compare(found, golden, manifest(0.1, 1.0, 1.0))
    with pytest.raises(ModelError, match="2 tolerances for 3 outputs"):
        compare(found, golden, manifest(1.0, 1.0))


def test_nan_anywhere_is_bad_also_where_nothing_was_kept(tmp_path):
    found = outputs()
    found[1][0, 0, 1] = np.nan
    with pytest.raises(ModelError) as caught:
        compare(found, read_golden(written(tmp_path), SIGNATURE)[0].outputs, manifest())
    assert caught.value.code == "BadOutput"


@pytest.mark.parametrize(
    "changes",
    [
        {"i1": PLACES + 10_000},
        {"i1": PLACES - 1},
        {"i1": PLACES[:-1]},
        {"i1": PLACES[None]},
        {"y0": Y0[:1]},
        {"y2": Y1},
    ],
)
def test_what_does_not_fit_together_is_a_mismatch(tmp_path, changes):
    with pytest.raises(ModelError) as caught:
        read_golden(written(tmp_path, **changes), SIGNATURE)
    assert caught.value.code == "GoldenMismatch"
