"""Model -> ModelVersion: any change of what a model is makes a new, immutable version.

As a Deployment makes ReplicaSets. A version is compared with the newest one only: going back to an older spec is a new
version, so that version numbers tell the order of events.
"""

from litefleet_controller.artifacts.interface import Blobs
from litefleet_controller.reconcile.files import digests_of, locate, with_digests
from litefleet_controller.reconcile.interface import Now, Request, Result
from litefleet_controller.resources.meta import API_VERSION, Condition, set_condition
from litefleet_controller.resources.model import (
    FileStatus,
    ModelSpec,
    ModelStatus,
    ModelVersionSpec,
    ModelVersionStatus,
    VersionRef,
)
from litefleet_controller.resources.registry import MODEL, MODEL_VERSION
from litefleet_controller.sources.fetches import Fetches
from litefleet_controller.store.errors import AlreadyExistsError, NotFoundError
from litefleet_controller.store.interface import FieldRequirement, Objects, Query
from litefleet_controller.store.typed import Resource, read, write_status
from litefleet_protocol.names import is_name

Versioned = Resource[ModelVersionSpec, ModelVersionStatus]


class ModelReconciler:
    """Keeps the newest ModelVersion of each Model the same as the Model."""

    def __init__(self, objects: Objects, blobs: Blobs, fetches: Fetches, now: Now) -> None:
        self._objects = objects
        self._blobs = blobs
        self._fetches = fetches
        self._now = now

    async def reconcile(self, request: Request) -> Result:
        """Make a version when the Model differs from its newest."""
        model = await self._read(request)
        if model is None:
            self._fetches.release(request)
            return Result()
        newest = await newest_version(self._objects, request.namespace, request.name)
        spec = model.spec
        if newest is not None and is_same(newest.spec, spec):
            spec = with_digests(spec, digests_of(newest.spec, spec))
        located = await locate(spec, self._blobs, self._fetches, request)
        if not located.are_here:
            await self._report(model, None, *located.trouble, files=located.files)
            return Result(requeue_after_s=located.look_again_s)
        if newest is None or not is_same(newest.spec, model.spec):
            # A number is never given twice, not even when the newest version was deleted: telemetry is kept under it.
            known = (
                newest.spec.version if newest else 0,
                model.status.latest_version.number if model.status.latest_version else 0,
            )
            number = max(known) + 1
            name = f"{request.name}-v{number}"
            if not is_name(name):
                text = f"{name!r} is longer than 63 characters: rename the Model"
                await self._report(model, None, "InvalidName", text, files=located.files)
                return Result()
            await self._create(model, with_digests(spec, located.digests), name, number)
            ref = VersionRef(name=name, number=number)
        else:
            ref = VersionRef(name=newest.key.name, number=newest.spec.version)
        self._fetches.release(request)
        await self._report(model, ref, "VersionMade", f"the newest version is {ref.name}", files=located.files)
        return Result()

    async def _read(self, request: Request) -> Resource[ModelSpec, ModelStatus] | None:
        """The Model, unless it is gone or going."""
        try:
            record = await self._objects.get(request.key(MODEL.kind))
        except NotFoundError:
            return None
        model: Resource[ModelSpec, ModelStatus] = read(record, ModelSpec, ModelStatus)
        return model if model.meta.deletion_timestamp is None else None

    async def _create(self, model: Resource[ModelSpec, ModelStatus], spec: ModelSpec, name: str, number: int) -> None:
        body = {
            "apiVersion": API_VERSION,
            "kind": MODEL_VERSION.kind,
            "metadata": {
                "name": name,
                "namespace": model.key.namespace,
                "labels": {"litefleet.dev/model": model.key.name},
                "ownerReferences": [
                    {
                        "apiVersion": API_VERSION,
                        "kind": MODEL.kind,
                        "name": model.key.name,
                        "uid": model.meta.uid,
                        "controller": True,
                        "blockOwnerDeletion": True,
                    }
                ],
            },
            "spec": {**spec.dump(), "modelRef": model.key.name, "version": number},
        }
        try:
            await self._objects.create(body)
        except AlreadyExistsError as e:
            # Made by this very reconcile before it was killed, or by hand: the next look decides by content.
            if e.being_deleted:
                raise

    async def _report(
        self,
        model: Resource[ModelSpec, ModelStatus],
        ref: VersionRef | None,
        reason: str,
        message: str,
        *,
        files: list[FileStatus],
    ) -> None:
        conditions: list[Condition] = set_condition(
            model.status.conditions, "Ready", ref is not None, reason, message, self._now(), model.meta.generation
        )
        status = ModelStatus(
            observed_generation=model.meta.generation,
            conditions=conditions,
            latest_version=ref or model.status.latest_version,
            files=files,
        )
        await write_status(self._objects, model, status)


def content_of(spec: ModelSpec) -> ModelSpec:
    """What makes a version a version: the Model's fields, without the version's own."""
    return ModelSpec.model_validate(spec.model_dump(by_alias=True, include=set(ModelSpec.model_fields)))


def is_same(version: ModelSpec, model: ModelSpec) -> bool:
    """Whether a version is what the Model asks for. A digest that the Model leaves open is whatever the version has."""
    return content_of(version) == content_of(with_digests(model, digests_of(version, model)))


async def newest_version(objects: Objects, namespace: str, model: str) -> Versioned | None:
    """The version of `model` with the highest number, None when it has none."""
    page = await objects.list(
        Query(MODEL_VERSION.kind, namespace, fields=(FieldRequirement("spec.modelRef", True, model),))
    )
    versions: list[Versioned] = [read(r, ModelVersionSpec, ModelVersionStatus) for r in page.records]
    return max(versions, key=lambda v: v.spec.version, default=None)
