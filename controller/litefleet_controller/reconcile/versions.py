"""ModelVersion -> variants: have each class in use converted and proven, and publish what passed as an artifact.

Everything slow happens behind the Converter port. A worker that crashes, hangs or eats memory ends as a condition here,
after a bounded number of tries.
"""

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal

import structlog

from litefleet_controller.artifacts.errors import BlobError, StorageFullError
from litefleet_controller.artifacts.manifest import ArtifactStore, Content
from litefleet_controller.convert.interface import (
    TOLERANCE,
    ConversionError,
    ConversionRequest,
    Converter,
    Made,
    Measure,
    ParityLimits,
    Prebuilt,
    Progress,
    TrainingSet,
)
from litefleet_controller.reconcile.interface import Now, Request, Result
from litefleet_controller.reconcile.models import Versioned, newest_version
from litefleet_controller.reconcile.seen import seen_on_boards
from litefleet_controller.reconcile.variants import class_variant, phase_of
from litefleet_controller.resources.device import DEFAULT_OBJECTIVE, DeviceClassSpec, DeviceClassStatus
from litefleet_controller.resources.meta import set_condition
from litefleet_controller.resources.model import ModelVersionSpec, ModelVersionStatus, NamedFile, digest_of, metric_of
from litefleet_controller.resources.recipe import candidates
from litefleet_controller.resources.registry import DEVICE, DEVICE_CLASS, MODEL_ROLLOUT, MODEL_VERSION
from litefleet_controller.resources.variant import ClassVariant
from litefleet_controller.store.errors import NotFoundError
from litefleet_controller.store.events import SqlEvents
from litefleet_controller.store.interface import FieldRequirement, Objects, Query, Record
from litefleet_controller.store.typed import Resource, read, write_status
from litefleet_controller.telemetry.interface import Telemetry
from litefleet_protocol.errors import ProtocolError
from litefleet_protocol.tensors import Postprocess, Preprocess

log = structlog.get_logger()

Class = Resource[DeviceClassSpec, DeviceClassStatus]

TRIES = 3
RETRY_S = 5.0
REPORT_S = 1.0
COMPONENT = "convert"
STORAGE_FULL = "StorageFull"


