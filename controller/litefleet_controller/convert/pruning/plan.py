"""How a source can be pruned with what there is: decided before a worker is asked. Pure."""

from litefleet_controller.convert.interface import SourceFormat

_UNTRAINABLE: dict[SourceFormat, str] = {
    "savedModel": "a SavedModel has no layers that could be trained further",
    "tflite": "a .tflite file can't be trained further",
}
NO_TRAINING = "the Model has no training data (spec.training)"


def is_trained(source_format: SourceFormat, *, has_training: bool) -> bool:
    """Whether the source is trained while it is pruned, which takes Keras' own file and training data."""
    return has_training and source_format not in _UNTRAINABLE


def why_not_trained(source_format: SourceFormat) -> str:
    """Why a source was pruned all at once."""
    return _UNTRAINABLE.get(source_format, NO_TRAINING)
