"""Full int8 where a class's limits allow it, and otherwise with the most harmful layers left in float32.

Each step quantizes anew from the one calibration and runs the evaluation set, so their number is what it costs: none,
1, 2, 4, 8 ... layers. The limits decide here and not in the controller, which is why they are in the variant's key
(cache.py): classes with the same limits share the search, others have one of their own. Runs in workers.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from litefleet_controller.convert.interface import ParityLimits
from litefleet_controller.convert.making.layers import Layer, damages, growing, layers
from litefleet_controller.convert.making.quantize import quantize
from litefleet_controller.convert.proving.trial import Trial, Tried
from litefleet_controller.convert.samples.preprocess import Floats
from litefleet_controller.convert.tflite.flatbuffer import parse
from litefleet_controller.convert.tflite.opversions import with_needed_versions
from litefleet_controller.convert.workers.tasks import Quantize, RungError
from litefleet_controller.resources.recipe import Spared

_NAMED = 8
"""Layers that the note names."""


def spare(
    task: Quantize,
    spared: Spared,
    goal: ParityLimits,
    ranges: Mapping[str, Any],
    x: Floats,
    trial: Trial,
    stage: Callable[[str, int], None],
) -> tuple[Tried, str]:
    """The model with the fewest layers in float32 that holds `goal`, or the nearest to it; and a sentence about it.

    `x`: calibration inputs, float32 (N, ...), that the damage of each layer is measured on.

    Raises:
        RungError: when no step makes a file that can be run; see `quantize` and `Trial`.
    """
    frozen = Path(task.frozen).read_bytes()
    outcome = first = _attempt(task, frozen, ranges, (), trial)
    if isinstance(first, Tried) and _holds(first, goal, trial):
        return first, "every layer is in int8: it holds the limits"
    ranked = damages(frozen, task.how, ranges, x, lambda share: stage("comparing", 62 + int(20 * share)))
    every = layers(parse(frozen))
    kept: Sequence[tuple[Layer, float]] = ()
    for sparing in list(growing(ranked, sum(layer.weights for layer in every), spared.max_weights))[1:]:
        stage("quantizing", 84)
        tried = _attempt(task, frozen, ranges, sparing, trial)
        if isinstance(tried, Tried):
            if _holds(tried, goal, trial):
                return tried, _note(first, sparing, every)
            if isinstance(outcome, RungError) or tried.score.rank > outcome.score.rank:
                outcome, kept = tried, sparing
    if isinstance(outcome, RungError):
        raise outcome
    return outcome, f"{_note(first, kept, every)}; no more than {spared.max_weights:.0%} of the weights may"


def _attempt(
    task: Quantize, frozen: bytes, ranges: Mapping[str, Any], sparing: Sequence[tuple[Layer, float]], trial: Trial
) -> Tried | RungError:
    """Ranges that are too wide may also make a file that can't be loaded: another reason to spare layers."""
    try:
        model = quantize(frozen, task.recipe, task.how, ranges, [layer.scope for layer, _ in sparing])
        return trial(with_needed_versions(model))
    except RungError as e:
        return e


def _holds(tried: Tried, goal: ParityLimits, trial: Trial) -> bool:
    drop = None
    if trial.source_accuracy is not None and tried.score.accuracy is not None:
        drop = trial.source_accuracy - tried.score.accuracy
    return goal.is_close(tried.score.agreement, drop)


def _note(first: Tried | RungError, kept: Sequence[tuple[Layer, float]], every: Sequence[Layer]) -> str:
    if isinstance(first, Tried):
        before = f"with all layers in int8, {first.score.agreement:.1%} of the answers agree"
    else:
        before = f"with all layers in int8, {str(first).rstrip('.')}"
    if not kept:
        return f"{before}, and no layer's staying in float32 helps"
    named = ", ".join(f"{layer.operator} {layer.name!r} ({damage:.1e})" for layer, damage in kept[:_NAMED])
    more = f" and {len(kept) - _NAMED} more" if len(kept) > _NAMED else ""
    share = sum(layer.weights for layer, _ in kept) / max(sum(layer.weights for layer in every), 1)
    return (
        f"{before}; {len(kept)} of {len(every)} layers, with {share:.0%} of the weights, stay in float32: they change "
        f"the answers most when they alone are quantized (relative mean square error): {named}{more}"
    )
