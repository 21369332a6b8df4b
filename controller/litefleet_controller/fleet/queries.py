"""What people look at: telemetry as numbers, and a rollout with its boards on one page. JSON-ready, nothing is changed.

NaN and infinity, which JSON doesn't have, become null.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from litefleet_controller.resources.meta import LabelSelector
from litefleet_controller.resources.registry import DEVICE, MODEL_ROLLOUT
from litefleet_controller.store.interface import Json, Key, LabelRequirement, Objects, Query
from litefleet_controller.telemetry.interface import Aggregate, Telemetry, WindowRow
from litefleet_protocol.histogram import Histogram, merge

Dimension = Literal["class", "version"]
DIMENSIONS: tuple[Dimension, ...] = ("class", "version")
MAX_WINDOWS = 1000
_MAX_BOARDS = 500


@dataclass(frozen=True, slots=True)
class Span:
    """Which telemetry is asked for. Times are the controller's clock at receipt, `since` inclusive."""

    since: datetime | None = None
    until: datetime | None = None
    device_class: str | None = None
    version: str | None = None


class Queries:
    """Reads for people."""

    def __init__(self, objects: Objects, telemetry: Telemetry) -> None:
        self._objects = objects
        self._telemetry = telemetry

    async def aggregate(
        self, namespace: str, slot: str, span: Span, by: Sequence[Dimension] = DIMENSIONS
    ) -> list[Json]:
        """Merged telemetry of one slot, an item for each class and version, or for what is left of the two in `by`."""
        found = await self._telemetry.aggregate(
            namespace,
            slot,
            since=span.since,
            until=span.until,
            device_class=span.device_class,
            version=span.version,
        )
        return [summary(group) for group in grouped(found, by)]

    async def windows(
        self, namespace: str, *, device: str | None, slot: str | None, limit: int, before: int | None
    ) -> Json:
        """Single windows, the newest first; `next` goes into `before` for the page after, null at the end."""
        rows = await self._telemetry.windows(namespace, device=device, slot=slot, limit=limit, before=before)
        return {
            "items": [{"id": row_id, **window(row)} for row_id, row in rows],
            "next": rows[-1][0] if len(rows) == limit else None,
        }

    async def rollout(self, namespace: str, name: str) -> Json:
        """A rollout's status, its steps in words, and its boards.

        Raises:
            store.errors.NotFoundError: no such rollout.
        """
        body = (await self._objects.get(Key(MODEL_ROLLOUT.kind, namespace, name))).json()
        selector = LabelSelector.model_validate(body["spec"].get("selector") or {})
        page = await self._objects.list(Query(DEVICE.kind, namespace, labels=requirements(selector), limit=_MAX_BOARDS))
        return overview(body, [r.json() for r in page.records], page.remaining)


def requirements(selector: LabelSelector) -> tuple[LabelRequirement, ...]:
    """A manifest's selector as the store's."""
    exact = [LabelRequirement(k, "In", (v,)) for k, v in selector.match_labels.items()]
    others = [LabelRequirement(e.key, e.operator, tuple(e.values)) for e in selector.match_expressions]
    return (*exact, *others)


def grouped(aggregates: Iterable[Aggregate], by: Sequence[Dimension]) -> list[list[Aggregate]]:
    """Aggregates that fall together when only the dimensions `by` are told apart, in the order of their names."""
    groups: dict[tuple[str, str], list[Aggregate]] = {}
    for a in aggregates:
        key = (a.device_class if "class" in by else "", a.version if "version" in by else "")
        groups.setdefault(key, []).append(a)
    return [groups[key] for key in sorted(groups)]


def summary(group: Sequence[Aggregate]) -> Json:
    """One row of numbers. `class` and `version` are null when the group has several of them.

    `devices` is null when the group joins versions, since a board may have run more than one of them.
    """
    classes, versions = {a.device_class for a in group}, {a.version for a in group}
    count = sum(a.count for a in group)
    errors = sum(a.errors for a in group)
    answers: dict[str, int] = {}
    for a in group:
        for label, n in a.classes.items():
            answers[label] = answers.get(label, 0) + n
    answered = sum(answers.values())
    return {
        "class": classes.pop() if len(classes) == 1 else None,
        "version": versions.pop() if len(versions) == 1 else None,
        "devices": sum(a.devices for a in group) if len({a.version for a in group}) == 1 else None,
        "count": count,
        "errors": errors,
        "errorRate": errors / (count + errors) if count + errors else None,
        "dropped": sum(a.dropped for a in group),
        "latencyMs": quantiles(merge(a.latency_ms for a in group)),
        "confidence": quantiles(merge(a.confidence for a in group)),
        "classShares": {k: n / answered for k, n in sorted(answers.items(), key=lambda kv: (-kv[1], kv[0]))},
        "longestGapMs": max((a.longest_gap_ms for a in group), default=0.0),
        "first": _time(min((a.first for a in group if a.first), default=None)),
        "last": _time(max((a.last for a in group if a.last), default=None)),
    }


