"""Running an Edge TPU compiler: a stand-in for it (see fake_compiler.py, which says what that shows and what not)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from litefleet_controller.convert.interface import ConversionError
from litefleet_controller.convert.local import LocalConverter
from litefleet_controller.convert.targets.compilation import parse_log
from litefleet_controller.convert.targets.edgetpu_compile import compile_model
from litefleet_controller.convert.targets.edgetpu_file import edges, is_compiled, operators, runtime_version
from litefleet_controller.convert.tflite.flatbuffer import parse
from litefleet_controller.convert.workers.tasks import COMPILED_FILE, RungError
from litefleet_controller.reconcile.variants import class_variant
from tests.controller.convert.bench import Bench
from tests.controller.convert.targets.fake_compiler import LOG, REFUSAL, compiled, write_compiler


@pytest.fixture
def model() -> bytes:
    """A small int8 model."""
    return (Path(__file__).parents[3] / "agent" / "data" / "int8.tflite").read_bytes()


def test_the_log_tells_version_subgraphs_and_the_fate_of_each_operator() -> None:
    log = parse_log(LOG)
    assert (log.version, log.subgraphs) == ("16.0.384591198", 1)
    assert (log.operators, log.mapped) == (12, 11)
    assert log.rows[-1].operator == "SOFTMAX"
    assert log.rows[-1].status.startswith("Operation is otherwise supported")


@pytest.mark.parametrize("text", ["", "Operator Count Status", "\x00\xff", "CONV_2D 5 Mapped to Edge TPU"])
def test_what_is_no_log_tells_nothing(text: str) -> None:
    assert (parse_log(text).version, parse_log(text).operators) == ("", 0)


def test_a_refusal_has_a_version_and_no_operators() -> None:
    assert (parse_log(REFUSAL).version, parse_log(REFUSAL).operators) == ("16.0.384591198", 0)


def test_a_compiled_file_shows_its_custom_operator_its_edges_and_the_runtime_that_it_needs(model: bytes) -> None:
    made = parse(compiled(model, runtime_version=13))
    assert operators(made) == {"edgetpu-custom-op": 1}
    assert is_compiled(made)
    assert not is_compiled(parse(model))
    assert edges(made) == edges(parse(model))
    assert runtime_version(made) == 13
    assert runtime_version(parse(model)) is None


@pytest.mark.parametrize("options", [b"", b"\x00", b"\x01\x02\x03", b"\xff" * 40])
def test_a_program_that_cannot_be_read_has_no_runtime_version(model: bytes, options: bytes) -> None:
    made = parse(compiled(model))
    made.subgraphs[0].operators[0].customOptions = list(options)
    assert runtime_version(made) is None


def test_a_compiler_makes_a_file_that_is_looked_at(model: bytes, tmp_path: Path) -> None:
    program = write_compiler(tmp_path, "compile")
    (tmp_path / "task").mkdir()
    made = compile_model(str(program), model, tmp_path / "task")
    assert (made.log.mapped, made.log.operators, made.runtime_version) == (11, 12, 14)
    assert made.operators == {"edgetpu-custom-op": 1}
    assert is_compiled(parse((tmp_path / "task" / COMPILED_FILE).read_bytes()))


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ("refuse", "edgetpu_compiler 16.0.384591198 refuses the model: ERROR: Didn't find op for builtin opcode"),
        ("map nothing", "maps none of 12 operators"),
        ("change the output", "changed what goes into the model or comes out of it"),
        ("garbage", "made a file that can't be read"),
        ("link", "refuses the model: Compilation succeeded!"),
    ],
)
def test_what_a_compiler_does_wrong_refuses_the_rung(model: bytes, tmp_path: Path, behaviour: str, said: str) -> None:
    program = write_compiler(tmp_path, behaviour)
    (tmp_path / "task").mkdir()
    with pytest.raises(RungError) as refused:
        compile_model(str(program), model, tmp_path / "task")
    assert refused.value.code == "CompilerFailed"
    assert said in str(refused.value)
    assert not (tmp_path / "task" / COMPILED_FILE).exists()


def test_a_compiler_that_hangs_is_ended_and_one_that_floods_is_read_a_megabyte(model: bytes, tmp_path: Path) -> None:
    for behaviour in ("hang", "flood"):
        (tmp_path / behaviour).mkdir()
    with pytest.raises(ConversionError, match=r"did not end within 0\.5 s") as hung:
        compile_model(str(write_compiler(tmp_path, "hang")), model, tmp_path / "hang", seconds=0.5)
    assert (hung.value.code, hung.value.final) == ("Timeout", False)
    with pytest.raises(RungError, match="nothing that this version reads"):
        compile_model(str(write_compiler(tmp_path, "flood")), model, tmp_path / "flood")


def test_a_program_that_cannot_be_started_is_a_missing_tool(model: bytes, tmp_path: Path) -> None:
    with pytest.raises(ConversionError) as missing:
        compile_model(str(tmp_path / "nothing"), model, tmp_path)
    assert missing.value.code == "ToolMissing"


# --- through the whole of conversion ---------------------------------------------------------------------------------


@dataclass
class OnlyCompiler:
    """A machine with at most one compiler; implements `Tools`."""

    place: Path | None
    machine: str = field(default="linux x86_64")

    def program(self, setting: str, *names: str) -> Path | None:
        return self.place

    def version(self, distribution: str) -> str | None:
        return None


@pytest.fixture
def new_bench(workshop: Any, tmp_path: Path) -> Callable[[str | None], Bench]:
    def make(behaviour: str | None) -> Bench:
        bench = Bench(tmp_path, workshop)
        program = write_compiler(tmp_path, behaviour) if behaviour is not None else None
        bench.converter = LocalConverter(bench.blobs, tmp_path / "work", tools=OnlyCompiler(program))
        return bench

    return make


@pytest.mark.tensorflow
async def test_without_with_and_with_a_refusing_compiler(new_bench: Callable[[str | None], Bench]) -> None:
    """One test, since they share what was converted, and the first conversion imports tensorflow."""
    request = {"source": "digits.tflite", "source_format": "tflite", "target": "edgetpu"}
    bench = new_bench(None)
    plain = await bench.make("int8", **request)
    assert plain.target is not None
    assert (plain.target.state, plain.target.compilation) == ("Missing", None)
    assert plain.operators["CONV_2D"] == 5
    assert plain.target.prediction is not None
    assert plain.target.prediction.mac_share == 1
    await bench.converter.close()

    bench = new_bench("compile")
    made = await bench.make("int8", **request)
    assert made.target is not None
    assert made.target.state == "Available"
    assert made.operators == {"edgetpu-custom-op": 1}
    assert made.toolchain["edgetpu_compiler"] == "16.0.384591198"
    assert made.model != plain.model
    assert is_compiled(parse(await bench.blobs.get(made.model)))
    assert (made.golden, made.agreement, made.signature) == (plain.golden, plain.agreement, plain.signature)
    pids = bench.converter.worker_pids
    assert (await bench.make("int8", **request)).model == made.model
    assert bench.converter.worker_pids == pids

    status = class_variant("coral", 1, await bench.convert("int8", **request), "sha256:" + "0" * 64).variant
    assert status is not None
    assert status.target is not None
    assert status.target.predicted is not None
    assert status.target.compiled is not None
    assert (status.target.name, status.target.state) == ("edgetpu", "Available")
    assert (status.target.compiled.mapped, status.target.compiled.runtime_version) == (11, 14)
    assert (status.target.predicted.operator_share, status.target.predicted.fallbacks) == (1, [])
    assert [d.operator for d in status.target.predicted.doubts] == ["FULLY_CONNECTED"]
    assert len(status.target.model_dump_json()) < 2000
    await bench.converter.close()

    bench = new_bench("refuse")
    outcome = await bench.convert("int8", **request)
    assert outcome.made is None
    assert [r.code for r in outcome.refused] == ["CompilerFailed"]
    # The processor's classes go on.
    assert (await bench.make("int8", **{**request, "target": "cpu"})).model == plain.model
    await bench.converter.close()
