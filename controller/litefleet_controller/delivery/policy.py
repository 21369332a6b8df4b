"""The broker's policy: who may publish and subscribe to what, in mosquitto's dynamic security plugin.

A client's name is its certificate's common name; no client has a password. Everything is denied but what a role
allows: each board has a role of its own (mosquitto 2.0 has no patterns with the client's name in them), the
controller's replicas share one. The truth is the list of devices: the broker's file is written anew from it at each
launch, and changed live through the plugin's control topic, so that a wiped or killed broker converges.

The MQTT link is passed in as a callable; app/ feeds `answered` with what arrives on `RESPONSE_TOPIC`.
Source of the formats: mosquitto's documentation of the dynamic security plugin, 2.0.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import msgspec
import structlog

from litefleet_controller.delivery.errors import DeliveryError
from litefleet_protocol.topics import ROOT, device_grants

CONTROL_TOPIC = "$CONTROL/dynamic-security/v1"
RESPONSE_TOPIC = f"{CONTROL_TOPIC}/response"
"""What the controller subscribes to, for `BrokerPolicy.answered`."""
CONTROLLER_ROLE = "controller"

Publish = Callable[[str, bytes], Awaitable[None]]
Json = dict[str, Any]

ACL_TYPES = ("publishClientSend", "publishClientReceive", "subscribe", "unsubscribe")
_HARMLESS = {
    "createRole": "Role already exists",
    "createClient": "Client already exists",
    "deleteClient": "Client not found",
    "deleteRole": "Role not found",
}
"""Errors that say that the wanted state is there already."""

log = structlog.get_logger(__name__)


class PolicyError(DeliveryError):
    """The broker didn't confirm a change of its policy. It is kept, and sent again by `BrokerPolicy.settle`."""


def device_role(device: str) -> str:
    """The name of a board's role; the prefix keeps it apart from the controller's."""
    return f"device-{device}"


def device_acls(device: str, namespace: str) -> list[Json]:
    """What a board may do: write its own `up/`, read its own `down/`, the epoch, its namespace's artifacts."""
    up, readable = device_grants(device, namespace)
    return [_allow("publishClientSend", up), *_readable(readable)]


def controller_acls() -> list[Json]:
    """What a controller replica may do: everything under the root, shared subscriptions too, and change the policy."""
    everything = f"{ROOT}/#"
    return [
        _allow("publishClientSend", everything),
        _allow("publishClientSend", CONTROL_TOPIC),
        *_readable((everything, RESPONSE_TOPIC)),
        _allow("subscribePattern", f"$share/+/{everything}"),
        _allow("unsubscribePattern", f"$share/+/{everything}"),
    ]


def policy_document(controllers: Iterable[str], devices: Iterable[tuple[str, str]]) -> bytes:
    """The plugin's file for these replicas and these (device, namespace) pairs, complete."""
    granted = sorted(devices)
    return msgspec.json.encode(
        {
            "defaultACLAccess": dict.fromkeys(ACL_TYPES, False),
            "groups": [],
            "roles": [
                {"rolename": CONTROLLER_ROLE, "acls": controller_acls()},
                *({"rolename": device_role(name), "acls": device_acls(name, ns)} for name, ns in granted),
            ],
            "clients": [
                *(_client(name, CONTROLLER_ROLE) for name in sorted(controllers)),
                *(_client(name, device_role(name)) for name, _ in granted),
            ],
        }
    )


def grant_commands(device: str, namespace: str) -> list[Json]:
    """Commands that give a board exactly its rights, whatever was there before."""
    role, acls = device_role(device), device_acls(device, namespace)
    return [
        {"command": "createRole", "rolename": role, "acls": acls},
        {"command": "modifyRole", "rolename": role, "acls": acls},
        {"command": "createClient", **_client(device, role)},
    ]


def revoke_commands(device: str) -> list[Json]:
    """Commands that take a board's rights and end its connection."""
    return [
        {"command": "deleteClient", "username": device},  # this one kicks
        {"command": "deleteRole", "rolename": device_role(device)},
    ]


def control_message(commands: Sequence[Json], correlation: str) -> bytes:
    """Commands as the control topic takes them."""
    return msgspec.json.encode({"commands": [{**command, "correlationData": correlation} for command in commands]})


class _Answer(msgspec.Struct, frozen=True, rename="camel"):
    command: str = ""
    error: str = ""
    correlation_data: str = ""