class ModelVersionReconciler:
    """Fills a version's variants."""

    def __init__(
        self,
        objects: Objects,
        events: SqlEvents,
        converter: Converter,
        artifacts: ArtifactStore,
        telemetry: Telemetry,
        now: Now,
    ) -> None:
        self._objects = objects
        self._events = events
        self._converter = converter
        self._artifacts = artifacts
        self._telemetry = telemetry
        self._now = now

    async def reconcile(self, request: Request) -> Result:
        """Convert for every class in use that has no decision yet."""
        try:
            record = await self._objects.get(request.key(MODEL_VERSION.kind))
        except NotFoundError:
            return Result()
        version: Versioned = read(record, ModelVersionSpec, ModelVersionStatus)
        classes = await self._classes_in_use(request.namespace)
        sheet = {c.device_class: c for c in version.status.classes}
        todo = [c for c in classes if _undecided(c, sheet.get(c.key.name))]
        if todo and await self._is_wanted(version):
            for device_class in todo:
                sheet[device_class.key.name] = _converting(device_class, sheet.get(device_class.key.name))
            await self._convert_all(version, todo, sheet)
        await self._report(version, sheet)
        retry = any(c.state == "Pending" for c in sheet.values())
        return Result(requeue_after_s=RETRY_S if retry else None)

    async def _classes_in_use(self, namespace: str) -> list[Class]:
        devices = await self._objects.list(Query(DEVICE.kind, namespace))
        used = {str(r.json()["spec"]["class"]) for r in devices.records}
        page = await self._objects.list(Query(DEVICE_CLASS.kind, namespace))
        return [read(r, DeviceClassSpec, DeviceClassStatus) for r in page.records if r.key.name in used]

    async def _is_wanted(self, version: Versioned) -> bool:
        """Whether anybody may still be given this version: a class that joins late needn't have all of history made."""
        newest = await newest_version(self._objects, version.key.namespace, version.spec.model_ref)
        if newest is None or newest.key == version.key:
            return True
        page = await self._objects.list(Query(MODEL_ROLLOUT.kind, version.key.namespace))
        for record in page.records:
            body = record.json()
            ref = body["spec"]["modelRef"]
            if ref["name"] != version.spec.model_ref:
                continue
            if ref.get("version") in (version.spec.version, str(version.spec.version), version.key.name):
                return True
            if (body.get("status") or {}).get("targetVersion") == version.key.name:
                return True
        return False

    async def _convert_all(self, version: Versioned, todo: list[Class], sheet: dict[str, ClassVariant]) -> None:
        await self._report(version, sheet)
        async with asyncio.TaskGroup() as group:
            reporter = group.create_task(self._report_regularly(version, sheet))
            async with asyncio.TaskGroup() as conversions:
                for device_class in todo:
                    conversions.create_task(self._convert(version, device_class, sheet))
            reporter.cancel()

    async def _convert(self, version: Versioned, device_class: Class, sheet: dict[str, ClassVariant]) -> None:
        name = device_class.key.name
        before = sheet[name]
        try:
            request = await self._request(version, device_class)
            outcome = await self._converter.convert(request, _into(sheet, name))
            artifact = await self._publish(version, device_class, outcome.made)
        except (ConversionError, ProtocolError, BlobError, OSError) as e:
            # What befalls one class is said of that class; the others go on.
            sheet[name] = _after_error(before, _as_conversion_error(e))
        else:
            sheet[name] = class_variant(name, device_class.meta.generation, outcome, artifact)
        await self._tell(version, sheet[name])

    async def _request(self, version: Versioned, device_class: Class) -> ConversionRequest:
        request = conversion_request(version.spec, device_class)
        if request.objective is None:
            return request
        namespace, model = version.key.namespace, version.spec.model_ref
        of_class = FieldRequirement("spec.class", True, device_class.key.name)
        boards = await self._objects.list(Query(DEVICE.kind, namespace, fields=(of_class,)))
        return dataclasses.replace(
            request,
            machines=machines_of(boards.records),
            seen=await seen_on_boards(self._telemetry, self._artifacts, namespace, model, device_class.key.name),
        )

    async def _publish(self, version: Versioned, device_class: Class, made: Made | None) -> str:
        if made is None:
            return ""
        return await self._artifacts.publish(
            namespace=version.key.namespace,
            model=version.spec.model_ref,
            version=version.key.name,
            device_class=device_class.key.name,
            made=_content(made),
            preprocess=preprocess_of(version.spec),
            postprocess=postprocess_of(version.spec),
        )

    async def _tell(self, version: Versioned, entry: ClassVariant) -> None:
        reason = {"Ready": "VariantReady", "Pending": "ConversionRetried"}.get(entry.state, "VariantRefused")
        kind: Literal["Normal", "Warning"] = "Normal" if entry.state == "Ready" and not entry.refusals else "Warning"
        message = f"{entry.device_class}: {entry.message}"
        await self._events.record(version.key, version.meta.uid, kind, reason, message, self._now(), COMPONENT)

    async def _report_regularly(self, version: Versioned, sheet: dict[str, ClassVariant]) -> None:
        while True:
            await asyncio.sleep(REPORT_S)
            try:
                await self._report(version, sheet)
            except NotFoundError:
                raise  # deleted meanwhile: nobody wants the rest
            except Exception as e:  # noqa: BLE001 - a database that is busy now is no reason to convert anew
                log.warning("progress not written", version=version.key.name, error=f"{type(e).__name__}: {e}")

    async def _report(self, version: Versioned, sheet: dict[str, ClassVariant]) -> None:
        entries = [sheet[name] for name in sorted(sheet)]
        phase, message = phase_of(entries)
        decided = phase in ("Ready", "PartlyRefused", "Refused", "Failed")
        status = ModelVersionStatus(
            observed_generation=version.meta.generation,
            phase=phase,
            message=message,
            classes=entries,
            conditions=set_condition(
                version.status.conditions,
                "Ready",
                phase in ("Ready", "PartlyRefused") if decided else None,
                phase,
                message,
                self._now(),
                version.meta.generation,
            ),
        )
        await write_status(self._objects, version, status)


def conversion_request(spec: ModelVersionSpec, device_class: Class) -> ConversionRequest:
    """What a version and a class together ask of the converter."""
    wanted, limits = device_class.spec, device_class.spec.limits
    runtime, accelerator = wanted.runtime, wanted.accelerator
    return ConversionRequest(
        device_class=device_class.key.name,
        source=_content_of(spec.source),
        source_format=spec.source.format,
        source_signature=spec.source.signature,
        ladder=candidates(runtime, accelerator.kind) if wanted.is_auto else tuple(wanted.variants),
        limits=ParityLimits(
            min_agreement=limits.min_agreement,
            max_accuracy_drop=limits.max_accuracy_drop,
            max_artifact_bytes=limits.max_artifact_bytes,
            max_memory_bytes=limits.max_memory_bytes,
        ),
        evaluation=_content_of(spec.evaluation),
        measure=measure_of(spec),
        input_shape=tuple(spec.input.shape) if spec.input.shape is not None else None,
        calibration=_content_of(spec.calibration) if spec.calibration else None,
        calibration_samples=spec.calibration.samples if spec.calibration else 100,
        training=TrainingSet(_content_of(spec.training), spec.training.samples, spec.training.epochs)
        if spec.training
        else None,
        preprocess=preprocess_of(spec),
        postprocess=postprocess_of(spec),
        threads=accelerator.threads,
        runtime=runtime,
        runtime_version=wanted.runtime_version,
        target=accelerator.kind,
        objective=(wanted.objective or DEFAULT_OBJECTIVE) if wanted.is_auto else None,
        max_latency_ms=limits.max_latency_ms,
        prebuilt=prebuilt_for(spec, wanted),
    )


