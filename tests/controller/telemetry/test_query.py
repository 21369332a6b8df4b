"""Answers about what was stored."""

import math
import random
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from litefleet_controller.store.database import Database
from litefleet_controller.telemetry.query import SqlTelemetry, retention
from litefleet_controller.telemetry.rows import insert_windows, read_floors, row_of, write_floors
from litefleet_protocol.histogram import Histogram, HistogramBuilder, merge
from litefleet_protocol.messages import TelemetryWindow
from tests.controller.telemetry.conftest import window

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


async def store(database: Database, *rows: dict[str, Any]) -> None:
    async with database.writing() as session:
        await insert_windows(session, rows)


def row(
    made: TelemetryWindow,
    device: str = "a",
    device_class: str = "rpi-4",
    namespace: str = "default",
    minute: float = 0,
) -> dict[str, Any]:
    return row_of(
        made,
        device=device,
        namespace=namespace,
        device_class=device_class,
        rollout=None,
        received_at=START + timedelta(minutes=minute),
        clock_untrusted=False,
    )


async def test_windows_are_split_by_class_and_version(database: Database) -> None:
    await store(
        database,
        row(window(1), "a"),
        row(window(1), "b"),
        row(window(1), "c", "jetson"),
        row(window(2, version="digits-v2"), "a"),
        row(window(3, slot="faces"), "a"),
        row(window(1), "d", namespace="another"),
    )
    found = await SqlTelemetry(database.sessions).aggregate("default", "digits")
    assert [(a.version, a.device_class, a.devices, a.count) for a in found] == [
        ("digits-v1", "jetson", 1, 20),
        ("digits-v1", "rpi-4", 2, 40),
        ("digits-v2", "rpi-4", 1, 20),
    ]
    assert (found[1].errors, found[1].dropped, found[1].classes) == (2, 4, {"3": 24, "7": 16})


async def test_time_begins_with_since_and_ends_before_until(database: Database) -> None:
    await store(database, *(row(window(n), minute=n) for n in range(5)))
    telemetry = SqlTelemetry(database.sessions)
    (found,) = await telemetry.aggregate(
        "default", "digits", since=START + timedelta(minutes=1), until=START + timedelta(minutes=4)
    )
    assert (found.count, found.first, found.last) == (
        60,
        START + timedelta(minutes=1),
        START + timedelta(minutes=3),
    )


async def test_since_is_a_moment_in_whatever_time_zone_it_is_written(database: Database) -> None:
    from datetime import timezone

    await store(database, *(row(window(n), minute=n) for n in range(3)))
    since = (START + timedelta(minutes=1)).astimezone(timezone(timedelta(hours=5, minutes=30)))
    (found,) = await SqlTelemetry(database.sessions).aggregate("default", "digits", since=since)
    assert found.count == 40


async def test_class_version_and_devices_narrow_it(database: Database) -> None:
    await store(database, *(row(window(1), f"b-{n}", "rpi-4" if n % 2 else "jetson") for n in range(10)))
    telemetry = SqlTelemetry(database.sessions)
    assert [a.devices for a in await telemetry.aggregate("default", "digits", device_class="rpi-4")] == [5]
    assert await telemetry.aggregate("default", "digits", version="digits-v9") == []
    many = ["b-1", "b-3", *(f"x-{n}" for n in range(1000))]
    for devices in (["b-1", "b-3"], many):
        assert [a.devices for a in await telemetry.aggregate("default", "digits", devices=devices)] == [2]
    assert await telemetry.aggregate("default", "digits", devices=[]) == []


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.randoms(use_true_random=False), st.integers(1, 8))
async def test_merged_histograms_are_those_of_all_inferences_together(
    database: Database, rng: random.Random, windows: int
) -> None:
    slot = f"s-{uuid.uuid4().hex}"  # the examples share one database
    everything, parts = HistogramBuilder(), list[Histogram]()
    labels: Counter[str] = Counter()
    rows = []
    for n in range(windows):
        part = HistogramBuilder()
        for _ in range(rng.randrange(50)):
            value = rng.lognormvariate(2, 1)
            part.add(value)
            everything.add(value)
        parts.append(part.freeze())
        counted = {str(rng.randrange(4)): rng.randrange(100) for _ in range(3)}
        labels.update(counted)
        made = window(n, slot=slot, boot_id=slot, latency_ms=parts[-1], classes=counted)
        rows.append(row(made, f"b-{n % 3}"))
    await store(database, *rows)
    (found,) = await SqlTelemetry(database.sessions).aggregate("default", slot)
    expected = everything.freeze()
    assert (found.latency_ms.buckets, found.latency_ms.zeros) == (expected.buckets, expected.zeros)
    assert found.latency_ms.total == pytest.approx(merge(parts).total)
    assert found.classes == dict(labels)


