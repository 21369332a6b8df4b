"""The composition root: builds every part of the controller, wires them, runs them, and ends them in order.

Nothing is decided here. Who wants to know what talks to what reads this file from the top.
"""

import asyncio
import secrets
import signal
import ssl
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version as distribution_version
from pathlib import Path
from typing import Any

import structlog

from litefleet_controller.api.app import create_api
from litefleet_controller.api.fleet import FleetDependencies, fleet_router
from litefleet_controller.api.interface import ApiDependencies
from litefleet_controller.api.server import Certificate, Server, ServerError
from litefleet_controller.artifacts.directory import DirectoryBlobs
from litefleet_controller.artifacts.manifest import ArtifactStore
from litefleet_controller.convert.local import LocalConverter
from litefleet_controller.delivery.acks import AckPublisher
from litefleet_controller.delivery.artifacts import ArtifactPublisher
from litefleet_controller.delivery.assigned import AssignedView
from litefleet_controller.delivery.broker import BrokerOptions, EmbeddedBroker
from litefleet_controller.delivery.broker_program import BrokerError
from litefleet_controller.delivery.desired import DesiredPublisher
from litefleet_controller.delivery.devices import DeviceDirectory
from litefleet_controller.delivery.epoch import EpochPublisher
from litefleet_controller.delivery.errors import DeliveryError
from litefleet_controller.delivery.ingest import Ingest, Sinks
from litefleet_controller.delivery.interface import LinkState
from litefleet_controller.delivery.latest import Latest
from litefleet_controller.delivery.link import BrokerAddress as LinkAddress
from litefleet_controller.delivery.link import client_tls
from litefleet_controller.delivery.mqtt import MqttLink
from litefleet_controller.delivery.need import NeedAnswerer
from litefleet_controller.delivery.policy import RESPONSE_TOPIC, BrokerPolicy, PolicyError
from litefleet_controller.delivery.reported import ReportedState
from litefleet_controller.fileio import write_private
from litefleet_controller.fleet.enroll import BrokerAddress, Enrollment, EnrollmentPorts
from litefleet_controller.fleet.push import Uploads
from litefleet_controller.fleet.queries import Queries
from litefleet_controller.fleet.verbs import Verbs
from litefleet_controller.identity.authority import Authority
from litefleet_controller.identity.errors import AuthorityError
from litefleet_controller.identity.kubeconfig import kubeconfig, token_in
from litefleet_controller.identity.roles import Role, allowed
from litefleet_controller.identity.tokens import AccessTokens, EnrollmentTokens
from litefleet_controller.reconcile.classes import DeviceClassReconciler
from litefleet_controller.reconcile.devices import DeviceReconciler
from litefleet_controller.reconcile.leadership import Leadership
from litefleet_controller.reconcile.models import ModelReconciler
from litefleet_controller.reconcile.rollouts import ModelRolloutReconciler
from litefleet_controller.reconcile.runtime import Runtime
from litefleet_controller.reconcile.versions import ModelVersionReconciler
from litefleet_controller.reconcile.wiring import bindings
from litefleet_controller.resources.registry import DEVICE, Registry
from litefleet_controller.store.assignments import SqlAssignments
from litefleet_controller.store.database import Database
from litefleet_controller.store.errors import StoreError
from litefleet_controller.store.events import SqlEvents
from litefleet_controller.store.interface import Query
from litefleet_controller.store.leases import SqlLeases
from litefleet_controller.store.namespaces import SqlNamespaces
from litefleet_controller.store.objects import SqlObjects
from litefleet_controller.telemetry.ingest import TelemetryIngest
from litefleet_controller.telemetry.query import SqlTelemetry, retention

log = structlog.get_logger()

LOCAL_ADMIN = "local-admin"
SWEEP_S = 60.0
RETENTION_S = 3600.0
RAISE_AGAIN_S = 60.0
TELEMETRY_KEPT = timedelta(days=30)


