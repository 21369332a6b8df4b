"""From a model's outputs to an answer, as the artifact's manifest says."""

import numpy as np
from msgspec import Struct

from litefleet_agent.runtime.interface import ModelError, Tensor, is_finite
from litefleet_protocol.codes import Code
from litefleet_protocol.tensors import Postprocess


class Reading(Struct, frozen=True, gc=False):
    """What the outputs mean. `label` is empty and `confidence` None for raw tensors."""

    label: str = ""
    confidence: float | None = None


def read(outputs: list[Tensor], rules: Postprocess) -> Reading:
    """Interpret outputs (dequantized float32).

    Raises:
        ModelError: `BadOutput` when an output holds NaN or infinity, or nothing.
    """
    for n, output in enumerate(outputs):
        if not is_finite(output):
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