def quantiles(histogram: Histogram) -> Json:
    """Mean and the usual quantiles; each null when there are no values."""
    return {
        "mean": _finite(histogram.mean),
        "p50": _finite(histogram.quantile(0.5)),
        "p95": _finite(histogram.quantile(0.95)),
        "p99": _finite(histogram.quantile(0.99)),
    }


def window(row: WindowRow) -> Json:
    """One stored window."""
    return {
        "receivedAt": _time(row.received_at),
        "device": row.device,
        "class": row.device_class,
        "slot": row.slot,
        "version": row.version,
        "artifact": row.artifact,
        "seconds": row.seconds,
        "count": row.count,
        "errors": row.errors,
        "dropped": row.dropped,
        "latencyMs": {"p50": _finite(row.latency_p50_ms), "p95": _finite(row.latency_p95_ms)},
        "confidence": {"mean": _finite(row.confidence_mean)},
        "rssBytes": row.rss_bytes,
        "clockUntrusted": row.clock_untrusted,
    }


def overview(rollout: Json, devices: Iterable[Json], remaining: int = 0) -> Json:
    """A rollout on one page. `boardsLeftOut` counts boards past the most that are listed."""
    status, spec = rollout.get("status") or {}, rollout["spec"]
    slot = spec["modelRef"]["name"]
    return {
        "name": rollout["metadata"]["name"],
        "namespace": rollout["metadata"]["namespace"],
        "model": slot,
        "version": spec["modelRef"].get("version", "latest"),
        "targetVersion": status.get("targetVersion", ""),
        "phase": status.get("phase"),
        "message": status.get("message", ""),
        "paused": spec.get("paused", False),
        "pauseReason": status.get("pauseReason", ""),
        "aborted": status.get("aborted", False),
        "settled": is_settled(rollout),
        "steps": steps(spec, status),
        "classes": status.get("classes", []),
        "analysis": status.get("analysis"),
        "history": status.get("history", []),
        "lastRequest": status.get("lastRequest"),
        "boards": [board(device, slot) for device in devices],
        "boardsLeftOut": remaining,
    }


def is_settled(rollout: Json) -> bool:
    """Whether the rollout, as its spec is now, has come to an end: Healthy, or Degraded."""
    status = rollout.get("status") or {}
    seen = status.get("observedGeneration") == rollout["metadata"].get("generation")
    return seen and status.get("phase") in ("Healthy", "Degraded")


def steps(spec: Json, status: Json) -> list[Json]:
    """The steps in words, each `done`, `current` or `waiting`."""
    listed = (spec.get("strategy") or {}).get("canary", {}).get("steps") or []
    ended = status.get("phase") == "Healthy"
    current = status.get("currentStepIndex")

    def state(index: int) -> str:
        if ended or (current is not None and index < current):
            return "done"
        return "current" if index == current else "waiting"

    return [{"index": i, "text": step_text(step), "state": state(i)} for i, step in enumerate(listed)]


def step_text(step: Json) -> str:
    """One step as a person would say it."""
    if step.get("setWeight") is not None:
        return f"{step['setWeight']}% of each class"
    if step.get("analysis") is not None:
        names = ", ".join(t["templateName"] for t in step["analysis"].get("templates", []))
        return f"analysis: {names}"
    duration = (step.get("pause") or {}).get("duration")
    if duration is None:
        return "pause until promoted"
    return f"pause {duration}" if isinstance(duration, str) else f"pause {duration:g}s"


def board(device: Json, slot: str) -> Json:
    """A board, as far as one slot is concerned."""
    status = device.get("status") or {}
    found: dict[str, Any] = next((s for s in status.get("slots", []) if s["slot"] == slot), {})
    return {
        "name": device["metadata"]["name"],
        "class": device["spec"]["class"],
        "connection": status.get("connection", "Unknown"),
        "phase": found.get("phase", ""),
        "currentVersion": found.get("currentVersion", ""),
        "desiredVersion": found.get("desiredVersion", ""),
        "code": found.get("code", ""),
        "message": found.get("message", ""),
        "progress": found.get("progress", ""),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _time(value: datetime | None) -> str | None:
    return value.isoformat().replace("+00:00", "Z") if value is not None else None
