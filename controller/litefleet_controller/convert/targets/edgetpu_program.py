"""The programs in an `_edgetpu.tflite`: what libedgetpu looks at before it gives one to the TPU, looked at here.

Formats and rules: tflite/custom_op_data.cc, executable/executable.fbs, api/runtime_version.h and
driver/package_registry.cc of github.com/google-coral/libedgetpu. A program's instructions are documented nowhere, and
nothing is said of them. Runs in workers.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from flatbuffers import encode, flexbuffers, number_types, table  # type: ignore[import-untyped]

from litefleet_controller.convert.targets.edgetpu_file import CUSTOM_OPERATOR

NEWEST_RUNTIME = 14
"""`kCurrent` of the last libedgetpu that was published: it refuses a program that asks for more."""
_PROGRAM = "4"
_IDENTIFIER = b"DWN1"
_RUNTIME, _EXECUTABLES, _COMPILER, _CHIP = 4, 6, 12, 14
"""Offsets of `table Package`'s fields in its vtable."""
_MANY_CHIPS = -1
_MISREAD = (struct.error, ArithmeticError, LookupError, TypeError, ValueError, AttributeError)


class ProgramError(Exception):
    """A program that no Edge TPU would be given; the message says why, without the operator's number."""


@dataclass(frozen=True, slots=True)
class Program:
    """One operator for the TPU."""

    size: int
    """Bytes."""
    runtime_version: int
    compiler: str
    """Empty when nothing but the prefix of a version control system is there, as in files of 2020."""


def programs(model: Any) -> list[Program]:
    """Of the main graph's operators for the TPU, in their order.

    Raises:
        ProgramError: for the first one that libedgetpu would refuse.
    """
    return [_program(number, options) for number, options in _options(model)]


def _options(model: Any) -> Iterator[tuple[int, bytes]]:
    for number, operator in enumerate(model.subgraphs[0].operators):
        if model.operatorCodes[operator.opcodeIndex].customCode == CUSTOM_OPERATOR.encode():
            given = operator.customOptions
            yield number, b"" if given is None else bytes(bytearray(given))


def _program(number: int, options: bytes) -> Program:
    try:
        package = bytes(flexbuffers.GetRoot(bytearray(options)).AsMap[_PROGRAM].AsStringBytes)
        if package[4:8] != _IDENTIFIER:
            raise ProgramError(f"operator {number} has no program that can be read: it begins with {package[:8]!r}")
        data = bytearray(package)
        root = table.Table(data, encode.Get(number_types.UOffsetTFlags.packer_type, data, 0))
        runtime, chip = _integer(root, _RUNTIME), _integer(root, _CHIP)
        executables = root.VectorLen(offset) if (offset := root.Offset(_EXECUTABLES)) else 0
        compiler = root.String(offset + root.Pos) if (offset := root.Offset(_COMPILER)) else b""
    except _MISREAD as e:
        raise ProgramError(
            f"operator {number} has no program that can be read in its {len(options)} bytes ({type(e).__name__})"
        ) from e
    if not executables:
        raise ProgramError(f"operator {number} has a program without anything to execute ({len(package)} bytes)")
    if chip == _MANY_CHIPS:
        raise ProgramError(f"operator {number} has a program for several chips at once, which no Coral board has")
    return Program(len(package), runtime, _readable(compiler))


def _integer(root: Any, field: int) -> int:
    offset = root.Offset(field)
    return int(root.Get(number_types.Int32Flags, offset + root.Pos)) if offset else 0


def _readable(version: bytes) -> str:
    text = version.decode(errors="replace")[:60].strip()
    return text if any(c.isdigit() for c in text) and text.isprintable() else ""
