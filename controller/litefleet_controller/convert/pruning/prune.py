"""The task of a worker: from a source and its frozen file to the frozen file of the pruned model."""

from collections.abc import Callable
from pathlib import Path

from litefleet_controller.convert.pruning.once import layers_of, overall, pruned_once
from litefleet_controller.convert.pruning.plan import why_not_trained
from litefleet_controller.convert.pruning.report import Pruned
from litefleet_controller.convert.tasks import FROZEN_FILE, Prune, PrunedModel


def prune(task: Prune, stage: Callable[[str, int], None]) -> PrunedModel:
    """Write FROZEN_FILE.

    Raises: RungError, ConversionError.
    """
    stage("pruning", 0)
    how = task.pruning
    frozen = pruned_once(Path(task.frozen).read_bytes(), how.sparsity_once, how.min_weights)
    (Path(task.folder) / FROZEN_FILE).write_bytes(frozen)
    layers = layers_of(frozen)
    note = f"pruned to {overall(layers):.0%} zeros at once, without training: {why_not_trained(task.source_format)}"
    return PrunedModel(pruned=Pruned(method="magnitude", sparsity=overall(layers), layers=layers, note=note))
