"""Lists of detections whose rows past the count LiteRT leaves as memory had them: zeros are put there.

`TFLite_Detection_PostProcess` ends most detectors. With its usual settings it writes as many rows as it found, and what
stands behind them is of an earlier input, or of whatever tensor lay there before: also NaN, which would count as a bad
answer. The converter proves such models with zeros there, too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from litefleet_agent.runtime.interface import Tensor

OPERATOR = "TFLite_Detection_PostProcess"


@dataclass(frozen=True, slots=True)
class Detections:
    """Places among a model's outputs."""

    lists: tuple[int, ...]
    """With a row for each detection: (1, rows, ...)."""
    count: int
    """How many rows count: (1,)."""


def detections_of(operators: Sequence[Mapping[str, Any]], outputs: Sequence[int]) -> Detections | None:
    """Where a model has them; None where it doesn't, or doesn't say how many.

    `operators`: as LiteRT's interpreter lists them; `outputs`: tensor indices of the model's outputs.
    """
    for operator in operators:
        if operator["op_name"] == OPERATOR:
            *lists, count = (int(index) for index in operator["outputs"])
            if count in outputs:
                return Detections(tuple(outputs.index(i) for i in lists if i in outputs), outputs.index(count))
    return None


def clear(found: Sequence[Tensor], where: Detections) -> None:
    """Put zeros into the rows that don't count, in place."""
    many = int(found[where.count].item())
    for place in where.lists:
        found[place][:, many:] = 0
