"""Which changes wake which reconciler. The one place to read who reacts to what."""

from collections.abc import Callable, Iterable, Sequence

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
        Binding("models", models, (Source(MODEL.kind, _asked_anew), Source(MODEL_VERSION.kind, _model_of_deleted))),
        Binding(
            "versions",
            versions,
            (
                Source(MODEL_VERSION.kind, itself),
                Source(DEVICE_CLASS.kind, _all(objects, MODEL_VERSION.kind, _spec_changed)),
                Source(DEVICE.kind, _all(objects, MODEL_VERSION.kind, _spec_changed)),
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
                Source(MODEL_VERSION.kind, _all(objects, MODEL_ROLLOUT.kind, _anything)),
                Source(DEVICE.kind, _all(objects, MODEL_ROLLOUT.kind, _standing_changed)),
                Source(MODEL.kind, _all(objects, MODEL_ROLLOUT.kind, _spec_changed)),
                Source(ANALYSIS_TEMPLATE.kind, _all(objects, MODEL_ROLLOUT.kind, _spec_changed)),
                Source(DEVICE_CLASS.kind, _all(objects, MODEL_ROLLOUT.kind, _spec_changed)),
            ),
            workers=2,
        ),
    )


def _anything(_: Event) -> bool:
    return True


def _spec_changed(event: Event) -> bool:
    """Whether anything but the status is new: labels and deletion count, they decide selection."""
    if event.previous is None or event.type != "MODIFIED":
        return True
    return event.previous.generation != event.record.generation or event.previous.labels != event.record.labels


def _standing_changed(event: Event) -> bool:
    """Whether a board is new to a rollout: each one's lastSeen and progress come all the time and decide nothing."""
    if event.previous is None or _spec_changed(event):
        return True
    return _standing(event.previous) != _standing(event.record)


def _standing(board: Record) -> object:
    """What reconcile/rollouts.py reads of a Device's status."""
    status = board.json().get("status") or {}
    slots = [{**slot, "progress": ""} for slot in status.get("slots") or ()]
    return status.get("connection"), status.get("code"), status.get("message"), slots


def _all(objects: Objects, kind: str, calls: Callable[[Event], bool]) -> Mapper:
    """Every object of `kind` in the namespace of a change that calls for them."""

    async def requests(events: Sequence[Event]) -> Iterable[Request]:
        found: list[Request] = []
        for namespace in dict.fromkeys(e.record.key.namespace for e in events if calls(e)):
            page = await objects.list(Query(kind, namespace))
            found += [Request(r.key.namespace, r.key.name) for r in page.records]
        return found

    return requests


def _rollouts(objects: Objects) -> Mapper:
    """The rollout itself, and all of its namespace when its claim on boards may have changed."""
    everyone = _all(objects, MODEL_ROLLOUT.kind, _spec_changed)

    async def requests(events: Sequence[Event]) -> Iterable[Request]:
        return [*await itself(events), *await everyone(events)]

    return requests


def _versions_of(objects: Objects) -> Mapper:
    """The versions of a rollout's model: pinning one may make it wanted."""

    async def requests(events: Sequence[Event]) -> Iterable[Request]:
        models = dict.fromkeys(
            (e.record.key.namespace, str(e.record.json()["spec"]["modelRef"]["name"]))
            for e in events
            if _spec_changed(e)
        )
        found: list[Request] = []
        for namespace, model in models:
            of_model = FieldRequirement("spec.modelRef", True, model)
            page = await objects.list(Query(MODEL_VERSION.kind, namespace, fields=(of_model,)))
            found += [Request(r.key.namespace, r.key.name) for r in page.records]
        return found

    return requests


def _engines_changed(event: Event) -> bool:
    """Whether reconcile/classes.py has to look at a board."""
    return event.previous is None or _spec_changed(event) or _engines(event.previous) != _engines(event.record)


def _engines(board: Record) -> object:
    return (board.json().get("status") or {}).get("runtimes")


async def _class_of(events: Sequence[Event]) -> Iterable[Request]:
    changed = [e for e in events if _engines_changed(e)]
    boards = [r for e in changed for r in (e.record, e.previous) if r is not None]
    return dict.fromkeys(Request(r.key.namespace, str(r.json()["spec"]["class"])) for r in boards)


async def _deleted(events: Sequence[Event]) -> Iterable[Request]:
    return await itself([e for e in events if e.type == "DELETED"])


async def _asked_anew(events: Sequence[Event]) -> Iterable[Request]:
    """The Model itself, but for how far its files are: who writes that comes back by the clock."""
    return await itself([e for e in events if _spec_changed(e) or _latest(e.previous) != _latest(e.record)])


def _latest(model: Record | None) -> object:
    return (model.json().get("status") or {}).get("latestVersion") if model is not None else None


async def _model_of_deleted(events: Sequence[Event]) -> Iterable[Request]:
    """A version that was deleted by hand is made again while its Model asks for it."""
    gone = [e.record for e in events if e.type == "DELETED"]
    return [Request(r.key.namespace, str(r.json()["spec"]["modelRef"])) for r in gone]
