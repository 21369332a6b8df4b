"""A real database, and windows to fill it with."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from litefleet_controller.store.database import Database
from litefleet_protocol.histogram import HistogramBuilder
from litefleet_protocol.messages import TelemetryWindow

ARTIFACT = f"sha256:{'a' * 64}"
STARTED = 1_772_000_000.0


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'test.sqlite'}")
    await database.migrate()
    yield database
    await database.close()


def window(sequence: int = 1, **changes: Any) -> TelemetryWindow:
    latency, confidence = HistogramBuilder(), HistogramBuilder()
    for i in range(20):
        latency.add(5.0 + i)
        confidence.add(0.9)
    values: dict[str, Any] = {
        "boot_id": "boot",
        "sequence": sequence,
        "slot": "digits",
        "artifact": ARTIFACT,
        "version": "digits-v1",
        "started": STARTED,
        "seconds": 10.0,
        "count": 20,
        "errors": 1,
        "dropped": 2,
        "latency_ms": latency.freeze(),
        "confidence": confidence.freeze(),
        "classes": {"3": 12, "7": 8},
        "rss_bytes": 45_000_000,
        "temperature_c": 51.5,
        "longest_gap_ms": 55.0,
    }
    return TelemetryWindow(**(values | changes))
