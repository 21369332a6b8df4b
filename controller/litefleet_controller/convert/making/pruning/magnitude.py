"""Which weights go, and when: the smallest, on a cubic schedule. Pure; numpy."""

import numpy as np
from numpy.typing import NDArray

from litefleet_controller.resources.recipe import Magnitude


def kept(weights: NDArray[np.float32], sparsity: float) -> NDArray[np.bool_]:
    """A mask of the same shape: False for the `sparsity` (share, rounded down) of `weights` that are nearest to zero.

    Of equal ones, those that come first go first, so that a mask depends on nothing but its arguments.
    """
    mask = np.ones(weights.size, np.bool_)
    gone = int(sparsity * weights.size)
    mask[np.argsort(np.abs(weights), axis=None, kind="stable")[:gone]] = False
    return mask.reshape(weights.shape)


def sparsity_at(step: int, steps: int, how: Magnitude) -> float:
    """The share that shall be zero at `step` of `steps`, counted from 0.

    Zhu & Gupta 2017 (arXiv 1710.01878), equation 1, with t0 = 0 and n*dt = `how.ramp` of all steps: fast at first,
    while there is much that is redundant, and slower and slower.
    """
    ramp = max(1.0, how.ramp * (steps - 1))
    left = 1 - min(step / ramp, 1.0)
    return how.final_sparsity + (how.initial_sparsity - how.final_sparsity) * left**3
