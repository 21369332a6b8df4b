"""The broker, the link to it, and everything that goes over it in both directions."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from litefleet_controller.app.persistence import Persistence
from litefleet_controller.app.settings import Settings, utc_now
from litefleet_controller.delivery.acks import AckPublisher
from litefleet_controller.delivery.artifacts import ArtifactPublisher
from litefleet_controller.delivery.assigned import AssignedView
from litefleet_controller.delivery.broker import BrokerOptions, EmbeddedBroker
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
from litefleet_controller.identity.authority import Authority
from litefleet_controller.resources.registry import DEVICE
from litefleet_controller.store.interface import Query
from litefleet_controller.telemetry.boardlog.ingest import LogIngest
from litefleet_controller.telemetry.ingest import TelemetryIngest

log = structlog.get_logger()


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
    logs: LogIngest
    ingest: Ingest


@asynccontextmanager
async def delivery(
    settings: Settings, authority: Authority, keep: Persistence, replica: str
) -> AsyncIterator[Delivery]:
    """A running broker with a link to it, and all that uses the link, not yet running; ended in the opposite order."""
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
            deliver = _wired(authority, keep, link, policy, address)
            try:
                await deliver.reported.load()
                yield deliver
            finally:
                await deliver.artifacts.close()
        finally:
            await link.stop()
    finally:
        await broker.stop()


def _wired(
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
    logs = LogIngest(keep.database, directory, acks.offer, clock=utc_now)
    sinks = Sinks(reported, telemetry, need, artifacts, {RESPONSE_TOPIC: policy.answered}, logs)
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
        logs=logs,
        ingest=Ingest(link, authority.fleet, sinks),
    )


async def settle_policy(deliver: Delivery) -> None:
    """After each connection, send again what the broker never confirmed."""
    state: LinkState
    async for state in deliver.link.state.values():
        if state.connected:
            try:
                await deliver.policy.settle()
            except (PolicyError, DeliveryError) as e:
                log.warning("policy_unsettled", error=str(e))


def _controller_tls(directory: Path, authority: Authority, replica: str) -> ssl.SSLContext:
    directory.mkdir(mode=0o700, exist_ok=True)
    certificate, key = authority.client_certificate(replica, utc_now())
    ca_file, chain_file, key_file = directory / "ca.pem", directory / "client.pem", directory / "client.key"
    write_private(ca_file, authority.ca_pem.encode())
    write_private(chain_file, certificate.encode())
    write_private(key_file, key.encode())
    return client_tls(ca_file, chain_file, key_file)
