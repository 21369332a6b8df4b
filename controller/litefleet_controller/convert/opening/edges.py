"""What goes into a source and what comes out, and whether this version can serve that. Pure.

One input; any number of outputs where they are compared number by number, and one output (batch, classes) where classes
are compared.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from litefleet_controller.convert.archive import refuse
from litefleet_controller.convert.interface import Metric

_SHOWN = 8
_PLAIN = frozenset({"float32", "int32", "int64", "bool"})
"""What an output may be as it is; other integers need a scale."""


@dataclass(frozen=True, slots=True)
class Edge:
    """A tensor at the model's edge."""

    name: str
    shape: tuple[int | None, ...]
    """The batch included; None for what is open."""
    dtype: str
    is_scaled: bool = False
    """Whether it is quantized, with one scale and zero point."""

    def __str__(self) -> str:
        return f"{self.name[:60]} {self.dtype} {['?' if n is None else n for n in self.shape]}".replace("'?'", "?")


def input_shape(inputs: Sequence[Edge], wanted: Sequence[int] | None) -> tuple[int, ...]:
    """The shape of the only input, with a batch of 1. `wanted`: `spec.input.shape`, which has no batch.

    Raises:
        ConversionError: final; `FormatUnsupported` or `BadShape`.
    """
    if len(inputs) != 1:
        refuse(
            "FormatUnsupported",
            f"the source has {len(inputs)} inputs ({_listed(inputs)}); this version serves models with one input",
            "export it with one input, from which the model takes the others apart",
        )
    (given,) = inputs
    inner = given.shape[1:]
    if not inner or any(n is not None and n <= 0 for n in inner):
        refuse("BadShape", f"the source takes {given}: it must have a batch and one dimension more, none of them 0")
    if wanted is None:
        if any(n is None for n in inner):
            refuse(
                "BadShape",
                f"the source takes {given}: every dimension but the batch must be a number",
                "say which in spec.input.shape, without the batch, or convert the model with a fixed input size",
            )
        return 1, *(n for n in inner if n is not None)
    if len(wanted) != len(inner) or any(n is not None and n != w for n, w in zip(inner, wanted, strict=True)):
        refuse("BadShape", f"the source takes {given}, and spec.input.shape (without the batch) is {list(wanted)}")
    return 1, *wanted


def check_outputs(outputs: Sequence[Edge], metric: Metric) -> int:
    """How many classes a classifier tells apart; 0 for what isn't compared as one.

    Raises:
        ConversionError: final; `FormatUnsupported` or `BadShape`.
    """
    for output in outputs:
        if output.dtype not in (_PLAIN if metric == "closeness" else {"float32"}) and not output.is_scaled:
            refuse("BadShape", f"the source gives {output}: it must be float32 or quantized with a scale")
    if metric == "accuracy":
        if len(outputs) != 1 or len(outputs[0].shape) != 2:
            refuse(
                "FormatUnsupported",
                f"the source has {len(outputs)} outputs ({_listed(outputs)}); a classifier has one (batch, classes)",
                "for other models set spec.output.postprocess.kind: none, and spec.evaluation.metric: closeness",
            )
        if outputs[0].shape[1] is None:
            refuse("BadShape", f"the source gives {outputs[0]}: its number of classes must be fixed")
        return outputs[0].shape[1]
    if not outputs:
        refuse("FormatUnsupported", "the source has no output")
    for output in outputs:
        if any(n is None for n in output.shape[1:]):
            refuse(
                "BadShape",
                f"the source gives {output}: every dimension but the batch must be a number",
                "end the model before the operator that makes a varying number of things, such as non-max suppression",
            )
    return 0


def names_of(outputs: Sequence[Edge]) -> tuple[str, ...]:
    """The outputs' names, each different: a second one of a name gets its number."""
    counts = Counter(output.name for output in outputs)
    return tuple(f"{o.name}_{n}" if counts[o.name] > 1 or not o.name else o.name for n, o in enumerate(outputs))


def _listed(edges: Sequence[Edge]) -> str:
    more = f" and {len(edges) - _SHOWN} more" if len(edges) > _SHOWN else ""
    return ", ".join(map(str, edges[:_SHOWN])) + more
