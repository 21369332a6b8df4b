from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from litefleet_controller.fleet.queries import Queries, Span, board, grouped, is_settled, overview, step_text, summary
from litefleet_controller.store.interface import Patch
from litefleet_controller.telemetry.interface import Aggregate, WindowRow
from litefleet_protocol.histogram import Histogram, HistogramBuilder
from tests.controller.fleet.conftest import START, Fleet


def histogram(*values: float) -> Histogram:
    builder = HistogramBuilder()
    for value in values:
        builder.add(value)
    return builder.freeze()


def aggregate(device_class: str = "rpi-4", version: str = "digits-v1", **changes: Any) -> Aggregate:
    fields: dict[str, Any] = {
        "devices": 2,
        "count": 4,
        "errors": 0,
        "dropped": 1,
        "latency_ms": histogram(1, 2, 3, 100),
        "confidence": histogram(0.5, 1.0),
        "classes": {"3": 3, "7": 1},
        "longest_gap_ms": 12.5,
        "first": START,
        "last": START,
    }
    return Aggregate(version=version, device_class=device_class, **{**fields, **changes})


def test_a_summary_has_quantiles_shares_and_rates() -> None:
    row = summary([aggregate(errors=1, count=3)])
    assert row["latencyMs"]["p50"] == pytest.approx(2, rel=0.02)
    assert row["latencyMs"]["p99"] == pytest.approx(3, rel=0.02)
    assert row["confidence"]["mean"] == pytest.approx(0.75)
    assert row["classShares"] == {"3": 0.75, "7": 0.25}
    assert row["errorRate"] == 0.25
    assert row["first"] == "2026-03-01T12:00:00Z"


def test_an_empty_summary_has_nulls_not_nan() -> None:
    row = summary(
        [aggregate(count=0, latency_ms=Histogram(), confidence=Histogram(), classes={}, first=None, last=None)]
    )
    assert set(row["latencyMs"].values()) == {None}
    assert row["errorRate"] is None
    assert row["classShares"] == {}


def test_merged_quantiles_are_those_of_all_values_together() -> None:
    parts = [aggregate(latency_ms=histogram(*[1.0] * 98)), aggregate("gateway", latency_ms=histogram(50, 50))]
    assert summary(parts)["latencyMs"]["p99"] == pytest.approx(50, rel=0.02)


def test_boards_are_added_over_classes_and_unknown_over_versions() -> None:
    over_classes = summary([aggregate("a"), aggregate("b")])
    over_versions = summary([aggregate(version="v1"), aggregate(version="v2")])
    assert (over_classes["devices"], over_classes["class"]) == (4, None)
    assert (over_versions["devices"], over_versions["version"]) == (None, None)


def test_grouping_keeps_the_dimensions_asked_for_in_order() -> None:
    items = [aggregate("b", "v1"), aggregate("a", "v2"), aggregate("a", "v1")]
    assert [(g[0].device_class, g[0].version) for g in grouped(items, ["class", "version"])] == [
        ("a", "v1"),
        ("a", "v2"),
        ("b", "v1"),
    ]
    assert [len(g) for g in grouped(items, ["class"])] == [2, 1]
    assert [len(g) for g in grouped(items, [])] == [3]


@pytest.mark.parametrize(
    ("step", "text"),
    [
        ({"setWeight": 5}, "5% of each class"),
        ({"setWeight": 0}, "0% of each class"),
        ({"analysis": {"templates": [{"templateName": "a"}, {"templateName": "b"}]}}, "analysis: a, b"),
        ({"pause": {}}, "pause until promoted"),
        ({"pause": {"duration": "10m"}}, "pause 10m"),
        ({"pause": {"duration": 600.0}}, "pause 600s"),
    ],
)
def test_a_step_in_words(step: dict, text: str) -> None:
    assert step_text(step) == text


def rollout(phase: str | None = None, index: int | None = None, observed: int = 1) -> dict:
    return {
        "metadata": {"name": "r", "namespace": "default", "generation": 1},
        "spec": {
            "modelRef": {"name": "digits", "version": "latest"},
            "strategy": {"canary": {"steps": [{"setWeight": 5}, {"pause": {}}, {"setWeight": 50}]}},
        },
        "status": {"phase": phase, "currentStepIndex": index, "observedGeneration": observed},
    }


