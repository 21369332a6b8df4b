"""The policy's commands, its file and its reading of answers, as values."""

import json
from typing import Any

import pytest

from litefleet_controller.delivery.errors import LinkDownError
from litefleet_controller.delivery.policy import (
    BrokerPolicy,
    PolicyError,
    control_message,
    device_acls,
    grant_commands,
    policy_document,
    read_answer,
    revoke_commands,
)
from litefleet_protocol.errors import ProtocolError
from litefleet_protocol.topics import device_grants


def allowed(acls: list[dict[str, Any]], kind: str) -> set[str]:
    return {acl["topic"] for acl in acls if acl["acltype"] == kind and acl["allow"]}


def test_a_devices_role_is_what_the_protocol_grants() -> None:
    up, readable = device_grants("board-1", "default")
    acls = device_acls("board-1", "default")
    assert allowed(acls, "publishClientSend") == {up}
    for kind in ("publishClientReceive", "subscribePattern", "unsubscribePattern"):
        assert allowed(acls, kind) == set(readable)


def test_the_document_denies_everything_that_no_role_allows() -> None:
    document = json.loads(policy_document(["controller-1"], [("board-1", "default")]))
    assert document["defaultACLAccess"] == {
        "publishClientSend": False,
        "publishClientReceive": False,
        "subscribe": False,
        "unsubscribe": False,
    }


def test_the_document_has_a_client_and_a_role_for_each_device() -> None:
    document = json.loads(policy_document(["controller-1"], [("b", "default"), ("a", "other")]))
    assert {c["username"]: c["roles"][0]["rolename"] for c in document["clients"]} == {
        "controller-1": "controller",
        "a": "device-a",
        "b": "device-b",
    }
    assert [role["rolename"] for role in document["roles"]] == ["controller", "device-a", "device-b"]
    assert not any("password" in client for client in document["clients"])


def test_a_device_named_like_the_controllers_role_gets_a_role_of_its_own() -> None:
    document = json.loads(policy_document(["controller-1"], [("controller", "default")]))
    assert document["clients"][1] == {
        "username": "controller",
        "clientid": "controller",
        "roles": [{"rolename": "device-controller"}],
    }


def test_a_grant_sets_the_rights_whatever_was_there() -> None:
    commands = grant_commands("board-1", "default")
    assert [c["command"] for c in commands] == ["createRole", "modifyRole", "createClient"]
    assert commands[0]["acls"] == commands[1]["acls"] == device_acls("board-1", "default")


def test_a_revocation_kicks_before_it_tidies_up() -> None:
    assert [c["command"] for c in revoke_commands("board-1")] == ["deleteClient", "deleteRole"]


@pytest.mark.parametrize(("device", "namespace"), [("+", "default"), ("a/b", "default"), ("#", "x"), ("a", "+")])
def test_no_wildcard_becomes_part_of_a_role(device: str, namespace: str) -> None:
    with pytest.raises(ProtocolError):
        grant_commands(device, namespace)


def test_every_command_carries_the_correlation() -> None:
    message = json.loads(control_message(revoke_commands("board-1"), "c1"))
    assert [c["correlationData"] for c in message["commands"]] == ["c1", "c1"]


@pytest.mark.parametrize(
    ("responses", "answer"),
    [
        ([{"command": "createRole", "correlationData": "c"}], ("c", [])),
        ([{"command": "createRole", "correlationData": "c", "error": "Role already exists"}], ("c", [])),
        ([{"command": "deleteClient", "correlationData": "c", "error": "Client not found"}], ("c", [])),
        (
            [{"command": "modifyRole", "correlationData": "c", "error": "Role not found"}],
            ("c", ["modifyRole: Role not found"]),
        ),
        ([{"error": "Command not an object"}], ("", [": Command not an object"])),
        ([], None),
    ],
)
def test_an_answer_is_read(responses: list[dict[str, str]], answer: tuple[str, list[str]] | None) -> None:
    assert read_answer(json.dumps({"responses": responses}).encode()) == answer


@pytest.mark.parametrize("payload", [b"", b"[]", b"{}", b"\xff", b'{"responses": 1}', b'{"responses": [1]}'])
def test_what_is_no_answer_is_ignored(payload: bytes) -> None:
    assert read_answer(payload) is None
    BrokerPolicy(["controller-1"]).answered(payload)


async def test_a_refusal_is_an_error_that_names_it() -> None:
    policy = BrokerPolicy(["controller-1"])

    async def refuse(_: str, payload: bytes) -> None:
        first = json.loads(payload)["commands"][0]
        answer = {"command": "createRole", "correlationData": first["correlationData"], "error": "Internal error"}
        policy.answered(json.dumps({"responses": [answer]}).encode())

    policy.attach(refuse)
    with pytest.raises(PolicyError, match="createRole: Internal error"):
        await policy.grant("board-1", "default")


async def test_a_lost_link_is_an_error_and_the_change_is_kept() -> None:
    policy = BrokerPolicy(["controller-1"])
    sent: list[str] = []

    async def lose(_: str, payload: bytes) -> None:
        raise LinkDownError("gone")

    async def confirm(_: str, payload: bytes) -> None:
        commands = json.loads(payload)["commands"]
        sent.extend(command["command"] for command in commands)
        answer = {"command": "x", "correlationData": commands[0]["correlationData"]}
        policy.answered(json.dumps({"responses": [answer]}).encode())

    policy.attach(lose)
    policy.load([("board-2", "default")])
    with pytest.raises(PolicyError, match="gone"):
        await policy.grant("board-1", "default")
    with pytest.raises(PolicyError, match="gone"):
        await policy.revoke("board-2")
    assert [c["username"] for c in json.loads(policy.document())["clients"]] == ["controller-1", "board-1"]
    policy.attach(confirm)
    await policy.settle()
    assert sent == ["createRole", "modifyRole", "createClient", "deleteClient", "deleteRole"]
    await policy.settle()
    assert len(sent) == 5
