"""How a board joins: the token an operator hands out, and the two HTTP bodies.

A token is `lf1.` and base64url of JSON: the controller's URL, the SHA-256 of the fleet CA's certificate (DER), and a
single-use secret. The hash makes first contact safe, as kubeadm's discovery-token-ca-cert-hash does: the agent
fetches `GET /fleet/v1/ca` without trust, compares the hash, and only then speaks TLS that it verifies.
"""

import base64
import binascii

import msgspec
from msgspec import Struct

from litefleet_protocol.codes import Code
from litefleet_protocol.errors import ProtocolError

PREFIX = "lf1."
CA_PATH = "/fleet/v1/ca"
"""GET: the fleet CA's certificate, PEM, to anyone."""
ENROLL_PATH = "/fleet/v1/enroll"
"""POST an `EnrollRequest`, get an `EnrollResponse` (201) or a Kubernetes Status object with `details.causes`."""


class EnrollmentToken(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a token says."""

    url: str
    ca_sha256: str
    """Hex SHA-256 of the CA certificate in DER."""
    secret: str


class EnrollRequest(Struct, frozen=True, kw_only=True, rename="camel"):
    """A board asks for a certificate. The token's namespace decides the tenant, never the board."""

    secret: str
    device: str
    device_class: str
    csr: str
    """PKCS #10, PEM; its common name is `device`."""
    labels: dict[str, str] = {}


class SigningKey(Struct, frozen=True, kw_only=True, rename="camel"):
    """A public key that signs desired state and artifacts."""

    key_id: str
    public: str
    """Raw Ed25519 public key, standard base64."""


class EnrollResponse(Struct, frozen=True, kw_only=True, rename="camel"):
    """All that a board needs from then on."""

    fleet: str
    namespace: str
    device: str
    device_class: str
    certificate: str
    """PEM, the device's certificate (chain)."""
    ca: str
    """PEM, the fleet CA: pins the broker's and the controller's certificates."""
    broker_host: str
    broker_port: int
    signing_keys: tuple[SigningKey, ...]


def encode_token(token: EnrollmentToken) -> str:
    """A token as one word that survives shells and chat."""
    return PREFIX + base64.urlsafe_b64encode(msgspec.json.encode(token)).decode().rstrip("=")


def decode_token(text: str) -> EnrollmentToken:
    """Read a token.

    Raises:
        ProtocolError: `TokenInvalid` for anything that `encode_token` didn't make.
    """
    body = text.strip().removeprefix(PREFIX)
    try:
        if not text.strip().startswith(PREFIX):
            raise ValueError("prefix")
        raw = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
        return msgspec.json.decode(raw, type=EnrollmentToken)
    except (ValueError, binascii.Error, msgspec.MsgspecError) as e:
        raise ProtocolError(
            Code.TOKEN_INVALID,
            "not an enrollment token, or not the whole of it",
            field="token",
            hint="copy the whole line that 'litefleet device token create' printed",
        ) from e
