"""The HTTPS server with both APIs, and the kubeconfig that opens it."""

import secrets
from importlib.metadata import version as distribution_version
from pathlib import Path

from litefleet_controller.api.app import create_api
from litefleet_controller.api.fleet import FleetDependencies, fleet_router
from litefleet_controller.api.interface import ApiDependencies
from litefleet_controller.api.server import Certificate, Server
from litefleet_controller.app.delivery import Delivery
from litefleet_controller.app.persistence import Persistence
from litefleet_controller.app.settings import Settings, utc_now
from litefleet_controller.fileio import write_private
from litefleet_controller.fleet.boardlog import BoardLog
from litefleet_controller.fleet.enroll import BrokerAddress, Enrollment, EnrollmentPorts
from litefleet_controller.fleet.explaining import Explanations
from litefleet_controller.fleet.push import Uploads
from litefleet_controller.fleet.queries import Queries
from litefleet_controller.fleet.report import Reports
from litefleet_controller.fleet.verbs import Verbs
from litefleet_controller.identity.authority import Authority
from litefleet_controller.identity.kubeconfig import kubeconfig, token_in
from litefleet_controller.identity.roles import Role, allowed
from litefleet_controller.identity.tokens import AccessTokens, EnrollmentTokens
from litefleet_controller.resources.registry import Registry

LOCAL_ADMIN = "local-admin"


async def make_server(settings: Settings, authority: Authority, keep: Persistence, deliver: Delivery) -> Server:
    """The server, not yet listening."""
    tokens = AccessTokens(keep.database.sessions)
    api = ApiDependencies(
        registry=Registry(),
        objects=keep.objects,
        authenticate=tokens.authenticate,
        allowed=allowed,
        clock=utc_now,
        version=distribution_version("litefleet-controller"),
        trouble=lambda: keep.database.trouble,
    )
    ports = EnrollmentPorts(
        tokens=EnrollmentTokens(keep.database.sessions),
        authority=authority,
        objects=keep.objects,
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
                explanations=Explanations(keep.objects, keep.blobs),
                boardlog=BoardLog(keep.objects, keep.logs),
                reports=Reports(keep.objects, keep.blobs, keep.telemetry),
            )
        )
    )
    directory = settings.data_dir / "tls"
    chain, key = authority.server_certificate("litefleet", settings.hosts, utc_now())
    files = Certificate(directory / "server.pem", directory / "server.key")
    write_private(files.chain, chain.encode())
    write_private(files.key, key.encode())
    return Server(app, settings.host, settings.port, certificate=files, before_stop=api.closing.set, grace_s=2.0)


async def open_doors(settings: Settings, server: Server, authority: Authority, keep: Persistence) -> tuple[str, Path]:
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
