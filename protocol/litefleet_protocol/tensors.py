"""What goes into a model and what comes out: tensors, and the pre- and post-processing that belong to a version.

These travel in the artifact manifest, so that a board flips model, pre- and post-processing together and an input
scaled for the old model never reaches the new one.
"""

from msgspec import Struct


class Quantization(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Affine quantization of a whole tensor: real = scale * (stored - zeroPoint). TFLite's per-tensor scheme."""

    scale: float
    zero_point: int


class TensorSpec(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One tensor of a model's signature.

    `shape` has every dimension fixed, the batch (1) included. `dtype` is numpy's name: float32, int8, uint8, int32.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    quantization: Quantization | None = None


class Signature(Struct, frozen=True, kw_only=True):
    """A model's inputs and outputs in the order the interpreter has them."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


class Preprocess(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """From a decoded image or array to the source model's float input: resize, colour, `x * scale + offset`.

    Quantizing to the variant's input dtype happens after this, by the tensor's own `Quantization`.
    """

    resize: tuple[int, int] | None = None
    """Height and width in pixels, bilinear; None leaves the size as it is."""
    channels: int | None = None
    """1 for grey, 3 for RGB; None leaves what is there."""
    scale: float = 1.0
    offset: float = 0.0


class Postprocess(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """From the (dequantized) output to an answer."""

    kind: str = "classification"
    """`classification`: arg max over the last axis, confidence is its probability. `none`: raw tensors."""
    activation: str = "none"
    """`softmax` when the model ends in logits, `none` when it ends in probabilities."""
    labels: tuple[str, ...] = ()
    top_k: int = 1
