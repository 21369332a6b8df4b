"""DeviceClass: how many boards are of it, and whether they have the engine that it says they have."""

from collections.abc import Sequence

from litefleet_controller.reconcile.interface import Now, Request, Result
from litefleet_controller.resources.device import DeviceClassSpec, DeviceClassStatus
from litefleet_controller.resources.meta import set_condition
from litefleet_controller.resources.registry import DEVICE, DEVICE_CLASS
from litefleet_controller.resources.release import Release, parse_release
from litefleet_controller.store.errors import NotFoundError
from litefleet_controller.store.interface import FieldRequirement, Objects, Query, Record
from litefleet_controller.store.typed import Resource, read, write_status

RUNTIME = "RuntimeAsDeclared"
"""Type of the condition; absent while the class declares no version."""
_NAMED = 3


class DeviceClassReconciler:
    """Counts and compares."""

    def __init__(self, objects: Objects, now: Now) -> None:
        self._objects = objects
        self._now = now

    async def reconcile(self, request: Request) -> Result:
        """Write the number of boards to status, and which have an older engine than declared."""
        try:
            record = await self._objects.get(request.key(DEVICE_CLASS.kind))
        except NotFoundError:
            return Result()
        found: Resource[DeviceClassSpec, DeviceClassStatus] = read(record, DeviceClassSpec, DeviceClassStatus)
        of_class = FieldRequirement("spec.class", True, request.name)
        page = await self._objects.list(Query(DEVICE.kind, request.namespace, fields=(of_class,)))
        count = len(page.records)
        conditions = set_condition(
            found.status.conditions, "InUse", count > 0, "Devices" if count else "NoDevices",
            "boards are enrolled in this class" if count else "no board is enrolled in this class",
            self._now(), found.meta.generation,
        )  # fmt: skip
        declared = parse_release(found.spec.runtime, found.spec.runtime_version or "")
        if declared is None:
            conditions = [c for c in conditions if c.type != RUNTIME]
        else:
            older = older_boards(declared, found.spec.runtime, page.records)
            conditions = set_condition(
                conditions, RUNTIME, not older, "OlderRuntime" if older else "AsDeclared",
                said_of(older, declared), self._now(), found.meta.generation,
            )  # fmt: skip
        status = DeviceClassStatus(observed_generation=found.meta.generation, devices=count, conditions=conditions)
        await write_status(self._objects, found, status)
        return Result()


def older_boards(declared: Release, runtime: str, boards: Sequence[Record]) -> list[tuple[str, Release]]:
    """Boards that report an older engine than their class declares: variants are chosen for the declared one."""
    older = []
    for record in boards:
        said = ((record.json().get("status") or {}).get("runtimes") or {}).get(runtime)
        has = parse_release(runtime, said) if isinstance(said, str) else None
        if has is not None and has < declared:
            older.append((record.key.name, has))
    return older


def said_of(older: Sequence[tuple[str, Release]], declared: Release) -> str:
    """The condition's message."""
    if not older:
        return f"no board reports anything older than {declared}"
    named = ", ".join(f"{name} ({has})" for name, has in older[:_NAMED])
    more = f" and {len(older) - _NAMED} more" if len(older) > _NAMED else ""
    return (
        f"the class says {declared}, and {named}{more} {'has' if len(older) == 1 else 'have'} an older one, for which "
        "variants were not checked: update the board, or lower spec.runtimeVersion"
    )
