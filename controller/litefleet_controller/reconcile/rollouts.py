"""ModelRollout: fill the decision core's view, let it decide, and carry the decision out in one transaction.

What boards shall fetch is offered to the broker first, so that they needn't ask; then commands and status are
committed together. Killed anywhere, the next run reads the same state and decides the same.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from litefleet_controller.delivery.errors import DeliveryError
from litefleet_controller.reconcile.interface import Now, Request, Result
from litefleet_controller.resources.device import DeviceSpec, DeviceStatus
from litefleet_controller.resources.model import ModelVersionSpec, ModelVersionStatus
from litefleet_controller.resources.registry import (
    ANALYSIS_TEMPLATE,
    DEVICE,
    DEVICE_CLASS,
    MODEL,
    MODEL_ROLLOUT,
    MODEL_VERSION,
)
from litefleet_controller.resources.rollout import (
    REQUEST_ANNOTATION,
    AnalysisTemplateSpec,
    ModelRolloutSpec,
    ModelRolloutStatus,
)
from litefleet_controller.rollout.decide import decide, needs_evidence
from litefleet_controller.rollout.steps import template_names
from litefleet_controller.rollout.view import (
    Arm,
    Board,
    Command,
    Decision,
    Evidence,
    EvidenceSpan,
    RolloutView,
    VersionForClass,
)
from litefleet_controller.rollout.view import Request as Verb
from litefleet_controller.store.errors import NotFoundError
from litefleet_controller.store.events import SqlEvents
from litefleet_controller.store.interface import (
    Assignment,
    AssignmentBatch,
    Assignments,
    FieldRequirement,
    Key,
    Objects,
    Query,
    StatusWrite,
)
from litefleet_controller.store.typed import Resource, read
from litefleet_controller.telemetry.interface import Aggregate, Telemetry

log = structlog.get_logger()

Rollout = Resource[ModelRolloutSpec, ModelRolloutStatus]
Offer = Callable[[str, str], Awaitable[None]]
"""(namespace, artifact digest): have the broker hold this artifact."""
REQUESTED_BY_ANNOTATION = "litefleet.dev/requested-by"
COMPONENT = "rollout"
_CLOCK_GRAIN = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class _Limits:
    max_latency_ms: float | None
    max_memory_bytes: int | None


class ModelRolloutReconciler:
    """Moves rollouts on."""

    def __init__(
        self,
        objects: Objects,
        events: SqlEvents,
        assignments: Assignments,
        telemetry: Telemetry,
        offer: Offer,
        epoch: int,
        now: Now,
    ) -> None:
        self._objects = objects
        self._events = events
        self._assignments = assignments
        self._telemetry = telemetry
        self._offer = offer
        self._epoch = epoch
        self._now = now

    async def reconcile(self, request: Request) -> Result:
        """Decide once, and carry it out."""
        try:
            record = await self._objects.get(request.key(MODEL_ROLLOUT.kind))
        except NotFoundError:
            return Result()
        rollout: Rollout = read(record, ModelRolloutSpec, ModelRolloutStatus)
        if rollout.meta.deletion_timestamp is not None:
            return Result()
        now = self._now()
        view = await self._view(rollout)
        spans = needs_evidence(view, now)
        if spans:
            view = _with_evidence(view, await self._evidence(rollout, view, spans, now))
        decision = decide(view, now)
        await self._carry_out(rollout, view, decision, now)
        return Result(requeue_after_s=decision.requeue_after_s)

    async def _view(self, rollout: Rollout) -> RolloutView:
        namespace = rollout.key.namespace
        versions = await self._versions(namespace, rollout.spec.model_ref.name)
        target, why_not = await self._target(rollout, versions)
        boards = await self._boards(rollout)
        limits = await self._limits(namespace)
        return RolloutView(
            name=rollout.key.name,
            uid=rollout.meta.uid,
            generation=rollout.meta.generation,
            spec=rollout.spec,
            status=rollout.status,
            target=target,
            target_missing=why_not,
            boards=boards,
            versions=_for_classes(versions, limits, {b.device_class for b in boards}),
            templates=await self._templates(rollout),
            evidence=(),
            request=_verb(rollout),
            missing_classes=frozenset(b.device_class for b in boards) - limits.keys(),
        )

    async def _versions(self, namespace: str, model: str) -> dict[str, Resource[ModelVersionSpec, ModelVersionStatus]]:
        query = Query(MODEL_VERSION.kind, namespace, fields=(FieldRequirement("spec.modelRef", True, model),))
        page = await self._objects.list(query)
        return {r.key.name: read(r, ModelVersionSpec, ModelVersionStatus) for r in page.records}

    async def _target(
        self, rollout: Rollout, versions: Mapping[str, Resource[ModelVersionSpec, ModelVersionStatus]]
    ) -> tuple[str, str]:
        ref = rollout.spec.model_ref
        if ref.version == "latest":
            newest = max(versions.values(), key=lambda v: v.spec.version, default=None)
            if newest is not None:
                return newest.key.name, ""
            try:
                await self._objects.get(Key(MODEL.kind, rollout.key.namespace, ref.name))
            except NotFoundError:
                return "", f"Model {ref.name!r} does not exist (NotFound); it goes on when it appears"
            return "", f"Model {ref.name!r} has no version yet"
        for name, version in versions.items():
            if str(ref.version) in (str(version.spec.version), name):
                return name, ""
        return "", f"version {ref.version} of Model {ref.name!r} does not exist (NotFound); it goes on when it appears"

    async def _boards(self, rollout: Rollout) -> list[Board]:
        namespace, slot = rollout.key.namespace, rollout.spec.model_ref.name
        assigned = {a.device: a for a in await self._assignments.of_slot(namespace, slot)}
        older = await self._older_rollouts(rollout)
        page = await self._objects.list(Query(DEVICE.kind, namespace))
        boards = []
        for record in page.records:
            if rollout.spec.selector.matches(record.labels):
                device: Resource[DeviceSpec, DeviceStatus] = read(record, DeviceSpec, DeviceStatus)
                claim = next((o.key.name for o in older if o.spec.selector.matches(record.labels)), "")
                boards.append(_board(device, slot, assigned.get(device.key.name), claim))
        return boards

    async def _older_rollouts(self, rollout: Rollout) -> list[Rollout]:
        """Rollouts of the same model that were there first: they keep the boards that both select."""
        same_model = FieldRequirement("spec.modelRef.name", True, rollout.spec.model_ref.name)
        page = await self._objects.list(Query(MODEL_ROLLOUT.kind, rollout.key.namespace, fields=(same_model,)))
        others: Iterable[Rollout] = (read(r, ModelRolloutSpec, ModelRolloutStatus) for r in page.records)
        return sorted((o for o in others if _age(o) < _age(rollout)), key=_age)

    async def _limits(self, namespace: str) -> dict[str, _Limits]:
        page = await self._objects.list(Query(DEVICE_CLASS.kind, namespace))
        limits = {}
        for record in page.records:
            raw = record.json()["spec"].get("limits") or {}
            limits[record.key.name] = _Limits(raw.get("maxLatencyMs"), raw.get("maxMemoryBytes"))
        return limits

    async def _templates(self, rollout: Rollout) -> dict[str, AnalysisTemplateSpec]:
        found = {}
        for name in template_names(rollout.spec):
            try:
                record = await self._objects.get(Key(ANALYSIS_TEMPLATE.kind, rollout.key.namespace, name))
            except NotFoundError:
                continue
            found[name] = AnalysisTemplateSpec.model_validate(record.json()["spec"])
        return found

    async def _evidence(
        self, rollout: Rollout, view: RolloutView, spans: Sequence[EvidenceSpan], now: datetime
    ) -> list[Evidence]:
        namespace, slot = rollout.key.namespace, rollout.spec.model_ref.name
        devices = [b.name for b in view.boards]
        until = now + _CLOCK_GRAIN  # what is later was received while the clock ran ahead, and isn't of this span
        evidence = []
        for span in spans:
            found = await self._telemetry.aggregate(namespace, slot, since=span.since, until=until, devices=devices)
            arms = {(a.device_class, a.version): _arm(a) for a in found}
            for device_class, (canary, control) in span.classes.items():
                arm = arms.get((device_class, canary), Arm())
                if control:
                    beside = arms.get((device_class, control), Arm())
                    evidence.append(Evidence(device_class, arm, beside, "control", span.since))
                else:
                    before = await self._past(rollout, span, device_class, devices)
                    evidence.append(Evidence(device_class, arm, before, "past", span.since))
        return evidence

    async def _past(self, rollout: Rollout, span: EvidenceSpan, device_class: str, devices: Sequence[str]) -> Arm:
        """A class without control boards is judged against its own past, when it has one."""
        version = span.past.get(device_class, "")
        if not version:
            return Arm()
        found = await self._telemetry.aggregate(
            rollout.key.namespace,
            rollout.spec.model_ref.name,
            until=span.past_until,
            device_class=device_class,
            version=version,
            devices=devices,
        )
        return _arm(found[0]) if found else Arm()

    async def _offer_all(self, namespace: str, artifacts: set[str]) -> None:
        """Have the broker hold what boards are about to be told to fetch.

        A broker that is away delays no decision, least of all a way back: boards ask for what they don't find.
        """
        for artifact in sorted(artifacts):
            try:
                await self._offer(namespace, artifact)
            except DeliveryError as e:
                log.warning("artifact_not_offered", namespace=namespace, artifact=artifact, reason=str(e))

    async def _carry_out(self, rollout: Rollout, view: RolloutView, decision: Decision, now: datetime) -> None:
        namespace, slot = rollout.key.namespace, rollout.spec.model_ref.name
        await self._offer_all(namespace, {c.artifact for c in decision.commands if c.artifact})
        changed = decision.status.dump() != rollout.status.dump()
        if decision.commands or changed:
            batch = AssignmentBatch(
                set=[_assignment(c, rollout, view, slot, now) for c in decision.commands if c.version],
                clear=[(namespace, c.device, slot) for c in decision.commands if not c.version],
                status=StatusWrite(rollout.key, rollout.record.resource_version, decision.status.dump())
                if changed
                else None,
            )
            await self._assignments.commit(batch, epoch=self._epoch)
        for notice in decision.notices:
            await self._events.record(
                rollout.key, rollout.meta.uid, notice.type, notice.reason, notice.message, now, COMPONENT
            )


def _verb(rollout: Rollout) -> Verb | None:
    text = rollout.meta.annotations.get(REQUEST_ANNOTATION, "")
    verb, _, identity = text.partition(" ")
    last = rollout.status.last_request
    if not verb or (last is not None and last.id == identity):
        return None
    return Verb(verb, identity, rollout.meta.annotations.get(REQUESTED_BY_ANNOTATION, ""))


def _age(rollout: Rollout) -> tuple[datetime, str]:
    created = rollout.meta.creation_timestamp
    if created is None:
        raise ValueError(f"{rollout.key.name} is stored without a creation time")
    return created, rollout.key.name


def _board(device: Resource[DeviceSpec, DeviceStatus], slot: str, assigned: Assignment | None, claim: str) -> Board:
    reported = next((s for s in device.status.slots if s.slot == slot), None)
    return Board(
        name=device.key.name,
        device_class=device.spec.device_class,
        online=device.status.connection == "Online",
        assigned_version=assigned.version if assigned else "",
        assigned_artifact=assigned.artifact if assigned else "",
        assigned_at=assigned.assigned_at if assigned else None,
        assigned_by=assigned.rollout if assigned else "",
        current_artifact=(reported.current or "") if reported else "",
        current_version=reported.current_version if reported else "",
        desired_artifact=(reported.desired or "") if reported else "",
        phase=reported.phase if reported else "",
        code=(reported.code if reported else "") or device.status.code,
        message=(reported.message if reported else "") or device.status.message,
        conflict=claim,
    )


def _for_classes(
    versions: Mapping[str, Resource[ModelVersionSpec, ModelVersionStatus]],
    limits: Mapping[str, _Limits],
    classes: set[str],
) -> dict[tuple[str, str], VersionForClass]:
    found = {}
    for name, version in versions.items():
        for entry in version.status.classes:
            if entry.device_class not in classes:
                continue
            limit = limits.get(entry.device_class, _Limits(None, None))
            found[name, entry.device_class] = VersionForClass(
                state=entry.state,
                artifact=entry.variant.artifact if entry.variant else "",
                recipe=entry.variant.recipe if entry.variant else "",
                code=entry.code,
                message=entry.message,
                refusals=tuple(f"{r.recipe}: {r.message}" for r in entry.refusals),
                max_latency_ms=limit.max_latency_ms,
                max_memory_bytes=limit.max_memory_bytes,
            )
    return found


def _with_evidence(view: RolloutView, evidence: Sequence[Evidence]) -> RolloutView:
    return replace(view, evidence=tuple(evidence))


def _arm(a: Aggregate) -> Arm:
    return Arm(a.count, a.errors, a.latency_ms, a.confidence, a.classes)


def _assignment(command: Command, rollout: Rollout, view: RolloutView, slot: str, now: datetime) -> Assignment:
    made = view.versions.get((command.version, command.device_class))
    return Assignment(
        namespace=rollout.key.namespace,
        device=command.device,
        slot=slot,
        version=command.version,
        artifact=command.artifact,
        fallback=command.fallback or None,
        rollout=rollout.key.name,
        probation_s=rollout.spec.probation_seconds,
        deadline_s=float(rollout.spec.device_timeout_seconds),
        max_latency_ms=made.max_latency_ms if made else None,
        max_memory_bytes=made.max_memory_bytes if made else None,
        assigned_at=now,
    )
