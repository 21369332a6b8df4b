"""What only the leader does: the reconcilers, and clearing the broker of what nobody needs."""

import asyncio
import time

import structlog

from litefleet_controller.app.delivery import Delivery
from litefleet_controller.app.persistence import Persistence, forget_log
from litefleet_controller.app.settings import utc_now
from litefleet_controller.convert.interface import Converter
from litefleet_controller.delivery.errors import DeliveryError
from litefleet_controller.reconcile.classes import DeviceClassReconciler
from litefleet_controller.reconcile.devices import DeviceReconciler
from litefleet_controller.reconcile.leadership import Leadership
from litefleet_controller.reconcile.models import ModelReconciler
from litefleet_controller.reconcile.rollouts import ModelRolloutReconciler
from litefleet_controller.reconcile.runtime import Runtime
from litefleet_controller.reconcile.versions import ModelVersionReconciler
from litefleet_controller.reconcile.wiring import bindings
from litefleet_controller.sources.fetches import Fetches
from litefleet_controller.sources.interface import Fetcher

log = structlog.get_logger()

SWEEP_S = 60.0
RAISE_AGAIN_S = 60.0


async def lead_epoch(epoch: int, keep: Persistence, deliver: Delivery, converter: Converter, fetcher: Fetcher) -> None:
    """What only the leader does, until cancelled."""

    async def gone(namespace: str, device: str) -> None:
        await deliver.policy.revoke(device)
        await deliver.desired.forget(namespace, device)
        await forget_log(keep.database, namespace, device)

    deliver.epoch.set(epoch)
    fetches = Fetches(fetcher, time.monotonic)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_sweep(keep, deliver), name="sweep artifacts")
            await Runtime(
                keep.objects,
                bindings(
                    keep.objects,
                    models=ModelReconciler(keep.objects, keep.blobs, fetches, utc_now),
                    versions=ModelVersionReconciler(
                        keep.objects, keep.events, converter, keep.artifacts, keep.telemetry, utc_now
                    ),
                    classes=DeviceClassReconciler(keep.objects, utc_now),
                    devices=DeviceReconciler(keep.objects, keep.assignments, epoch, gone),
                    rollouts=ModelRolloutReconciler(
                        keep.objects,
                        keep.events,
                        keep.assignments,
                        keep.telemetry,
                        deliver.artifacts.ensure,
                        epoch,
                        utc_now,
                    ),
                ),
            ).run()
    finally:
        deliver.epoch.set(None)
        await fetches.close()


async def _sweep(keep: Persistence, deliver: Delivery) -> None:
    """Clear from the broker what no board needs any more."""
    while True:
        await asyncio.sleep(SWEEP_S)
        try:
            await deliver.artifacts.sweep(await keep.assignments.artifacts_in_use())
        except DeliveryError as e:
            log.info("sweep_put_off", reason=str(e))
        except Exception:
            # The edge of the loop: a database that is busy now must not end the leader's other work.
            log.exception("sweep_failed")


async def follow_higher_epochs(deliver: Delivery, leadership: Leadership) -> None:
    """Boards that follow a higher epoch than ours outlived a restored database: lead above it.

    Leading anew interrupts the leader's work, so a board that keeps claiming more can't have it more than once a while.
    """
    async for epoch in deliver.higher_epoch.values():
        if epoch:
            leadership.raise_epoch(epoch)
            await asyncio.sleep(RAISE_AGAIN_S)
