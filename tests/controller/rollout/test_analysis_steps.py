"""Analysis as a step and beside the steps: looks, verdicts, and what becomes of a class."""

import random
from datetime import timedelta

import pytest

from litefleet_controller.resources.rollout import AnalysisTemplateSpec
from litefleet_controller.rollout.decide import decide, needs_evidence
from litefleet_controller.rollout.view import Arm
from litefleet_protocol.histogram import HistogramBuilder
from tests.controller.rollout.simulation import World, fleet, settled, spec

ANALYSIS = {"analysis": {"templates": [{"templateName": "healthy"}]}}
BACKGROUND = {"templates": [{"templateName": "healthy"}]}


def template(**more) -> AnalysisTemplateSpec:
    return AnalysisTemplateSpec.model_validate(
        {
            "metrics": [
                {"name": "conf", "metric": "confidence", "maxDrop": 0.1},
                {"name": "mix", "metric": "classMix", "maxPsi": 0.2},
            ],
            "minSamples": 200,
            "interval": 10,
            "timeout": 300,
            **more,
        }
    )


def answers(confidence: float, count: int, share: float = 0.5) -> Arm:
    builder = HistogramBuilder()
    for _ in range(count):
        builder.add(confidence)
    first = int(count * share)
    return Arm(count=count, confidence=builder.freeze(), classes={"a": first, "b": count - first})


def per_second(rate: float, **confidence_of: float):
    """Telemetry of `rate` inferences a second; `digits_v2_rpi=0.5` is the confidence of a version on a class, else 0.95."""

    def telemetry(version: str, device_class: str, seconds: float) -> Arm:
        key = f"{version}_{device_class}".replace("-", "_")
        return answers(confidence_of.get(key, confidence_of.get(version.replace("-", "_"), 0.95)), int(rate * seconds))

    return telemetry


def analysed(boards, *steps, telemetry=None, more=None, **more_spec) -> World:
    world = World(boards, spec(*steps, **more_spec), templates={"healthy": template(**(more or {}))})
    world.telemetry = telemetry or per_second(30)
    return settled(world)


def test_a_good_canary_passes():
    world = analysed(fleet(rpi=3, x86=3), {"setWeight": 30}, ANALYSIS)
    world.run(100)
    assert world.status.phase == "Healthy"
    assert world.status.analysis.phase == "Successful"
    assert {r.verdict for r in world.status.analysis.results} == {"Successful"}
    assert {r.baseline for r in world.status.analysis.results} == {"control"}


def test_a_drifting_class_goes_back_alone_with_its_numbers():
    world = analysed(fleet(rpi=3, x86=3), {"setWeight": 30}, ANALYSIS, telemetry=per_second(30, digits_v2_rpi=0.58))
    world.run(100)
    entry = world.entry("rpi")
    assert (entry.state, entry.cause) == ("Aborted", "ConfidenceDrift")
    assert entry.message == (
        "rpi: mean confidence 0.58 on 300 inferences of the canary against 0.95 on 300 of the control; allowed drop 0.10"
    )
    assert {b.current_version for b in world.boards if b.device_class == "rpi"} == {"digits-v1"}
    assert {b.current_version for b in world.boards if b.device_class == "x86"} == {"digits-v2"}
    assert world.status.phase == "Degraded"
    assert not world.status.aborted
    assert world.status.analysis.message == "failed for rpi"


def test_when_every_class_drifts_the_rollout_is_aborted():
    world = analysed(fleet(rpi=3, x86=3), {"setWeight": 30}, ANALYSIS, telemetry=per_second(30, digits_v2=0.5))
    world.run(100)
    assert (world.status.phase, world.status.aborted) == ("Degraded", True)
    assert {b.current_version for b in world.boards} == {"digits-v1"}
    assert world.status.message.startswith("aborted; rpi: mean confidence 0.50 on 300 inferences")
    assert world.status.message.endswith("back on digits-v1")
    assert [n.reason for n in world.notices if n.type == "Warning"] == [
        "ConfidenceDrift",
        "ConfidenceDrift",
        "Degraded",
    ]


def test_on_failure_pause_lets_a_person_decide_about_a_drift():
    world = analysed(
        fleet(rpi=3), {"setWeight": 30}, ANALYSIS, telemetry=per_second(30, digits_v2=0.5), onFailure="Pause"
    )
    world.run(100)
    assert (world.status.phase, world.status.pause_reason) == ("Paused", "Failure")
    assert world.entry("rpi").cause == "ConfidenceDrift"
    world.ask("promote")
    world.run(100)
    assert world.status.phase == "Healthy"


def test_too_few_samples_become_inconclusive_at_the_timeout():
    world = analysed(fleet(rpi=3), {"setWeight": 30}, ANALYSIS, telemetry=per_second(0.1))
    world.run(200)
    assert world.status.phase == "Progressing"
    assert world.status.message == (
        "step 2 of 2: analysis: rpi: confidence needs 200 inferences of each side, has 19 of the canary and 19 of the control"
    )
    world.run(200)
    assert (world.status.phase, world.status.pause_reason) == ("Paused", "Inconclusive")
    assert world.status.analysis.phase == "Inconclusive"


