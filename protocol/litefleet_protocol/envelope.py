"""DSSE envelopes: a signature over the exact bytes that were sent, never over a re-encoding.

Source: the DSSE specification v1.0 (secure-systems-lab/dsse). The signature covers
PAE(type, body) = "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body, lengths in ASCII decimal.
Signing and checking themselves are ports, so that this package needs no cryptography: the controller signs in
process, the agent checks in a short-lived child.
"""

import base64
import binascii
from collections.abc import Iterable
from enum import StrEnum
from typing import Protocol

import msgspec
from msgspec import Struct

from litefleet_protocol.codes import Code
from litefleet_protocol.errors import ProtocolError


class PayloadType(StrEnum):
    """What an envelope holds. Part of what is signed, so that one kind can't pass for another."""

    EPOCH = "application/vnd.litefleet.epoch.v1+json"
    DESIRED = "application/vnd.litefleet.desired.v1+json"
    ARTIFACT = "application/vnd.litefleet.artifact.v1+json"


class Signer(Protocol):
    """Makes Ed25519 signatures with one key."""

    @property
    def key_id(self) -> str:
        """SHA-256 of the raw public key, hex."""
        ...

    def sign(self, data: bytes) -> bytes:
        """The 64-byte signature of `data`."""
        ...


class Verifier(Protocol):
    """Knows the pinned public keys."""

    def verify(self, key_id: str, signature: bytes, data: bytes) -> bool:
        """Whether `signature` of `data` is valid under the pinned key `key_id`; False for an unknown key."""
        ...


class EnvelopeSignature(Struct, frozen=True):
    """One signature; `sig` in standard base64."""

    keyid: str
    sig: str


class Envelope(Struct, frozen=True, rename={"payload_type": "payloadType"}):
    """As DSSE writes it; `payload` in standard base64."""

    payload: str
    payload_type: str
    signatures: tuple[EnvelopeSignature, ...]


def pre_authentication_encoding(payload_type: str, body: bytes) -> bytes:
    """PAE: the bytes that are signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(body), body)


def seal(payload_type: PayloadType, body: bytes, signers: Iterable[Signer]) -> bytes:
    """Sign `body` with each of `signers` and encode the envelope as JSON."""
    pae = pre_authentication_encoding(payload_type, body)
    signatures = tuple(EnvelopeSignature(s.key_id, base64.b64encode(s.sign(pae)).decode()) for s in signers)
    return msgspec.json.encode(Envelope(base64.b64encode(body).decode(), str(payload_type), signatures))


def parse(data: bytes, *, max_bytes: int) -> Envelope:
    """Read an envelope without checking its signature.

    Raises:
        ProtocolError: `TooLarge` or `BadMessage`.
    """
    if len(data) > max_bytes:
        raise ProtocolError(Code.TOO_LARGE, f"an envelope of {len(data)} bytes; the limit is {max_bytes}")
    try:
        return msgspec.json.decode(data, type=Envelope)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
        raise ProtocolError(Code.BAD_MESSAGE, f"not a DSSE envelope: {str(e)[:200]}") from e


def unseal(payload_type: PayloadType, data: bytes, verifier: Verifier, *, max_bytes: int) -> bytes:
    """The body of an envelope that a pinned key signed as `payload_type`.

    Raises:
        ProtocolError: `TooLarge`, `BadMessage`, or `BadSignature` when no signature is by a pinned key or the type
            is another one.
    """
    envelope = parse(data, max_bytes=max_bytes)
    if envelope.payload_type != payload_type:
        raise ProtocolError(
            Code.BAD_SIGNATURE,
            f"an envelope of type {envelope.payload_type[:80]!r} where {str(payload_type)!r} belongs",
            field="payloadType",
        )
    try:
        body = base64.b64decode(envelope.payload, validate=True)
        signatures = [(s.keyid, base64.b64decode(s.sig, validate=True)) for s in envelope.signatures[:8]]
    except binascii.Error as e:
        raise ProtocolError(Code.BAD_MESSAGE, f"not base64 in a DSSE envelope: {e}") from e
    pae = pre_authentication_encoding(payload_type, body)
    if not any(verifier.verify(key_id, signature, pae) for key_id, signature in signatures):
        raise ProtocolError(
            Code.BAD_SIGNATURE,
            "no signature by a key pinned at enrollment",
            hint="enroll the device again if the fleet's signing key was replaced",
        )
    return body
