"""The parity gate: does a variant answer as its source does? Pure; the numbers come from a worker or from the cache.

Whether it may go to a class at all was asked before: see admission.py.
"""

import math

from litefleet_controller.convert.cache import VariantEntry
from litefleet_controller.convert.interface import ParityLimits, RecipeName, RefusedRung

_HARDLY_VARIES = 1e-3
"""Spread of an output below which somebody should look at the evaluation set."""


def judge(recipe: RecipeName, variant: VariantEntry, limits: ParityLimits) -> RefusedRung | None:
    """Why a class refuses `variant`, or None when it takes it."""
    drop = None
    if variant.accuracy is not None and variant.source_accuracy is not None:
        drop = variant.source_accuracy - variant.accuracy
    if limits.is_close(variant.agreement, drop):
        return None
    asked = (
        f"{recipe} agrees with the source on {_percent(variant.agreement)} of {variant.evaluated} samples; the class "
        f"asks for {limits.min_agreement * 100:.4g}%"
    )
    said = [asked, _accuracy(variant, limits) if drop is not None else _closeness(variant), *variant.notes]
    return RefusedRung(recipe, "ParityFailed", "; ".join(said))


def _accuracy(variant: VariantEntry, limits: ParityLimits) -> str:
    return (
        f"accuracy {variant.accuracy:.3f} against {variant.source_accuracy:.3f} "
        f"(allowed drop {limits.max_accuracy_drop:.4g})"
    )


def _closeness(variant: VariantEntry) -> str:
    """The output that is furthest off, and what may be wrong with the set rather than with the variant."""
    worst = max(variant.closeness, key=lambda o: o.mean_error)
    said = (
        f"output {worst.output!r} is off by {worst.mean_error:.3g} of its spread of {worst.spread:.3g} on average and "
        f"by {worst.worst_error:.3g} at worst (tolerance {variant.measure.tolerance:.4g})"
    )
    if worst.spread < _HARDLY_VARIES:
        said += "; the source itself hardly varies there: does the evaluation set hold samples that it reacts to?"
    return said


def _percent(share: float) -> str:
    """Rounded down: 94.96% that misses 95% must not read as 95.0%."""
    return f"{math.floor(share * 1000) / 10:.1f}%"
