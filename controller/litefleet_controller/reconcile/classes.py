"""DeviceClass: how many boards are of it."""

from litefleet_controller.reconcile.interface import Now, Request, Result
from litefleet_controller.resources.device import DeviceClassSpec, DeviceClassStatus
from litefleet_controller.resources.meta import set_condition
from litefleet_controller.resources.registry import DEVICE, DEVICE_CLASS
from litefleet_controller.store.errors import NotFoundError
from litefleet_controller.store.interface import FieldRequirement, Objects, Query
from litefleet_controller.store.typed import Resource, read, write_status


class DeviceClassReconciler:
    """Counts."""

    def __init__(self, objects: Objects, now: Now) -> None:
        self._objects = objects
        self._now = now

    async def reconcile(self, request: Request) -> Result:
        """Write the number of boards to status."""
        try:
            record = await self._objects.get(request.key(DEVICE_CLASS.kind))
        except NotFoundError:
            return Result()
        found: Resource[DeviceClassSpec, DeviceClassStatus] = read(record, DeviceClassSpec, DeviceClassStatus)
        of_class = FieldRequirement("spec.class", True, request.name)
        page = await self._objects.list(Query(DEVICE.kind, request.namespace, fields=(of_class,)))
        count = len(page.records)
        status = DeviceClassStatus(
            observed_generation=found.meta.generation,
            devices=count,
            conditions=set_condition(
                found.status.conditions, "InUse", count > 0, "Devices" if count else "NoDevices",
                "boards are enrolled in this class" if count else "no board is enrolled in this class",
                self._now(), found.meta.generation,
            ),
        )  # fmt: skip
        await write_status(self._objects, found, status)
        return Result()
