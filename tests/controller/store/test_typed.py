"""Typed access for reconcilers."""

import json
from dataclasses import replace

from litefleet_controller.resources.rollout import ModelRolloutSpec, ModelRolloutStatus
from litefleet_controller.store.interface import Patch
from litefleet_controller.store.typed import read, write_status


async def test_an_object_reads_as_its_models(objects, rollout):
    record = await objects.create(rollout(labels={"a": "1"}))
    resource = read(record, ModelRolloutSpec, ModelRolloutStatus)
    assert resource.spec.model_ref.name == "digits"
    assert resource.status == ModelRolloutStatus()
    assert (resource.meta.name, resource.meta.generation, resource.meta.labels) == ("digits", 1, {"a": "1"})


async def test_a_status_is_written_once(objects, rollout):
    resource = read(await objects.create(rollout()), ModelRolloutSpec, ModelRolloutStatus)
    written = await write_status(objects, resource, ModelRolloutStatus(phase="Progressing"))
    assert written.status.phase == "Progressing"
    again = await write_status(objects, written, ModelRolloutStatus(phase="Progressing"))
    assert again.record == written.record


async def test_a_status_write_does_not_undo_a_concurrent_spec_change(objects, rollout):
    resource = read(await objects.create(rollout()), ModelRolloutSpec, ModelRolloutStatus)
    await objects.patch(resource.key, Patch("merge", {"spec": {"paused": True}}))
    written = await write_status(objects, resource, ModelRolloutStatus(phase="Paused"))
    assert written.spec.paused


async def test_what_another_version_wrote_is_passed_over(objects, rollout):
    record = await objects.create(rollout())
    body = record.json()
    body["spec"]["strategy"]["blueGreen"] = {"activeSlot": "a"}
    body["status"] = {
        "phase": "Healthy",
        "classes": [{"deviceClass": "c", "state": "Complete", "shadow": 1}],
        "newer": {},
    }
    newer = replace(record, body=json.dumps(body).encode())
    resource = read(newer, ModelRolloutSpec, ModelRolloutStatus)
    assert resource.status.phase == "Healthy"
    assert resource.status.classes[0].state == "Complete"
