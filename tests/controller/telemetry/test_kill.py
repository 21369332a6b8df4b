"""A controller that is killed has not acknowledged anything that isn't in the database."""

import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

PROGRAM = textwrap.dedent(
    """
    import asyncio, sys
    from datetime import UTC, datetime
    from litefleet_controller.delivery.devices import DeviceRef
    from litefleet_controller.store.database import Database
    from litefleet_controller.telemetry.ingest import Batching, TelemetryIngest
    from litefleet_protocol import codec
    from tests.controller.telemetry.conftest import window

    class Boards:
        async def locate(self, device):
            return DeviceRef("default", device, "rpi-4")

    async def main():
        database = Database(sys.argv[1])
        await database.migrate()
        ingest = TelemetryIngest(
            database,
            Boards(),
            lambda device, ack: print(device, ack.sequence, flush=True),
            clock=lambda: datetime.now(UTC),
            batching=Batching(rows=20, wait_s=0.001),
        )
        running = asyncio.create_task(ingest.run())
        for sequence in range(1, 1_000_000):
            for device in ("a", "b"):
                ingest.offer(device, codec.encode(window(sequence)))
            await asyncio.sleep(0)
        await running

    asyncio.run(main())
    """
)


def test_after_a_kill_everything_acknowledged_is_there_and_the_file_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "killed.sqlite"
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, f"sqlite+aiosqlite:///{path}"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert child.stdout is not None
    acknowledged: dict[str, int] = {}
    for _ in range(30):
        device, sequence = next(line for line in child.stdout if line[:2] in ("a ", "b ")).split()
        acknowledged[device] = int(sequence)
    child.kill()
    rest, _ = child.communicate()
    for line in rest.splitlines():
        if line[:2] in ("a ", "b ") and line.split()[1:]:
            acknowledged[line[0]] = int(line.split()[1])
    with sqlite3.connect(path) as database:
        (state,) = database.execute("PRAGMA integrity_check").fetchone()
        stored = {
            device: {s for (s,) in database.execute("SELECT sequence FROM telemetry_windows WHERE device = ?", device)}
            for device in acknowledged
        }
    database.close()
    assert state == "ok"
    assert set(acknowledged) == {"a", "b"}
    for device, sequence in acknowledged.items():
        assert set(range(1, sequence + 1)) <= stored[device]
