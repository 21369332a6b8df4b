"""Recipe: how a variant is made of a model, as data. One documented file each in recipes/; adding one is adding a file.

What is declared here convert/ carries out. Cheap to import: workers read recipes, too.
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Literal

import msgspec
from msgspec import Struct

_SUFFIX = ".yaml"
Activations = Literal["float32", "dynamic", "int8", "int16"]
Engine = Literal["litert", "openvino", "onnxruntime"]
"""As litefleet_protocol.runtimes names them."""
AcceleratorKind = Literal["cpu", "edgetpu", "myriad", "gpu"]
Objective = Literal["latency", "size", "accuracy"]
"""What the best of several variants is best in."""


class Weights(Struct, frozen=True, forbid_unknown_fields=True):
    """How the model's constants are stored."""

    dtype: Literal["float32", "float16", "int8"]
    granularity: Literal["tensor", "channel"] = "tensor"
    """Whether a weight tensor has one scale, or one for each output channel."""
    min_elements: int = 0
    """Tensors with fewer numbers stay float32: they add little to the size, and are hurt most."""


class Tolerance(Struct, frozen=True, forbid_unknown_fields=True):
    """How far a board's answers to the golden samples may be from this machine's, on the same file.

    Kernels for other processors round differently: in float32 by the order of additions, in float16 where the CPU
    computes in it, in int8 by some steps of the output's scale. A model with two swapped chunks is off by tenths.
    """

    relative: float
    """Share of the largest golden output, or of 1.0 where that is larger."""
    steps: int = 0
    """Steps of a quantized output's scale, where that is more."""


class Spared(Struct, frozen=True, forbid_unknown_fields=True):
    """The layers that stay in float32 when a class's limits can't be held without."""

    max_weights: float
    """Share of the model's weights that may stay."""
    samples: int
    """Calibration samples that a layer's damage is measured on."""


class FineTuning(Struct, frozen=True, forbid_unknown_fields=True):
    """How a pruned model is trained further, where the Model has training data."""

    epochs: int
    """How often all of it is seen, unless the Model says another number."""
    learning_rate: float
    """Adam's at the start; it falls to nothing as half a cosine wave."""
    seed: int
    """Of the order of samples and of dropout."""


class Magnitude(Struct, frozen=True, forbid_unknown_fields=True, tag_field="method", tag="magnitude"):
    """The smallest weights of each layer become zero, and stay there. Files get no smaller before they are compressed.

    Sparsity is the share of zeros in a layer's weights. Biases, normalizations and depthwise convolutions are left
    alone: there is little in them, and the model depends on each number.
    """

    initial_sparsity: float
    final_sparsity: float
    """Reached on a cubic schedule while the model is trained further (Zhu & Gupta 2017, arXiv 1710.01878)."""
    ramp: float
    """Share of the training in which sparsity grows; in the rest the model recovers."""
    sparsity_once: float
    """Without training data all of it is done at once, so it has to be less."""
    min_weights: int
    """Layers with fewer are left alone."""
    fine_tuning: FineTuning


class Channels(Struct, frozen=True, forbid_unknown_fields=True, tag_field="method", tag="channels"):
    """Whole filters go, with all that is made of their channels; the model is trained after that. Smaller and faster.

    Those go whose weights are smallest (Li et al. 2016, arXiv 1608.08710), and only where nothing but themselves
    changes: see convert/making/pruning/topology.py. Needs training data and a `.keras` file.
    """

    share: float
    """Of a layer's filters."""
    divisor: int
    """What stays is rounded up to a multiple of it."""
    min_removed: float
    """Share of the model's weights; where less could go it isn't worth it, and the recipe is refused."""
    fine_tuning: FineTuning


Pruning = Magnitude | Channels


class Recipe(Struct, frozen=True, forbid_unknown_fields=True):
    """What a file in recipes/ says."""

    summary: str
    """One line for people."""
    weights: Weights
    activations: Activations
    """How numbers are computed: `dynamic` quantizes to int8 at every inference, int8 and int16 with fixed ranges."""
    tolerance: Tolerance
    engine: Engine = "litert"
    """Which engine runs the result; its own format is made of the same frozen source."""
    edges: Literal["float32", "int8"] = "float32"
    """What goes in and out."""
    spared: Spared | None = None
    """None: every layer is quantized, whatever it costs."""
    auto: tuple[AcceleratorKind, ...] = ()
    """Accelerators for whose classes it is a candidate when they leave the choice to measurement (`variants: [auto]`);
    none: made only where a ladder names it."""
    pruning: Pruning | None = None
    """What is done to the model before it is quantized. Recipes with the same here share one pruned model."""
    unpruned: str | None = None
    """The recipe that quantizes alike and prunes nothing: what a pruned variant is compared with."""

    @property
    def needs_calibration(self) -> bool:
        """Whether activations have fixed ranges, which only sample inputs can tell."""
        return self.activations in ("int8", "int16")


@cache
def recipes() -> Mapping[str, Recipe]:
    """Every recipe by its name, the file's."""
    return read_recipes(files(__package__) / "recipes")


def candidates(engine: Engine, accelerator: AcceleratorKind) -> tuple[str, ...]:
    """The recipes among which a class with `variants: [auto]` chooses, by name."""
    return tuple(name for name, how in recipes().items() if how.engine == engine and accelerator in how.auto)


def read_recipes(folder: Traversable) -> Mapping[str, Recipe]:
    """A folder's recipes by their names, in order.

    Raises:
        msgspec.ValidationError: for a file that isn't one.
    """
    named = sorted((f.name.removesuffix(_SUFFIX), f) for f in folder.iterdir() if f.name.endswith(_SUFFIX))
    return {name: msgspec.yaml.decode(f.read_bytes(), type=Recipe) for name, f in named}
