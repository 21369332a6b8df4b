"""How a source can be pruned with what there is: decided before a worker is asked. Pure."""

from litefleet_controller.convert.interface import SourceFormat
from litefleet_controller.convert.workers.tasks import RungError
from litefleet_controller.resources.recipe import Channels, Pruning

_UNTRAINABLE: dict[SourceFormat, str] = {
    "savedModel": "a SavedModel has no layers that could be trained further",
    "tflite": "a .tflite file can't be trained further",
}
_NO_TRAINING = "the Model has no training data (spec.training)"


def is_trained(pruning: Pruning, source_format: SourceFormat, *, has_training: bool) -> bool:
    """Whether the source is trained as it is pruned, which takes Keras' own file and training data.

    Raises:
        RungError: `PruningUnsupported` or `TrainingMissing`, where the method doesn't go without.
    """
    is_possible = has_training and source_format not in _UNTRAINABLE
    if isinstance(pruning, Channels) and not is_possible:
        if source_format in _UNTRAINABLE:
            why = f"channels are taken out of a .keras file only: {_UNTRAINABLE[source_format]}"
            raise RungError("PruningUnsupported", why)
        raise RungError("TrainingMissing", f"a model without half of its channels must be trained, and {_NO_TRAINING}")
    return is_possible


def why_not_trained(source_format: SourceFormat) -> str:
    """Why a source was pruned all at once."""
    return _UNTRAINABLE.get(source_format, _NO_TRAINING)
