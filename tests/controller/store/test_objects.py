"""Kubernetes' write semantics, on a real SQLite file."""

import json

import pytest

from litefleet_controller.resources.admission import InvalidError
from litefleet_controller.store.errors import (
    AlreadyExistsError,
    ConflictError,
    NamespaceNotFoundError,
    NotFoundError,
    PatchError,
)
from litefleet_controller.store.interface import Key, Patch, Query

GONE = Key("ModelRollout", "default", "nope")


async def test_create_gives_the_server_owned_metadata(objects, device):
    record = await objects.create(device(labels={"site": "a"}))
    metadata = record.json()["metadata"]
    assert metadata.pop("managedFields")
    assert metadata == {
        "name": "pi-1",
        "namespace": "default",
        "uid": "uid-1",
        "resourceVersion": str(record.resource_version),
        "generation": 1,
        "creationTimestamp": "2026-01-02T03:04:05Z",
        "labels": {"site": "a"},
    }
    assert (record.uid, record.generation, record.labels) == ("uid-1", 1, {"site": "a"})


async def test_create_ignores_server_owned_metadata_of_the_client(objects, device):
    sent = device(
        uid="mine", generation=7, creationTimestamp="2000-01-01T00:00:00Z", deletionTimestamp="2000-01-01T00:00:00Z"
    )
    metadata = (await objects.create(sent)).json()["metadata"]
    assert metadata["uid"] == "uid-1"
    assert metadata["generation"] == 1
    assert metadata["creationTimestamp"] == "2026-01-02T03:04:05Z"
    assert "deletionTimestamp" not in metadata


async def test_create_fills_defaults_and_keeps_what_was_written(objects, rollout):
    body = rollout()
    body["spec"]["strategy"] = {"canary": {"steps": [{"setWeight": 5}, {"pause": {"duration": "10m"}}]}}
    spec = (await objects.create(body)).json()["spec"]
    assert spec["paused"] is False
    assert spec["strategy"]["canary"]["steps"] == [{"setWeight": 5}, {"pause": {"duration": "10m"}}]
    assert spec["strategy"]["canary"]["maxUnavailable"] == "25%"


async def test_create_drops_status(objects, device):
    assert "status" not in (await objects.create({**device(), "status": {"connection": "Online"}})).json()


async def test_create_of_a_taken_name_is_refused(objects, device):
    await objects.create(device())
    with pytest.raises(AlreadyExistsError) as caught:
        await objects.create(device())
    assert not caught.value.being_deleted


async def test_create_of_a_name_being_deleted_says_so(objects, device):
    record = await objects.create(device(finalizers=["litefleet.dev/hold"]))
    await objects.delete(record.key)
    with pytest.raises(AlreadyExistsError) as caught:
        await objects.create(device())
    assert caught.value.being_deleted


async def test_create_in_a_namespace_that_does_not_exist_is_refused(objects, device):
    with pytest.raises(NamespaceNotFoundError):
        await objects.create(device(namespace="nowhere"))


async def test_create_with_a_resource_version_is_refused(objects, device):
    with pytest.raises(InvalidError) as caught:
        await objects.create(device(resourceVersion="5"))
    assert caught.value.causes[0].field == "metadata.resourceVersion"


async def test_create_generates_a_name(objects, device):
    body = device(generateName="board-")
    del body["metadata"]["name"]
    first, second = await objects.create(body), await objects.create(body)
    assert first.key != second.key
    assert all(r.key.name.startswith("board-") and len(r.key.name) == 11 for r in (first, second))


async def test_create_of_an_unknown_kind_names_those_served(objects):
    with pytest.raises(InvalidError, match="ModelRollout"):
        await objects.create({"kind": "Gadget", "metadata": {"name": "x"}})


async def test_create_refuses_text_that_is_no_unicode(objects, device):
    with pytest.raises(InvalidError):
        await objects.create(device(annotations={"a": "\ud800"}))
    assert (await objects.list(Query("Device"))).records == []


async def test_dry_run_create_writes_nothing(objects, device):
    record = await objects.create(device(), dry_run=True)
    assert "resourceVersion" not in record.json()["metadata"]
    assert record.uid
    with pytest.raises(NotFoundError):
        await objects.get(record.key)


async def test_dry_run_create_of_a_taken_name_is_refused(objects, device):
    await objects.create(device())
    with pytest.raises(AlreadyExistsError):
        await objects.create(device(), dry_run=True)


async def test_get_gives_what_was_stored(objects, device):
    record = await objects.create(device(labels={"site": "a"}))
    assert await objects.get(record.key) == record


async def test_get_of_a_missing_name_is_refused(objects):
    with pytest.raises(NotFoundError):
        await objects.get(GONE)


