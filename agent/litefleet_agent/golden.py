"""Golden samples: inputs and the outputs that were right for them, travelling with the artifact.

What is in the file litefleet_protocol.runtimes says. Read by `check` (all) and `swap` (the first, to warm up).
"""

import math
import zipfile
from pathlib import Path

import numpy as np
from msgspec import Struct, UnsetType
from numpy.typing import NDArray

from litefleet_agent.runtime.interface import ModelError, Tensor
from litefleet_agent.slots import ArtifactFolder
from litefleet_protocol.codes import Code
from litefleet_protocol.messages import ArtifactManifest
from litefleet_protocol.runtimes import GOLDEN_FILE
from litefleet_protocol.tensors import Signature, TensorSpec


class Right(Struct, frozen=True):
    """What an output must be, or some of its numbers."""

    values: Tensor
    """Flat."""
    places: NDArray[np.int32] | None
    """Where they stand in the flattened output; None for all of it."""


class Golden(Struct, frozen=True):
    """One sample; inputs with the batch axis of 1."""

    inputs: list[Tensor]
    outputs: list[Right]


def golden_of(folder: ArtifactFolder, manifest: ArtifactManifest, *, limit: int | None = None) -> list[Golden]:
    """An artifact's samples, at most `limit`; none where it came without.

    Raises:
        ModelError: as `read_golden`.
    """
    if all(file.name != GOLDEN_FILE for file in manifest.files):
        return []
    return read_golden(folder.file(GOLDEN_FILE), manifest.signature, limit=limit)


def read_golden(path: Path, signature: Signature, *, limit: int | None = None) -> list[Golden]:
    """The samples of a file, at most `limit`.

    Raises:
        ModelError: `GoldenMismatch` when the file doesn't hold what the signature asks for.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            inputs = [_column(arrays, f"x{n}", spec) for n, spec in enumerate(signature.inputs)]
            outputs = [_right(arrays, n, spec) for n, spec in enumerate(signature.outputs)]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as e:
        raise ModelError(Code.GOLDEN_MISMATCH, f"golden samples can't be read: {str(e)[:200]}") from e
    counts = {len(column) for column in inputs} | {len(column) for column in outputs}
    if len(counts) != 1:
        raise ModelError(Code.GOLDEN_MISMATCH, f"golden samples of unequal number: {sorted(counts)}")
    return [
        Golden([column[n] for column in inputs], [column[n] for column in outputs])
        for n in range(min(counts.pop(), limit if limit is not None else 1 << 30))
    ]


def warm_up(samples: list[Golden], signature: Signature) -> list[Tensor]:
    """Inputs to run a model on once, before it has to be fast."""
    return samples[0].inputs if samples else [np.zeros(spec.shape, np.float32) for spec in signature.inputs]


def _column(arrays: "np.lib.npyio.NpzFile", name: str, spec: TensorSpec) -> list[Tensor]:
    column = np.ascontiguousarray(arrays[name], dtype=np.float32)
    wanted = tuple(spec.shape[1:] if spec.shape[:1] == (1,) else spec.shape)
    if column.shape[1:] != wanted:
        raise ValueError(f"{name} has samples of shape {list(column.shape[1:])}, not {list(wanted)}")
    return [np.ascontiguousarray(sample.reshape(spec.shape)) for sample in column]


def _right(arrays: "np.lib.npyio.NpzFile", n: int, spec: TensorSpec) -> list[Right]:
    if f"i{n}" not in arrays:
        return [Right(sample.reshape(-1), None) for sample in _column(arrays, f"y{n}", spec)]
    places, values = np.asarray(arrays[f"i{n}"], np.int32), np.ascontiguousarray(arrays[f"y{n}"], np.float32)
    if places.ndim != 1 or values.ndim != 2 or values.shape[1] != len(places):
        raise ValueError(f"y{n} has the shape {list(values.shape)} for {list(places.shape)} places")
    if len(places) and not (places.min() >= 0 and places.max() < math.prod(spec.shape)):
        raise ValueError(f"i{n} has places outside of {list(spec.shape)}")
    return [Right(sample, places) for sample in values]


def compare(found: list[Tensor], golden: list[Right], manifest: ArtifactManifest) -> float:
    """The largest absolute difference of outputs.

    Raises:
        ModelError: `BadOutput` for NaN or infinity, `GoldenMismatch` past the manifest's tolerance for the output.
    """
    worst = 0.0
    each = manifest.golden_tolerances
    allowed = (manifest.golden_tolerance,) * len(golden) if isinstance(each, UnsetType) else each
    if len(allowed) != len(golden):
        raise ModelError(Code.GOLDEN_MISMATCH, f"{len(allowed)} tolerances for {len(golden)} outputs")
    for n, (have, want, tolerance) in enumerate(zip(found, golden, allowed, strict=True)):
        if not np.isfinite(have).all():
            raise ModelError(Code.BAD_OUTPUT, f"output {n} of a golden sample holds NaN or infinity")
        flat = have.reshape(-1) if want.places is None else have.reshape(-1)[want.places]
        differs = float(np.abs(flat - want.values).max(initial=0.0))
        if differs > tolerance:
            raise ModelError(
                Code.GOLDEN_MISMATCH,
                f"output {n} of a golden sample differs by {differs:.4g}; {tolerance:.4g} counts as the same",
            )
        worst = max(worst, differs)
    return worst
