"""`.tflite` files that somebody else made, before anything is made of them: structure, precision, dimensions."""

import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from litefleet_controller.convert.interface import ConversionError
from litefleet_controller.convert.opening.foreign import inspect
from litefleet_controller.convert.opening.structure import read_model
from litefleet_controller.convert.proving.answers import read_answers
from litefleet_controller.convert.tflite.fixing import fixed
from litefleet_controller.convert.tflite.flatbuffer import operators, parse, serialize, with_unique_names
from litefleet_controller.convert.tflite.precision import described, recipe_of
from litefleet_controller.convert.workers.tasks import ANSWERS_FILE, Inspect
from litefleet_protocol.tensors import Preprocess
from tests.faults.mutating import mutant

DATA = Path(__file__).parents[3] / "agent" / "data"
SMALL = (DATA / "small.tflite").read_bytes()
Change = Callable[[Any], object]


def changed(change: Change, data: bytes = SMALL) -> bytes:
    model = parse(data)
    change(model)
    return serialize(model)


def refusal(folder: Path, data: bytes) -> ConversionError:
    path = folder / "source"
    path.write_bytes(data)
    with pytest.raises(ConversionError) as refused:
        read_model(path)
    assert refused.value.final
    assert "\n" not in str(refused.value)
    return refused.value


def first_operator(model: Any) -> Any:
    return model.subgraphs[0].operators[0]


def with_shape(*shape: int) -> Change:
    return lambda model: setattr(model.subgraphs[0].tensors[3], "shape", list(shape))


def signatures(*named: tuple[str, int]) -> Change:
    def change(model: Any) -> None:
        model.signatureDefs = []
        for name, graph in named:
            signature = schema.SignatureDefT()
            signature.signatureKey, signature.subgraphIndex, signature.inputs, signature.outputs = name, graph, [], []
            model.signatureDefs.append(signature)

    return change


def custom(model: Any) -> None:
    model.operatorCodes[0].builtinCode = model.operatorCodes[0].deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    model.operatorCodes[0].customCode = "FlexErf"


# --- structure ---------------------------------------------------------------------------------------------------


def test_a_sound_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(SMALL)
    data, model = read_model(tmp_path / "source")
    assert data == SMALL
    assert operators(model) == {"FULLY_CONNECTED": 1, "SOFTMAX": 1}


