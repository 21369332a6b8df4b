"""The looks of an analysis: when one is due, what telemetry it needs, and what it leaves behind in the status.

A run is one template for one class. Its looks are counted in the status and nowhere else, and taken only when
`interval` has passed since the last one, so that deciding twice, or crashing between, counts none twice. The step's
analysis ends (Successful, Failed, or Inconclusive at its timeout); the background's only fails.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from litefleet_controller.resources.rollout import (
    AnalysisRef,
    AnalysisRun,
    AnalysisStatus,
    AnalysisTemplateSpec,
    MetricResult,
    ModelRolloutStatus,
    RolloutClass,
)
from litefleet_controller.rollout.analysis import first_version, judge
from litefleet_controller.rollout.cohort import Fleet
from litefleet_controller.rollout.view import Evidence, EvidenceSpan, RolloutView


@dataclass(frozen=True, slots=True)
class Inquiry:
    """One analysis as it stands: the templates it runs, the classes it judges, what it found so far."""

    found: AnalysisStatus
    refs: tuple[str, ...]
    templates: Mapping[str, AnalysisTemplateSpec]
    entries: tuple[RolloutClass, ...]

    @property
    def is_background(self) -> bool:
        """Whether it runs beside the steps."""
        return self.found.step is None

    @property
    def missing(self) -> tuple[str, ...]:
        """Templates that don't exist (yet)."""
        return tuple(r for r in self.refs if r not in self.templates)

    def since(self, template: str) -> datetime:
        """From when on inferences count."""
        return self.found.started_at + timedelta(seconds=self.templates[template].initial_delay)

    def deadline(self, template: str) -> datetime | None:
        """When a run with too little evidence becomes Inconclusive. The background has all the time there is."""
        return (
            None if self.is_background else self.since(template) + timedelta(seconds=self.templates[template].timeout)
        )

    def run(self, template: str, device_class: str) -> AnalysisRun:
        """As it stands, a fresh one when there was no look."""
        return next(
            (r for r in self.found.runs if r.template == template and r.device_class == device_class),
            AnalysisRun(template=template, device_class=device_class),
        )

    def running(self) -> list[tuple[str, RolloutClass, AnalysisRun]]:
        """Runs without an outcome."""
        if self.missing:
            return []
        every = [(t, entry, self.run(t, entry.device_class)) for t in self.refs for entry in self.entries]
        return [x for x in every if x[2].phase == "Running"]

    def next_look(self, template: str, run: AnalysisRun) -> datetime:
        """When the run's next look is due."""
        if run.last_look_at is None:
            return self.since(template)
        return max(self.since(template), run.last_look_at + timedelta(seconds=self.templates[template].interval))


def inquiry(
    view: RolloutView, found: AnalysisStatus, refs: Iterable[AnalysisRef], entries: Sequence[RolloutClass]
) -> Inquiry:
    """The analysis `found` over `entries`."""
    names = tuple(dict.fromkeys(r.template_name for r in refs))
    return Inquiry(found, names, {n: view.templates[n] for n in names if n in view.templates}, tuple(entries))


def spans(
    inquiries: Sequence[Inquiry], view: RolloutView, status: ModelRolloutStatus, fleet: Fleet, now: datetime
) -> list[EvidenceSpan]:
    """Telemetry for all looks that are due, each `since` once."""
    asked: dict[datetime, dict[str, RolloutClass]] = {}
    for inq in inquiries:
        for template, entry, run in inq.running():
            if entry.stable and inq.next_look(template, run) <= now:
                asked.setdefault(inq.since(template), {})[entry.device_class] = entry
    return [_span(since, entries, view, status, fleet) for since, entries in sorted(asked.items())]


