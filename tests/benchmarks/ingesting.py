"""What boards' messages cost the controller: reports of their state, and windows of telemetry.

From the message as the link hands it over to the committed row, in this process; the broker and the link are left out.
The goals are what 10,000 boards send on one core: a window each 10 s, and something new to say once a minute.
"""

import asyncio
import itertools
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import event
from structlog.testing import capture_logs

from litefleet_controller.delivery.devices import DeviceDirectory
from litefleet_controller.delivery.ingest import Ingest, Sinks
from litefleet_controller.delivery.interface import Incoming
from litefleet_controller.delivery.reported import ReportedState
from litefleet_controller.resources.registry import Registry
from litefleet_controller.store.database import Database
from litefleet_controller.store.objects import SqlObjects
from litefleet_controller.telemetry.ingest import TelemetryIngest
from litefleet_protocol import codec, topics
from litefleet_protocol.histogram import Histogram, HistogramBuilder
from litefleet_protocol.messages import Capabilities, Phase, Reported, SlotReported, TelemetryWindow
from tests.benchmarks.listing import device
from tests.figures import Figure, Run

BOARDS = 500
_ROUNDS = 8
_SAMPLE_BOARDS = 50
_ARTIFACT = f"sha256:{'a' * 64}"
_FLEET = "f" * 16


def ingesting(run: Run) -> Sequence[Figure]:
    """Messages a second of CPU, and statements a message, of each kind."""
    with tempfile.TemporaryDirectory() as folder, capture_logs():
        return asyncio.run(_measure(Path(folder), _SAMPLE_BOARDS if run.sample else BOARDS, run.seed))


async def _measure(folder: Path, boards: int, seed: int) -> Sequence[Figure]:
    names = [device(n)["metadata"]["name"] for n in range(boards)]  # type: ignore[index]
    rng = np.random.default_rng(seed)
    async with _controller(folder, boards) as controller:
        reports = [[_reported(name, number) for name in names] for number in range(_ROUNDS)]
        reported = await controller.cost(reports, controller.all_written)
        windows = [[_window(name, number, rng) for name in names] for number in range(_ROUNDS)]
        stored = await controller.cost(windows, controller.all_stored)
    note = f"{boards} boards, {_ROUNDS} messages each, SQLite with a commit to the disk; CPU of the whole process"
    return [
        Figure("ingest-reports", reported.per_s, "reports/CPU s", 10_000 / 60, ">=", reported.sides(), seed, note),
        Figure("ingest-windows", stored.per_s, "windows/CPU s", 10_000 / 10, ">=", stored.sides(), seed, note),
    ]


@dataclass(frozen=True, slots=True)
class Spent:
    """What so many messages took."""

    messages: int
    cpu_s: float
    wall_s: float
    statements: int

    @property
    def per_s(self) -> float:
        return self.messages / self.cpu_s

    def sides(self) -> dict[str, float]:
        return {
            "statements a message": self.statements / self.messages,
            "ms CPU a message": self.cpu_s / self.messages * 1000,
            "messages a second of wall time": self.messages / self.wall_s,
        }


@dataclass
class Controller:
    """What takes messages in, with its statements counted."""

    ingest: Ingest
    objects: SqlObjects
    telemetry: TelemetryIngest
    writes: int = 0
    statements: list[int] = field(default_factory=lambda: [0])

    async def cost(self, rounds: Sequence[Sequence[Incoming]], done: Callable[[int], bool]) -> Spent:
        """One round after the other, each until it is durable."""
        before, wall, cpu = self.statements[0], time.perf_counter(), time.process_time()
        for number, messages in enumerate(rounds, 1):
            for message in messages:
                self.ingest.take(message)
            while not done(number * len(messages)):
                await asyncio.sleep(0.002)
        assert not self.ingest.dropped, self.ingest.dropped
        count = sum(map(len, rounds))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        return Spent(count, cpu, wall, self.statements[0] - before)

    def all_written(self, count: int) -> bool:
        return self.writes >= count

    def all_stored(self, count: int) -> bool:
        return self.telemetry.stored >= count


@asynccontextmanager
async def _controller(folder: Path, boards: int) -> AsyncIterator[Controller]:
    database = Database(f"sqlite+aiosqlite:///{folder / 'db'}")
    await database.migrate()
    numbers = itertools.count()
    objects = SqlObjects(database, Registry(), clock=_now, uid=lambda: f"uid-{next(numbers)}")
    async with objects.transaction() as writes:
        for number in range(boards):
            await writes.insert(device(number))
    directory = DeviceDirectory(objects)
    reported = ReportedState(objects, directory, epoch=lambda: 1, on_higher_epoch=lambda _: None, clock=_now)
    telemetry = TelemetryIngest(database, directory, lambda _device, _ack: None, clock=_now)
    sinks = Sinks(reported, telemetry, None, None, {})  # type: ignore[arg-type]
    controller = Controller(Ingest(None, _FLEET, sinks), objects, telemetry)  # type: ignore[arg-type]
    _count(database, controller)
    tasks = [asyncio.create_task(part.run()) for part in (directory, reported, telemetry)]
    try:
        yield controller
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await objects.aclose()
        await database.close()


def _count(database: Database, controller: Controller) -> None:
    """Count statements, and devices whose status was written."""

    def executed(_c: Any, _cursor: Any, statement: str, _p: Any, _context: Any, _many: bool) -> None:
        controller.statements[0] += 1

    event.listen(database._engine.sync_engine, "before_cursor_execute", executed)
    mutate = controller.objects.mutate

    async def counted(*args: Any, **kwargs: Any) -> Any:
        made = await mutate(*args, **kwargs)
        controller.writes += 1
        return made

    controller.objects.mutate = counted  # type: ignore[method-assign]


def _reported(name: str, number: int) -> Incoming:
    """A board that makes progress: each report differs."""
    slot = SlotReported(
        phase=Phase.PREPARING, current=_ARTIFACT, desired=_ARTIFACT, received_chunks=number, total_chunks=100
    )
    has = Capabilities(agent="0.1.0", runtimes={"litert": "2.3.0"}, machine="aarch64", memory_bytes=4 * 2**30)
    said = Reported(
        fleet=_FLEET, device=name, device_class="c", boot_id="b" * 32, sequence=number + 1, epoch=1, counter=1,
        slots={"digits": slot}, capabilities=has,
    )  # fmt: skip
    return Incoming(topics.up(name, topics.Up.REPORTED), codec.encode(said), retain=False)


def _window(name: str, number: int, rng: np.random.Generator) -> Incoming:
    """Ten seconds at 30 Hz."""
    said = TelemetryWindow(
        boot_id="b" * 32, sequence=number, slot="digits", artifact=_ARTIFACT, version="digits-v1",
        started=_now().timestamp(), seconds=10.0, count=300, latency_ms=_histogram(12 * rng.lognormal(0, 0.2, 300)),
        confidence=_histogram(rng.beta(8, 1, 300)), classes={str(n): 30 for n in range(10)},
    )  # fmt: skip
    return Incoming(topics.up(name, topics.Up.TELEMETRY), codec.encode(said), retain=False)


def _histogram(values: Any) -> Histogram:
    builder = HistogramBuilder()
    for value in values.tolist():
        builder.add(value)
    return builder.freeze()


def _now() -> datetime:
    return datetime.now(UTC)
