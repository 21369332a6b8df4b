"""Checking a compiled file against its source: with the stand-in's files (fake_compiler.py), and with real ones."""

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from litefleet_controller.convert.engines.interface import run
from litefleet_controller.convert.engines.litert import LiteRTRunner
from litefleet_controller.convert.interface import ConversionError
from litefleet_controller.convert.proving.answers import write_answers
from litefleet_controller.convert.targets.edgetpu_prebuilt import check_prebuilt
from litefleet_controller.convert.tflite.flatbuffer import parse, serialize
from litefleet_controller.convert.workers.tasks import ANSWERS_FILE, CheckedPrebuilt, CheckPrebuilt
from litefleet_controller.resources.recipe import recipes
from litefleet_protocol.runtimes import GOLDEN_FILE
from litefleet_protocol.tensors import Preprocess
from tests.controller.convert.targets.fake_compiler import compiled
from tests.controller.convert.targets.real_compiled import real_file

DATA = Path(__file__).parents[3] / "agent" / "data"
INT8 = (DATA / "int8.tflite").read_bytes()


@dataclass
class Desk:
    """A source with its answers, as a worker finds them."""

    folder: Path
    source: Path
    x: np.ndarray

    def __post_init__(self) -> None:
        self.answers = run(LiteRTRunner(self.source), self.x)
        write_answers(self.folder, self.answers)
        np.savez(self.folder / "evaluation.npz", x=self.x)

    def check(self, prebuilt: bytes, **changes: Any) -> CheckedPrebuilt:
        (self.folder / "prebuilt").write_bytes(prebuilt)
        task: dict[str, Any] = {
            "folder": str(self.folder), "prebuilt": str(self.folder / "prebuilt"), "frozen": str(self.source),
            "answers": str(self.folder / ANSWERS_FILE), "evaluation": str(self.folder / "evaluation.npz"),
            "metric": "closeness", "classes": 0, "outputs": ("answer",), "preprocess": Preprocess(), "tolerance": None,
            "twin": str(self.source), "twin_recipe": "int8", "rounding": recipes()["int8"].tolerance,
        }  # fmt: skip
        return check_prebuilt(CheckPrebuilt(**(task | changes)), lambda _stage, _percent: None)

    def refusal(self, prebuilt: bytes, **changes: Any) -> ConversionError:
        with pytest.raises(ConversionError) as refused:
            self.check(prebuilt, **changes)
        assert refused.value.final
        assert refused.value.hint
        assert str(refused.value).startswith("the file of spec.prebuilt.edgetpu ")
        return refused.value


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    x = np.random.default_rng(5).uniform(0, 2, (40, 4)).astype(np.float32)
    return Desk(tmp_path, DATA / "int8.tflite", x)


def changed(change: Callable[[Any, Any], None]) -> bytes:
    """The stand-in's file with `change` of its model and main graph."""
    model = parse(compiled(INT8))
    change(model, model.subgraphs[0])
    return serialize(model)


def test_a_file_that_takes_and_gives_what_the_source_does_passes_with_what_it_says_of_itself(desk: Desk) -> None:
    found = desk.check(compiled(INT8, 13, compiler="16.0.384591198"))
    assert (found.findings.programs, found.findings.left) == (1, {})
    assert (found.findings.compiler, found.findings.runtime_version) == ("16.0.384591198", 13)
    assert found.operators == {"edgetpu-custom-op": 1}
    assert found.operator_versions == {}
    source = LiteRTRunner(desk.source).signature
    assert [(t.shape, t.dtype, t.quantization) for t in found.signature.inputs] == [
        (t.shape, t.dtype, t.quantization) for t in source.inputs
    ]
    assert [o.name for o in found.signature.outputs] == ["answer"]
    assert found.notes == ()


def test_the_golden_samples_have_the_sources_answers_and_the_tolerance_says_where_it_is_from(desk: Desk) -> None:
    found = desk.check(compiled(INT8))
    with np.load(desk.folder / GOLDEN_FILE) as golden:
        np.testing.assert_array_equal(golden["x0"], desk.x[:16])
        np.testing.assert_array_equal(golden["y0"], desk.answers[0][:16])
    assert found.golden_samples == 16
    # What it was made of is its own twin: nothing but rounding is between them.
    step = found.signature.outputs[0].quantization.scale
    reach = max(1e-3, float(np.abs(desk.answers[0]).max()))
    assert found.golden_tolerances == (pytest.approx(max(0.02 * reach, 4 * step) + step / 2, rel=1e-5),)
    assert "for the int8 made here is off by up to 0 on 40 samples" in found.findings.expectation


