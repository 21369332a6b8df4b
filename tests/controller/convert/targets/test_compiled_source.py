"""A file that was compiled for the Edge TPU before it was pushed: what can be read of it, and why it isn't taken.

The files are those of the stand-in for the compiler, see fake_compiler.py.
"""

import re
from pathlib import Path

import pytest

from litefleet_controller.convert.interface import ConversionError
from litefleet_controller.convert.opening.structure import read_model
from litefleet_controller.convert.tflite.flatbuffer import parse, serialize
from tests.controller.convert.targets.fake_compiler import compiled


@pytest.fixture
def prebuilt() -> bytes:
    return compiled((Path(__file__).parents[3] / "agent" / "data" / "int8.tflite").read_bytes(), runtime_version=13)


def refusal(data: bytes, folder: Path) -> ConversionError:
    (folder / "source").write_bytes(data)
    with pytest.raises(ConversionError) as refused:
        read_model(folder / "source")
    return refused.value


def test_it_is_refused_for_good_with_what_could_be_read_and_the_way_in(prebuilt: bytes, tmp_path: Path) -> None:
    error = refusal(prebuilt, tmp_path)
    assert (error.code, error.final) == ("CompiledAlready", True)
    assert re.search(r"1 operators, of which 1 for the TPU; takes int8 \[.*\], gives int8 \[.*\]", str(error))
    assert "Edge TPU runtime 13 or newer" in str(error)
    assert "name it in spec.prebuilt.edgetpu, and in spec.source the model that it was compiled from" in error.hint


def test_one_whose_program_is_damaged_does_not_say_which_runtime(prebuilt: bytes, tmp_path: Path) -> None:
    model = parse(prebuilt)
    model.subgraphs[0].operators[0].customOptions = [255] * 40
    assert "doesn't name" in str(refusal(serialize(model), tmp_path))


def test_one_with_wrong_indices_is_refused_for_those(prebuilt: bytes, tmp_path: Path) -> None:
    model = parse(prebuilt)
    model.subgraphs[0].operators[0].outputs = [4000]
    assert refusal(serialize(model), tmp_path).code == "BadShape"


def test_another_custom_operator_is_refused_as_before(prebuilt: bytes, tmp_path: Path) -> None:
    model = parse(prebuilt)
    model.operatorCodes[0].customCode = b"Convolution2DTransposeBias"
    assert refusal(serialize(model), tmp_path).code == "UnsupportedOp"
