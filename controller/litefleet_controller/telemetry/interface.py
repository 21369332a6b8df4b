"""What is asked of telemetry: by rollout analysis, and by people."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from litefleet_protocol.histogram import Histogram


@dataclass(frozen=True, slots=True)
class Aggregate:
    """Windows merged. Histograms merge exactly, so quantiles are those of all inferences together."""

    version: str
    device_class: str
    devices: int
    count: int
    errors: int
    dropped: int
    latency_ms: Histogram
    confidence: Histogram
    classes: dict[str, int]
    longest_gap_ms: float
    first: datetime | None
    last: datetime | None


@dataclass(frozen=True, slots=True)
class WindowRow:
    """One stored window, as people see it."""

    received_at: datetime
    device: str
    device_class: str
    slot: str
    version: str
    artifact: str
    seconds: float
    count: int
    errors: int
    dropped: int
    latency_p50_ms: float
    latency_p95_ms: float
    confidence_mean: float
    rss_bytes: int | None
    clock_untrusted: bool


@dataclass(frozen=True, slots=True)
class ArtifactLatency:
    """What boards measured with one artifact."""

    artifact: str
    devices: int
    latency_ms: Histogram


class Telemetry(Protocol):
    """Queries. Times are the controller's clock at receipt: a board's clock decides nothing."""

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
        """Merged windows, one `Aggregate` for each (class, version) that has any."""
        ...

    async def windows(
        self,
        namespace: str,
        *,
        device: str | None = None,
        slot: str | None = None,
        limit: int = 100,
        before: int | None = None,
    ) -> Sequence[tuple[int, WindowRow]]:
        """The newest windows first, with their ids; `before` pages on."""
        ...

    async def latencies(self, namespace: str, slot: str, device_class: str) -> Sequence[ArtifactLatency]:
        """What boards of a class measured lately, an entry an artifact, the one that reported last first."""
        ...
