"""`status.message`: in plain words, where the rollout stands and what it waits for.

Nothing in it moves with the clock alone, so that a status that says nothing new is equal to the stored one.
"""

from collections.abc import Sequence

from litefleet_controller.resources.rollout import MetricResult, ModelRolloutStatus, RolloutClass
from litefleet_controller.rollout.budget import in_flight, limit
from litefleet_controller.rollout.classes import progressing, staged, waiting
from litefleet_controller.rollout.cohort import Front, stable_artifact
from litefleet_controller.rollout.evaluation import judged, missing_templates, step_refs
from litefleet_controller.rollout.phase import NO_BOARDS, has_ended
from litefleet_controller.rollout.scene import Scene
from litefleet_controller.rollout.standing import Standing, standing
from litefleet_controller.rollout.steps import current, is_past_last, pause_end
from litefleet_controller.rollout.view import Board


def describe(scene: Scene, status: ModelRolloutStatus) -> str:
    """The message for `status`, in which everything else is decided."""
    main = _obstacle(scene) or _main(scene, status)
    return "; ".join(s for s in (main, _background(scene, status), *_asides(scene, status)) if s)


def _obstacle(scene: Scene) -> str:
    """Why there is nothing to roll out, or nowhere to; empty when there is."""
    if not scene.view.target:
        return scene.view.target_missing or "the model has no version yet"
    if not scene.view.boards:
        return NO_BOARDS
    if not scene.fleet.by_class:
        return "waiting: every selected board is claimed by an older rollout"
    return ""


def _main(scene: Scene, status: ModelRolloutStatus) -> str:
    if has_ended(scene, status):
        return _ended(scene, status)
    if status.pause_reason:
        return _paused(scene, status)
    if status.current_step_index is None:
        return _converting(scene, status)
    return _working(scene, status)


def _ended(scene: Scene, status: ModelRolloutStatus) -> str:
    here = [c for c in status.classes if c.device_class in scene.fleet.by_class]
    done = [scene.front(status, c) for c in here if c.state == "Complete"]
    parts: list[str] = ["aborted"] if status.aborted else []
    if done:
        updated, total = sum(len(f.updated) for f in done), sum(len(f.boards) for f in done)
        where = "" if len(done) == len(here) else f" of {_names([f.device_class for f in done])}"
        parts.append(f"{scene.view.target} is on {updated} of {total} boards{where}")
        parts += [t for f in done if (t := _unfinished(f))]
    parts += [f"{c.message}; {_way_back(scene, c)}" for c in here if c.state == "Aborted"]
    parts += [_refused(c) for c in here if c.state == "Refused"]
    return "; ".join(parts)


def _unfinished(front: Front) -> str:
    groups = (
        ("failed", front.failed),
        ("timed out", front.timed_out),
        ("being updated", front.progressing),
        ("to come", front.candidates),
    )
    return ", ".join(f"{_boards(boards)} {word}" for word, boards in groups if boards)


def _way_back(scene: Scene, entry: RolloutClass) -> str:
    boards = scene.fleet.by_class[entry.device_class]
    if not entry.stable:
        return "there is no version to go back to, so its boards serve no model"
    artifact = stable_artifact(scene.view, entry)
    if not artifact:
        return f"{entry.stable} has no variant to go back to, so its boards stay where they are"
    timeout_s = scene.view.spec.device_timeout_seconds
    there = [b for b in boards if standing(b, entry.stable, artifact, scene.now, timeout_s) is Standing.UPDATED]
    if len(there) == len(boards):
        return f"back on {entry.stable}"
    return f"{len(there)} of {len(boards)} boards are on {entry.stable} so far"


def _refused(entry: RolloutClass) -> str:
    stays = f"its boards stay on {entry.stable}" if entry.stable else "its boards get nothing"
    return f"{entry.device_class} refused {entry.target} ({entry.cause}: {entry.message}); {stays}"


def _paused(scene: Scene, status: ModelRolloutStatus) -> str:
    place = _place(scene, status)
    also = "; spec.paused is set too" if scene.view.spec.paused and status.pause_reason != "Spec" else ""
    match status.pause_reason:
        case "Failure":
            causes = "; ".join(c.message for c in progressing(status, scene.fleet) if c.cause)
            return f"{place}: paused by a failure: {causes}; promote goes on, abort goes back, retry starts anew{also}"
        case "Inconclusive":
            found = status.analysis
            seen = _unsure(found.results) if found is not None else []
            why = "; ".join(seen) or "no telemetry arrived"
            ways = "promote goes on, abort goes back, retry repeats it"
            return f"{place}: the analysis is inconclusive: {why}; {ways}{also}"
        case "Spec":
            return f"{place}: paused by spec.paused; running updates end, nothing new begins"
        case _:
            return _step_pause(scene, status, place)


