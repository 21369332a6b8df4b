"""Device: when one is deleted, it loses its place at the broker and what it was assigned.

Enrollment makes Devices, boards report their status; what is left to do here is the end.
"""

from collections.abc import Awaitable, Callable

from litefleet_controller.reconcile.interface import Request, Result
from litefleet_controller.resources.registry import DEVICE
from litefleet_controller.store.errors import NotFoundError
from litefleet_controller.store.interface import AssignmentBatch, Assignments, FieldRequirement, Objects, Query


class DeviceReconciler:
    """Cleans up behind deleted devices."""

    def __init__(
        self, objects: Objects, assignments: Assignments, epoch: int, forget: Callable[[str, str], Awaitable[None]]
    ) -> None:
        self._objects = objects
        self._assignments = assignments
        self._epoch = epoch
        self._forget = forget

    async def reconcile(self, request: Request) -> Result:
        """Revoke and unassign a device that is gone."""
        try:
            await self._objects.get(request.key(DEVICE.kind))
        except NotFoundError:
            _, held = await self._assignments.of_device(request.namespace, request.name)
            clear = tuple((a.namespace, a.device, a.slot) for a in held)
            if clear:
                await self._assignments.commit(AssignmentBatch(clear=clear), epoch=self._epoch)
            # Names are unique in the fleet: a board that was enrolled anew, in whatever namespace, has this place now.
            if not await self._is_enrolled(request.name):
                await self._forget(request.namespace, request.name)
        return Result()

    async def _is_enrolled(self, device: str) -> bool:
        named = FieldRequirement("metadata.name", equal=True, value=device)
        return bool((await self._objects.list(Query(DEVICE.kind, None, fields=(named,), limit=1))).records)