class StartError(Exception):
    """The controller can't start: one sentence, a stable code, what to do."""

    def __init__(self, message: str, code: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Settings:
    """What `litefleet up` was told."""

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 7443
    advertise: tuple[str, ...] = ()
    mqtt_port: int = 0

    @property
    def local(self) -> str:
        """An address of this machine on which the controller reaches itself."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - compared, not bound

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names and addresses for certificates; boards are told the first."""
        return tuple(dict.fromkeys((*self.advertise, self.local, "localhost", "127.0.0.1")))


def utc_now() -> datetime:
    """The clock of everything that runs here."""
    return datetime.now(UTC)


def new_uid() -> str:
    """A uid for an object."""
    return str(uuid.uuid4())


@dataclass(frozen=True, slots=True)
class Persistence:
    """What lasts."""

    database: Database
    objects: SqlObjects
    events: SqlEvents
    assignments: SqlAssignments
    leases: SqlLeases
    namespaces: SqlNamespaces
    telemetry: SqlTelemetry
    blobs: DirectoryBlobs
    artifacts: ArtifactStore


@dataclass(frozen=True, slots=True)
class Delivery:
    """What goes to the boards and comes back."""

    link: MqttLink
    policy: BrokerPolicy
    broker: tuple[str, int]
    epoch: Latest[int | None]
    higher_epoch: Latest[int]
    """The highest epoch above ours that a board follows; 0 when none does."""
    directory: DeviceDirectory
    reported: ReportedState
    desired: DesiredPublisher
    epochs: EpochPublisher
    artifacts: ArtifactPublisher
    need: NeedAnswerer
    acks: AckPublisher
    telemetry: TelemetryIngest
    ingest: Ingest


async def serve(settings: Settings, ready: Callable[[str, Path], None]) -> None:
    """Run until SIGTERM or SIGINT. `ready` is told the URL and the kubeconfig once requests are answered.

    Raises:
        StartError: something that it needs isn't there, or is taken.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        async with AsyncExitStack() as stack:
            await _run(settings, stack, stop, ready)
    except (AuthorityError, BrokerError, ServerError, StoreError, OSError, ssl.SSLError) as e:
        raise StartError(str(e), type(e).__name__.removesuffix("Error")) from e
    log.info("stopped")


async def _run(
    settings: Settings, stack: AsyncExitStack, stop: asyncio.Event, ready: Callable[[str, Path], None]
) -> None:
    replica = f"controller-{secrets.token_hex(4)}"
    authority = Authority.open(settings.data_dir / "identity", utc_now())
    keep = await stack.enter_async_context(_persistence(settings, authority))
    deliver = await stack.enter_async_context(_delivery(settings, authority, keep, replica))
    converter = LocalConverter(keep.blobs, settings.data_dir / "convert")
    stack.push_async_callback(converter.close)

    async def lead(epoch: int) -> None:
        await _lead(epoch, keep, deliver, converter)

    leadership = Leadership(keep.leases, replica, utc_now, lead)
    # Before the tasks: a port that is taken is this function's own error, not one of a group.
    server = await _server(settings, authority, keep, deliver)
    stack.push_async_callback(server.stop)
    url, path = await _open_doors(settings, server, authority, keep)
    async with _tasks() as start:
        for task in (
            deliver.ingest.run(),
            deliver.directory.run(),
            deliver.reported.run(),
            deliver.telemetry.run(),
            deliver.acks.run(),
            deliver.need.run(),
            deliver.desired.run(),
            deliver.epochs.run(),
            _settle_policy(deliver),
            _follow_higher_epochs(deliver, leadership),
            _forget_old_telemetry(keep.database),
            leadership.run(),
            server.wait(),
        ):
            start(task)
        ready(url, path)
        log.info("ready", url=url, broker=deliver.broker, fleet=authority.fleet)
        await stop.wait()
        log.info("stopping")
        await server.stop()


@asynccontextmanager
async def _tasks() -> AsyncIterator[Callable[[Coroutine[Any, Any, None]], None]]:
    """A group whose tasks end with the block. One that fails ends the program: a restart is simpler than half of it."""
    async with asyncio.TaskGroup() as group:
        running: list[asyncio.Task[None]] = []
        yield lambda work: running.append(group.create_task(work, name=getattr(work, "__qualname__", None)))
        for task in running:
            task.cancel()


@asynccontextmanager
async def _persistence(settings: Settings, authority: Authority) -> AsyncIterator[Persistence]:
    database = Database(f"sqlite+aiosqlite:///{settings.data_dir / 'litefleet.db'}")
    await database.migrate()
    objects = SqlObjects(database, Registry(), clock=utc_now, uid=new_uid)
    blobs = DirectoryBlobs(settings.data_dir / "blobs")
    try:
        yield Persistence(
            database=database,
            objects=objects,
            events=SqlEvents(objects, uid=new_uid),
            assignments=SqlAssignments(database, objects),
            leases=SqlLeases(database),
            namespaces=SqlNamespaces(database, clock=utc_now, uid=new_uid),
            telemetry=SqlTelemetry(database.sessions),
            blobs=blobs,
            artifacts=ArtifactStore(blobs, authority.signer, settings.data_dir / "artifacts"),
        )
    finally:
        await objects.aclose()
        await database.close()


@asynccontextmanager
async def _delivery(
    settings: Settings, authority: Authority, keep: Persistence, replica: str
) -> AsyncIterator[Delivery]:
    policy = BrokerPolicy([replica])
    page = await keep.objects.list(Query(DEVICE.kind))
    policy.load((r.key.name, r.key.namespace) for r in page.records)
    options = BrokerOptions(hosts=settings.hosts, bind=(settings.host,), port=settings.mqtt_port)
    broker = EmbeddedBroker(settings.data_dir / "broker", authority, policy, options, clock=utc_now)
    address = await broker.start()
    try:
        tls = _controller_tls(settings.data_dir / "tls", authority, replica)
        link = MqttLink(LinkAddress(settings.local, address[1], tls), replica)
        policy.attach(link.publish)
        await link.start()
        try:
            deliver = _wire_delivery(authority, keep, link, policy, address)
            try:
                await deliver.reported.load()
                yield deliver
            finally:
                await deliver.artifacts.close()
        finally:
            await link.stop()
    finally:
        await broker.stop()


def _wire_delivery(
    authority: Authority, keep: Persistence, link: MqttLink, policy: BrokerPolicy, broker: tuple[str, int]
) -> Delivery:
    epoch: Latest[int | None] = Latest(None)
    higher: Latest[int] = Latest(0)
    assigned = AssignedView()
    directory = DeviceDirectory(
        keep.objects,
        on_change=lambda ref: desired.touch(ref.namespace, ref.name),
        on_gone=lambda ref: reported.forget(ref.name),
    )
    reported = ReportedState(
        keep.objects,
        directory,
        epoch=lambda: epoch.value,
        on_higher_epoch=higher.set,
        version_of=assigned.version_of,
        clock=utc_now,
    )
    desired = DesiredPublisher(
        link, authority.fleet, keep.assignments, directory, authority.signer, epoch, reported, assigned
    )
    artifacts = ArtifactPublisher(link, keep.artifacts)
    need = NeedAnswerer(artifacts, directory, keep.assignments.artifacts_in_use)
    acks = AckPublisher(link)
    telemetry = TelemetryIngest(
        keep.database,
        directory,
        acks.offer,
        clock=utc_now,
        rollout_of=assigned.rollout_of,
    )
    sinks = Sinks(reported, telemetry, need, artifacts, {RESPONSE_TOPIC: policy.answered})
    return Delivery(
        link=link,
        policy=policy,
        broker=broker,
        epoch=epoch,
        higher_epoch=higher,
        directory=directory,
        reported=reported,
        desired=desired,
        epochs=EpochPublisher(link, authority.fleet, authority.signer, epoch),
        artifacts=artifacts,
        need=need,
        acks=acks,
        telemetry=telemetry,
        ingest=Ingest(link, authority.fleet, sinks),
    )


async def _lead(epoch: int, keep: Persistence, deliver: Delivery, converter: LocalConverter) -> None:
    """What only the leader does, until cancelled."""

    async def gone(namespace: str, device: str) -> None:
        await deliver.policy.revoke(device)
        await deliver.desired.forget(namespace, device)

    deliver.epoch.set(epoch)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_sweep(keep, deliver), name="sweep artifacts")
            await Runtime(
                keep.objects,
                bindings(
                    keep.objects,
                    models=ModelReconciler(keep.objects, keep.blobs, utc_now),
                    versions=ModelVersionReconciler(keep.objects, keep.events, converter, keep.artifacts, utc_now),
                    classes=DeviceClassReconciler(keep.objects, utc_now),
                    devices=DeviceReconciler(keep.objects, keep.assignments, epoch, gone),
                    rollouts=ModelRolloutReconciler(
                        keep.objects,
                        keep.events,
                        keep.assignments,
                        keep.telemetry,
                        deliver.artifacts.ensure,
                        epoch,
                        utc_now,
                    ),
                ),
            ).run()
    finally:
        deliver.epoch.set(None)


async def _sweep(keep: Persistence, deliver: Delivery) -> None:
    """Clear from the broker what no board needs any more."""
    while True:
        await asyncio.sleep(SWEEP_S)
        try:
            await deliver.artifacts.sweep(await keep.assignments.artifacts_in_use())
        except DeliveryError as e:
            log.info("sweep_put_off", reason=str(e))
        except Exception:
            # The edge of the loop: a database that is busy now must not end the leader's other work.
            log.exception("sweep_failed")


async def _settle_policy(deliver: Delivery) -> None:
    """After each connection, send again what the broker never confirmed."""
    state: LinkState
    async for state in deliver.link.state.values():
        if state.connected:
            try:
                await deliver.policy.settle()
            except (PolicyError, DeliveryError) as e:
                log.warning("policy_unsettled", error=str(e))


async def _follow_higher_epochs(deliver: Delivery, leadership: Leadership) -> None:
    """Boards that follow a higher epoch than ours outlived a restored database: lead above it.

    Leading anew interrupts the leader's work, so a board that keeps claiming more can't have it more than once a while.
    """
    async for epoch in deliver.higher_epoch.values():
        if epoch:
            leadership.raise_epoch(epoch)
            await asyncio.sleep(RAISE_AGAIN_S)


async def _forget_old_telemetry(database: Database) -> None:
    while True:
        try:
            removed = await retention(database, utc_now() - TELEMETRY_KEPT)
            log.info("telemetry_retention", removed=removed)
        except Exception:
            log.exception("telemetry_retention_failed")
        await asyncio.sleep(RETENTION_S)


def _controller_tls(directory: Path, authority: Authority, replica: str) -> ssl.SSLContext:
    directory.mkdir(mode=0o700, exist_ok=True)
    certificate, key = authority.client_certificate(replica, utc_now())
    ca_file, chain_file, key_file = directory / "ca.pem", directory / "client.pem", directory / "client.key"
    write_private(ca_file, authority.ca_pem.encode())
    write_private(chain_file, certificate.encode())
    write_private(key_file, key.encode())
    return client_tls(ca_file, chain_file, key_file)


async def _server(settings: Settings, authority: Authority, keep: Persistence, deliver: Delivery) -> Server:
    tokens = AccessTokens(keep.database.sessions)
    api = ApiDependencies(
        registry=Registry(),
        objects=keep.objects,
        namespaces=keep.namespaces,
        events=keep.objects,
        authenticate=tokens.authenticate,
        allowed=allowed,
        clock=utc_now,
        version=distribution_version("litefleet-controller"),
    )
    ports = EnrollmentPorts(
        tokens=EnrollmentTokens(keep.database.sessions),
        authority=authority,
        objects=keep.objects,
        namespaces=keep.namespaces,
        on_enrolled=deliver.policy.grant,
    )
    scratch = settings.data_dir / "uploads"
    scratch.mkdir(mode=0o700, exist_ok=True)
    for leftover in scratch.iterdir():  # of uploads that a kill cut short
        leftover.unlink()
    app = create_api(api)
    app.include_router(
        fleet_router(
            FleetDependencies(
                api=api,
                enrollment=Enrollment(ports, BrokerAddress(*deliver.broker)),
                uploads=Uploads(keep.blobs, scratch=scratch),
                blobs=keep.blobs,
                verbs=Verbs(keep.objects, lambda: secrets.token_hex(8)),
                queries=Queries(keep.objects, keep.telemetry),
            )
        )
    )
    directory = settings.data_dir / "tls"
    chain, key = authority.server_certificate("litefleet", settings.hosts, utc_now())
    files = Certificate(directory / "server.pem", directory / "server.key")
    write_private(files.chain, chain.encode())
    write_private(files.key, key.encode())
    return Server(app, settings.host, settings.port, certificate=files, before_stop=api.closing.set, grace_s=2.0)


async def _open_doors(settings: Settings, server: Server, authority: Authority, keep: Persistence) -> tuple[str, Path]:
    """Start the server and leave a kubeconfig with an admin's token; its URL and the file."""
    _, port = await server.start()
    host = settings.hosts[0]
    url = f"https://{f'[{host}]' if ':' in host else host}:{port}"
    path = settings.data_dir / "kubeconfig"
    tokens = AccessTokens(keep.database.sessions)
    token = token_in(path.read_text()) if path.exists() else ""
    person = await tokens.authenticate(token, utc_now()) if token else None
    if person is None or person.role is not Role.ADMIN:
        await tokens.revoke(LOCAL_ADMIN, utc_now())
        token = await tokens.create(LOCAL_ADMIN, Role.ADMIN, None, None, utc_now())
    write_private(path, kubeconfig(url, authority.ca_pem, LOCAL_ADMIN, token).encode())
    return url, path
