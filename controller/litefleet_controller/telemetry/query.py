"""What was stored, as answers: merged by version and class for rollouts, row by row for people; and its end.

Histograms merge exactly, so a quantile is that of all inferences together. Rows are read as a stream and merged as
they come, with a breath between the portions, so that a question about a million windows doesn't stop everything else.
"""

import asyncio
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection, async_sessionmaker
from sqlmodel.ext.asyncio.session import AsyncSession

from litefleet_controller.store.database import Database
from litefleet_controller.telemetry.interface import Aggregate, ArtifactLatency, WindowRow
from litefleet_controller.telemetry.rows import ACKS, WINDOWS, unpack
from litefleet_protocol.histogram import Histogram

_PORTION = 500
_MAX_NAMES_IN_SQL = 500
_DELETED_AT_ONCE = 5_000
_MAX_LIMIT = 1_000
_RECENT = 20_000
"""Windows that a question about latencies reads at most, the newest: a fortnight of one board with one a minute."""


class SqlTelemetry:
    """Implements `interface.Telemetry`."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession]) -> None:
        self._sessions = sessions

    async def aggregate(
        self,
        namespace: str,
        slot: str,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        device_class: str | None = None,
        version: str | None = None,
        devices: Sequence[str] | None = None,
    ) -> Sequence[Aggregate]:
        """See `interface.Telemetry`. `since` is included, `until` is not."""
        w = WINDOWS.c
        conditions: list[ColumnElement[bool]] = [w.namespace == namespace, w.slot == slot]
        if since is not None:
            conditions.append(w.received_at >= since)
        if until is not None:
            conditions.append(w.received_at < until)
        if device_class is not None:
            conditions.append(w.device_class == device_class)
        if version is not None:
            conditions.append(w.version == version)
        if devices is not None and len(devices) <= _MAX_NAMES_IN_SQL:
            conditions.append(w.device.in_(devices))
        merged = await self._merge(conditions, None if devices is None else frozenset(devices))
        return [merged[key].frozen(*key) for key in sorted(merged)]

    async def windows(
        self,
        namespace: str,
        *,
        device: str | None = None,
        slot: str | None = None,
        limit: int = 100,
        before: int | None = None,
    ) -> Sequence[tuple[int, WindowRow]]:
        """See `interface.Telemetry`. Quantiles and means of windows without an answer are NaN."""
        w = WINDOWS.c
        query = select(WINDOWS).where(w.namespace == namespace).order_by(w.id.desc())
        if device is not None:
            query = query.where(w.device == device)
        if slot is not None:
            query = query.where(w.slot == slot)
        if before is not None:
            query = query.where(w.id < before)
        async with self._sessions() as session:
            connection = await session.connection()
            rows = (await connection.execute(query.limit(max(1, min(limit, _MAX_LIMIT))))).all()
        return [(row.id, _window_row(row)) for row in rows]

    async def latencies(self, namespace: str, slot: str, device_class: str) -> Sequence[ArtifactLatency]:
        """See `interface.Telemetry`."""
        w = WINDOWS.c
        query = (
            select(w.artifact, w.device, w.latency)
            .where(w.namespace == namespace, w.slot == slot, w.device_class == device_class, w.count > 0)
            .order_by(w.id.desc())
            .limit(_RECENT)
        )
        boards: dict[str, set[str]] = {}
        sums: dict[str, _HistogramSum] = {}
        async with self._sessions() as session:
            connection = await session.connection()
            async with connection.stream(query) as result:
                async for portion in result.partitions(_PORTION):
                    for row in portion:
                        boards.setdefault(row.artifact, set()).add(row.device)
                        sums.setdefault(row.artifact, _HistogramSum()).add(unpack(row.latency))
                    await asyncio.sleep(0)
        return [ArtifactLatency(artifact, len(boards[artifact]), sums[artifact].frozen()) for artifact in sums]

    async def _merge(
        self, conditions: Sequence[ColumnElement[bool]], devices: Collection[str] | None
    ) -> dict[tuple[str, str], "_Sum"]:
        w = WINDOWS.c
        query = select(
            w.version,
            w.device_class,
            w.device,
            w.received_at,
            w.count,
            w.errors,
            w.dropped,
            w.latency,
            w.confidence,
            w.classes,
            w.longest_gap_ms,
        ).where(*conditions)
        sums: dict[tuple[str, str], _Sum] = {}
        async with self._sessions() as session:
            connection = await session.connection()
            async with connection.stream(query) as result:
                async for portion in result.partitions(_PORTION):
                    for row in portion:
                        if devices is None or row.device in devices:
                            sums.setdefault((row.version, row.device_class), _Sum()).add(row)
                    await asyncio.sleep(0)
        return sums


class _Sum:
    """Windows of one version and class, added up."""

    def __init__(self) -> None:
        self._devices: set[str] = set()
        self._count = self._errors = self._dropped = 0
        self._latency = _HistogramSum()
        self._confidence = _HistogramSum()
        self._classes: Counter[str] = Counter()
        self._gap_ms = 0.0
        self._first: datetime | None = None
        self._last: datetime | None = None

    def add(self, row: Any) -> None:
        self._devices.add(row.device)
        self._count += row.count
        self._errors += row.errors
        self._dropped += row.dropped
        self._latency.add(unpack(row.latency))
        self._confidence.add(unpack(row.confidence))
        self._classes.update(row.classes)
        self._gap_ms = max(self._gap_ms, row.longest_gap_ms)
        self._first = row.received_at if self._first is None else min(self._first, row.received_at)
        self._last = row.received_at if self._last is None else max(self._last, row.received_at)

    def frozen(self, version: str, device_class: str) -> Aggregate:
        return Aggregate(
            version=version,
            device_class=device_class,
            devices=len(self._devices),
            count=self._count,
            errors=self._errors,
            dropped=self._dropped,
            latency_ms=self._latency.frozen(),
            confidence=self._confidence.frozen(),
            classes=dict(self._classes),
            longest_gap_ms=self._gap_ms,
            first=self._first,
            last=self._last,
        )


class _HistogramSum:
    """`histogram.merge`, one at a time: what was merged needn't be kept."""

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self._zeros = 0
        self._total = 0.0

    def add(self, histogram: Histogram) -> None:
        self._zeros += histogram.zeros
        self._total += histogram.total
        buckets = self._buckets
        for index, count in histogram.buckets.items():
            buckets[index] = buckets.get(index, 0) + count

    def frozen(self) -> Histogram:
        return Histogram(self._buckets, self._zeros, self._total)


