"""Roles, as a table."""

import pytest

from litefleet_controller.identity.roles import Person, Role, allowed

VIEWER, OPERATOR, ADMIN = (Person("p", role, None) for role in Role)


@pytest.mark.parametrize(
    ("verb", "resource", "viewer", "operator", "admin"),
    [
        ("get", "models", True, True, True),
        ("list", "devices", True, True, True),
        ("watch", "events", True, True, True),
        ("create", "models", False, True, True),
        ("patch", "modelrollouts", False, True, True),
        ("update", "analysistemplates", False, True, True),
        ("delete", "modelrollouts", False, True, True),
        ("deletecollection", "models", False, True, True),
        ("create", "blobs", False, True, True),
        ("promote", "modelrollouts", False, True, True),
        ("create", "modelrollouts/abort", False, True, True),
        ("patch", "modelrollouts/abort", False, False, True),
        ("patch", "modelrollouts/status", False, False, True),
        ("create", "modelversions", False, False, True),
        ("promote", "devices", False, False, True),
        ("create", "devices", False, False, True),
        ("delete", "devices", False, False, True),
        ("patch", "deviceclasses", False, False, True),
        ("create", "devicetokens", False, False, True),
        ("list", "devicetokens", False, False, True),
        ("get", "accesstokens", False, False, True),
        ("create", "namespaces", False, False, True),
        ("create", "selfsubjectaccessreviews", True, True, True),
        ("frobnicate", "models", False, False, True),
    ],
)
def test_what_each_role_may_do(verb: str, resource: str, viewer: bool, operator: bool, admin: bool) -> None:
    assert [allowed(p, verb, resource, "default") for p in (VIEWER, OPERATOR, ADMIN)] == [viewer, operator, admin]


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("namespace", ["other", None, ""])
def test_a_person_of_one_namespace_may_nothing_elsewhere(role: Role, namespace: str | None) -> None:
    person = Person("p", role, "default")
    assert allowed(person, "get", "models", "default")
    assert not allowed(person, "get", "models", namespace)


def test_an_unknown_role_may_nothing() -> None:
    assert not allowed(Person("p", "owner", None), "get", "models", "default")  # type: ignore[arg-type]


def test_everyone_may_ask_what_they_may_do() -> None:
    assert allowed(Person("p", Role.VIEWER, "default"), "create", "selfsubjectaccessreviews", None)
