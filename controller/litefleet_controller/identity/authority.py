"""The fleet CA and its signing keys: one folder, made once, loaded ever after.

The folder appears in one rename, complete and durable, so that a kill at any moment leaves nothing or everything. A
folder that is there but damaged is never mended or replaced silently: a new CA would lock out every enrolled board.
Called by app/ (server and replica certificates, signatures) and by fleet/ (enrollment). Not here: revocation (the
broker's policy), renewal schedules.
"""

import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from litefleet_controller.fileio import sync_directory, write_private
from litefleet_controller.identity import certificates
from litefleet_controller.identity.errors import AuthorityError
from litefleet_controller.identity.requests import CONTROLLER_PREFIX, read_request
from litefleet_controller.identity.signing import Ed25519Signer, Ed25519Verifier
from litefleet_protocol.codes import Code
from litefleet_protocol.enrollment import SigningKey
from litefleet_protocol.errors import ProtocolError
from litefleet_protocol.names import check_name

FLEET_FILE = "fleet.json"
CA_FILE = "ca.pem"
CA_KEY_FILE = "ca.key"


class _Fleet(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """FLEET_FILE: what belongs together, so that a lost or foreign file is noticed."""

    fleet: str
    ca_sha256: str
    signing_keys: tuple[str, ...]
    """Key ids; the first one signs."""


@dataclass(frozen=True, slots=True)
class _Keys:
    fleet: str
    issuer: certificates.Issuer
    signers: tuple[Ed25519Signer, ...]


class Authority:
    """Issues certificates and signs, for one fleet."""

    def __init__(self, keys: _Keys) -> None:
        self._issuer = keys.issuer
        self.fleet = keys.fleet
        """The fleet's id, 16 hex digits."""
        self.ca_pem = certificates.certificate_pem(keys.issuer.certificate)
        self.ca_sha256 = _sha256(keys.issuer.certificate)
        """Hex SHA-256 of the CA certificate in DER, as enrollment tokens carry it."""
        self.signer = keys.signers[0]
        self.verifier = Ed25519Verifier(signer.public_key for signer in keys.signers)
        self.signing_keys: tuple[SigningKey, ...] = tuple(signer.published() for signer in keys.signers)
        """What boards pin at enrollment."""

    @classmethod
    def open(cls, directory: Path) -> "Authority":
        """Load the fleet's keys from `directory`, or make them there when it is absent or empty.

        Raises:
            AuthorityError: a file is missing, damaged or of another fleet, or the folder can't be written.
        """
        directory = directory.resolve()  # the rename must not meet a symbolic link
        try:
            with _creation_lock(directory):
                if not directory.is_dir() or not any(directory.iterdir()):
                    _create(directory)
        except OSError as e:
            raise AuthorityError(f"can't make the fleet's keys in {directory}: {e.strerror or e}") from e
        return cls(_load(directory))

    def server_certificate(
        self, common_name: str, hosts: Sequence[str], now: datetime, days: int | None = None
    ) -> tuple[str, str]:
        """A certificate and a new key (PEM both) for a TLS server reachable as `hosts` (DNS names, IP addresses).

        Raises:
            HostError: no host, or something that is neither.
        """
        key = certificates.new_key()
        lifetime = certificates.Lifetime(now, days)
        certificate = certificates.server_certificate(self._issuer, key.public_key(), common_name, hosts, lifetime)
        return certificates.certificate_pem(certificate), certificates.key_pem(key)

    def client_certificate(self, name: str, now: datetime, days: int | None = None) -> tuple[str, str]:
        """A certificate and a new key (PEM both) for a controller replica, `controller-<id>`.

        Raises:
            ProtocolError: `InvalidName` for a name of any other form.
        """
        check_name(name, "name")
        if not name.startswith(CONTROLLER_PREFIX):
            raise ProtocolError(
                Code.INVALID_NAME,
                f"{name!r} doesn't begin with {CONTROLLER_PREFIX!r}; devices send a CSR",
                field="name",
            )
        key = certificates.new_key()
        certificate = certificates.client_certificate(
            self._issuer, key.public_key(), name, certificates.Lifetime(now, days)
        )
        return certificates.certificate_pem(certificate), certificates.key_pem(key)

    def sign_csr(self, csr_pem: str, device: str, now: datetime, days: int | None = None) -> str:
        """A client certificate (PEM) for a board's own key.

        Raises:
            BadCsrError: see `identity.requests.read_request`.
            ProtocolError: `InvalidName`.
        """
        request = read_request(csr_pem, device)
        lifetime = certificates.Lifetime(now, days)
        return certificates.certificate_pem(
            certificates.client_certificate(self._issuer, request.key, device, lifetime)
        )


@contextmanager
def _creation_lock(directory: Path) -> Iterator[None]:
    """Held by one process at a time; the kernel drops it with the process."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _create(directory: Path) -> None:
    staging = directory.with_name(f".{directory.name}.new")
    shutil.rmtree(staging, ignore_errors=True)  # of a creation that was killed
    staging.mkdir(mode=0o700)
    fleet = secrets.token_hex(8)
    ca_key = certificates.new_key()
    ca = certificates.ca_certificate(fleet, ca_key)
    signing = Ed25519PrivateKey.generate()
    key_id = Ed25519Signer(signing).key_id
    manifest = _Fleet(fleet=fleet, ca_sha256=_sha256(ca), signing_keys=(key_id,))
    write_private(staging / CA_FILE, certificates.certificate_pem(ca).encode())
    write_private(staging / CA_KEY_FILE, certificates.key_pem(ca_key).encode())
    pem = signing.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_private(staging / _signing_file(key_id), pem)
    write_private(staging / FLEET_FILE, msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
    staging.rename(directory)  # onto nothing, or onto an empty folder
    sync_directory(directory.parent)


def _load(directory: Path) -> _Keys:
    manifest_path, ca_path, ca_key_path = (directory / name for name in (FLEET_FILE, CA_FILE, CA_KEY_FILE))
    try:
        manifest = msgspec.json.decode(_read(manifest_path), type=_Fleet)
    except (msgspec.MsgspecError, UnicodeDecodeError) as e:
        raise _damaged(manifest_path, str(e)) from e
    if not manifest.signing_keys:
        raise _damaged(manifest_path, "names no signing key")
    try:
        ca = x509.load_pem_x509_certificate(_read(ca_path))
    except ValueError as e:
        raise _damaged(ca_path, "not a certificate") from e
    if _sha256(ca) != manifest.ca_sha256:
        raise _damaged(ca_path, f"not the certificate that {FLEET_FILE} names")
    ca_key = _load_key(ca_key_path)
    if not isinstance(ca_key, ec.EllipticCurvePrivateKey) or ca_key.public_key() != ca.public_key():
        raise _damaged(ca_key_path, f"not the key of {CA_FILE}")
    signers = tuple(_load_signer(directory, key_id) for key_id in manifest.signing_keys)
    return _Keys(manifest.fleet, certificates.Issuer(ca, ca_key), signers)


def _load_signer(directory: Path, key_id: str) -> Ed25519Signer:
    path = directory / _signing_file(key_id)
    key = _load_key(path)
    if not isinstance(key, Ed25519PrivateKey) or (signer := Ed25519Signer(key)).key_id != key_id:
        raise _damaged(path, f"not the key that {FLEET_FILE} names")
    return signer


def _load_key(path: Path) -> object:
    try:
        return load_pem_private_key(_read(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as e:
        raise _damaged(path, "not a private key in PEM form") from e


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as e:
        raise _damaged(path, e.strerror or str(e)) from e


def _damaged(path: Path, reason: str) -> AuthorityError:
    return AuthorityError(
        f"the fleet's keys are damaged: {path}: {reason}. Restore the folder {path.parent} from a backup; or remove it "
        "to begin a new fleet, which every device must then join anew"
    )


def _signing_file(key_id: str) -> str:
    return f"signing-{key_id[:16]}.key"


def _sha256(certificate: x509.Certificate) -> str:
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()
