"""A stand-in for edgetpu_compiler, for tests alone: the real one is closed, and can't be had on the machines that test.

It prints what version 16.0 was recorded to print (google-coral/edgetpu issues 393 and 671) and writes a file of the form
that libedgetpu reads: the graph's operators replaced by one custom operator, whose FlexBuffer holds a package with a
runtime version and no program. What the tests show with it is that our side runs a compiler contained, reads its log and
looks at its file; they show nothing about the real compiler, and no such file would run on an Edge TPU.

Run as a program it takes the real one's options; `write_compiler` makes it an executable with one behaviour.
"""

import sys
import time
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

from litefleet_controller.convert.tflite.flatbuffer import parse, serialize

LOG = """Edge TPU Compiler version 16.0.384591198
Started a compilation timeout timer of 180 seconds.

Model compiled successfully in 96 ms.

Input model: model.tflite
Input size: 71.00KiB
Output model: model_edgetpu.tflite
Output size: 101.00KiB
On-chip memory used for caching model parameters: 66.00KiB
On-chip memory remaining for caching model parameters: 7.67MiB
Off-chip memory used for streaming uncached model parameters: 0.00B
Number of Edge TPU subgraphs: 1
Total number of operations: 12
Operation log: model_edgetpu.log

Model successfully compiled but not all operations are supported by the Edge TPU. A percentage of the model will instead run on the CPU, which is slower.
Number of operations that will run on Edge TPU: 11
Number of operations that will run on CPU: 1

Operator                       Count      Status

CONV_2D                        5          Mapped to Edge TPU
DEPTHWISE_CONV_2D              4          Mapped to Edge TPU
FULLY_CONNECTED                1          Mapped to Edge TPU
MEAN                           1          Mapped to Edge TPU
SOFTMAX                        1          Operation is otherwise supported, but not mapped due to some unspecified limitation
Compilation child process completed within timeout period.
Compilation succeeded!
"""
REFUSAL = """Edge TPU Compiler version 16.0.384591198
ERROR: Didn't find op for builtin opcode 'QUANTIZE' version '3'. An older version of this builtin might be supported.

ERROR: Registration failed.

Invalid model: model.tflite
Model could not be parsed
"""


def write_compiler(folder: Path, behaviour: str) -> Path:
    """An executable `edgetpu_compiler` in `folder` that behaves as told."""
    program = folder / "edgetpu_compiler"
    root = Path(__file__).parents[4]
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(root)!r})\n"
        f"from tests.controller.convert.targets.fake_compiler import main\nsys.exit(main({behaviour!r}, sys.argv[1:]))\n"
    )
    program.chmod(0o755)
    return program


def compiled(data: bytes, runtime_version: int = 14, **package: Any) -> bytes:
    """`data` with all its operators in one for the TPU. `package`: see `options`."""
    model = parse(data)
    graph = model.subgraphs[0]
    code = schema.OperatorCodeT()
    code.builtinCode = schema.BuiltinOperator.CUSTOM
    code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = b"edgetpu-custom-op"
    code.version = 1
    model.operatorCodes = [code]
    operator = schema.OperatorT()
    operator.opcodeIndex = 0
    operator.inputs, operator.outputs = graph.inputs, graph.outputs
    operator.customOptions = np.frombuffer(options(runtime_version, **package), np.uint8)
    graph.operators = [operator]
    return serialize(model)


def options(
    runtime_version: int,
    *,
    executables: bytes = b"no program",
    compiler: str = "cl/",
    chip: int = 0,
    mark: bytes = b"DWN1",
) -> bytes:
    """As tflite/custom_op_data.cc of libedgetpu writes them, with a package of executable/executable.fbs."""
    builder = flatbuffers.Builder(64)
    held, named = builder.CreateByteVector(executables), builder.CreateString(compiler)
    builder.StartObject(8)
    builder.PrependInt32Slot(0, runtime_version, 0)
    builder.PrependUOffsetTRelativeSlot(1, held, 0)
    builder.PrependUOffsetTRelativeSlot(4, named, 0)
    builder.PrependInt32Slot(5, chip, 0)
    builder.Finish(builder.EndObject(), mark)
    flex = flexbuffers.Builder()
    with flex.Map():
        flex.Int("1", 0)
        flex.Key("4")
        flex._WriteBlob(bytes(builder.Output()), append_zero=True, type_=flexbuffers.Type.STRING)
    return bytes(flex.Finish())


def main(behaviour: str, arguments: list[str]) -> int:
    options_, out, source = arguments[0], Path(arguments[2]), Path(arguments[3])
    assert (options_, arguments[1]) == ("--show_operations", "--out_dir")
    made = out / f"{source.stem}_edgetpu.tflite"
    model: Any = parse(source.read_bytes())
    match behaviour:
        case "refuse":
            sys.stdout.write(REFUSAL)
            return 1
        case "hang":
            time.sleep(600)
        case "flood":
            made.write_bytes(compiled(source.read_bytes()))
            for _ in range(40):
                sys.stdout.write("x" * 100_000)
            return 0
        case "map nothing":
            made.write_bytes(source.read_bytes())
        case "change the output":
            model.subgraphs[0].tensors[model.subgraphs[0].outputs[0]].shape = [1, 77]
            made.write_bytes(compiled(serialize(model)))
        case "garbage":
            made.write_bytes(b"\x00\x00\x00\x00TFL3" + b"\xff" * 64)
        case "link":
            made.symlink_to("/etc/hostname")
        case "grow":
            made.write_bytes(compiled(source.read_bytes()) + b"\x00" * 4_000_000)
        case _:
            made.write_bytes(compiled(source.read_bytes()))
    sys.stdout.write(LOG)
    return 0