async def test_put_replaces_spec_and_client_metadata(objects, device):
    old = await objects.create(device(labels={"a": "1"}))
    body = device(device_class="coral", resourceVersion=str(old.resource_version), annotations={"b": "2"})
    new = (await objects.replace(old.key, body)).json()
    assert new["spec"] == {"class": "coral"}
    assert "labels" not in new["metadata"]
    assert new["metadata"]["annotations"] == {"b": "2"}
    assert new["metadata"]["uid"] == old.uid


async def test_put_without_resource_version_is_refused(objects, device):
    old = await objects.create(device())
    for subresource in ("", "status"):
        with pytest.raises(InvalidError) as caught:
            await objects.replace(old.key, device(), subresource=subresource)
        cause = caught.value.causes[0]
        assert (cause.field, cause.message) == (
            "metadata.resourceVersion",
            "Invalid value: 0: must be specified for an update",
        )


@pytest.mark.parametrize("version", ["x", "-1", "1.0", "٣", 5, ["1"], {"a": 1}])
async def test_put_with_a_resource_version_that_is_none_is_refused(objects, device, version):
    old = await objects.create(device())
    with pytest.raises(InvalidError):
        await objects.replace(old.key, device(resourceVersion=version))


async def test_put_with_a_stale_resource_version_is_a_conflict(objects, device):
    old = await objects.create(device())
    body = device(device_class="coral", resourceVersion=str(old.resource_version))
    await objects.replace(old.key, body)
    with pytest.raises(ConflictError):
        await objects.replace(old.key, body)


async def test_put_with_another_uid_is_a_conflict(objects, device):
    old = await objects.create(device())
    with pytest.raises(ConflictError, match="uid"):
        await objects.replace(old.key, device(resourceVersion=str(old.resource_version), uid="other"))


async def test_put_on_a_missing_name_is_not_found(objects, rollout):
    with pytest.raises(NotFoundError):
        await objects.replace(GONE, rollout("nope", resourceVersion="1"))


async def test_put_of_the_same_changes_nothing(objects, device):
    old = await objects.create(device())
    same = await objects.replace(old.key, device(resourceVersion=str(old.resource_version)))
    assert same == old
    assert await objects.resource_version() == old.resource_version


async def test_put_leaves_status_alone(objects, device):
    old = await objects.create(device())
    old = await objects.patch(old.key, Patch("merge", {"status": {"connection": "Online"}}), subresource="status")
    body = {**device(resourceVersion=str(old.resource_version)), "status": {"connection": "Offline"}}
    assert (await objects.replace(old.key, body)).json()["status"] == {"connection": "Online"}


async def test_status_put_leaves_everything_else_alone(objects, device):
    old = await objects.create(device(labels={"a": "1"}))
    body = device(
        device_class="coral", labels={"b": "2"}, resourceVersion=str(old.resource_version), finalizers=["x.dev/y"]
    )
    new = (await objects.replace(old.key, {**body, "status": {"connection": "Online"}}, subresource="status")).json()
    assert new["status"] == {"connection": "Online"}
    assert new["spec"] == {"class": "pi4"}
    own = {k: new["metadata"][k] for k in ("resourceVersion", "managedFields")}
    assert new["metadata"] == old.json()["metadata"] | own


async def test_status_put_that_does_not_fit_the_kind_is_refused(objects, device):
    old = await objects.create(device())
    body = {**device(resourceVersion=str(old.resource_version)), "status": {"connection": "Perhaps"}}
    with pytest.raises(InvalidError) as caught:
        await objects.replace(old.key, body, subresource="status")
    assert caught.value.causes[0].field == "status.connection"


@pytest.mark.parametrize(
    ("patch", "moves"),
    [
        ({"metadata": {"labels": {"a": "1"}}}, False),
        ({"metadata": {"annotations": {"a": "1"}}}, False),
        ({"metadata": {"finalizers": ["litefleet.dev/hold"]}}, False),
        ({"metadata": {"generation": 40}}, False),
        ({"status": {"phase": "Healthy"}}, False),
        ({"spec": {"paused": False}}, False),
        ({"spec": {"paused": None}}, False),
        ({"spec": {"paused": True}}, True),
    ],
)
async def test_generation_moves_for_a_changed_spec_only(objects, rollout, patch, moves):
    old = await objects.create(rollout())
    new = await objects.patch(old.key, Patch("merge", patch))
    assert new.generation == (2 if moves else 1)
    assert new.json()["metadata"]["generation"] == new.generation


async def test_generation_stays_for_a_status_write(objects, rollout):
    old = await objects.create(rollout())
    new = await objects.patch(old.key, Patch("merge", {"status": {"phase": "Paused"}}), subresource="status")
    assert new.generation == 1
    assert new.resource_version > old.resource_version


async def test_generation_moves_when_a_delete_marks_the_object(objects, rollout):
    old = await objects.create(rollout(finalizers=["litefleet.dev/hold"]))
    assert (await objects.delete(old.key)).record.generation == 2


