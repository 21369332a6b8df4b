"""Programs inside compiled files: the stand-in's (see fake_compiler.py), and real ones of 2020."""

from pathlib import Path
from typing import Any

import pytest

from litefleet_controller.convert.targets.edgetpu_program import Program, ProgramError, programs
from litefleet_controller.convert.tflite.flatbuffer import parse
from tests.controller.convert.targets.fake_compiler import compiled, options
from tests.controller.convert.targets.real_compiled import real_file

INT8 = (Path(__file__).parents[3] / "agent" / "data" / "int8.tflite").read_bytes()


def test_a_program_tells_its_size_its_runtime_and_a_compiler_that_has_a_number() -> None:
    (named,) = programs(parse(compiled(INT8, 13, compiler="16.0.384591198")))
    assert (named.runtime_version, named.compiler) == (13, "16.0.384591198")
    (unnamed,) = programs(parse(compiled(INT8, 14)))
    assert unnamed == Program(unnamed.size, 14, "")
    assert unnamed.size < named.size < 200


def test_what_is_not_compiled_has_none() -> None:
    assert programs(parse(INT8)) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mark": b"DWN9"}, "no program that can be read: it begins with"),
        ({"executables": b""}, "operator 0 has a program without anything to execute"),
        ({"chip": -1}, "a program for several chips at once"),
    ],
)
def test_what_libedgetpu_refuses_is_an_error(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ProgramError, match=said):
        programs(parse(compiled(INT8, 14, **changes)))


@pytest.mark.parametrize("damage", [b"", b"\x00", b"\xff" * 40, options(14)[:30], options(14)[20:]])
def test_options_that_are_cut_off_or_damaged_are_an_error(damage: bytes) -> None:
    model = parse(compiled(INT8))
    model.subgraphs[0].operators[0].customOptions = list(damage)
    with pytest.raises(ProgramError, match="operator 0 has"):
        programs(model)


def test_any_byte_of_the_options_may_be_wrong_and_there_is_a_program_or_an_error() -> None:
    whole = options(14)
    model = parse(compiled(INT8))
    for place in range(len(whole)):
        for bits in (0x01, 0x80, 0xFF):
            damaged = bytearray(whole)
            damaged[place] ^= bits
            model.subgraphs[0].operators[0].customOptions = list(damaged)
            try:
                assert len(programs(model)) == 1
            except ProgramError as e:
                assert "operator 0 has" in str(e)


def test_a_real_file_holds_nearly_all_of_itself_in_one_program() -> None:
    path = real_file("landmarks_int8_edgetpu")
    (found,) = programs(parse(path.read_bytes()))
    assert (found.runtime_version, found.compiler) == (12, "")
    assert 0.99 < found.size / path.stat().st_size < 1
