"""`variants: [auto]` on real digits: every candidate is made of one frozen source, and each class gets its best.

The source is the trained network as TensorFlow's converter exported it, so that no worker pays for tensorflow.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from litefleet_controller.artifacts.examination import decode
from litefleet_controller.convert.interface import ConversionRequest, Outcome, ParityLimits, Progress
from litefleet_controller.convert.latency import Seen, form_of
from litefleet_controller.resources.recipe import candidates
from tests.controller.convert.bench import LIMITS, Bench, ignore

pytestmark = [pytest.mark.tensorflow, pytest.mark.asyncio(loop_scope="module")]
AUTO = candidates("litert", "cpu")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(workshop: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("auto"), workshop)
    yield made
    await made.converter.close()


async def asked(bench: Bench, **changes: Any) -> ConversionRequest:
    return await bench.request(*AUTO, source="digits.tflite", source_format="tflite", **changes)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def outcomes(bench: Bench) -> dict[str, Outcome]:
    """Three classes at once, one of each objective."""
    request = await asked(bench)
    objectives = ("size", "accuracy", "latency")
    found = await asyncio.gather(
        *(bench.converter.convert(replace(request, objective=o, device_class=o), ignore) for o in objectives)
    )
    return dict(zip(objectives, found, strict=True))


async def test_three_classes_share_one_frozen_source_and_one_calibration(
    bench: Bench, outcomes: dict[str, Outcome]
) -> None:
    request = await asked(bench)
    assert bench.blobs.handed_out.count(request.source) == 1
    # The calibration once; and once for each recipe that compares layers.
    assert request.calibration is not None
    digests = {w.recipe: w.model for w in outcomes["size"].weighed}
    assert set(digests) == set(AUTO)
    assert all({w.recipe: w.model for w in o.weighed} == digests for o in outcomes.values())


async def test_the_pick_for_size_is_the_smallest_that_holds_the_limits(outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes["size"]
    assert outcome.made is not None
    assert outcome.pick is not None
    sizes = {w.recipe: w.size for w in outcome.weighed if w.verdict != "Refused"}
    assert outcome.made.size == min(sizes.values())
    assert outcome.made.recipe == next(w.recipe for w in outcome.weighed if w.verdict == "Picked")
    assert f"{outcome.made.size} bytes" in outcome.pick.reason


async def test_the_pick_for_accuracy_gives_away_no_more_than_noise(outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes["accuracy"]
    assert outcome.made is not None
    assert outcome.made.accuracy >= max(w.accuracy for w in outcome.weighed if w.verdict != "Refused") - 0.002


async def test_what_is_beaten_is_off_the_front_and_names_what_beats_it(outcomes: dict[str, Outcome]) -> None:
    for outcome in outcomes.values():
        assert outcome.pick is not None
        by = {v: [w for w in outcome.weighed if w.verdict == v] for v in ("Picked", "Front", "Dominated", "Duplicate")}
        assert len(by["Picked"]) == 1
        assert {w.recipe for w in by["Front"]} == set(outcome.pick.others)
        assert all(w.why.endswith("and worse in nothing") for w in by["Dominated"])
    # The digits lose nothing in int8, so no layer has to stay in float32.
    same = next(w for w in outcomes["size"].weighed if w.verdict == "Duplicate")
    assert (same.recipe, same.why) == ("mixed-int8", "the same file as int8-float")


async def test_latencies_are_hints_with_their_processor_and_decide_for_no_other(
    bench: Bench, outcomes: dict[str, Outcome]
) -> None:
    outcome = outcomes["latency"]
    assert outcome.pick is not None
    assert outcome.pick.latency_from == "Nowhere"  # no board has said what it is
    hints = [w.hint for w in outcome.weighed if w.hint is not None]
    assert len(hints) == len(AUTO)
    assert all(h.processor and 0 < h.p50_ms <= h.p99_ms and h.inferences == 597 for h in hints)
    here = await bench.converter.convert(await asked(bench, objective="latency", machines=(hints[0].machine,)), ignore)
    assert here.pick is not None
    assert here.pick.latency_from == "Here"
    assert "only a hint" in here.pick.reason


async def test_what_boards_measured_decides_by_latency(bench: Bench, outcomes: dict[str, Outcome]) -> None:
    ms = {"float32": 2.0, "float16": 4.0, "dynamic-int8": 3.0}
    before = []
    for recipe, took in ms.items():
        made = await bench.make(recipe, source="digits.tflite", source_format="tflite")
        before.append(Seen(recipe, "digits-v1", made.size, form_of(made.signature), took, took, took, 500, 3))
    request = await asked(bench, objective="latency", seen=tuple(before))
    outcome = await bench.converter.convert(request, ignore)
    assert outcome.made is not None
    assert outcome.pick is not None
    assert (outcome.made.recipe, outcome.pick.latency_from) == ("float32", "Boards")
    assert "2 ms on the class's boards" in outcome.pick.reason
    limited = await bench.converter.convert(replace(request, max_latency_ms=1.9), ignore)
    assert {r.recipe for r in limited.refused if r.code == "TooSlow"} == set(ms)
    assert "float32 took 2 ms (95th percentile of 500 inferences) on 3 of the class's boards as digits-v1" in "".join(
        r.message for r in limited.refused
    )


async def test_limits_come_before_the_objective(bench: Bench, outcomes: dict[str, Outcome]) -> None:
    sizes = sorted(w.size for w in outcomes["size"].weighed)
    limits = ParityLimits(min_agreement=1.0, max_accuracy_drop=0.0, max_artifact_bytes=sizes[-1] - 1)
    outcome = await bench.converter.convert(await asked(bench, objective="accuracy", limits=limits), ignore)
    verdicts = {w.recipe: w.verdict for w in outcome.weighed}
    assert verdicts["float32"] == "Refused"
    assert outcome.made is not None
    assert outcome.made.agreement == 1.0


async def test_without_a_calibration_set_the_rest_is_compared_and_the_gap_is_said(bench: Bench) -> None:
    request = replace(
        await bench.request(*AUTO, source="digits.tflite", calibration=None, objective="size"), source_format="tflite"
    )
    outcome = await bench.converter.convert(request, ignore)
    assert outcome.made is not None
    missing = {w.recipe: w.why for w in outcome.weighed if w.code == "CalibrationMissing"}
    assert set(missing) == {"int8", "int8-float", "mixed-int8"}
    assert "set spec.calibration" in missing["int8"]


async def test_a_candidate_that_nothing_holds_leaves_refusals_only(bench: Bench) -> None:
    limits = replace(LIMITS, max_artifact_bytes=10)
    outcome = await bench.converter.convert(await asked(bench, objective="size", limits=limits), ignore)
    assert (outcome.made, outcome.pick) == (None, None)
    assert {r.code for r in outcome.refused} == {"TooLarge"}


async def test_progress_goes_through_all_candidates_and_never_back(workshop: Any, bench: Bench) -> None:
    said: list[Progress] = []
    request = await asked(bench, objective="size", calibration_samples=20)
    await bench.converter.convert(request, said.append)
    percents = [p.percent for p in said]
    assert percents == sorted(percents)
    assert {"int8", "int8-float", "mixed-int8"} <= {p.recipe for p in said}


async def test_how_each_candidate_answers_is_kept_and_layers_where_activations_are_integers(
    bench: Bench, outcomes: dict[str, Outcome]
) -> None:
    for w in outcomes["size"].weighed:
        assert w.examination is not None
        found = decode(await bench.blobs.get(w.examination))
        assert (found.samples, found.classes) == (597, 10)
        assert 1 - found.disagreements / found.samples == pytest.approx(w.agreement)
        assert sum(found.agreed) + found.disagreements == sum(found.confidence) == 597
        assert bool(found.layers) == (w.recipe in ("int8", "int8-float", "mixed-int8")), w.recipe
