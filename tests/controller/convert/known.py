"""A variant as the cache knows it, by hand: what decided it, and what came of it."""

from datetime import UTC, datetime, timedelta

from litefleet_controller.convert.cache import AdoptedEntry, AdoptedKey, FrozenKey, VariantEntry, VariantKey
from litefleet_controller.convert.interface import Made, ModelFile, Provenance
from litefleet_controller.convert.latency import Hint
from litefleet_controller.convert.progress.steps import Step
from litefleet_controller.convert.targets.prebuilt import Findings
from litefleet_controller.convert.workers.sandbox.enter import Containment
from litefleet_controller.resources.recipe import recipes
from litefleet_protocol.tensors import Preprocess, Signature

BEGAN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def digest(character: str) -> str:
    return f"sha256:{character * 64}"


def key(recipe: str = "int8") -> VariantKey:
    frozen = FrozenKey(
        source=digest("a"), source_format="keras", source_signature=None, evaluation=digest("b"), preprocess=Preprocess(scale=1 / 16),
        toolchain={"tensorflow": "2.21.0"},
    )  # fmt: skip
    how = recipes()[recipe]
    needs = how.needs_calibration
    return VariantKey(
        frozen=frozen, recipe=recipe, how=how, calibration=digest("c") if needs else None,
        calibration_samples=100 if needs else 0,
    )  # fmt: skip


def entry(*, calibrated: bool = True) -> VariantEntry:
    held = Containment(network="namespace", calls=True, writes=True, privileges=True, secrets=True, memory=True)
    names = ("freeze", "calibrate", "make") if calibrated else ("freeze", "make")
    steps = tuple(
        Step(
            name=name,
            started=BEGAN + timedelta(seconds=10 * i),
            seconds=4.5,
            stages={"starting": 4.5},
            containment=held,
        )
        for i, name in enumerate(names)
    )
    return VariantEntry(
        files=(ModelFile("model.tflite", digest("d"), 44_000),), golden=digest("e"), golden_size=100, golden_samples=4,
        golden_tolerance=0.01, signature=Signature(inputs=(), outputs=()), operators={}, operator_versions={}, traits=(),
        arena_bytes=None, agreement=0.99, accuracy=0.97, source_accuracy=0.975, evaluated=597, classes=10,
        hint=Hint(p50_ms=1.0, p99_ms=2.0, inferences=597, machine="x86_64", processor="a processor"),
        examination=digest("8"), toolchain={"tensorflow": "2.21.0", "litert-quantizer": "0.11"}, frozen=digest("f"),
        ranges=digest("9") if calibrated else None, builder={"litefleet": "0.1.0", "python": "3.11.7"}, steps=steps,
    )  # fmt: skip


def made(entry: VariantEntry, provenance: Provenance) -> Made:
    return Made(
        recipe="int8", files=entry.files, golden=entry.golden, golden_size=entry.golden_size,
        golden_samples=entry.golden_samples, golden_tolerance=entry.golden_tolerance, signature=entry.signature,
        operators=entry.operators, agreement=entry.agreement, accuracy=entry.accuracy,
        source_accuracy=entry.source_accuracy, evaluated=entry.evaluated, toolchain=entry.toolchain, seconds=1.5,
        cached=False, provenance=provenance,
    )  # fmt: skip


ADOPTED_KEY = AdoptedKey(
    file=digest("6"), tolerance=None, frozen=key().frozen, twin=digest("d"), twin_recipe="int8",
    toolchain={"tensorflow": "2.21.0"},
)  # fmt: skip
ADOPTED = AdoptedEntry(
    file=ModelFile("model.tflite", digest("6"), 5_000), golden=digest("3"), golden_size=100, golden_samples=16,
    golden_tolerances=(0.05,),
    findings=Findings(
        programs=1, program_bytes=4_000, file_bytes=5_000, left={"DEQUANTIZE": 1}, compiler="16.0", runtime_version=14,
        expectation="0.05, for the int8 made here is off by up to 0.03 on 200 samples",
    ),
    signature=Signature(inputs=(), outputs=()), operators={"DEQUANTIZE": 1, "edgetpu-custom-op": 1},
    operator_versions={"DEQUANTIZE": 2}, traits=(), arena_bytes=64, notes=(),
    step=Step(name="check", started=BEGAN + timedelta(seconds=30), seconds=4.5, stages={"starting": 4.5},
              containment=entry().steps[0].containment),
)  # fmt: skip