@pytest.mark.parametrize(
    ("phase", "index", "states"),
    [
        ("Progressing", 1, ["done", "current", "waiting"]),
        ("Progressing", None, ["waiting", "waiting", "waiting"]),
        ("Progressing", 3, ["done", "done", "done"]),
        ("Healthy", None, ["done", "done", "done"]),
        ("Degraded", 0, ["current", "waiting", "waiting"]),
    ],
)
def test_steps_say_which_is_the_current_one(phase: str, index: int | None, states: list[str]) -> None:
    assert [s["state"] for s in overview(rollout(phase, index), [])["steps"]] == states


def test_an_end_counts_only_for_the_spec_that_was_seen() -> None:
    assert is_settled(rollout("Healthy"))
    assert is_settled(rollout("Degraded"))
    assert not is_settled(rollout("Progressing"))
    assert not is_settled(rollout("Healthy", observed=0))
    assert not is_settled({"metadata": {"generation": 1}, "spec": {}})


def test_a_board_without_the_slot_is_shown_empty() -> None:
    device = {
        "metadata": {"name": "pi"},
        "spec": {"class": "rpi-4"},
        "status": {"slots": [{"slot": "other", "phase": "x"}]},
    }
    assert board(device, "digits")["phase"] == ""
    assert board({**device, "status": None}, "digits")["connection"] == "Unknown"


async def test_an_overview_lists_the_boards_that_the_selector_selects(fleet: Fleet) -> None:
    for name, labels in (("pi-1", {"site": "a"}), ("pi-2", {"site": "b"}), ("pi-3", {"site": "a", "old": "yes"})):
        metadata = {"name": name, "namespace": "default", "labels": labels}
        await fleet.objects.create(
            {"apiVersion": "litefleet.dev/v1alpha1", "kind": "Device", "metadata": metadata, "spec": {"class": "rpi-4"}}
        )
    selector = {"matchLabels": {"site": "a"}, "matchExpressions": [{"key": "old", "operator": "DoesNotExist"}]}
    await fleet.create("ModelRollout", "r", {"modelRef": {"name": "digits"}, "selector": selector})
    view = await Queries(fleet.objects, NoTelemetry()).rollout("default", "r")
    assert [b["name"] for b in view["boards"]] == ["pi-1"]
    assert view["settled"] is False


async def test_a_rollouts_status_shows_through(fleet: Fleet) -> None:
    await fleet.create("ModelRollout", "r", {"modelRef": {"name": "digits"}})
    status = {"phase": "Progressing", "message": "waits for 2 boards", "targetVersion": "digits-v2"}
    key = (await fleet.objects.list(_query())).records[0].key
    await fleet.objects.patch(key, Patch("merge", {"status": status}), subresource="status")
    view = await Queries(fleet.objects, NoTelemetry()).rollout("default", "r")
    assert {k: view[k] for k in status} == status


async def test_windows_page_until_the_last(fleet: Fleet) -> None:
    queries = Queries(fleet.objects, NoTelemetry(rows=3))
    first = await queries.windows("default", device=None, slot=None, limit=2, before=None)
    rest = await queries.windows("default", device=None, slot=None, limit=2, before=first["next"])
    assert [w["id"] for w in first["items"] + rest["items"]] == [3, 2, 1]
    assert rest["next"] is None


async def test_an_aggregate_asks_for_the_span(fleet: Fleet) -> None:
    telemetry = NoTelemetry()
    since = datetime(2026, 1, 1, tzinfo=UTC)
    rows = await Queries(fleet.objects, telemetry).aggregate(
        "default", "digits", Span(since, None, "rpi-4", "digits-v1")
    )
    assert [(r["class"], r["version"]) for r in rows] == [("rpi-4", "digits-v1")]
    assert telemetry.asked == ("default", "digits", since, None, "rpi-4", "digits-v1")


def _query() -> Any:
    from litefleet_controller.store.interface import Query

    return Query("ModelRollout", "default")


class NoTelemetry:
    """Implements telemetry.interface.Telemetry over a few rows made here."""

    def __init__(self, rows: int = 0) -> None:
        self._rows = rows
        self.asked: tuple[Any, ...] = ()

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
        self.asked = (namespace, slot, since, until, device_class, version)
        return [aggregate(device_class or "a", version or "b")]

    async def windows(
        self,
        namespace: str,
        *,
        device: str | None = None,
        slot: str | None = None,
        limit: int = 100,
        before: int | None = None,
    ) -> Sequence[tuple[int, WindowRow]]:
        ids = [i for i in range(self._rows, 0, -1) if before is None or i < before][:limit]
        row = WindowRow(START, "pi", "rpi-4", "digits", "v1", "sha256:0", 1.0, 1, 0, 0, 1.0, 2.0, 0.5, None, False)
        return [(i, row) for i in ids]