def test_a_twin_that_is_off_allows_as_much_and_a_models_own_tolerance_needs_no_twin(desk: Desk) -> None:
    near = desk.check(compiled(INT8)).golden_tolerances[0]
    write_answers(desk.folder, [desk.answers[0] + np.float32(0.05)])
    assert desk.check(compiled(INT8)).golden_tolerances[0] == pytest.approx(near + 0.05, rel=1e-3)
    told = desk.check(compiled(INT8), tolerance=0.3, twin=None)
    assert (told.golden_tolerances, told.findings.expectation) == ((0.3,), "0.3, as the Model says")


def test_a_file_for_a_newer_runtime_than_there_is_and_one_of_several_parts_are_noted(desk: Desk) -> None:
    def twice(model: Any, graph: Any) -> None:
        graph.operators = [graph.operators[0], graph.operators[0]]

    assert "asks for Edge TPU runtime 15; the newest that was published, 14" in desk.check(compiled(INT8, 15)).notes[0]
    assert "2 parts for the Edge TPU" in desk.check(changed(twice)).notes[0]


def _other_input(model: Any, graph: Any) -> None:
    graph.tensors[int(graph.inputs[0])].shape = [1, 5]


def _second_output(model: Any, graph: Any) -> None:
    graph.outputs = [*graph.outputs, graph.outputs[0]]


def _no_inputs(model: Any, graph: Any) -> None:
    graph.inputs = None


def _int16(model: Any, graph: Any) -> None:
    graph.tensors[int(graph.inputs[0])].type = 7


def _a_scale_for_each_channel(model: Any, graph: Any) -> None:
    graph.tensors[int(graph.outputs[0])].quantization.scale = [0.1, 0.2, 0.3]


def _other_operator(model: Any, graph: Any) -> None:
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode, code.version = b"MySpecialOp", 1
    model.operatorCodes = [*model.operatorCodes, code]


def _input_scaled(factor: float) -> Callable[[Any, Any], None]:
    def change(model: Any, graph: Any) -> None:
        quantization = graph.tensors[int(graph.inputs[0])].quantization
        quantization.scale = [float(quantization.scale[0]) * factor]

    return change


def _output_scaled(factor: float) -> Callable[[Any, Any], None]:
    def change(model: Any, graph: Any) -> None:
        quantization = graph.tensors[int(graph.outputs[0])].quantization
        quantization.scale = [float(quantization.scale[0]) * factor]

    return change


@pytest.mark.parametrize(
    ("prebuilt", "code", "said", "hint"),
    [
        (
            INT8,
            "NotCompiled",
            "isn't compiled: none of its 2 operators is edgetpu-custom-op (1 FULLY_CONNECTED, 1 SOFTMAX)",
            "that edgetpu_compiler wrote",
        ),
        (b"PK\x03\x04not a model", "FormatMismatch", "isn't a .tflite file", ""),
        (compiled(INT8)[:200], "FormatMismatch", "cut off or damaged", "upload it again"),
        (compiled(INT8, executables=b""), "ProgramInvalid", "operator 0 has a program without", "compile the model"),
        (changed(_other_operator), "UnsupportedOp", "needs the operator MySpecialOp", "end the model before"),
        (changed(_other_input), "SignatureChanged", "takes [1, 5], and the source [1, 4]", "compile the model that"),
        (changed(_second_output), "SignatureChanged", "gives [1, 3], [1, 3], and the source [1, 3]", "spec.source"),
        (changed(_no_inputs), "SignatureChanged", "takes or gives nothing", "spec.source"),
        (changed(_int16), "SignatureChanged", "takes int16 [1, 4] with 1 scales", "spec.source"),
        (changed(_a_scale_for_each_channel), "SignatureChanged", "gives int8 [1, 3] with 3 scales", "spec.source"),
        (changed(_input_scaled(0)), "SignatureChanged", "takes int8 [1, 4] with the scale 0", "spec.source"),
        (changed(_output_scaled(float("nan"))), "SignatureChanged", "with the scale nan", "spec.source"),
        (changed(_input_scaled(1 / 8)), "QuantizationMismatch", "of their numbers would be cut off", "preprocess"),
        (changed(_input_scaled(64)), "QuantizationMismatch", "they would become", "spec.input.preprocess"),
        (changed(_output_scaled(1 / 8)), "QuantizationMismatch", "the nearest is off by", "end in a softmax"),
    ],
)
def test_what_cannot_be_of_the_source_is_refused_with_names_numbers_and_a_hint(
    desk: Desk, prebuilt: bytes, code: str, said: str, hint: str
) -> None:
    error = desk.refusal(prebuilt)
    assert error.code == code
    assert said in str(error)
    assert hint in error.hint


