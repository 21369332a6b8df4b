"""The short-lived child that does what needs `cryptography`: keys, CSRs and signatures.

The library costs 17 MB for as long as its process lives, so it is imported here and nowhere else. Started by
`vouching` as `python -m litefleet_agent.vouch`; speaks JSON on stdin and stdout, never a secret.
"""

import base64
import os
import sys
from pathlib import Path
from typing import assert_never

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509.oid import NameOID

from litefleet_agent.vouching import CheckTask, KeyMade, KeyTask, Opened, ReadTask, Validity
from litefleet_protocol import envelope
from litefleet_protocol.enrollment import SigningKey
from litefleet_protocol.errors import ProtocolError


class _PinnedKeys:
    """Implements `envelope.Verifier` with the keys that enrollment pinned."""

    def __init__(self, keys: tuple[SigningKey, ...]) -> None:
        self._keys = {k.key_id: Ed25519PublicKey.from_public_bytes(base64.b64decode(k.public)) for k in keys}

    def verify(self, key_id: str, signature: bytes, data: bytes) -> bool:
        """Whether `signature` of `data` is valid under the pinned key `key_id`."""
        key = self._keys.get(key_id)
        if key is None:
            return False
        try:
            key.verify(signature, data)
        except InvalidSignature:
            return False
        return True


def _check(task: CheckTask) -> list[Opened]:
    pinned = _PinnedKeys(task.keys)
    answers = []
    for sealed in task.envelopes:
        try:
            payload = envelope.unseal(sealed.kind, sealed.data, pinned, max_bytes=sealed.max_bytes)
            answers.append(Opened(payload=payload))
        except ProtocolError as e:
            answers.append(Opened(code=str(e.code), message=str(e)))
    return answers


def _make_key(task: KeyTask) -> KeyMade:
    path = Path(task.path)
    if path.exists():
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError(f"{path} holds another kind of key")
    else:
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, task.name)])
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return KeyMade(csr.public_bytes(serialization.Encoding.PEM).decode())


def _validity(pem: str) -> Validity:
    certificate = x509.load_pem_x509_certificate(pem.encode())
    return Validity(certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp())


def main() -> None:
    """Do one task from stdin."""
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=KeyTask | CheckTask | ReadTask)
    answer: KeyMade | list[Opened] | list[Validity]
    match task:
        case KeyTask():
            answer = _make_key(task)
        case CheckTask():
            answer = _check(task)
        case ReadTask():
            answer = [_validity(pem) for pem in task.certificates]
        case _:
            assert_never(task)
    sys.stdout.buffer.write(msgspec.json.encode(answer))


if __name__ == "__main__":
    main()