@pytest.mark.parametrize("patch", [{}, {"spec": {"paused": False}}, {"metadata": {"labels": {}}}, {"metadata": {}}])
async def test_a_patch_that_changes_nothing_keeps_the_version(objects, rollout, patch):
    old = await objects.create(rollout())
    assert await objects.patch(old.key, Patch("merge", patch)) == old
    assert await objects.resource_version() == old.resource_version


async def test_merge_patch_null_takes_away_or_restores_the_default(objects, rollout):
    old = await objects.create(
        {**rollout(labels={"a": "1", "b": "2"}), "spec": {"modelRef": {"name": "m"}, "paused": True}}
    )
    patch = {"metadata": {"labels": {"a": None}}, "spec": {"paused": None}}
    new = (await objects.patch(old.key, Patch("merge", patch))).json()
    assert new["metadata"]["labels"] == {"b": "2"}
    assert new["spec"]["paused"] is False


async def test_a_patch_needs_no_resource_version_but_one_inside_counts(objects, rollout):
    old = await objects.create(rollout())
    with pytest.raises(ConflictError):
        await objects.patch(old.key, Patch("merge", {"metadata": {"resourceVersion": "1"}}))
    with pytest.raises(InvalidError, match="must be specified"):
        await objects.patch(old.key, Patch("merge", {"metadata": {"resourceVersion": None}}))
    current = {"metadata": {"resourceVersion": str(old.resource_version)}, "spec": {"paused": True}}
    assert (await objects.patch(old.key, Patch("merge", current))).generation == 2


async def test_json_patch_applies_its_operations(objects, rollout):
    old = await objects.create(rollout(labels={"a": "1"}))
    operations = [
        {"op": "test", "path": "/spec/modelRef/name", "value": "digits"},
        {"op": "replace", "path": "/spec/paused", "value": True},
        {"op": "add", "path": "/metadata/labels/litefleet.dev~1ring", "value": "x"},
        {"op": "remove", "path": "/metadata/labels/a"},
    ]
    new = (await objects.patch(old.key, Patch("json", operations))).json()
    assert new["spec"]["paused"] is True
    assert new["metadata"]["labels"] == {"litefleet.dev/ring": "x"}


@pytest.mark.parametrize(
    ("body", "malformed"),
    [
        ([{"op": "test", "path": "/spec/modelRef/name", "value": "other"}], False),
        ([{"op": "remove", "path": "/spec/nothing"}], False),
        ([{"op": "add", "path": "/metadata/annotations/x", "value": "y"}], False),
        ([{"op": "frobnicate", "path": "/spec/paused"}], False),
        ([{"op": "replace"}], False),
        ([{"op": "add", "path": "spec", "value": 1}], False),
        ([{"op": "replace", "path": "", "value": []}], False),
        ([{"op": "move", "from": 3, "path": "/a"}], False),
        ({"op": "replace"}, True),
        ([3], True),
        ("x", True),
        ([{"op": "copy", "from": "/spec", "path": "/spec/a"}] * 101, True),
    ],
)
async def test_json_patch_that_does_not_fit_is_refused(objects, rollout, body, malformed):
    old = await objects.create(rollout())
    with pytest.raises(PatchError) as caught:
        await objects.patch(old.key, Patch("json", body))
    assert caught.value.malformed is malformed
    assert await objects.get(old.key) == old


async def test_merge_patch_that_is_no_object_is_malformed(objects, rollout):
    old = await objects.create(rollout())
    with pytest.raises(PatchError) as caught:
        await objects.patch(old.key, Patch("merge", [1]))
    assert caught.value.malformed


@pytest.mark.parametrize(
    ("patch", "field"),
    [
        ({"metadata": {"name": "other"}}, "metadata.name"),
        ({"metadata": {"namespace": "other"}}, "metadata.namespace"),
        ({"kind": "Model"}, "kind"),
        ({"apiVersion": "litefleet.dev/v9"}, "apiVersion"),
        (
            {"spec": {"strategy": {"canary": {"steps": [{"setWeight": 200}]}}}},
            "spec.strategy.canary.steps[0].setWeight",
        ),
        ({"metadata": {"labels": {"a": 1}}}, "metadata.labels"),
        ({"metadata": "x"}, "metadata"),
        ({"spec": [1]}, "spec"),
    ],
)
async def test_an_invalid_patch_is_refused_with_its_field(objects, rollout, patch, field):
    old = await objects.create(rollout())
    with pytest.raises(InvalidError) as caught:
        await objects.patch(old.key, Patch("merge", patch))
    assert [c.field for c in caught.value.causes] == [field]
    assert await objects.get(old.key) == old


