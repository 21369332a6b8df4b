"""Certificate signing requests: what a board may ask for.

Only two things are taken from a request: its public key, and proof that the board holds the private one. The name
must be the one expected, and everything else in it is ignored, except that asking to be a CA is refused aloud.
Called by the authority when it signs, and by fleet/ before a token is used up, so that a bad request costs no token.
"""

import hashlib
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from litefleet_controller.identity.errors import BadCsrError
from litefleet_protocol.codes import Code
from litefleet_protocol.errors import ProtocolError
from litefleet_protocol.names import check_name

DeviceKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey
CONTROLLER_PREFIX = "controller-"
"""Names of controller replicas begin with this; the broker lets them do everything, so no board may have one."""
MAX_CSR_BYTES = 16 * 1024
_KEYS = "use EC P-256 or P-384, Ed25519, or RSA of at least 3072 bits"


@dataclass(frozen=True, slots=True)
class SigningRequest:
    """A request that passed every check."""

    device: str
    key: DeviceKey
    key_sha256: str
    """Hex SHA-256 of the SubjectPublicKeyInfo in DER."""


def check_device_name(device: str) -> str:
    """Return `device` when a board may have this name.

    Raises:
        ProtocolError: `InvalidName`.
    """
    check_name(device, "device")
    if device.startswith(CONTROLLER_PREFIX):
        raise ProtocolError(
            Code.INVALID_NAME,
            f"{device!r} begins with {CONTROLLER_PREFIX!r}, which is kept for the controller itself",
            field="device",
            hint="choose another name for the device",
        )
    return device


def read_request(csr_pem: str, device: str) -> SigningRequest:
    """Check a request (PKCS #10, PEM) of `device`.

    Raises:
        BadCsrError: garbage, another name, a bad signature, a weak or unknown kind of key, or a wish to be a CA.
        ProtocolError: `InvalidName`, when `device` can't be a board's name.
    """
    check_device_name(device)
    if len(csr_pem) > MAX_CSR_BYTES:
        raise BadCsrError(f"a request of {len(csr_pem)} characters; the limit is {MAX_CSR_BYTES}")
    try:
        csr = x509.load_pem_x509_csr(csr_pem.encode())
        if not csr.is_signature_valid:
            raise BadCsrError("the request's signature doesn't match its key")
        _check_subject(csr, device)
        _check_no_ca(csr)
        key = _check_key(csr.public_key())
    except BadCsrError:
        raise
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension) as e:
        raise BadCsrError("not a certificate signing request (PKCS #10) in PEM form") from e
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return SigningRequest(device, key, hashlib.sha256(spki).hexdigest())


def _check_subject(csr: x509.CertificateSigningRequest, device: str) -> None:
    names = [attribute.value for attribute in csr.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if names != [device]:
        shown = ", ".join(repr(name)[:80] for name in names[:3]) or "no name"
        raise BadCsrError(
            f"the request is for {shown}, not for {device!r}", hint="the common name must be the device's name"
        )


def _check_no_ca(csr: x509.CertificateSigningRequest) -> None:
    for extension in csr.extensions:
        if isinstance(extension.value, x509.BasicConstraints) and extension.value.ca:
            raise BadCsrError("the request asks for CA:TRUE; devices get no certificate that can sign others")


def _check_key(key: object) -> DeviceKey:
    match key:
        case ed25519.Ed25519PublicKey():
            return key
        case ec.EllipticCurvePublicKey() if isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
            return key
        case ec.EllipticCurvePublicKey():
            raise BadCsrError(f"a key on curve {key.curve.name}", hint=_KEYS)
        # An upper limit too: every connection pays for the key's size.
        case rsa.RSAPublicKey() if 3072 <= key.key_size <= 8192 and key.public_numbers().e >= 65537:
            return key
        case rsa.RSAPublicKey():
            raise BadCsrError(f"an RSA key of {key.key_size} bits, exponent {key.public_numbers().e}", hint=_KEYS)
        case _:
            raise BadCsrError(f"a key of kind {type(key).__name__.removesuffix('PublicKey')}", hint=_KEYS)
