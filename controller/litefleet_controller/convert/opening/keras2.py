"""What Keras 2 wrote into every layer and Keras 3 refuses, though it meant nothing. Pure.

Found by giving Keras 3.15 the configuration of each layer of tf-keras 2.21.
"""

from typing import Any

_UNGROUPED = (
    "DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D",
    "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose",
)  # fmt: skip
_SEPARABLE = ("SeparableConv1D", "SeparableConv2D")
_RECURRENT = ("LSTM", "GRU", "SimpleRNN")
_OF_NO_KERNEL = ("kernel_initializer", "kernel_regularizer", "kernel_constraint")


def modernized(architecture: Any) -> Any:
    """The same architecture, as Keras 3 reads it; changed in place. Not recursive: depth is the file's choice."""
    pending = [architecture]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            own = node.get("config")
            if isinstance(own, dict):
                _drop(str(node.get("class_name")), own)
            pending.extend(node.values())
        elif isinstance(node, list):
            pending.extend(node)
    return architecture


def _drop(layer: str, own: dict[str, Any]) -> None:
    if layer in _UNGROUPED and own.get("groups") == 1:
        del own["groups"]
    if layer in _RECURRENT and own.get("time_major") is False:
        del own["time_major"]
    if layer in _SEPARABLE:
        # It has a depthwise and a pointwise kernel, each with its own.
        for name in _OF_NO_KERNEL:
            own.pop(name, None)
    if layer.startswith("Random"):
        own.pop("rng_type", None)
