"""What the command line has a worker do for a person, beside what the controller has it do: see tasks.py.

Imports msgspec only, so that both sides start fast.
"""

from msgspec import Struct

from litefleet_protocol.tensors import Preprocess

MODEL_FILE = "model.keras"
EVALUATION_FILE = "evaluation.npz"
CALIBRATION_FILE = "calibration.npz"


class Build(Struct, frozen=True, kw_only=True, tag="build"):
    """Make MODEL_FILE: an untrained network of an architecture in zoo/."""

    folder: str
    architecture: str
    shape: tuple[int, int, int]
    """Height and width in pixels, channels."""
    classes: int
    width: float = 1.0
    seed: int = 0


class Built(Struct, frozen=True, kw_only=True, tag="built"):
    """A Build is done."""

    parameters: int
    """All of them, with the statistics of batch normalization."""
    trainable: int
    """Those that training changes."""
    left_out: int
    """Halvings of the architecture that were left out because the input is small."""


class Fit(Struct, frozen=True, kw_only=True, tag="fit"):
    """Make MODEL_FILE of a `.keras` file by training, and EVALUATION_FILE and CALIBRATION_FILE of the data."""

    folder: str
    model: str
    data: str
    """An .npz with `x` and `y`, or a folder of images in class folders."""
    epochs: int
    """At most."""
    batch: int = 32
    learning_rate: float = 1e-3
    """The largest, of Adam."""
    held_out: float = 0.1
    """Share of each class that accuracy is measured on, and nothing is trained on."""
    patience: int = 5
    """Epochs without a better one, after which training ends."""
    seed: int = 0
    scale: float = 1.0
    offset: float = 0.0
    """Inputs are x * scale + offset, as a Model's pre-processing has it."""


class Epoch(Struct, frozen=True, kw_only=True):
    """What came of an epoch of a Fit. Losses are mean cross-entropies in nats, accuracies shares in 0..1."""

    number: int
    """From 1."""
    loss: float
    accuracy: float
    """Of the examples trained on, while the model changed."""
    held_out_loss: float
    held_out_accuracy: float

    def is_better_than(self, other: "Epoch") -> bool:
        """Whether more of the held-out examples are right; or as many, and with more certainty."""
        return (self.held_out_accuracy, -self.held_out_loss) > (other.held_out_accuracy, -other.held_out_loss)


class Fitted(Struct, frozen=True, kw_only=True, tag="fitted"):
    """A Fit is done."""

    labels: tuple[str, ...]
    preprocess: Preprocess
    """For the Model."""
    trained_on: int
    held_out: int
    """Examples."""
    epochs: tuple[Epoch, ...]
    are_logits: bool
    """Whether the model ends without a softmax."""


class ImportH5(Struct, frozen=True, kw_only=True, tag="importH5"):
    """Make MODEL_FILE of a model that was saved as HDF5."""

    folder: str
    source: str


class Imported(Struct, frozen=True, kw_only=True, tag="imported"):
    """An ImportH5 is done."""

    keras_version: str
    """That wrote the file; empty when it doesn't say."""
    parameters: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    """Type and shape of each, without the batch, in words."""
    lost: tuple[str, ...]
    """What a `.keras` file for conversion doesn't have, a phrase each."""


OwnTask = Build | Fit | ImportH5
OwnReply = Built | Fitted | Imported
