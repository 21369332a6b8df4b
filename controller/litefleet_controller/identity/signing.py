"""Ed25519 signatures in process: the controller's side of the envelope ports.

Boards check signatures in a short-lived child of their own; this side signs often and may keep cryptography loaded.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from litefleet_protocol.enrollment import SigningKey


class Ed25519Signer:
    """Signs with one key. Implements `protocol.envelope.Signer`."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public_key = key.public_key()
        self._key_id = key_id_of(self.public_key)

    @property
    def key_id(self) -> str:
        """SHA-256 of the raw public key, hex."""
        return self._key_id

    def sign(self, data: bytes) -> bytes:
        """The 64-byte signature of `data`."""
        return self._key.sign(data)

    def published(self) -> SigningKey:
        """The public key as boards pin it."""
        return SigningKey(key_id=self._key_id, public=base64.b64encode(self.public_key.public_bytes_raw()).decode())


class Ed25519Verifier:
    """Knows a set of public keys. Implements `protocol.envelope.Verifier`."""

    def __init__(self, keys: Iterable[Ed25519PublicKey]) -> None:
        self._keys: Mapping[str, Ed25519PublicKey] = {key_id_of(key): key for key in keys}

    def verify(self, key_id: str, signature: bytes, data: bytes) -> bool:
        """Whether `signature` of `data` is valid under the key `key_id`; False for an unknown key."""
        key = self._keys.get(key_id)
        if key is None:
            return False
        try:
            key.verify(signature, data)
        except InvalidSignature:
            return False
        return True


def key_id_of(key: Ed25519PublicKey) -> str:
    """SHA-256 of the raw public key, hex."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()
