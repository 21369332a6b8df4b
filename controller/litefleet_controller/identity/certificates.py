"""The forms of the fleet's certificates: the CA's own, a server's, a client's.

Each says what it is for (extended key usage), so that a board's certificate can't pose as the broker, nor the
broker's as a board. Pure, apart from random serials and keys.

Validity depends on no clock: from 1970, and to the end of time unless somebody asks for an end (RFC 5280, 4.1.2.5). A
certificate that was made while a clock was wrong would otherwise be unusable once it is right, and a fleet whose
broker's clock jumps would lock all its boards out. What ends a board's access is its removal from the broker's policy.
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from litefleet_controller.identity.errors import HostError
from litefleet_controller.identity.requests import DeviceKey

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
NO_END = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""How a certificate says that it has no well-defined end."""
_HOST = re.compile(
    r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who signs."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class Lifetime:
    """When it was asked for, and for how long; None for no end. Never beyond the issuer's own end."""

    now: datetime
    days: int | None

    @property
    def end(self) -> datetime:
        """When it ends."""
        return NO_END if self.days is None else self.now + timedelta(days=self.days)


def new_key() -> ec.EllipticCurvePrivateKey:
    """A new EC P-256 key: small, fast on ARM, and spoken by every TLS library."""
    return ec.generate_private_key(ec.SECP256R1())


def ca_certificate(fleet: str, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    """A self-signed CA certificate, which may sign leaves only (path length 0)."""
    name = _name(f"litefleet fleet {fleet}")
    return (
        _builder(name, name, key.public_key(), NO_END)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )


def server_certificate(
    issuer: Issuer, key: DeviceKey, common_name: str, hosts: Sequence[str], lifetime: Lifetime
) -> x509.Certificate:
    """A TLS server's certificate for `hosts`, DNS names or IP addresses.

    Raises:
        HostError: no host, or something that is neither.
    """
    if not hosts:
        raise HostError("a server's certificate needs at least one host name or IP address")
    names = x509.SubjectAlternativeName([_host(host) for host in hosts])
    return (
        _leaf(issuer, key, common_name, lifetime)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(names, critical=False)
        .sign(issuer.key, hashes.SHA256())
    )


def client_certificate(issuer: Issuer, key: DeviceKey, common_name: str, lifetime: Lifetime) -> x509.Certificate:
    """A TLS client's certificate; its common name is its MQTT client id."""
    return (
        _leaf(issuer, key, common_name, lifetime)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(issuer.key, hashes.SHA256())
    )


def certificate_pem(certificate: x509.Certificate) -> str:
    """A certificate as PEM text."""
    return certificate.public_bytes(Encoding.PEM).decode()


def key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    """A private key as PKCS #8 PEM text, unencrypted: whoever runs the fleet holds no passphrase at a restart."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _leaf(issuer: Issuer, key: DeviceKey, common_name: str, lifetime: Lifetime) -> x509.CertificateBuilder:
    ca = issuer.certificate
    not_after = min(lifetime.end, ca.not_valid_after_utc)
    ca_id = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        _builder(_name(common_name), ca.subject, key, not_after)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign_certificates=False), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_id), critical=False)
    )


def _builder(subject: x509.Name, issuer: x509.Name, key: DeviceKey, not_after: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(BEGINNING)
        .not_valid_after(not_after)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        if len(host) > 253 or not _HOST.fullmatch(host):
            raise HostError(f"{host[:80]!r} is neither a host name nor an IP address") from None
        return x509.DNSName(host)