def _step_pause(scene: Scene, status: ModelRolloutStatus, place: str) -> str:
    step = current(scene, status)
    end = pause_end(status, step) if step is not None else None
    if end is None:
        return f"{place}: paused until someone promotes"
    return f"{place}: pause until {end.strftime('%Y-%m-%dT%H:%M:%SZ')}"


def _converting(scene: Scene, status: ModelRolloutStatus) -> str:
    entries = waiting(status, scene.fleet)
    if not entries:
        return f"about to start {scene.view.target}"
    return "waiting for conversion: " + "; ".join(f"{c.device_class}: {c.message}" for c in entries)


def _working(scene: Scene, status: ModelRolloutStatus) -> str:
    place, step = _place(scene, status), current(scene, status)
    if step is not None and step.analysis is not None:
        return f"{place}: {_analysing(scene, status)}"
    entries = progressing(status, scene.fleet) if step is None else staged(status, scene.fleet)
    parts = [t for e in entries if (t := _waits(scene.front(status, e)))]
    if not parts:
        late = waiting(status, scene.fleet)
        parts = [f"waiting for conversion: {c.device_class}: {c.message}" for c in late] or ["going on"]
    return f"{place}: {'; '.join(parts)}{_budget(scene, status)}"


def _waits(front: Front) -> str:
    """What one class still lacks at its weight."""
    if not front.open:
        away = front.commanded and not front.updated
        return f"no board of {front.device_class} is updated: {_unfinished(front)}" if away else ""
    absent = [b for b in (*front.progressing, *front.returning, *front.missing) if not b.online]
    note = f" ({_boards(absent)} {'is' if len(absent) == 1 else 'are'} offline)" if absent else ""
    of = front.commanded + len(front.returning) + len(front.missing)
    return f"waiting for {front.open} of {of} boards of {front.device_class} to finish{note}"


def _budget(scene: Scene, status: ModelRolloutStatus) -> str:
    missing = sum(len(scene.front(status, e).missing) for e in progressing(status, scene.fleet))
    allowed = limit(scene.view, scene.fleet)
    if not missing:
        return ""
    if not allowed:
        return "; maxUnavailable is 0, so no board may be updated"
    full = len(in_flight(scene.view, scene.fleet, scene.now)) >= allowed
    return f"; maxUnavailable lets {allowed} update at once" if full else ""


def _analysing(scene: Scene, status: ModelRolloutStatus) -> str:
    missing = missing_templates(scene, step_refs(scene, status))
    if missing:
        return f"waiting for AnalysisTemplate {_names(missing)}, which does not exist"
    found = status.analysis
    if found is None or found.step != status.current_step_index:
        return "about to analyse"
    names = [e.device_class for e in judged(scene, status)]
    decided = {(r.template, r.device_class) for r in found.runs if r.phase != "Running"}
    seen = _unsure([r for r in found.results if (r.template, r.device_class) not in decided])
    if seen:
        return f"analysis: {'; '.join(seen)}"
    return f"analysis of {_names(names)}: waiting for the next look" if names else "analysis: no board to judge"


def _unsure(results: Sequence[MetricResult]) -> list[str]:
    """What the last looks lacked, once for each class: its metrics mostly lack the same."""
    first: dict[str, str] = {}
    for result in (r for r in results if r.verdict == "Inconclusive"):
        first.setdefault(result.device_class, result.message)
    return list(first.values())


def _background(scene: Scene, status: ModelRolloutStatus) -> str:
    spec = scene.view.spec.strategy.canary.analysis
    if spec is None or has_ended(scene, status) or status.current_step_index is None:
        return ""
    missing = missing_templates(scene, spec.templates)
    return (
        f"the background analysis waits for AnalysisTemplate {_names(missing)}, which does not exist" if missing else ""
    )


def _asides(scene: Scene, status: ModelRolloutStatus) -> list[str]:
    """What is true beside the main thing."""
    asides: list[str] = []
    if not has_ended(scene, status):
        here = [c for c in status.classes if c.device_class in scene.fleet.by_class]
        asides += [f"{c.message}; {_way_back(scene, c)}" for c in here if c.state == "Aborted"]
        asides += [_refused(c) for c in here if c.state == "Refused"]
        if status.current_step_index is not None and not is_past_last(scene, status):
            asides += [f"{c.device_class} joins when it is converted" for c in waiting(status, scene.fleet)]
    if scene.fleet.contested:
        older = sorted({b.conflict for b in scene.fleet.contested})
        asides.append(f"{_boards(scene.fleet.contested)} claimed by {_names(older)}")
    return asides


def _place(scene: Scene, status: ModelRolloutStatus) -> str:
    index, total = status.current_step_index, len(scene.steps)
    if index is None:
        return "before the first step"
    if index >= total:
        return "last step (everyone)"
    step = scene.steps[index]
    weight = f" (setWeight {step.set_weight})" if step.set_weight is not None else ""
    return f"step {index + 1} of {total}{weight}"


def _boards(boards: Sequence[Board]) -> str:
    return _names(sorted(b.name for b in boards))


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown
