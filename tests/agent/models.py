"""Models for the swap's tests: a real LiteRT generation, and a stand-in model that hangs or fails on command."""

import threading

import numpy as np

from litefleet_agent.runtime.interface import ModelError
from litefleet_agent.swap import Generation
from litefleet_protocol.messages import ArtifactFile, ArtifactManifest
from litefleet_protocol.tensors import Postprocess, Preprocess, Signature, TensorSpec

SIGNATURE = Signature(
    inputs=(TensorSpec(name="x", shape=(1, 4), dtype="float32"),),
    outputs=(TensorSpec(name="y", shape=(1, 3), dtype="float32"),),
)

AS_IT_IS = Preprocess()


class Scripted:
    """Implements `LoadedModel`: answers `value * x[0]`, or fails, or hangs until released."""

    signature = SIGNATURE
    handover_s = 0.0

    def __init__(self, value: float = 1.0) -> None:
        self.value = value
        self.error: ModelError | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def infer(self, inputs):
        self.entered.set()
        self.gate.wait(20)
        if self.error is not None:
            raise self.error
        return [np.array([[self.value * float(inputs[0][0, 0]), 0.0, 0.0]], np.float32)]

    def rss_bytes(self):
        return None

    def infer_in_place(self, write, raw):
        into = np.empty(raw.size, np.float32)
        write(raw, into)
        return self.infer([into.reshape(1, -1)])


def manifest(version: str, preprocess: Preprocess = AS_IT_IS) -> ArtifactManifest:
    return ArtifactManifest(
        namespace="default",
        model="digits",
        version=version,
        device_class="rpi-4",
        variant="float32",
        files=(ArtifactFile(name="model.tflite", digest=f"sha256:{'0' * 64}", size=1),),
        chunk_bytes=1024,
        chunks=("0" * 64,),
        signature=SIGNATURE,
        preprocess=preprocess,
        postprocess=Postprocess(labels=("a", "b", "c")),
    )


def generation(version: str, model=None, preprocess: Preprocess = AS_IT_IS) -> Generation:
    return Generation(f"sha256:{version}", version, manifest(version, preprocess), model or Scripted())
