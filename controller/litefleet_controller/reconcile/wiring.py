"""Which changes wake which reconciler. The one place to read who reacts to what."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from litefleet_controller.reconcile.interface import Binding, Mapper, Reconciler, Request, Source, itself
from litefleet_controller.resources.registry import (
    ANALYSIS_TEMPLATE,
    DEVICE,
    DEVICE_CLASS,
    MODEL,
    MODEL_ROLLOUT,
    MODEL_VERSION,
)
from litefleet_controller.store.interface import Event, FieldRequirement, Objects, Query, Record


def bindings(
    objects: Objects,
    *,
    models: Reconciler,
    versions: Reconciler,
    classes: Reconciler,
    devices: Reconciler,
    rollouts: Reconciler,
) -> Sequence[Binding]:
    """All reconcilers with their sources."""
    return (
        Binding("models", models, (Source(MODEL.kind, itself), Source(MODEL_VERSION.kind, _model_of_deleted))),
        Binding(
            "versions",
            versions,
            (
                Source(MODEL_VERSION.kind, itself),
                Source(DEVICE_CLASS.kind, _all(objects, MODEL_VERSION.kind, spec_only=True)),
                Source(DEVICE.kind, _all(objects, MODEL_VERSION.kind, spec_only=True)),
                Source(MODEL_ROLLOUT.kind, _versions_of(objects)),
            ),
            workers=2,
        ),
        Binding("classes", classes, (Source(DEVICE_CLASS.kind, itself), Source(DEVICE.kind, _class_of))),
        Binding("devices", devices, (Source(DEVICE.kind, _deleted),)),
        Binding(
            "rollouts",
            rollouts,
            (
                Source(MODEL_ROLLOUT.kind, _rollouts(objects)),
                Source(MODEL_VERSION.kind, _rollouts(objects, spec_only=False)),
                Source(DEVICE.kind, _rollouts(objects, spec_only=False)),
                Source(MODEL.kind, _rollouts(objects)),
                Source(ANALYSIS_TEMPLATE.kind, _rollouts(objects)),
                Source(DEVICE_CLASS.kind, _rollouts(objects)),
            ),
            workers=2,
        ),
    )


def _spec_changed(event: Event) -> bool:
    """Whether anything but the status is new: labels and deletion count, they decide selection."""
    if event.previous is None or event.type != "MODIFIED":
        return True
    return event.previous.generation != event.record.generation or event.previous.labels != event.record.labels


def _all(objects: Objects, kind: str, *, spec_only: bool) -> Mapper:
    async def requests(event: Event) -> Iterable[Request]:
        if spec_only and not _spec_changed(event):
            return ()
        page = await objects.list(Query(kind, event.record.key.namespace))
        return [Request(r.key.namespace, r.key.name) for r in page.records]

    return requests


def _rollouts(objects: Objects, *, spec_only: bool = True) -> Mapper:
    """A rollout's own change, or all rollouts of the namespace for anybody else's."""
    everyone = _all(objects, MODEL_ROLLOUT.kind, spec_only=spec_only)

    async def requests(event: Event) -> Iterable[Request]:
        own = [] if event.record.key.kind != MODEL_ROLLOUT.kind else list(await itself(event))
        return [*own, *await everyone(event)]

    return requests


def _versions_of(objects: Objects) -> Mapper:
    """The versions of a rollout's model: pinning one may make it wanted."""

    async def requests(event: Event) -> Iterable[Request]:
        if not _spec_changed(event):
            return ()
        model = _body(event.record)["spec"]["modelRef"]["name"]
        of_model = FieldRequirement("spec.modelRef", True, model)
        page = await objects.list(Query(MODEL_VERSION.kind, event.record.key.namespace, fields=(of_model,)))
        return [Request(r.key.namespace, r.key.name) for r in page.records]

    return requests


async def _class_of(event: Event) -> Iterable[Request]:
    if not _spec_changed(event):
        return ()
    records = [event.record] if event.previous is None else [event.record, event.previous]
    return [Request(r.key.namespace, str(_body(r)["spec"]["class"])) for r in records]


async def _deleted(event: Event) -> Iterable[Request]:
    return await itself(event) if event.type == "DELETED" else ()


async def _model_of_deleted(event: Event) -> Iterable[Request]:
    """A version that was deleted by hand is made again while its Model asks for it."""
    if event.type != "DELETED":
        return ()
    return (Request(event.record.key.namespace, str(_body(event.record)["spec"]["modelRef"])),)


def _body(record: Record) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(record.body)
    return body