def _window_row(row: Any) -> WindowRow:
    latency = unpack(row.latency)
    return WindowRow(
        received_at=row.received_at,
        device=row.device,
        device_class=row.device_class,
        slot=row.slot,
        version=row.version,
        artifact=row.artifact,
        seconds=row.seconds,
        count=row.count,
        errors=row.errors,
        dropped=row.dropped,
        latency_p50_ms=latency.quantile(0.5),
        latency_p95_ms=latency.quantile(0.95),
        confidence_mean=unpack(row.confidence).mean,
        rss_bytes=row.rss,
        clock_untrusted=row.clock_untrusted,
    )


async def forget(connection: AsyncConnection, namespace: str) -> bool:
    """Delete a portion of a namespace's windows; whether none is left."""
    some = select(WINDOWS.c.id).where(WINDOWS.c.namespace == namespace).limit(_DELETED_AT_ONCE)
    result = await connection.execute(delete(WINDOWS).where(WINDOWS.c.id.in_(some)))
    return result.rowcount < _DELETED_AT_ONCE


async def retention(database: Database, older_than: datetime) -> int:
    """Delete windows received before `older_than`, a portion at a time; how many those were."""
    deleted = 0
    old = select(WINDOWS.c.id).where(WINDOWS.c.received_at < older_than).limit(_DELETED_AT_ONCE)
    while True:
        async with database.writing() as session:
            connection = await session.connection()
            result = await connection.execute(delete(WINDOWS).where(WINDOWS.c.id.in_(old)))
            portion = max(0, result.rowcount)
            if portion < _DELETED_AT_ONCE:
                await connection.execute(delete(ACKS).where(ACKS.c.updated_at < older_than))
        deleted += portion
        if portion < _DELETED_AT_ONCE:
            return deleted
