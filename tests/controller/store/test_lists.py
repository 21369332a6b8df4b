"""Lists: order, pages, selectors."""

import itertools
import time

import pytest
from sqlalchemy import insert

from litefleet_controller.resources.namespace import manifest
from litefleet_controller.resources.registry import DEVICE
from litefleet_controller.store.errors import FieldNotSelectableError
from litefleet_controller.store.interface import FieldRequirement, LabelRequirement, Patch, Query
from litefleet_controller.store.lifecycle import created
from litefleet_controller.store.records import index_entries, record_of, with_version
from litefleet_controller.store.tables import OBJECT_INDEX, OBJECTS


def names(page):
    return [r.key.name for r in page.records]


@pytest.fixture
async def boards(objects, device):
    for name, labels, device_class in (
        ("d0", {"site": "a"}, "pi4"),
        ("d1", {"site": "b", "tier": "gold"}, "coral"),
        ("d2", {"tier": ""}, "pi4"),
        ("d3", {}, "jetson"),
    ):
        await objects.create(device(name, labels=labels, device_class=device_class))
    return objects


async def test_an_empty_list_has_a_version_above_zero(objects):
    page = await objects.list(Query("Device"))
    assert page.records == []
    assert page.resource_version >= 1


async def test_lists_are_ordered_by_namespace_and_name(objects, device):
    await objects.create(manifest("aaa"))
    for namespace, name in (("default", "b"), ("aaa", "z"), ("default", "a")):
        await objects.create(device(name, namespace=namespace))
    page = await objects.list(Query("Device"))
    assert [(r.key.namespace, r.key.name) for r in page.records] == [("aaa", "z"), ("default", "a"), ("default", "b")]
    assert names(await objects.list(Query("Device", "default"))) == ["a", "b"]
    assert names(await objects.list(Query("Device", "nowhere"))) == []


async def test_lists_know_kinds_apart(objects, device, rollout):
    await objects.create(device("same"))
    await objects.create(rollout("same"))
    assert [r.key.kind for r in (await objects.list(Query("ModelRollout"))).records] == ["ModelRollout"]


async def test_pages_follow_each_other(boards):
    first = await boards.list(Query("Device", limit=3))
    assert (names(first), first.remaining) == (["d0", "d1", "d2"], 1)
    second = await boards.list(Query("Device", limit=3, after=("default", "d2")))
    assert (names(second), second.remaining) == (["d3"], 0)


@pytest.mark.parametrize(
    ("requirements", "expected"),
    [
        ([LabelRequirement("site", "In", ("a",))], "d0"),
        ([LabelRequirement("site", "In", ("a", "b"))], "d0 d1"),
        ([LabelRequirement("site", "NotIn", ("a",))], "d1 d2 d3"),
        ([LabelRequirement("tier", "Exists")], "d1 d2"),
        ([LabelRequirement("tier", "DoesNotExist")], "d0 d3"),
        ([LabelRequirement("tier", "In", ("",))], "d2"),
        ([LabelRequirement("site", "In", ("b",)), LabelRequirement("tier", "Exists")], "d1"),
        ([LabelRequirement("site", "In", ())], ""),
    ],
)
async def test_label_selectors(boards, requirements, expected):
    assert names(await boards.list(Query("Device", labels=tuple(requirements)))) == expected.split()


@pytest.mark.parametrize(
    ("requirements", "expected"),
    [
        ([FieldRequirement("metadata.name", True, "d2")], "d2"),
        ([FieldRequirement("metadata.name", False, "d2")], "d0 d1 d3"),
        (
            [FieldRequirement("metadata.namespace", True, "default"), FieldRequirement("metadata.name", True, "d0")],
            "d0",
        ),
        ([FieldRequirement("spec.class", True, "pi4")], "d0 d2"),
        ([FieldRequirement("spec.class", False, "pi4")], "d1 d3"),
        ([FieldRequirement("status.connection", True, "Online")], "d3"),
        ([FieldRequirement("status.connection", False, "Online")], "d0 d1 d2"),
        ([FieldRequirement("status.connection", True, "")], "d0 d1 d2"),
        ([FieldRequirement("status.connection", False, "")], "d3"),
    ],
)
async def test_field_selectors(boards, requirements, expected):
    d3 = (await boards.list(Query("Device", fields=(FieldRequirement("metadata.name", True, "d3"),)))).records[0]
    await boards.patch(d3.key, Patch("merge", {"status": {"connection": "Online"}}), subresource="status")
    assert names(await boards.list(Query("Device", fields=tuple(requirements)))) == expected.split()


async def test_selectors_see_changed_labels_and_fields(boards):
    d0 = (await boards.list(Query("Device", limit=1))).records[0]
    await boards.patch(d0.key, Patch("merge", {"metadata": {"labels": {"site": "c"}}, "spec": {"class": "coral"}}))
    assert names(await boards.list(Query("Device", labels=(LabelRequirement("site", "In", ("a",)),)))) == []
    assert names(await boards.list(Query("Device", fields=(FieldRequirement("spec.class", True, "coral"),)))) == [
        "d0",
        "d1",
    ]


async def test_a_field_that_is_not_selectable_is_refused(objects):
    query = Query("Device", fields=(FieldRequirement("spec.site", True, "a"),))
    with pytest.raises(FieldNotSelectableError, match=r"field label not supported: spec\.site"):
        await objects.list(query)
    with pytest.raises(FieldNotSelectableError):
        objects.watch(query, None)


async def test_remaining_counts_what_the_selector_selects(boards):
    page = await boards.list(Query("Device", labels=(LabelRequirement("tier", "Exists"),), limit=1))
    assert (names(page), page.remaining) == (["d1"], 1)


async def test_ten_thousand_objects_are_listed_in_a_tenth_of_a_cpu_second(objects, device, database, clock):
    """The figure of the design. Rows are inserted in bulk: making them one by one is not what is measured."""
    bodies = [
        with_version(
            created(DEVICE, device(f"board-{i:05}", labels={"site": f"s{i % 100}"}), uid=f"u{i}", now=clock()), i + 2
        )
        for i in range(10_000)
    ]
    rows = [
        {
            "id": i + 100, "kind": r.key.kind, "namespace": r.key.namespace, "name": r.key.name, "uid": r.uid, "body": r.body,
            "resource_version": r.resource_version, "generation": 1, "labels": f'{{"site":"s{i % 100}"}}',
        }
        for i, r in enumerate(map(record_of, bodies))
    ]  # fmt: skip
    index = [
        {"object_id": i + 100, "key": key, "value": value}
        for i, body in enumerate(bodies)
        for key, value in index_entries(body, DEVICE.selectable_fields)
    ]
    async with database.writing() as session:
        connection = await session.connection()
        await connection.execute(insert(OBJECTS), rows)
        await connection.execute(insert(OBJECT_INDEX), index)
    costs = []
    for _ in range(3):
        before = time.process_time()
        page = await objects.list(Query("Device"))
        costs.append(time.process_time() - before)
    assert len(page.records) == 10_000
    selected = await objects.list(Query("Device", labels=(LabelRequirement("site", "In", ("s7",)),)))
    assert len(selected.records) == 100
    assert min(costs) < 0.1, f"{min(costs) * 1000:.0f} ms CPU"


async def test_walking_pages_meets_every_object_once(boards):
    seen = []
    position = None
    for _ in itertools.count():
        page = await boards.list(Query("Device", limit=1, after=position))
        seen += names(page)
        if not page.remaining:
            break
        position = (page.records[-1].key.namespace, page.records[-1].key.name)
    assert seen == ["d0", "d1", "d2", "d3"]
