"""A class counts its boards, and says which have an older engine than it declares."""

from typing import Any

import pytest

from litefleet_controller.reconcile.classes import DeviceClassReconciler
from litefleet_controller.reconcile.interface import Request
from tests.controller.reconcile.conftest import World

PI = Request("default", "pi")


async def boards(world: World, *versions: str | None) -> None:
    for number, version in enumerate(versions):
        await world.create("Device", f"pi-{number}", {"class": "pi"})
        if version is not None:
            await world.set_status("Device", f"pi-{number}", {"runtimes": {"litert": version}})


async def conditions(world: World, **spec: Any) -> dict[str, dict[str, Any]]:
    await world.create("DeviceClass", "pi", {"variants": ["int8"], **spec})
    await DeviceClassReconciler(world.objects, world.clock).reconcile(PI)
    return {c["type"]: c for c in (await world.status("DeviceClass", "pi"))["conditions"]}


async def test_boards_are_counted(world: World) -> None:
    await boards(world, None, None)
    assert (await conditions(world))["InUse"]["status"] == "True"
    assert (await world.status("DeviceClass", "pi"))["devices"] == 2


async def test_a_class_that_declares_no_version_has_nothing_to_compare(world: World) -> None:
    await boards(world, "1.0.1")
    assert set(await conditions(world)) == {"InUse"}


@pytest.mark.parametrize("reported", ["2.3.0", "2.4.1", None, "no version"])
async def test_boards_as_new_as_declared_or_silent_are_well(world: World, reported: str | None) -> None:
    await boards(world, reported)
    assert (await conditions(world, runtimeVersion="2.3.0"))["RuntimeAsDeclared"]["status"] == "True"


async def test_older_boards_are_named_with_what_they_have(world: World) -> None:
    await boards(world, "2.3.0", "2.0.3", "tflite-runtime 2.14.0", "1.4.0", "1.3.0")
    found = (await conditions(world, runtimeVersion="2.3.0"))["RuntimeAsDeclared"]
    assert (found["status"], found["reason"]) == ("False", "OlderRuntime")
    assert found["message"].startswith(
        "the class says ai-edge-litert 2.3.0, and pi-1 (ai-edge-litert 2.0.3), pi-2 (tflite-runtime 2.14.0), pi-3 "
        "(ai-edge-litert 1.4.0) and 1 more have an older one"
    )