def inconclusive() -> World:
    world = analysed(fleet(rpi=3), {"setWeight": 30}, ANALYSIS, telemetry=per_second(0.1))
    world.run(400)
    assert world.status.pause_reason == "Inconclusive"
    return world


def test_promote_goes_on_after_an_inconclusive_analysis():
    world = inconclusive()
    world.ask("promote")
    world.run(100)
    assert world.status.phase == "Healthy"


def test_abort_goes_back_after_an_inconclusive_analysis():
    world = inconclusive()
    world.ask("abort")
    world.run(100)
    assert {b.current_version for b in world.boards} == {"digits-v1"}


def test_retry_repeats_an_inconclusive_analysis():
    world = inconclusive()
    world.telemetry = per_second(30)
    world.ask("retry")
    world.run(100)
    assert world.status.phase == "Healthy"


def test_no_telemetry_at_all_is_inconclusive_too():
    world = analysed(fleet(rpi=3), {"setWeight": 30}, ANALYSIS)
    world.evidence = lambda spans: ()
    world.run(1000)
    assert world.status.pause_reason == "Inconclusive"
    assert "no telemetry arrived" in world.status.message


def test_a_missing_template_is_waited_for():
    world = analysed(fleet(rpi=3), {"setWeight": 30}, ANALYSIS)
    found, world.templates = world.templates, {}
    world.run(1000)
    assert world.status.message == "step 2 of 2: waiting for AnalysisTemplate healthy, which does not exist"
    assert world.status.phase == "Progressing"
    assert [(c.status, c.reason) for c in world.status.conditions if c.type == "TemplatesAvailable"] == [
        ("False", "NotFound")
    ]
    world.templates = found
    world.run(100)
    assert world.status.phase == "Healthy"


def test_the_first_version_passes_without_evidence():
    world = World(fleet(rpi=3), spec({"setWeight": 30}, ANALYSIS), templates={"healthy": template()})
    world.run(100)
    assert world.status.phase == "Healthy"
    assert {r.message for r in world.status.analysis.results} == {"rpi: nothing to compare with: first version"}


def test_a_class_without_a_control_board_is_judged_by_its_own_past():
    world = analysed(fleet(rpi=1), {"setWeight": 100}, ANALYSIS)
    spans = []
    asked = world.evidence
    world.evidence = lambda found: spans.extend(found) or asked(found)
    world.run(100)
    assert {r.baseline for r in world.status.analysis.results} == {"past"}
    assert spans[0].classes == {"rpi": ("digits-v2", "")}
    assert (spans[0].past, spans[0].past_until) == ({"rpi": "digits-v1"}, world.status.started_at)


def test_a_failing_class_of_one_board_goes_back_by_its_own_past():
    world = analysed(fleet(rpi=1), {"setWeight": 100}, ANALYSIS, telemetry=per_second(30, digits_v2=0.5))
    world.run(100)
    assert world.status.aborted
    assert "the class's own past" in world.status.message


def test_an_absent_canary_holds_no_analysis_up():
    boards = fleet(rpi=3, x86=1)
    world = analysed(boards, {"setWeight": 30}, ANALYSIS, deviceTimeoutSeconds=60)
    boards[3].absent = ((0, 10_000),)
    world.run(200)
    assert (world.entry("rpi").state, world.entry("x86").state) == ("Complete", "Progressing")


@pytest.mark.parametrize("count", [1, 3])
def test_as_many_successful_looks_as_asked_are_needed(count):
    world = analysed(fleet(rpi=3), {"setWeight": 30}, ANALYSIS, more={"count": count, "minSamples": 10})
    world.run(200)
    assert [r.successful for r in world.status.analysis.runs] == [count]


def test_failed_looks_are_forgiven_up_to_the_limit():
    world = analysed(
        fleet(rpi=3), {"setWeight": 30}, ANALYSIS, telemetry=per_second(30, digits_v2=0.5), more={"failureLimit": 2}
    )
    world.run(27)  # updated after 5 s; looks at 5 (no samples), 15 and 25
    assert [(r.failed, r.phase) for r in world.status.analysis.runs] == [(2, "Running")]
    world.run(10)
    assert world.status.aborted


def test_looks_are_an_interval_apart_and_none_is_counted_twice():
    world = analysed(fleet(rpi=3), {"setWeight": 30}, ANALYSIS, more={"count": 3, "minSamples": 1})
    world.run(6)
    assert needs_evidence(world.view(), world.now) == []
    before = world.status
    for _ in range(5):
        world.settle()
    assert world.status == before


