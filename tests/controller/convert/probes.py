"""Files that ask an interpreter which versions of which operators it has: see old_runtime.py and runtimes.yaml.

Each is one RELU, and one more operator code that nothing uses: a loader looks up every code before anything else.
`python -m tests.controller.convert.probes FOLDER` writes them for every operator of the schema.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from litefleet_controller.convert.tflite.flatbuffer import serialize

HIGHEST = 20
"""No operator has had as many versions yet."""
NAMES = {
    name: code
    for name, code in vars(schema.BuiltinOperator).items()
    if isinstance(code, int) and name not in ("CUSTOM", "DELEGATE", "PLACEHOLDER_FOR_GREATER_OP_CODES")
}


def probe(name: str, version: int) -> bytes:
    model = schema.ModelT()
    model.version = 3
    model.buffers = [schema.BufferT()]
    model.operatorCodes = [_code(schema.BuiltinOperator.RELU, 1), _code(NAMES[name], version)]
    graph = schema.SubGraphT()
    graph.tensors = [_tensor(b"x"), _tensor(b"y")]
    graph.inputs, graph.outputs = [0], [1]
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, [0], [1]
    graph.operators = [operator]
    model.subgraphs = [graph]
    return serialize(model)


def write_probes(folder: Path, highest: Mapping[str, int]) -> None:
    """Files for versions 1 to `highest` and one more of each operator."""
    for name, last in highest.items():
        for version in range(1, last + 2):
            (folder / f"{name}-{version}.tflite").write_bytes(probe(name, version))


def _code(code: int, version: int) -> Any:
    made = schema.OperatorCodeT()
    made.builtinCode, made.deprecatedBuiltinCode, made.version = code, min(code, 127), version
    return made


def _tensor(name: bytes) -> Any:
    made = schema.TensorT()
    made.name, made.shape, made.type, made.buffer = name, [1, 4], schema.TensorType.FLOAT32, 0
    return made


if __name__ == "__main__":
    write_probes(Path(sys.argv[1]), dict.fromkeys(NAMES, HIGHEST))
