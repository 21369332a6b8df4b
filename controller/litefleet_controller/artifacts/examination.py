"""What is kept of how a variant answers, beside its figures: a small JSON document, for `litefleet model report`.

Made when a variant is, by a worker, from what it computed for its proof anyway; kept as a blob that a ModelVersion's
status names. Its size is bounded whatever the model: a thousand classes have a million pairs, of which the most
frequent are kept, and a deep network's first and worst layers.
"""

import msgspec
from msgspec import Struct

MAX_BYTES = 256 * 1024
BINS = 20
"""Of the confidence histograms, over 0 to 1."""
MAX_CLASSES = 1_000
MAX_PAIRS = 400
MAX_LAYERS = 400
MAX_NAME = 80
MAX_OUTPUTS = 8


class LayerError(Struct, frozen=True, rename="camel"):
    """How far an operator's output is from that of the float model, in the running model: earlier errors included."""

    name: str
    operator: str
    dtype: str
    """What the output is stored in, e.g. int8."""
    error: float
    """Root mean square of the difference over that of the float output; 0.01 is 40 dB of signal to noise."""


class Pair(Struct, frozen=True, rename="camel"):
    """Samples that the source gives one class and the variant another one."""

    source: int
    variant: int
    count: int


class Values(Struct, frozen=True, rename="camel"):
    """How the numbers of an output are distributed, over all samples."""

    output: str
    low: float
    high: float
    """The source's lowest and highest number, between which the BINS are; what is outside counts at the edge."""
    variant: tuple[int, ...]
    source: tuple[int, ...]


class Examination(Struct, frozen=True, rename="camel", kw_only=True):
    """A variant against its source, on the evaluation samples."""

    format: int = 1
    samples: int
    classes: int = 0
    """0 for models that aren't classifiers: those have `values` in place of pairs and confidence."""
    disagreements: int
    """Samples with another answer than the source's: another class first, or an output beyond the tolerance."""
    agreed: tuple[int, ...] = ()
    """For each class how often both answered it; empty above MAX_CLASSES."""
    pairs: tuple[Pair, ...] = ()
    """The most frequent disagreements first."""
    confidence: tuple[int, ...] = ()
    """Samples by the variant's highest probability, in BINS equal bins from 0 to 1."""
    source_confidence: tuple[int, ...] = ()
    is_softmaxed: bool = False
    """Whether the answers were logits, which softmax made probabilities of."""
    values: tuple[Values, ...] = ()
    """Of the first MAX_OUTPUTS outputs."""
    layers: tuple[LayerError, ...] = ()
    """In the order they run; none for variants whose activations stay floats."""
    layer_samples: int = 0
    """Calibration samples that the layers were compared on."""
    left_out: int = 0
    """Layers that there was no room for: those with the smallest errors."""


def encode(examination: Examination) -> bytes:
    """As it is kept."""
    return msgspec.json.encode(examination)


def decode(data: bytes) -> Examination:
    """What was kept.

    Raises:
        msgspec.MsgspecError: it isn't one.
    """
    if len(data) > MAX_BYTES:
        raise msgspec.ValidationError(f"{len(data)} bytes; an examination has {MAX_BYTES} at most")
    return msgspec.json.decode(data, type=Examination)
