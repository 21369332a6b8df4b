"""Golden samples: inputs and the outputs that were right for them, travelling with the artifact.

An `.npz` with `x0`.. (float32 inputs after pre-processing) and `y0`.. (dequantized float32 outputs); a leading sample
axis takes the place of the batch axis. Read by `check` (all) and `swap` (the first, to warm up).
"""

import zipfile
from pathlib import Path

import numpy as np
from msgspec import Struct

from litefleet_agent.runtime.interface import ModelError, Tensor
from litefleet_agent.slots import ArtifactFolder
from litefleet_protocol.codes import Code
from litefleet_protocol.messages import ArtifactManifest
from litefleet_protocol.runtimes import GOLDEN_FILE
from litefleet_protocol.tensors import Signature, TensorSpec


class Golden(Struct, frozen=True):
    """One sample, with the batch axis of 1."""

    inputs: list[Tensor]
    outputs: list[Tensor]


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
            outputs = [_column(arrays, f"y{n}", spec) for n, spec in enumerate(signature.outputs)]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as e:
        raise ModelError(Code.GOLDEN_MISMATCH, f"golden samples can't be read: {str(e)[:200]}") from e
    counts = {len(column) for column in (*inputs, *outputs)}
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
    if column.shape[1:] != tuple(spec.shape[1:]):
        raise ValueError(f"{name} has samples of shape {list(column.shape[1:])}, not {list(spec.shape[1:])}")
    return [np.ascontiguousarray(sample.reshape(spec.shape)) for sample in column]


def compare(found: list[Tensor], golden: list[Tensor], tolerance: float) -> float:
    """The largest absolute difference of outputs.

    Raises:
        ModelError: `BadOutput` for NaN or infinity, `GoldenMismatch` past `tolerance`.
    """
    worst = 0.0
    for n, (have, want) in enumerate(zip(found, golden, strict=True)):
        if not np.isfinite(have).all():
            raise ModelError(Code.BAD_OUTPUT, f"output {n} of a golden sample holds NaN or infinity")
        worst = max(worst, float(np.abs(have - want).max(initial=0.0)))
    if worst > tolerance:
        raise ModelError(
            Code.GOLDEN_MISMATCH, f"a golden output differs by {worst:.4g}; {tolerance:.4g} counts as the same"
        )
    return worst