async def test_windows_come_newest_first_and_page_on(database: Database) -> None:
    await store(database, *(row(window(n), "a" if n % 2 else "b", minute=n) for n in range(10)))
    telemetry = SqlTelemetry(database.sessions)
    first = await telemetry.windows("default", limit=4)
    second = await telemetry.windows("default", limit=4, before=first[-1][0])
    assert [w.received_at for _, w in (*first, *second)] == [START + timedelta(minutes=n) for n in range(9, 1, -1)]
    assert {w.device for _, w in await telemetry.windows("default", device="a")} == {"a"}
    assert await telemetry.windows("default", slot="faces") == []
    assert await telemetry.windows("another") == []


async def test_a_window_is_shown_with_its_quantiles(database: Database) -> None:
    await store(database, row(window(1)), row(window(2, latency_ms=Histogram(), confidence=Histogram(), count=0)))
    (_, empty), (_, full) = await SqlTelemetry(database.sessions).windows("default")
    assert full.latency_p50_ms == pytest.approx(14.0, rel=0.02)
    assert full.latency_p95_ms == pytest.approx(23.0, rel=0.02)
    assert full.confidence_mean == pytest.approx(0.9)
    assert math.isnan(empty.latency_p95_ms)


async def test_retention_deletes_what_is_older_and_nothing_else(database: Database) -> None:
    await store(database, *(row(window(n), minute=n) for n in range(10)))
    async with database.writing() as session:
        await write_floors(session, {("a", "old"): 5}, START)
        await write_floors(session, {("a", "boot"): 9}, START + timedelta(minutes=9))
    assert await retention(database, START + timedelta(minutes=6)) == 6
    left = await SqlTelemetry(database.sessions).windows("default")
    assert min(w.received_at for _, w in left) == START + timedelta(minutes=6)
    async with database.sessions() as session:
        assert await read_floors(session, [("a", "old"), ("a", "boot")]) == {("a", "boot"): 9}


async def test_a_question_about_time_uses_the_index(database: Database) -> None:
    async with database.sessions() as session:
        connection = await session.connection()
        plan = await connection.exec_driver_sql(
            "EXPLAIN QUERY PLAN SELECT count FROM telemetry_windows "
            "WHERE namespace = 'default' AND slot = 'digits' AND received_at >= '2026-03-01'"
        )
        assert "ix_telemetry_windows_namespace_slot_received" in str(plan.all())


async def test_latencies_are_told_apart_by_artifact_the_one_that_reported_last_first(database: Database) -> None:
    other = "sha256:" + "b" * 64
    slow = HistogramBuilder()
    slow.add(80.0)
    await store(
        database,
        row(window(1), "a"),
        row(window(1), "b"),
        row(window(2, artifact=other, latency_ms=slow.freeze(), count=1), "a"),
        row(window(3, artifact="sha256:" + "c" * 64), "d", "jetson"),
        row(window(4, artifact="sha256:" + "e" * 64, slot="faces"), "a"),
        row(window(5, artifact="sha256:" + "f" * 64, count=0, latency_ms=HistogramBuilder().freeze()), "a"),
    )
    newest, before = await SqlTelemetry(database.sessions).latencies("default", "digits", "rpi-4")
    assert (newest.artifact, newest.devices, newest.latency_ms.count) == (other, 1, 1)
    assert newest.latency_ms.quantile(0.5) == pytest.approx(80.0, rel=0.01)
    assert (before.devices, before.latency_ms.count) == (2, 40)