class _Answers(msgspec.Struct, frozen=True):
    responses: tuple[_Answer, ...]


def read_answer(payload: bytes) -> tuple[str, list[str]] | None:
    """A response's correlation and its real errors; None for what isn't a response.

    "Already exists" and "not found" are no errors here: a repeated change is no failure.
    """
    try:
        responses = msgspec.json.decode(payload, type=_Answers).responses
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if not responses:
        return None
    errors = [f"{r.command}: {r.error}" for r in responses if r.error and _HARMLESS.get(r.command) != r.error]
    return responses[0].correlation_data, errors


class BrokerPolicy:
    """Keeps the broker's policy equal to the list of devices."""

    def __init__(self, controllers: Iterable[str], *, timeout_s: float = 10.0) -> None:
        self._controllers = tuple(controllers)
        self._timeout_s = timeout_s
        self._devices: dict[str, str] = {}
        self._unconfirmed: set[str] = set()
        self._waiting: dict[str, asyncio.Future[list[str]]] = {}
        self._publish: Publish | None = None

    def load(self, devices: Iterable[tuple[str, str]]) -> None:
        """Take over the (device, namespace) pairs that are enrolled. Before the broker starts."""
        self._devices = dict(devices)

    def document(self) -> bytes:
        """The plugin's file as it should be now. The broker writes it before each launch."""
        return policy_document(self._controllers, self._devices.items())

    def attach(self, publish: Publish) -> None:
        """Give it the link, once there is one."""
        self._publish = publish

    async def grant(self, device: str, namespace: str) -> None:
        """Let a board in. Effective when it returns.

        Raises:
            PolicyError: the broker didn't confirm it in time, or refused.
            ProtocolError: `InvalidName`.
        """
        commands = grant_commands(device, namespace)
        self._devices[device] = namespace
        await self._change(device, commands)

    async def revoke(self, device: str) -> None:
        """Shut a board out and end its connection. Effective when it returns.

        Raises:
            PolicyError: the broker didn't confirm it in time, or refused.
        """
        self._devices.pop(device, None)
        await self._change(device, revoke_commands(device))

    async def settle(self) -> None:
        """Send again what wasn't confirmed. Called whenever the link comes (back) up.

        Raises:
            PolicyError: the broker still doesn't confirm.
        """
        for device in sorted(self._unconfirmed):
            namespace = self._devices.get(device)
            await self._change(device, grant_commands(device, namespace) if namespace else revoke_commands(device))

    def answered(self, payload: bytes) -> None:
        """Take in a message of `RESPONSE_TOPIC`; what belongs to no change of ours is ignored."""
        answer = read_answer(payload)
        if answer is None:
            log.warning("policy.response_unreadable", size=len(payload))
            return
        waiting = self._waiting.get(answer[0])
        if waiting is not None and not waiting.done():
            waiting.set_result(answer[1])

    async def _change(self, device: str, commands: Sequence[Json]) -> None:
        self._unconfirmed.add(device)
        if self._publish is None:
            raise PolicyError(f"the broker isn't connected yet; the change of {device!r} waits for it")
        correlation = secrets.token_hex(8)
        answer = self._waiting[correlation] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._publish(CONTROL_TOPIC, control_message(commands, correlation))
                errors = await answer
        except TimeoutError as e:
            raise PolicyError(f"the broker didn't confirm the change of {device!r} in {self._timeout_s:g} s") from e
        except DeliveryError as e:
            raise PolicyError(f"the change of {device!r} didn't reach the broker: {e}") from e
        finally:
            del self._waiting[correlation]
        if errors:
            raise PolicyError(f"the broker refused the change of {device!r}: {'; '.join(errors)[:300]}")
        self._unconfirmed.discard(device)
        log.info("policy.changed", device=device, change=commands[0]["command"])


def _client(name: str, role: str) -> Json:
    return {"username": name, "clientid": name, "roles": [{"rolename": role}]}


def _readable(patterns: Iterable[str]) -> list[Json]:
    kinds = ("publishClientReceive", "subscribePattern", "unsubscribePattern")
    return [_allow(kind, pattern) for pattern in patterns for kind in kinds]


def _allow(kind: str, topic: str) -> Json:
    return {"acltype": kind, "topic": topic, "priority": 0, "allow": True}
