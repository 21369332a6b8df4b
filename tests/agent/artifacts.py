"""Artifacts for the agent's tests: manifests, chunks and envelopes made from the small models in `data`."""

import base64
import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from litefleet_agent.runtime.litert import LiteRT
from litefleet_protocol import chunks, codec, envelope
from litefleet_protocol.enrollment import SigningKey
from litefleet_protocol.envelope import PayloadType
from litefleet_protocol.messages import ArtifactFile, ArtifactManifest
from litefleet_protocol.runtimes import GOLDEN_FILE, MODEL_FILES
from litefleet_protocol.tensors import Postprocess, Preprocess, Signature, TensorSpec

DATA = Path(__file__).parent / "data"
LABELS = ("zero", "one", "two")
LABELLED = Postprocess(labels=LABELS)
AS_IT_IS = Preprocess()
FLOAT_SIGNATURE = Signature(
    inputs=(TensorSpec(name="x", shape=(1, 4), dtype="float32"),),
    outputs=(TensorSpec(name="z", shape=(1, 3), dtype="float32"),),
)
WIDE_SIGNATURE = Signature(
    inputs=(TensorSpec(name="x", shape=(1, 4), dtype="float32"),),
    outputs=(TensorSpec(name="y", shape=(1, 4), dtype="float32"),),
)


class Key:
    """A signing key. Implements `envelope.Signer`."""

    def __init__(self, seed: bytes | None = None) -> None:
        """A new key, or the one that 32 bytes of `seed` always give."""
        self._private = Ed25519PrivateKey.from_private_bytes(seed) if seed else Ed25519PrivateKey.generate()
        raw = self._private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        self.key_id = hashlib.sha256(raw).hexdigest()
        self.pinned = SigningKey(key_id=self.key_id, public=base64.b64encode(raw).decode())

    def sign(self, data: bytes) -> bytes:
        return self._private.sign(data)


@dataclass(frozen=True)
class Made:
    """An artifact as the controller would publish it."""

    digest: str
    envelope: bytes
    chunks: list[bytes]
    manifest: ArtifactManifest


def sha(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def golden_for(model: Path, *, samples: int = 3, x: np.ndarray | None = None, shift: float = 0.0) -> bytes:
    """Golden samples by running the model itself."""
    loaded = LiteRT().load(model, threads=1, digest=sha(model.read_bytes()))
    if x is None:
        x = np.random.default_rng(3).random((samples, 4), dtype=np.float32) * 2
    y = np.concatenate([loaded.infer([x[n : n + 1]])[0] for n in range(len(x))])
    return npz(x0=x, y0=y + np.float32(shift))


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def make(
    key: Key,
    model: bytes | Mapping[str, bytes],
    golden: bytes | None,
    *,
    version: str = "digits-v1",
    namespace: str = "default",
    device_class: str = "rpi-4",
    signature: Signature = FLOAT_SIGNATURE,
    postprocess: Postprocess = LABELLED,
    preprocess: Preprocess = AS_IT_IS,
    tolerance: float = 1e-3,
    chunk_bytes: int = 64 * 1024,
    runtime: str = "litert",
) -> Made:
    """`model`: the engine's file, or its files by name."""
    files = [(MODEL_FILES[runtime][0], model)] if isinstance(model, bytes) else list(model.items())
    if golden is not None:
        files.append((GOLDEN_FILE, golden))
    cut = list(chunks.cut((data for _, data in files), chunk_bytes))
    manifest = ArtifactManifest(
        namespace=namespace,
        model="digits",
        version=version,
        device_class=device_class,
        variant="float32",
        runtime=runtime,
        files=tuple(ArtifactFile(name=name, digest=sha(data), size=len(data)) for name, data in files),
        chunk_bytes=chunk_bytes,
        chunks=tuple(chunks.chunk_hash(c) for c in cut),
        signature=signature,
        preprocess=preprocess,
        postprocess=postprocess,
        golden_tolerance=tolerance,
    )
    payload = codec.encode(manifest)
    return Made(sha(payload), envelope.seal(PayloadType.ARTIFACT, payload, [key]), cut, manifest)


def make_from(key: Key, name: str, *, golden_shift: float = 0.0, **options: object) -> Made:
    """An artifact of one of the models in `data`, with golden samples that it answers."""
    path = DATA / name
    return make(key, path.read_bytes(), golden_for(path, shift=golden_shift), **options)
