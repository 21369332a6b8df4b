"""How a board joins: a token for an operator to hand out, and the answer to the board that brings it.

Every step of an enrollment may be repeated: the token goes on working for the same board with the same key for a
while, the Device is made or updated, a certificate is signed anew, and a grant that exists is granted again. So a
failure or a lost answer anywhere costs a repetition and nothing else. The CSR is judged before the token is used up.

A re-enrolled board gets a new certificate; the earlier one stays valid until it ends, since both bear the same name.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

import structlog

from litefleet_controller.fleet.errors import BadQueryError, DeviceTakenError, MissingError
from litefleet_controller.identity.authority import Authority
from litefleet_controller.identity.errors import LifetimeError
from litefleet_controller.identity.requests import read_request
from litefleet_controller.identity.tokens import EnrollmentTokens
from litefleet_controller.resources.admission import Cause, InvalidError
from litefleet_controller.resources.meta import API_VERSION
from litefleet_controller.resources.names import check_label, check_label_key, check_label_value
from litefleet_controller.resources.registry import DEVICE, DEVICE_CLASS
from litefleet_controller.store.errors import AlreadyExistsError, NamespaceNotFoundError, NotFoundError
from litefleet_controller.store.interface import FieldRequirement, Json, Key, Objects, Query, Record
from litefleet_protocol.enrollment import EnrollmentToken, EnrollRequest, EnrollResponse, encode_token

OnEnrolled = Callable[[str, str], Awaitable[None]]
"""(device, namespace): called before a board gets its certificate, so that the broker lets it in at once."""

_CLASSES_NAMED = 20

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where boards reach the MQTT broker."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class EnrollmentPorts:
    """What enrollment stands on."""

    tokens: EnrollmentTokens
    authority: Authority
    objects: Objects
    on_enrolled: OnEnrolled


class Enrollment:
    """Makes tokens and answers boards."""

    def __init__(self, ports: EnrollmentPorts, broker: BrokerAddress) -> None:
        self._ports = ports
        self._broker = broker
        # Names are unique over all namespaces, which the store's keys don't say: one enrollment at a time decides.
        self._naming = asyncio.Lock()

    @property
    def ca_pem(self) -> str:
        """The fleet CA's certificate, for anyone."""
        return self._ports.authority.ca_pem

    async def create_token(self, namespace: str, *, ttl_s: float, url: str, by: str, now: datetime) -> str:
        """A token that lets one board join `namespace` within `ttl_s` seconds, by way of the controller at `url`.

        Raises:
            NamespaceNotFoundError: no such namespace.
            BadQueryError: a lifetime or a URL that can't be.
        """
        address = _checked_url(url)
        try:
            await self._ports.objects.get(Key("Namespace", "", namespace))
        except NotFoundError as e:
            raise NamespaceNotFoundError(namespace) from e
        try:
            secret = await self._ports.tokens.create(namespace, ttl_s, now, by)
        except LifetimeError as e:
            raise BadQueryError("ttlSeconds", str(e), code="OutOfRange") from e
        log.info("enrollment_token_created", namespace=namespace, by=by, ttl_s=ttl_s)
        return encode_token(EnrollmentToken(url=address, ca_sha256=self._ports.authority.ca_sha256, secret=secret))

    async def enroll(self, request: EnrollRequest, now: datetime) -> EnrollResponse:
        """Take a board in.

        Raises:
            ProtocolError: `InvalidName`, `BadCsr`, `TokenInvalid`, `TokenUsed`, `TokenExpired`.
            InvalidError: labels that are no labels.
            MissingError: no such DeviceClass in the token's namespace.
            DeviceTakenError: the name is taken in another namespace.
        """
        asked = read_request(request.csr, request.device)
        _check_labels(request)
        namespace = await self._ports.tokens.redeem(request.secret, request.device, asked.key_sha256, now)
        await self._check_class(namespace, request.device_class)
        async with self._naming:
            again = await self._place(namespace, request)
        certificate = self._ports.authority.sign_csr(request.csr, request.device, now)
        await self._ports.on_enrolled(request.device, namespace)
        log.info("device_enrolled", device=request.device, namespace=namespace, again=again)
        return EnrollResponse(
            fleet=self._ports.authority.fleet,
            namespace=namespace,
            device=request.device,
            device_class=request.device_class,
            certificate=certificate,
            ca=self._ports.authority.ca_pem,
            broker_host=self._broker.host,
            broker_port=self._broker.port,
            signing_keys=self._ports.authority.signing_keys,
        )

    async def _check_class(self, namespace: str, name: str) -> None:
        try:
            await self._ports.objects.get(Key(DEVICE_CLASS.kind, namespace, name))
        except NotFoundError as e:
            page = await self._ports.objects.list(Query(DEVICE_CLASS.kind, namespace, limit=_CLASSES_NAMED))
            there = ", ".join(r.key.name for r in page.records)
            hint = f"there are {there}" if there else "there are none: apply one first (see manifests/classes)"
            raise MissingError(
                f"there is no DeviceClass {name[:63]!r} in namespace {namespace!r}", field="deviceClass", hint=hint
            ) from e

    async def _place(self, namespace: str, request: EnrollRequest) -> bool:
        """Make or update the Device; whether it was there."""
        holder = await self._holder(request.device)
        if holder is None:
            await self._ports.objects.create(_device(namespace, request))
            return False
        if holder.key.namespace != namespace:
            raise DeviceTakenError(request.device)

        def update(device: Json) -> Json | None:
            if device["metadata"].get("deletionTimestamp"):
                raise AlreadyExistsError(holder.key, being_deleted=True)
            labels = {**(device["metadata"].get("labels") or {}), **request.labels}
            if labels == (device["metadata"].get("labels") or {}) and device["spec"]["class"] == request.device_class:
                return None
            device["metadata"]["labels"] = labels
            device["spec"]["class"] = request.device_class
            return device

        await self._ports.objects.mutate(holder.key, update)
        return True

    async def _holder(self, device: str) -> Record | None:
        """The Device of this name, in whatever namespace."""
        named = FieldRequirement("metadata.name", equal=True, value=device)
        page = await self._ports.objects.list(Query(DEVICE.kind, None, fields=(named,), limit=1))
        return page.records[0] if page.records else None


def _device(namespace: str, request: EnrollRequest) -> Json:
    return {
        "apiVersion": API_VERSION,
        "kind": DEVICE.kind,
        "metadata": {"name": request.device, "namespace": namespace, "labels": dict(request.labels)},
        "spec": {"class": request.device_class},
    }


def _check_labels(request: EnrollRequest) -> None:
    """Before the token is used up, what the store would refuse after."""
    causes: list[Cause] = []
    for field, value, check in (
        ("deviceClass", request.device_class, check_label),
        *((f"labels.{k[:63]}", k, check_label_key) for k in request.labels),
        *((f"labels.{k[:63]}", v, check_label_value) for k, v in request.labels.items()),
    ):
        try:
            check(value)
        except ValueError as e:
            causes.append(Cause(field, "FieldValueInvalid", str(e), "InvalidName"))
    if causes:
        raise InvalidError(DEVICE.kind, request.device, causes)


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        sound = parts.scheme == "https" and bool(parts.hostname) and not parts.path.strip("/") and parts.port != 0
        sound = sound and not (parts.query or parts.fragment or parts.username)
    except ValueError:
        sound = False
    if not sound:
        raise BadQueryError(
            "url", f"{url[:120]!r} is no address of a controller: write https://HOST:PORT, as boards reach it"
        )
    return url.rstrip("/")
