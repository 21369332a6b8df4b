"""From a model's outputs to an answer, as the artifact's manifest says."""

import math
from dataclasses import dataclass

import numpy as np

from litefleet_agent.runtime.interface import ModelError, Tensor
from litefleet_protocol.codes import Code
from litefleet_protocol.tensors import Postprocess


@dataclass(frozen=True, slots=True)
class Reading:
    """What the outputs mean. `label` is empty and `confidence` None for raw tensors."""

    label: str = ""
    confidence: float | None = None


def read(outputs: list[Tensor], rules: Postprocess) -> Reading:
    """Interpret outputs (dequantized float32).

    Raises:
        ModelError: `BadOutput` when an output holds NaN or infinity, or nothing.
    """
    for n, output in enumerate(outputs):
        if not _is_finite(output):
            raise ModelError(Code.BAD_OUTPUT, f"output {n} holds NaN or infinity")
    if rules.kind == "none":
        return Reading()
    scores = outputs[0].reshape(-1) if outputs else np.empty(0, np.float32)
    if not scores.size:
        raise ModelError(Code.BAD_OUTPUT, "no scores to classify by")
    if rules.activation == "softmax":
        raised = np.exp(scores - scores.max())
        scores = raised / raised.sum()
    best = int(scores.argmax())
    label = rules.labels[best] if best < len(rules.labels) else str(best)
    return Reading(label, float(scores[best]))


def _is_finite(output: Tensor) -> bool:
    """By the largest and the smallest value, which NaN counts as both of: half the cost of `isfinite(...).all()`."""
    return not output.size or (
        math.isfinite(output.item(output.argmax())) and math.isfinite(output.item(output.argmin()))
    )