# --- files that Google's compiler wrote ------------------------------------------------------------------------------


@pytest.fixture
def faces(tmp_path: Path) -> Desk:
    """Not faces but noise: what the landmarks are is nobody's question here, only that both files are one model's."""
    x = np.random.default_rng(5).uniform(-1, 1, (6, 96, 96, 3)).astype(np.float32)
    return Desk(tmp_path, real_file("landmarks_int8"), x)


def test_a_real_file_passes_beside_the_model_that_it_was_compiled_from(faces: Desk) -> None:
    found = faces.check(real_file("landmarks_int8_edgetpu").read_bytes(), twin_recipe="int8-float")
    assert found.findings.left == {"DEQUANTIZE": 1, "QUANTIZE": 1}
    assert found.findings.program_bytes / found.findings.file_bytes > 0.99
    assert found.findings.runtime_version == 12
    assert found.operator_versions == {"DEQUANTIZE": 2, "QUANTIZE": 1}
    assert [(t.shape, t.dtype) for t in found.signature.inputs] == [((1, 96, 96, 3), "float32")]
    assert [(t.shape, t.dtype) for t in found.signature.outputs] == [((1, 10), "float32")]
    assert found.golden_samples == 6
    assert zipfile.is_zipfile(faces.folder / GOLDEN_FILE)


def test_a_real_detector_passes_with_the_rows_of_its_lists_that_are_certain(tmp_path: Path) -> None:
    x = np.random.default_rng(5).uniform(-1, 1, (3, 320, 320, 3)).astype(np.float32)
    faces = Desk(tmp_path, real_file("faces_int8"), x)
    found = faces.check(real_file("faces_int8_edgetpu").read_bytes(), outputs=("boxes", "classes", "scores", "count"))
    assert found.operators == {"TFLite_Detection_PostProcess": 1, "edgetpu-custom-op": 1}
    assert found.operator_versions == {"TFLite_Detection_PostProcess": 1}
    assert [(t.shape, t.dtype) for t in found.signature.inputs] == [((1, 320, 320, 3), "uint8")]
    assert [t.shape for t in found.signature.outputs] == [(1, 50, 4), (1, 50), (1, 50), (1,)]
    with np.load(faces.folder / GOLDEN_FILE) as golden:
        assert "i0" in golden, "rows that may move are left out"
    assert found.golden_tolerances[3] == 1


def test_a_real_file_of_another_model_is_refused(faces: Desk, desk: Desk) -> None:
    detector = faces.refusal(real_file("faces_int8_edgetpu").read_bytes())
    assert detector.code == "SignatureChanged"
    assert "takes [1, 320, 320, 3], and the source [1, 96, 96, 3]" in str(detector)
    landmarks = desk.refusal(real_file("landmarks_int8_edgetpu").read_bytes())
    assert landmarks.code == "SignatureChanged"
    assert "takes [1, 96, 96, 3], and the source [1, 4]" in str(landmarks)


def test_a_damaged_file_passes_or_is_refused_in_words(desk: Desk) -> None:
    """What a digest doesn't guard: a file that was damaged before somebody took its digest."""
    whole, random, refused = compiled(INT8), np.random.default_rng(1), 0
    for _ in range(300):
        damaged = np.frombuffer(whole, np.uint8).copy()
        damaged[random.integers(0, len(whole), 3)] = random.integers(0, 256, 3)
        try:
            desk.check(damaged.tobytes())
        except ConversionError as e:
            refused += 1
            assert e.final
            assert str(e).removeprefix("in ").startswith("the file of spec.prebuilt.edgetpu")
    assert refused > 100