@pytest.mark.parametrize(
    ("data", "code", "says"),
    [
        (b"", "Empty", "0 bytes"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "FormatForbidden", ".h5"),
        (pickle.dumps({"weights": 1}), "FormatForbidden", "pickle"),
        (b"PK\x03\x04" + bytes(100), "FormatMismatch", "isn't a .tflite file"),
        (SMALL[:4] + b"TFL2" + SMALL[8:], "FormatMismatch", "isn't a .tflite file"),
        (SMALL[:6], "FormatMismatch", "isn't a .tflite file"),
        (SMALL[:8], "FormatMismatch", "cut off"),
        (SMALL[: len(SMALL) // 2], "FormatMismatch", "cut off"),
        (b"\xff\xff\xff\x7f" + SMALL[4:], "FormatMismatch", "cut off"),
        (changed(lambda m: setattr(m, "subgraphs", [])), "FormatMismatch", "single operator"),
        (changed(custom), "UnsupportedOp", "FlexErf"),
        (changed(lambda m: setattr(first_operator(m), "inputs", [0, 99, 2])), "BadShape", "reads tensor 99, and there"),
        (changed(lambda m: setattr(first_operator(m), "outputs", [-1])), "BadShape", "writes tensor -1"),
        (changed(lambda m: setattr(first_operator(m), "opcodeIndex", 7)), "BadShape", "the code 7"),
        (changed(lambda m: setattr(m.subgraphs[0], "outputs", [50])), "BadShape", "gives tensor 50"),
        (changed(lambda m: setattr(m.subgraphs[0].tensors[1], "buffer", 500)), "BadShape", "the buffer 500"),
        (changed(with_shape(1, -3)), "BadShape", "[1, -3]"),
        (changed(with_shape(*[1] * 40)), "BadShape", "40 dimensions"),
        (changed(signatures(("a", 0), ("b", 0))), "SignatureMissing", "'a', 'b'"),
    ],
)
def test_what_does_not_hold_together_is_refused(tmp_path: Path, data: bytes, code: str, says: str) -> None:
    refused = refusal(tmp_path, data)
    assert refused.code == code
    assert says in str(refused)


def test_every_cut_is_noticed_or_is_left_to_litert(tmp_path: Path) -> None:
    path = tmp_path / "source"
    for length in range(8, len(SMALL), 7):
        path.write_bytes(SMALL[:length])
        try:
            read_model(path)
        except ConversionError as e:
            assert e.code in {"FormatMismatch", "BadShape"}


def test_of_several_signatures_the_default_is_taken(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(changed(signatures(("train", 0), ("serving_default", 0))))
    read_model(tmp_path / "source")


# --- precision ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "recipe"), [("small", "float32"), ("int8", "int8"), ("hang-4", "float32")])
def test_what_a_file_is_already_is_told_by_its_tensors(name: str, recipe: str) -> None:
    assert recipe_of(parse((DATA / f"{name}.tflite").read_bytes())) == recipe


@pytest.mark.tensorflow
def test_what_tensorflows_converter_made_is_told(workshop: Any) -> None:
    assert recipe_of(parse(workshop.read("digits.tflite"))) == "float32"
    whole = parse(workshop.read("digits-int8.tflite"))
    assert recipe_of(whole) == "int8-float"
    assert "is int8-float already, with float32 in and float32 out" in described(whole)


@pytest.mark.parametrize("kind", ["INT16", "INT4", "UINT8", "FLOAT64"])
def test_what_no_recipe_makes_is_refused_by_its_name(kind: str) -> None:
    def change(model: Any) -> None:
        model.subgraphs[0].tensors[1].type = getattr(schema.TensorType, kind)

    with pytest.raises(ConversionError, match=f"with {kind.lower()} tensors") as refused:
        recipe_of(parse(changed(change)))
    assert refused.value.code == "FormatUnsupported"
    assert "SavedModel" in refused.value.hint


def test_integers_that_come_out_say_nothing_of_the_recipe() -> None:
    def change(model: Any) -> None:
        model.subgraphs[0].tensors[model.subgraphs[0].outputs[0]].type = schema.TensorType.INT64

    assert recipe_of(parse(changed(change))) == "float32"


def test_two_tensors_of_one_name_get_names_of_their_own() -> None:
    def change(model: Any) -> None:
        model.subgraphs[0].tensors[0].name = model.subgraphs[0].tensors[1].name

    names = [t.name for t in parse(with_unique_names(changed(change))).subgraphs[0].tensors]
    assert len(set(names)) == len(names)
    assert with_unique_names(SMALL) == SMALL


def test_operators_of_an_old_file_are_what_the_old_field_says() -> None:
    def change(model: Any) -> None:
        for code in model.operatorCodes:
            code.deprecatedBuiltinCode, code.builtinCode = code.builtinCode, 0

    old = parse(changed(change))
    assert operators(old) == {"FULLY_CONNECTED": 1, "SOFTMAX": 1}
    assert all(code.builtinCode == code.deprecatedBuiltinCode for code in old.operatorCodes)


def test_bytes_at_the_edges_of_an_int8_graph_are_int8() -> None:
    def change(model: Any) -> None:
        model.subgraphs[0].tensors[0].type = schema.TensorType.UINT8

    assert recipe_of(parse(changed(change, (DATA / "int8.tflite").read_bytes()))) == "int8"


# --- dimensions --------------------------------------------------------------------------------------------------


def with_input(shape: list[int], signature: list[int] | None = None) -> bytes:
    def change(model: Any) -> None:
        model.subgraphs[0].tensors[0].shape = shape
        model.subgraphs[0].tensors[0].shapeSignature = signature or shape

    return changed(change)


def answers(data: bytes, x: np.ndarray) -> np.ndarray:
    interpreter = Interpreter(model_content=data)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    return np.asarray(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))


def test_a_file_with_fixed_dimensions_stays_as_it_is() -> None:
    assert fixed(SMALL) == SMALL


@pytest.mark.parametrize("batch", [1, 8])
def test_an_open_batch_or_one_of_eight_becomes_one(batch: int) -> None:
    made = fixed(with_input([batch, 4], [-1, 4]))
    for tensor in parse(made).subgraphs[0].tensors:
        assert tensor.shapeSignature is None
    x = np.array([[1, 2, 0.5, 1]], np.float32)
    assert np.array_equal(answers(made, x), answers(SMALL, x))


@pytest.mark.tensorflow
def test_operators_that_only_compute_shapes_are_gone(workshop: Any) -> None:
    before = workshop.read("flattening.tflite")
    assert operators(parse(before)).keys() >= {"SHAPE", "STRIDED_SLICE", "PACK"}
    made = fixed(before)
    assert operators(parse(made)) == {"FULLY_CONNECTED": 1, "RESHAPE": 1, "SOFTMAX": 1}
    x = np.random.default_rng(1).random((1, 8, 8, 1), dtype=np.float32)
    assert np.array_equal(answers(made, x), answers(before, x))


def test_an_open_dimension_becomes_what_was_asked_for() -> None:
    made = fixed(with_input([1, 1], [-1, -1]), (1, 4))
    x = np.array([[1, 2, 0.5, 1]], np.float32)
    assert np.array_equal(answers(made, x), answers(SMALL, x))


def test_a_batch_that_is_built_in_is_refused() -> None:
    def change(model: Any) -> None:
        reshape = schema.OperatorCodeT()
        reshape.builtinCode = reshape.deprecatedBuiltinCode = schema.BuiltinOperator.RESHAPE
        reshape.version = 1
        model.operatorCodes.append(reshape)
        graph = model.subgraphs[0]
        wanted, result = schema.TensorT(), schema.TensorT()
        wanted.name, wanted.shape, wanted.type, wanted.buffer = (
            "wanted",
            [2],
            schema.TensorType.INT32,
            len(model.buffers),
        )
        result.name, result.shape, result.type, result.buffer = "result", [8, 3], schema.TensorType.FLOAT32, 0
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.array([8, 3], np.int32).tobytes(), np.uint8)
        model.buffers.append(buffer)
        graph.tensors += [wanted, result]
        operator = schema.OperatorT()
        operator.opcodeIndex = len(model.operatorCodes) - 1
        operator.inputs, operator.outputs = [int(graph.outputs[0]), len(graph.tensors) - 2], [len(graph.tensors) - 1]
        graph.operators.append(operator)
        graph.outputs = [len(graph.tensors) - 1]
        graph.tensors[0].shape = [8, 4]

    with pytest.raises(ConversionError, match="LiteRT can't") as refused:
        fixed(changed(change))
    assert refused.value.code == "BadShape"


def test_a_file_that_answers_in_another_shape_than_it_says_is_refused(tmp_path: Path) -> None:
    # A mutant of malformed-sources: its input has another shape, and what comes out follows that.
    what, data = mutant((DATA / "a.tflite").read_bytes(), random.Random("1/417"))
    assert what == "fields: shape"
    (tmp_path / "source").write_bytes(data)
    np.savez(tmp_path / "set.npz", x=np.eye(4, dtype=np.float32), y=np.array([0, 1, 2, 0]))
    task = Inspect(
        folder=str(tmp_path),
        source=str(tmp_path / "source"),
        evaluation=str(tmp_path / "set.npz"),
        preprocess=Preprocess(),
    )
    with pytest.raises(ConversionError, match=r"answers one sample with \(4, 3\), not with 3 numbers") as refused:
        inspect(task, lambda *_: None)
    assert (refused.value.code, refused.value.final) == ("BadShape", True)


def test_tensors_of_any_rank_come_out_of_a_model_that_is_no_classifier(tmp_path: Path) -> None:
    _, data = mutant((DATA / "a.tflite").read_bytes(), random.Random("1/417"))  # which gives (4, 3)
    (tmp_path / "source").write_bytes(data)
    np.savez(tmp_path / "set.npz", x=np.eye(4, dtype=np.float32))
    source, evaluation = str(tmp_path / "source"), str(tmp_path / "set.npz")
    task = Inspect(
        folder=str(tmp_path), source=source, evaluation=evaluation, metric="closeness", preprocess=Preprocess()
    )
    assert inspect(task, lambda *_: None).classes == 0
    assert read_answers(str(tmp_path / ANSWERS_FILE))[0].shape == (4, 4, 3)