def _span(
    since: datetime, entries: Mapping[str, RolloutClass], view: RolloutView, status: ModelRolloutStatus, fleet: Fleet
) -> EvidenceSpan:
    concurrent = {n: e.stable if has_control(fleet, e) else "" for n, e in entries.items()}
    return EvidenceSpan(
        since=since,
        classes={n: (view.target, control) for n, control in concurrent.items()},
        past={n: entries[n].stable for n, control in concurrent.items() if not control},
        past_until=status.started_at,
    )


def has_control(fleet: Fleet, entry: RolloutClass) -> bool:
    """Whether a board of the class that is online still runs its stable version."""
    return any(b.online and b.assigned_version == entry.stable for b in fleet.by_class.get(entry.device_class, ()))


def look(inq: Inquiry, evidence: Sequence[Evidence], now: datetime) -> AnalysisStatus:
    """Take the looks that are due and for which there is evidence."""
    found = inq.found
    for template, entry, run in inq.running():
        if inq.next_look(template, run) <= now:
            found = _take(inq, found, template, entry, run, evidence, now)
    return found


def _take(
    inq: Inquiry,
    found: AnalysisStatus,
    template: str,
    entry: RolloutClass,
    run: AnalysisRun,
    evidence: Sequence[Evidence],
    now: datetime,
) -> AnalysisStatus:
    deadline = inq.deadline(template)
    late = deadline is not None and now >= deadline
    if not entry.stable:
        results = first_version(inq.templates[template], entry.device_class)
        return _noted(found, run.model_copy(update={"phase": "Successful", "last_look_at": now}), results)
    seen = _evidence_for(evidence, entry.device_class, inq.since(template))
    if seen is None:
        return _noted(found, run.model_copy(update={"phase": "Inconclusive"}), None) if late else found
    results = judge(inq.templates[template], seen)
    return _noted(found, _counted(inq, template, run, results, late, now), results)


def _counted(
    inq: Inquiry, template: str, run: AnalysisRun, results: Sequence[MetricResult], late: bool, now: datetime
) -> AnalysisRun:
    """The run after one more look, in Argo Rollouts' arithmetic of count and failureLimit."""
    spec = inq.templates[template]
    verdicts = {r.verdict for r in results}
    if "Failed" in verdicts:
        failed = run.failed + 1
        phase = "Failed" if failed > spec.failure_limit else "Running"
        return run.model_copy(update={"failed": failed, "phase": phase, "last_look_at": now})
    if "Inconclusive" in verdicts:
        return run.model_copy(update={"phase": "Inconclusive" if late else "Running", "last_look_at": now})
    successful = run.successful + 1
    phase = "Successful" if successful >= spec.count and not inq.is_background else "Running"
    return run.model_copy(update={"successful": successful, "phase": phase, "last_look_at": now})


def _noted(found: AnalysisStatus, run: AnalysisRun, results: Sequence[MetricResult] | None) -> AnalysisStatus:
    """`found` with `run` put in its place, and its results in the place of the run's last ones (None keeps those)."""
    key = (run.template, run.device_class)
    runs = [r for r in found.runs if (r.template, r.device_class) != key]
    update: dict[str, object] = {"runs": sorted([*runs, run], key=lambda r: (r.template, r.device_class))}
    if results is not None:
        kept = [r for r in found.results if (r.template, r.device_class) != key]
        fresh = [r.model_copy(update={"template": run.template}) for r in results]
        update["results"] = sorted([*kept, *fresh], key=lambda r: (r.device_class, r.template))
    return found.model_copy(update=update)


def _evidence_for(evidence: Sequence[Evidence], device_class: str, since: datetime) -> Evidence | None:
    fitting = [e for e in evidence if e.device_class == device_class and e.since in (None, since)]
    return fitting[0] if fitting else None


def failure(found: AnalysisStatus, device_class: str) -> MetricResult | None:
    """The metric that failed the class, when a run of it has failed."""
    failed = {r.template for r in found.runs if r.device_class == device_class and r.phase == "Failed"}
    return next(
        (r for r in found.results if r.device_class == device_class and r.template in failed and r.verdict == "Failed"),
        None,
    )
