"""The parity gate: does a variant answer as its source does? Pure; the numbers come from a worker or from the cache.

Whether it may go to a class at all was asked before: see admission.py.
"""

import math

from litefleet_controller.convert.cache import VariantEntry
from litefleet_controller.convert.interface import ParityLimits, RecipeName, RefusedRung


def judge(recipe: RecipeName, variant: VariantEntry, limits: ParityLimits) -> RefusedRung | None:
    """Why a class refuses `variant`, or None when it takes it."""
    drop = variant.source_accuracy - variant.accuracy
    if limits.is_close(variant.agreement, drop):
        return None
    return RefusedRung(
        recipe,
        "ParityFailed",
        f"{recipe} agrees with the source on {_percent(variant.agreement)} of {variant.evaluated} samples; the class "
        f"asks for {limits.min_agreement * 100:.4g}%; accuracy {variant.accuracy:.3f} against "
        f"{variant.source_accuracy:.3f} (allowed drop {limits.max_accuracy_drop:.4g})"
        + "".join(f"; {note}" for note in variant.notes),
    )


def _percent(share: float) -> str:
    """Rounded down: 94.96% that misses 95% must not read as 95.0%."""
    return f"{math.floor(share * 1000) / 10:.1f}%"
