"""The rollout's reconciler: sees the store as the decision core needs it, and carries decisions out as a whole.

What is decided is tested beside the core; here it is about the view, the one transaction, and who is told.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from litefleet_controller.delivery.errors import LinkDownError
from litefleet_controller.reconcile.interface import Request
from litefleet_controller.reconcile.rollouts import ModelRolloutReconciler
from litefleet_controller.resources.rollout import REQUEST_ANNOTATION
from litefleet_controller.store.errors import StaleEpochError
from litefleet_controller.store.interface import Assignment, Key, Patch
from litefleet_controller.telemetry.query import SqlTelemetry
from tests.controller.reconcile.conftest import World

REQUEST = Request("default", "line-a")
ARTIFACTS = {n: f"sha256:{n * 64}" for n in "123"}


@dataclass
class Broker:
    """Notes what it is asked to hold; may be away."""

    away: bool = False
    offered: list[str] = field(default_factory=list)

    async def offer(self, namespace: str, artifact: str) -> None:
        if self.away:
            raise LinkDownError("the broker is away")
        self.offered.append(artifact)


@dataclass
class Line:
    world: World
    broker: Broker
    epoch: int
    rollouts: Callable[[Request], Awaitable[Any]]

    async def version(self, number: int, state: str = "Ready", **entry: Any) -> None:
        name = f"digits-v{number}"
        files = {"source": {"uri": f"blob://{ARTIFACTS['1']}"}, "evaluation": {"uri": f"blob://{ARTIFACTS['2']}"}}
        await self.world.create("ModelVersion", name, {**files, "modelRef": "digits", "version": number})
        variant = {
            "recipe": "int8", "artifact": ARTIFACTS[str(number)], "digest": ARTIFACTS[str(number)], "sizeBytes": 1, "agreement": 1.0,
        }  # fmt: skip
        ready = {"variant": variant} if state == "Ready" else {}
        classes = [{"deviceClass": "pi", "state": state, **ready, **entry}]
        await self.world.set_status("ModelVersion", name, {"phase": state, "classes": classes})

    async def board(self, name: str, site: str = "a", **slot: Any) -> None:
        await self.world.create("Device", name, {"class": "pi"}, labels={"site": site})
        await self.report(name, **slot)

    async def report(self, name: str, **slot: Any) -> None:
        slots = [{"slot": "digits", "phase": "Updated", **slot}] if slot else []
        await self.world.set_status("Device", name, {"connection": "Online", "slots": slots})

    async def follow(self, name: str) -> None:
        """The board does what it was told."""
        _, (told,) = await self.world.assignments.of_device("default", name)
        await self.report(
            name, current=told.artifact, desired=told.artifact, currentVersion=told.version, phase="Updated"
        )

    async def rollout(self, name: str = "line-a", **spec: Any) -> None:
        body = {"modelRef": {"name": "digits"}, "selector": {"matchLabels": {"site": "a"}}, **spec}
        await self.world.create("ModelRollout", name, body)

    async def assigned(self) -> dict[str, str]:
        return {a.device: a.version for a in await self.world.assignments.of_slot("default", "digits")}

    async def status(self, name: str = "line-a") -> dict[str, Any]:
        return await self.world.status("ModelRollout", name)

    async def settle(self, times: int = 12) -> None:
        for _ in range(times):
            await self.rollouts(REQUEST)
            self.world.clock.forward(0.1)
            for device, version in (await self.assigned()).items():
                if version:
                    await self.follow(device)


@pytest.fixture
async def line(world: World) -> Line:
    lease = await world.leases.acquire("me", world.clock(), 3600)
    assert lease is not None
    await world.create("DeviceClass", "pi", {"variants": ["int8"], "limits": {"maxLatencyMs": 50}})
    broker = Broker()
    telemetry = SqlTelemetry(world.database.sessions)
    reconciler = ModelRolloutReconciler(
        world.objects, world.events, world.assignments, telemetry, broker.offer, lease.epoch, world.clock
    )
    return Line(world, broker, lease.epoch, reconciler.reconcile)


async def test_selected_boards_are_commanded_and_the_artifact_is_offered_first(line: Line) -> None:
    await line.version(1)
    await line.board("pi-1")
    await line.board("pi-2", site="b")
    await line.rollout(probationSeconds=3, deviceTimeoutSeconds=60)
    await line.settle()
    assert await line.assigned() == {"pi-1": "digits-v1"}
    assert set(line.broker.offered) == {ARTIFACTS["1"]}
    _, (told,) = await line.world.assignments.of_device("default", "pi-1")
    assert (told.rollout, told.probation_s, told.deadline_s, told.max_latency_ms) == ("line-a", 3.0, 60.0, 50.0)
    assert (await line.status())["phase"] == "Healthy"


async def test_a_broker_that_is_away_delays_no_decision(line: Line) -> None:
    await line.version(1)
    await line.board("pi-1")
    await line.rollout()
    line.broker.away = True
    await line.settle()
    assert line.broker.offered == []
    assert await line.assigned() == {"pi-1": "digits-v1"}
    assert (await line.status())["classes"], "commands and the status that explains them go together"


async def test_a_leader_whose_epoch_is_over_commands_nothing(line: Line) -> None:
    await line.version(1)
    await line.board("pi-1")
    await line.rollout()
    await line.world.leases.release("me")
    await line.world.leases.acquire("other", line.world.clock(), 3600)
    with pytest.raises(StaleEpochError):
        await line.settle()
    assert await line.assigned() == {}


async def test_latest_follows_and_a_number_pins(line: Line) -> None:
    await line.version(1)
    await line.board("pi-1")
    await line.rollout()
    await line.rollout("pinned", modelRef={"name": "digits", "version": 1}, selector={"matchLabels": {"site": "none"}})
    await line.settle()
    await line.version(2)
    await line.settle()
    await line.rollouts(Request("default", "pinned"))
    assert await line.assigned() == {"pi-1": "digits-v2"}
    assert (await line.status())["targetVersion"] == "digits-v2"
    assert "no" in (await line.status("pinned"))["message"]


async def test_a_command_names_the_way_back(line: Line) -> None:
    await line.version(1)
    await line.board("pi-1")
    await line.rollout()
    await line.settle()
    await line.version(2)
    await line.settle()
    _, (told,) = await line.world.assignments.of_device("default", "pi-1")
    assert told.fallback == ARTIFACTS["1"]


@pytest.mark.parametrize(
    ("ref", "named"), [({"name": "absent"}, "'absent'"), ({"name": "digits", "version": 7}, "version 7")]
)
async def test_what_does_not_exist_is_named_and_waited_for(line: Line, ref: dict[str, Any], named: str) -> None:
    await line.version(1)
    await line.board("pi-1")
    await line.rollout(modelRef=ref)
    await line.rollouts(REQUEST)
    status = await line.status()
    assert named in status["message"]
    assert "goes on when it appears" in status["message"]


async def test_a_refused_class_keeps_its_boards_and_the_reason_is_told(line: Line) -> None:
    await line.version(1, "Refused", code="ParityFailed", message="int8 agrees on 9.0% of 400 samples")
    await line.board("pi-1")
    await line.rollout()
    await line.settle()
    status = await line.status()
    assert await line.assigned() == {}
    assert status["phase"] == "Degraded"
    assert "9.0%" in status["message"]


async def test_the_older_rollout_keeps_a_board_that_both_select(line: Line) -> None:
    await line.version(1)
    await line.board("pi-1")
    await line.rollout("older")
    line.world.clock.forward(10)
    await line.rollout()
    await line.rollouts(REQUEST)
    assert await line.assigned() == {}
    conditions = {c["type"]: c for c in (await line.status())["conditions"]}
    assert conditions["Conflict"]["status"] == "True"
    assert "older" in conditions["Conflict"]["message"]


async def test_a_request_is_consumed_once(line: Line) -> None:
    await line.version(1)
    await line.board("pi-1")
    await line.rollout(strategy={"canary": {"steps": [{"setWeight": 100}, {"pause": {}}]}})
    await line.settle()
    assert (await line.status())["phase"] == "Paused"
    annotations = {REQUEST_ANNOTATION: "promote 17", "litefleet.dev/requested-by": "ada"}
    patch = Patch("merge", {"metadata": {"annotations": annotations}})
    await line.world.objects.patch(Key("ModelRollout", "default", "line-a"), patch)
    await line.settle()
    status = await line.status()
    assert status["phase"] == "Healthy"
    assert {k: status["lastRequest"][k] for k in ("verb", "id", "by")} == {"verb": "promote", "id": "17", "by": "ada"}
    before = await line.world.objects.resource_version()
    await line.rollouts(REQUEST)
    assert await line.world.objects.resource_version() == before


async def test_a_settled_rollout_writes_nothing_more(line: Line) -> None:
    await line.version(1)
    await line.board("pi-1")
    await line.rollout()
    await line.settle()
    before = await line.world.objects.resource_version()
    line.world.clock.forward(3600)
    await line.rollouts(REQUEST)
    assert await line.world.objects.resource_version() == before


async def test_what_happens_is_told_in_events(line: Line) -> None:
    await line.version(1)
    await line.board("pi-1")
    await line.rollout()
    await line.settle()
    page = await line.world.events.list("default")
    told = [r.json() for r in page.records if r.json()["involvedObject"]["kind"] == "ModelRollout"]
    assert told
    assert all(e["message"] and e["reason"] for e in told)


async def test_a_rollout_that_is_gone_leaves_boards_as_they_are(line: Line) -> None:
    await line.version(1)
    await line.board("pi-1")
    await line.rollout()
    await line.settle()
    await line.world.objects.delete(Key("ModelRollout", "default", "line-a"))
    await line.rollouts(REQUEST)
    held: tuple[int, Any] = await line.world.assignments.of_device("default", "pi-1")
    (assignment,) = held[1]
    assert isinstance(assignment, Assignment)
    assert assignment.version == "digits-v1"
