"""Golden samples: what a board runs before it serves a variant, and how far off it may be. Runs in workers.

Read by the agent's `golden`; litefleet_protocol.runtimes says what is in the file.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litefleet_controller.convert.interface import Metric
from litefleet_controller.convert.samples.preprocess import Floats
from litefleet_controller.convert.workers.tasks import RungError
from litefleet_controller.resources.recipe import Tolerance
from litefleet_protocol.limits import MAX_GOLDEN_BYTES, MAX_GOLDEN_NUMBERS
from litefleet_protocol.tensors import TensorSpec

GOLDEN_SAMPLES = 4
_NPZ_OVERHEAD_BYTES = 4096
_LEAST_REACH = 1e-3
"""Of tensors: where a source says all but nothing (the score of a wake word that nobody says), only noise is small."""
_STEP = 2_654_435_761
"""Knuth's multiplicative hash, a prime: places that lie everywhere, and not in one channel, as every 16th would."""


def golden_file(
    x: Floats,
    outputs: Sequence[Floats],
    kept_places: Mapping[int, NDArray[np.int32]] | None = None,
    most: int = GOLDEN_SAMPLES,
) -> tuple[bytes, int]:
    """Golden samples as .npz, and how many: the first `most`. Any sample shows whether a board computes the same.

    `x0` float32 (N, ...) inputs after pre-processing, `y0`.. float32 (N, ...) the variant's own dequantized outputs; of
    an output with more than MAX_GOLDEN_NUMBERS numbers so many of them, (N, numbers), and `i0`.. their places. Of an
    output in `kept_places` those.

    Raises:
        RungError: `TooLarge`, when not even one sample fits.
    """
    arrays: dict[str, Any] = {"x0": x[:most]}
    for n, output in enumerate(outputs):
        kept = output[:most].reshape(min(most, len(output)), -1)
        places = (kept_places or {}).get(n)
        if places is None and kept.shape[1] > MAX_GOLDEN_NUMBERS:
            places = _places(kept.shape[1])
        if places is not None:
            places = places[:MAX_GOLDEN_NUMBERS]
            arrays |= {f"i{n}": places, f"y{n}": kept[:, places]}
        else:
            arrays[f"y{n}"] = output[:most]
    each = sum(a[0].nbytes for name, a in arrays.items() if name[0] != "i")
    fixed = sum(a.nbytes for name, a in arrays.items() if name[0] == "i")
    samples = min(len(arrays["x0"]), (MAX_GOLDEN_BYTES - _NPZ_OVERHEAD_BYTES - fixed) // each)
    if samples < 1:
        raise RungError("TooLarge", f"one golden sample has {each} bytes; the limit is {MAX_GOLDEN_BYTES}")
    file = io.BytesIO()
    # numpy dates zip members 1980-01-01 and keeps their order, so equal arrays give equal bytes.
    np.savez(file, **{name: a if name[0] == "i" else a[:samples] for name, a in arrays.items()})
    return file.getvalue(), samples


def _places(size: int) -> NDArray[np.int32]:
    """MAX_GOLDEN_NUMBERS different places of `size`, in order."""
    return np.sort(np.arange(MAX_GOLDEN_NUMBERS, dtype=np.int64) * _STEP % size).astype(np.int32)


def tolerances(
    tolerance: Tolerance, metric: Metric, outputs: Sequence[Floats], specs: Sequence[TensorSpec]
) -> tuple[float, ...]:
    """Largest absolute difference of a board's answer, for each output.

    Relative to what the golden samples reach for classes, whose scores are shares of 1; to what all samples reach for
    tensors, which have any scale.
    """
    return tuple(_tolerance(tolerance, metric, y, spec) for y, spec in zip(outputs, specs, strict=True))


def _tolerance(tolerance: Tolerance, metric: Metric, output: Floats, spec: TensorSpec) -> float:
    seen, least = (output[:GOLDEN_SAMPLES], 1.0) if metric == "accuracy" else (output, _LEAST_REACH)
    reach = max(least, float(np.abs(seen).max(initial=0.0)))
    steps = tolerance.steps * spec.quantization.scale if spec.quantization else 0.0
    return float(np.float32(max(tolerance.relative * reach, steps)))
