"""OpenVINO's intermediate representation: `model.xml`, the graph, and `model.bin`, its numbers.

OpenVINO reads the frozen `.tflite` file itself. Its own converter program isn't used: it reports home who converts.
"""

from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import openvino

from litefleet_controller.convert.engines.interface import first_line
from litefleet_controller.convert.samples.preprocess import Floats
from litefleet_controller.convert.workers.tasks import RungError
from litefleet_controller.resources.recipe import Recipe
from litefleet_protocol.runtimes import MODEL_FILES, RuntimeName
from litefleet_protocol.tensors import Signature, TensorSpec

_NO_OPERATORS = frozenset({"Parameter", "Constant", "Result"})
_ON_ONE_THREAD = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
"""In float32 wherever this runs: a controller on ARM would compute in float16 and prove something else."""


@cache
def core() -> Any:
    """One for the process, and kept to its end.

    Where the processor has AMX, the plug-in gives the thread that loads it a signal stack in the plug-in's own memory.
    With the last core it would be unloaded, and the next signal to that thread would kill the process.
    """
    return openvino.Core()


class OpenVinoForm:
    """Implements `interface.Form`."""

    def write(self, frozen: Path, how: Recipe, folder: Path) -> dict[str, int]:
        """Write both files; how often each operator stands in the graph."""
        try:
            model = core().read_model(frozen)
        except RuntimeError as e:
            raise RungError("UnsupportedOp", f"OpenVINO can't read the model: {first_line(e)}") from e
        operators = [op for op in model.get_ordered_ops() if op.get_type_name() not in _NO_OPERATORS]
        # Named by a counter of the process otherwise, so that the same model would give other bytes the second time.
        for number, op in enumerate(model.get_ordered_ops()):
            if op.get_type_name() != "Parameter":
                op.set_friendly_name(f"{op.get_type_name()}_{number}")
        openvino.save_model(
            model, folder / MODEL_FILES[RuntimeName.OPENVINO][0], compress_to_fp16=how.weights.dtype == "float16"
        )
        return dict(sorted(Counter(op.get_type_name() for op in operators).items()))

    def load(self, path: Path) -> "OpenVinoRunner":
        """A runner on the CPU plug-in."""
        try:
            return OpenVinoRunner(core().compile_model(path, "CPU", _ON_ONE_THREAD))
        except RuntimeError as e:
            raise RungError("BadShape", f"OpenVINO can't load the variant: {first_line(e)}") from e


class OpenVinoRunner:
    """Implements `interface.Runner`."""

    def __init__(self, compiled: Any) -> None:
        self.signature = Signature(
            inputs=tuple(map(_spec, compiled.inputs)), outputs=tuple(map(_spec, compiled.outputs))
        )
        self._request = compiled.create_infer_request()

    def infer(self, sample: Floats) -> list[Floats]:
        """Run one input."""
        self._request.get_input_tensor(0).data[...] = sample
        self._request.infer()
        outputs = (self._request.get_output_tensor(n).data for n in range(len(self.signature.outputs)))
        return [output.astype(np.float32) for output in outputs]  # a copy: the next inference writes into the same


def _spec(port: Any) -> TensorSpec:
    return TensorSpec(
        name=str(port.any_name),
        shape=tuple(int(n) for n in port.shape),
        dtype=np.dtype(port.element_type.to_dtype()).name,
    )