def prebuilt_for(spec: ModelVersionSpec, wanted: DeviceClassSpec) -> Prebuilt | None:
    """The compiled file that a version has for the accelerator of a class's boards; None when it has none.

    What Coral's compiler writes LiteRT alone opens.
    """
    file = spec.prebuilt.edgetpu if spec.prebuilt is not None else None
    if file is None or (wanted.accelerator.kind, wanted.runtime) != ("edgetpu", "litert"):
        return None
    return Prebuilt(_content_of(file), file.tolerance)


def machines_of(boards: Sequence[Record]) -> tuple[str, ...]:
    """Architectures of boards, as far as they have said."""
    said = ((r.json().get("status") or {}).get("machine") for r in boards)
    return tuple(sorted({m for m in said if m}))


def _content_of(file: NamedFile) -> str:
    if (digest := digest_of(file)) is None:
        raise AssertionError("admission wants a digest of every file of a version")
    return digest


def _content(made: Made) -> Content:
    return Content(
        recipe=made.recipe,
        files=tuple((file.name, file.digest) for file in made.files),
        golden=made.golden,
        golden_tolerance=made.golden_tolerance,
        golden_tolerances=made.golden_tolerances,
        signature=made.signature,
        arena_bytes=made.arena_bytes,
        runtime=made.engine,
    )


def preprocess_of(spec: ModelVersionSpec) -> Preprocess:
    """A version's pre-processing as the wire has it."""
    p = spec.input.preprocess
    return Preprocess(resize=p.resize, channels=p.channels, scale=p.scale, offset=p.offset)


def measure_of(spec: ModelVersionSpec) -> Measure:
    """When a variant's answer counts as the source's."""
    tolerance = spec.evaluation.tolerance
    return Measure(
        metric=metric_of(spec.output.postprocess.kind), tolerance=TOLERANCE if tolerance is None else tolerance
    )


def postprocess_of(spec: ModelVersionSpec) -> Postprocess:
    """A version's post-processing as the wire has it."""
    p = spec.output.postprocess
    return Postprocess(kind=p.kind, activation=p.activation, labels=tuple(spec.output.labels), top_k=p.top_k)


def _undecided(device_class: Class, entry: ClassVariant | None) -> bool:
    if entry is None or entry.class_generation != device_class.meta.generation:
        return True
    return entry.state in ("Pending", "Converting")


def _converting(device_class: Class, entry: ClassVariant | None) -> ClassVariant:
    same = entry is not None and entry.class_generation == device_class.meta.generation
    return ClassVariant(
        device_class=device_class.key.name,
        state="Converting",
        class_generation=device_class.meta.generation,
        attempts=entry.attempts if entry is not None and same else 0,
        # Boards keep what they have while a changed ladder is worked through.
        variant=entry.variant if entry is not None else None,
        stage="queued",
    )


def _into(sheet: dict[str, ClassVariant], name: str) -> Callable[[Progress], None]:
    def progress(p: Progress) -> None:
        if sheet[name].state == "Converting":
            stage = f"{p.stage} {p.recipe}".strip()
            sheet[name] = sheet[name].model_copy(
                update={"stage": stage, "percent": p.percent, "estimated_completion": p.ends}
            )

    return progress


def _as_conversion_error(error: Exception) -> ConversionError:
    match error:
        case ConversionError():
            return error
        case ProtocolError():
            return ConversionError(error.code, str(error), final=True, hint=error.hint)
        case StorageFullError():
            return ConversionError(STORAGE_FULL, str(error), final=False)
    return ConversionError("StorageFailed", f"the variant can't be kept: {error}", final=False)


def _after_error(before: ClassVariant, error: ConversionError) -> ClassVariant:
    if error.code == STORAGE_FULL:
        # No fault of the model's, and what was made is remembered: tried, without counting, until there is room.
        return before.model_copy(update={"state": "Pending", "code": error.code, "message": str(error), "stage": ""})
    attempts = before.attempts + 1
    message = f"{error}" + (f"; {error.hint}" if error.hint else "")
    if error.final:
        state = "Refused"
    elif attempts >= TRIES:
        state, message = "Failed", f"{message} (after {attempts} tries)"
    else:
        state, message = "Pending", f"{message} (try {attempts} of {TRIES})"
    return before.model_copy(
        update={"state": state, "code": error.code, "message": message, "attempts": attempts, "stage": "", "percent": 0}
    )