def test_crashes_lose_no_look_and_count_none_twice():
    world = analysed(fleet(rpi=3), {"setWeight": 30}, ANALYSIS, more={"count": 4, "minSamples": 1})
    rng = random.Random(3)
    world.crashes = iter(lambda: rng.random() < 0.5, None)
    world.run(200)
    (run,) = world.status.analysis.runs
    assert run.successful == 4
    # The first look finds no inference yet, then four follow, each an interval after the one before.
    assert world.status.analysis.finished_at - world.status.analysis.started_at == timedelta(seconds=40)


def test_the_initial_delay_is_left_out():
    world = analysed(fleet(rpi=3), {"setWeight": 30}, ANALYSIS, more={"initialDelay": 60})
    spans = []
    asked = world.evidence
    world.evidence = lambda found: spans.extend(found) or asked(found)
    world.run(40)
    assert spans == []
    world.run(100)
    assert {s.since for s in spans} == {world.status.analysis.started_at + timedelta(seconds=60)}
    assert world.status.phase == "Healthy"


def test_two_templates_must_both_succeed():
    both = {"analysis": {"templates": [{"templateName": "healthy"}, {"templateName": "fast"}]}}
    fast = AnalysisTemplateSpec.model_validate(
        {"metrics": [{"name": "e", "metric": "errorRate", "maxIncrease": 0.01}], "initialDelay": 20, "minSamples": 100}
    )
    world = World(fleet(rpi=3), spec({"setWeight": 30}, both), templates={"healthy": template(), "fast": fast})
    world.telemetry = per_second(30)
    settled(world)
    world.run(20)
    assert [(r.template, r.phase) for r in world.status.analysis.runs if r.phase != "Running"] == [
        ("healthy", "Successful")
    ]
    world.run(60)
    assert world.status.phase == "Healthy"
    assert {r.template for r in world.status.analysis.results} == {"healthy", "fast"}


def test_spec_paused_takes_no_looks():
    world = analysed(fleet(rpi=3), {"setWeight": 30}, ANALYSIS)
    world.run(6)
    world.spec = world.spec.model_copy(update={"paused": True})
    runs = world.status.analysis.runs
    world.run(100)
    assert world.status.analysis.runs == runs
    world.spec = world.spec.model_copy(update={"paused": False})
    world.run(100)
    assert world.status.phase == "Healthy"


def test_the_background_analysis_aborts_during_a_pause():
    world = analysed(
        fleet(rpi=3, x86=3),
        {"setWeight": 30},
        {"pause": {}},
        telemetry=per_second(30, digits_v2_x86=0.5),
        analysis=BACKGROUND,
    )
    world.run(100)
    assert (world.entry("x86").state, world.entry("x86").cause) == ("Aborted", "ConfidenceDrift")
    assert world.status.phase == "Paused"
    assert "x86: mean confidence 0.50" in world.status.message
    world.ask("promote")
    world.run(100)
    assert world.entry("rpi").state == "Complete"


def test_the_background_analysis_starts_at_its_step():
    world = analysed(
        fleet(rpi=3),
        {"setWeight": 30},
        {"pause": {"duration": 50}},
        {"setWeight": 60},
        {"pause": {}},
        telemetry=per_second(30, digits_v2=0.5),
        analysis={**BACKGROUND, "startingStep": 2},
    )
    world.run(50)
    assert world.status.background_analysis is None
    world.run(100)
    assert world.status.aborted
    assert world.status.background_analysis.phase == "Failed"


def test_the_background_analysis_is_not_needed_to_go_on():
    world = analysed(fleet(rpi=3), {"setWeight": 30}, telemetry=per_second(0), analysis=BACKGROUND)
    world.run(100)
    assert world.status.phase == "Healthy"
    assert world.status.background_analysis.finished_at is not None


def test_a_missing_background_template_is_said_and_does_not_hold():
    world = analysed(fleet(rpi=3), {"setWeight": 30}, {"pause": {}}, analysis={"templates": [{"templateName": "gone"}]})
    world.run(100)
    assert world.status.message.endswith(
        "the background analysis waits for AnalysisTemplate gone, which does not exist"
    )
    world.ask("promote")
    world.run(100)
    assert world.status.phase == "Healthy"


def test_evidence_that_was_not_asked_for_changes_nothing():
    world = analysed(fleet(rpi=3), {"setWeight": 30}, {"pause": {}})
    world.run(60)
    span = type("Span", (), {"since": world.now, "classes": {"rpi": ("digits-v2", "digits-v1")}, "past": {}})
    view = world.view(world.evidence([span]))
    assert decide(view, world.now).status == world.status


def test_a_new_target_starts_a_new_analysis():
    world = analysed(fleet(rpi=3), {"setWeight": 30}, ANALYSIS, telemetry=per_second(30, digits_v2=0.5))
    world.run(100)
    world.target = "digits-v3"
    world.run(100)
    assert world.status.phase == "Healthy"
    assert world.status.analysis.phase == "Successful"
