"""What a list of 10,000 devices costs the server."""

import asyncio
import itertools
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from litefleet_controller.resources.registry import Registry
from litefleet_controller.store.database import Database
from litefleet_controller.store.interface import Query
from litefleet_controller.store.objects import SqlObjects
from tests.benchmarks.figure import Figure

DEVICES = 10_000


def listing() -> Sequence[Figure]:
    """CPU milliseconds to read all of them from SQLite and to join their bytes, best of five."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_measure(Path(folder)))


async def _measure(folder: Path) -> Sequence[Figure]:
    numbers = itertools.count()
    database = Database(f"sqlite+aiosqlite:///{folder / 'db'}")
    await database.migrate()
    objects = SqlObjects(database, Registry(), clock=lambda: datetime.now(UTC), uid=lambda: f"uid-{next(numbers)}")
    try:
        async with objects.transaction() as writes:
            for n in range(DEVICES):
                await writes.insert(_device(n))
        times = []
        for _ in range(5):
            began = time.process_time()
            page = await objects.list(Query("Device", "default"))
            body = b",".join(r.body for r in page.records)
            times.append((time.process_time() - began) * 1000)
    finally:
        await objects.aclose()
        await database.close()
    return [Figure("list-10k-devices", min(times), "ms CPU", 100.0, "<", note=f"{len(body) // 1024} KiB of JSON")]


def _device(n: int) -> dict[str, object]:
    return {
        "apiVersion": "litefleet.dev/v1alpha1",
        "kind": "Device",
        "metadata": {
            "name": f"board-{n:05}", "namespace": "default", "uid": f"d-{n}", "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"site": f"line-{n % 40}"},
        },
        "spec": {"class": "raspberry-pi-4"},
        "status": {"connection": "Online", "slots": [{"slot": "digits", "phase": "Updated", "currentVersion": "digits-v1"}]},
    }  # fmt: skip
