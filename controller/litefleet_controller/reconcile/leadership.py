"""Leadership: hold the lease, run what only a leader may run, stop it in time when the lease is lost.

The lease's expiry is judged by the database row and this process's own renewals, never by a board's clock (when it is
over before its end: see store/leases.py). A leader
that could not renew stops a safety margin before its lease ends, so that two leaders never overlap except for a process
that was paused; that one's writes fail on the epoch (see store.interface.Assignments.commit).
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from litefleet_controller.reconcile.interface import Now
from litefleet_controller.store.errors import StaleEpochError
from litefleet_controller.store.interface import Lease, Leases

log = structlog.get_logger()

LEASE_S = 15.0
RENEW_S = 4.0


class Leadership:
    """Runs `lead(epoch)` while the lease is held, again and again until cancelled."""

    def __init__(self, leases: Leases, holder: str, now: Now, lead: Callable[[int], Awaitable[None]]) -> None:
        self._leases = leases
        self._holder = holder
        self._now = now
        self._lead = lead
        self._restart = asyncio.Event()
        self._at_least = 0

    def raise_epoch(self, at_least: int) -> None:
        """Boards follow a newer epoch than ours (the database was restored): take one above it."""
        self._at_least = max(self._at_least, at_least)
        self._restart.set()

    async def run(self) -> None:
        """Hold the lease for as long as this runs; give it up at the end."""
        try:
            while True:
                lease = await self._take()
                if lease is None:
                    await asyncio.sleep(RENEW_S / 2)
                    continue
                log.info("leading", holder=self._holder, epoch=lease.epoch)
                await self._hold(lease)
        finally:
            await asyncio.shield(self._release())

    async def _take(self) -> Lease | None:
        # Before the row is read: an epoch that is asked for meanwhile begins the work anew.
        self._restart.clear()
        try:
            lease = await self._leases.acquire(self._holder, self._now(), LEASE_S)
            if lease is not None and lease.epoch <= self._at_least:
                lease = await self._leases.raise_epoch(self._holder, self._at_least + 1)
        except Exception as e:  # noqa: BLE001 - as in `_renew`: a database that is away for a moment comes back
            log.warning("lease not taken", error=f"{type(e).__name__}: {e}")
            return None
        return lease

    async def _release(self) -> None:
        try:
            await self._leases.release(self._holder)
        except Exception as e:  # noqa: BLE001 - the lease ends by itself; who comes next waits for that
            log.warning("lease not released", error=f"{type(e).__name__}: {e}")

    async def _hold(self, lease: Lease) -> None:
        work = asyncio.create_task(self._guarded(lease.epoch), name=f"lead epoch {lease.epoch}")
        renewal = asyncio.create_task(self._renew(lease.epoch), name="renew lease")
        restart = asyncio.create_task(self._restart.wait(), name="epoch restart")
        try:
            await asyncio.wait({work, renewal, restart}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (work, renewal, restart):
                task.cancel()
            results = await asyncio.gather(work, renewal, restart, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result
        log.info("not leading any more", holder=self._holder, epoch=lease.epoch)

    async def _guarded(self, epoch: int) -> None:
        try:
            await self._lead(epoch)
        except* StaleEpochError as e:
            log.warning("epoch is over", epoch=epoch, error=str(e.exceptions[0]))

    async def _renew(self, epoch: int) -> None:
        """Returns when the lease is lost or could not be renewed for too long."""
        loop = asyncio.get_running_loop()
        good_until = loop.time() + LEASE_S - RENEW_S
        while True:
            await asyncio.sleep(RENEW_S)
            try:
                async with asyncio.timeout(max(0.1, good_until - loop.time())):
                    lease = await self._leases.acquire(self._holder, self._now(), LEASE_S)
            except Exception as e:  # noqa: BLE001 - a database that is away for a moment is why a lease has a length
                log.warning("lease not renewed", error=f"{type(e).__name__}: {e}")
                if loop.time() >= good_until:
                    return
                continue
            if lease is None or lease.epoch != epoch:
                return
            good_until = loop.time() + LEASE_S - RENEW_S
