"""Who this board is: what enrollment gave it, kept under DIR/identity. The private key never leaves that folder."""

from pathlib import Path

import msgspec
from msgspec import Struct

from litefleet_agent.errors import AgentError
from litefleet_agent.fileio import Disk
from litefleet_protocol.codes import Code
from litefleet_protocol.enrollment import EnrollResponse, SigningKey


class Identity(Struct, frozen=True):
    """An enrolled board, with the paths that TLS needs."""

    fleet: str
    namespace: str
    device: str
    device_class: str
    broker_host: str
    broker_port: int
    signing_keys: tuple[SigningKey, ...]
    certificate_file: Path
    key_file: Path
    ca_file: Path


def identity_directory(state_dir: Path) -> Path:
    """Where a board's identity lies."""
    return state_dir / "identity"


def staging_directory(state_dir: Path) -> Path:
    """Where a new identity is made ready, its key first, before it takes the place of an older one."""
    return state_dir / "identity.new"


def save(disk: Disk, state_dir: Path, answer: EnrollResponse) -> None:
    """Keep what enrollment gave, beside the key in the staging directory, then put the whole in place.

    `enrollment.json` comes last: a staging directory that holds it is complete, and `load` finishes a move that a
    kill interrupted.
    """
    staging = staging_directory(state_dir)
    disk.replace(staging / "certificate.pem", answer.certificate.encode())
    disk.replace(staging / "ca.pem", answer.ca.encode())
    disk.replace(staging / "enrollment.json", msgspec.json.encode(answer))
    _put_in_place(disk, state_dir)


def _put_in_place(disk: Disk, state_dir: Path) -> None:
    disk.remove(identity_directory(state_dir))
    disk.rename(staging_directory(state_dir), identity_directory(state_dir))


def exists(disk: Disk, state_dir: Path) -> bool:
    """Whether the board is enrolled."""
    if disk.size(staging_directory(state_dir) / "enrollment.json"):
        _put_in_place(disk, state_dir)
    return disk.size(identity_directory(state_dir) / "enrollment.json") is not None


def load(disk: Disk, state_dir: Path) -> Identity:
    """The identity under `state_dir`, after finishing a move that a kill interrupted.

    Raises:
        AgentError: `Internal` when the board is not enrolled or the files are unreadable.
    """
    exists(disk, state_dir)
    return read(disk, state_dir)


def read(disk: Disk, state_dir: Path) -> Identity:
    """The identity under `state_dir` as it lies there; writes nothing.

    Raises:
        AgentError: as `load`.
    """
    directory = identity_directory(state_dir)
    data = disk.read(directory / "enrollment.json")
    if data is None:
        raise AgentError(
            Code.INTERNAL,
            f"{state_dir} holds no identity",
            hint="run 'litefleet-agent enroll' first; 'litefleet device token create' gives the token",
        )
    try:
        answer = msgspec.json.decode(data, type=EnrollResponse)
    except (msgspec.MsgspecError, UnicodeDecodeError) as e:
        raise AgentError(
            Code.INTERNAL, f"{directory / 'enrollment.json'} is damaged: {e}", hint="enroll again with --force"
        ) from e
    return Identity(
        fleet=answer.fleet,
        namespace=answer.namespace,
        device=answer.device,
        device_class=answer.device_class,
        broker_host=answer.broker_host,
        broker_port=answer.broker_port,
        signing_keys=answer.signing_keys,
        certificate_file=directory / "certificate.pem",
        key_file=directory / "key.pem",
        ca_file=directory / "ca.pem",
    )
