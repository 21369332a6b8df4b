"""Namespaces."""

import pytest

from litefleet_controller.store.errors import AlreadyExistsError, NamespaceNotFoundError
from litefleet_controller.store.namespaces import SqlNamespaces


@pytest.fixture
def namespaces(database, clock, uid):
    return SqlNamespaces(database, clock=clock, uid=uid)


async def test_default_exists_from_the_start(namespaces):
    assert [n.name for n in await namespaces.list()] == ["default"]
    assert (await namespaces.get("default")).created_at.tzinfo is not None


async def test_a_new_one_takes_objects(namespaces, objects, device, clock):
    created = await namespaces.create("line-a")
    assert await namespaces.get("line-a") == created
    assert created.created_at == clock()
    assert (await objects.create(device(namespace="line-a"))).key.namespace == "line-a"


async def test_a_taken_name_is_refused(namespaces):
    with pytest.raises(AlreadyExistsError):
        await namespaces.create("default")


@pytest.mark.parametrize("name", ["", "../x", "A", "a.b", "a" * 64, "\u0430"])
async def test_a_name_that_is_no_label_is_refused(namespaces, name):
    with pytest.raises(ValueError, match="not a valid name"):
        await namespaces.create(name)


async def test_a_missing_one_is_refused(namespaces):
    assert not await namespaces.exists("nowhere")
    with pytest.raises(NamespaceNotFoundError):
        await namespaces.get("nowhere")


async def test_dry_run_makes_none(namespaces):
    await namespaces.create("x", dry_run=True)
    assert not await namespaces.exists("x")
