"""What pruning came to, as it goes from the worker to a version's status. msgspec only: both sides import it."""

from msgspec import Struct


class PrunedLayer(Struct, frozen=True):
    """One layer."""

    name: str
    weights: int
    """Numbers in its weights before pruning."""
    sparsity: float
    """Share of them that is gone: zero, or out of the file."""


class Pruned(Struct, frozen=True, kw_only=True):
    """A pruned model."""

    method: str
    """magnitude or channels."""
    sparsity: float
    """Share of all weights of convolutions and fully connected layers that is gone."""
    layers: tuple[PrunedLayer, ...]
    """In the order they run, those that were left alone too."""
    epochs: int = 0
    """Of training after or while it was pruned; none: all at once."""
    samples: int = 0
    """That it was trained on."""
    seed: int | None = None
    note: str
    """A sentence: what was done, and why not more."""


class Unpruned(Struct, frozen=True, kw_only=True):
    """The variant that a pruned one is compared with: made the same way of the whole model."""

    recipe: str
    size: int
    """Bytes."""
    compressed: int
    """Bytes after compression."""
    agreement: float
    accuracy: float | None
    """None where the metric isn't accuracy."""


class PrunedVariant(Struct, frozen=True, kw_only=True):
    """What pruning saved."""

    pruned: Pruned
    compressed: int
    """Bytes of the variant after compression."""
    unpruned: Unpruned | None
    """None when it couldn't be made."""