async def test_dry_run_patch_answers_the_new_generation_at_the_old_version(objects, rollout):
    old = await objects.create(rollout())
    shown = await objects.patch(old.key, Patch("merge", {"spec": {"paused": True}}), dry_run=True)
    assert (shown.generation, shown.resource_version) == (2, old.resource_version)
    assert await objects.get(old.key) == old


async def test_mutate_changes_a_copy_and_none_leaves_it(objects, rollout):
    old = await objects.create(rollout())

    def change(body):
        body["metadata"]["labels"] = {"a": "1"}
        return body

    assert (await objects.mutate(old.key, change)).labels == {"a": "1"}
    before = await objects.resource_version()
    await objects.mutate(old.key, lambda body: body["spec"].clear())
    assert await objects.resource_version() == before


async def test_mutate_that_raises_writes_nothing(objects, rollout):
    old = await objects.create(rollout())

    def change(_):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        await objects.mutate(old.key, change)
    assert await objects.get(old.key) == old


async def test_an_immutable_spec_stays(objects):
    digest = "sha256:" + "0" * 64
    spec = {
        "modelRef": "digits",
        "version": 1,
        "source": {"uri": f"blob://{digest}"},
        "evaluation": {"uri": f"blob://{digest}"},
    }
    old = await objects.create({"kind": "ModelVersion", "metadata": {"name": "digits-v1"}, "spec": spec})
    with pytest.raises(InvalidError) as caught:
        await objects.patch(old.key, Patch("merge", {"spec": {"version": 2}}))
    assert [(c.field, c.code) for c in caught.value.causes] == [("spec.version", "Immutable")]
    assert (await objects.patch(old.key, Patch("merge", {"metadata": {"labels": {"a": "b"}}}))).labels == {"a": "b"}


async def test_delete_takes_the_object_away(objects, device):
    record = await objects.create(device())
    deletion = await objects.delete(record.key)
    assert deletion.gone
    assert deletion.record == record
    with pytest.raises(NotFoundError):
        await objects.get(record.key)
    assert (await objects.create(device())).uid != record.uid


async def test_delete_of_a_missing_name_is_refused(objects):
    with pytest.raises(NotFoundError):
        await objects.delete(GONE)


async def test_delete_with_a_precondition_that_does_not_hold_is_a_conflict(objects, device):
    record = await objects.create(device())
    for precondition in ({"uid": "other"}, {"resource_version": record.resource_version + 1}):
        with pytest.raises(ConflictError):
            await objects.delete(record.key, **precondition)
    assert (await objects.delete(record.key, uid=record.uid, resource_version=record.resource_version)).gone


async def test_dry_run_delete_leaves_the_object(objects, device):
    record = await objects.create(device())
    assert (await objects.delete(record.key, dry_run=True)).gone
    assert await objects.get(record.key) == record


async def test_delete_with_finalizers_only_marks(objects, device, clock):
    record = await objects.create(device(finalizers=["litefleet.dev/a", "litefleet.dev/b"]))
    clock.advance(60)
    first = await objects.delete(record.key)
    assert not first.gone
    metadata = first.record.json()["metadata"]
    assert metadata["deletionTimestamp"] == "2026-01-02T03:05:05Z"
    assert metadata["deletionGracePeriodSeconds"] == 0
    clock.advance(60)
    assert await objects.delete(record.key) == first


async def test_the_object_goes_with_its_last_finalizer(objects, device):
    record = await objects.create(device(finalizers=["litefleet.dev/a", "litefleet.dev/b"]))
    await objects.delete(record.key)
    one = await objects.patch(record.key, Patch("merge", {"metadata": {"finalizers": ["litefleet.dev/b"]}}))
    last = await objects.patch(record.key, Patch("json", [{"op": "remove", "path": "/metadata/finalizers"}]))
    assert last.resource_version == one.resource_version
    assert "finalizers" not in last.json()["metadata"]
    with pytest.raises(NotFoundError):
        await objects.get(record.key)


async def test_finalizers_can_not_be_added_while_it_is_deleted(objects, device):
    record = await objects.create(device(finalizers=["litefleet.dev/a"]))
    await objects.delete(record.key)
    with pytest.raises(InvalidError) as caught:
        await objects.patch(record.key, Patch("merge", {"metadata": {"finalizers": ["litefleet.dev/a", "x.dev/b"]}}))
    assert caught.value.causes[0].field == "metadata.finalizers"


async def test_versions_are_never_used_again(objects, device):
    versions = []
    for _ in range(3):
        record = await objects.create(device())
        versions.append(record.resource_version)
        await objects.delete(record.key)
        versions.append(await objects.resource_version())
    assert versions == sorted(set(versions))


async def test_bodies_are_compact_json_in_manifest_order(objects, device):
    body = (await objects.create(device(annotations={"a": "ü"}))).body
    assert list(json.loads(body)) == ["apiVersion", "kind", "metadata", "spec"]
    assert "ü".encode() in body
    assert b": " not in body
