"""What the agent adds to an inference: pre- and post-processing, the hot slot, telemetry, the line that is written."""

import hashlib
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from litefleet_agent.fileio import Disk
from litefleet_agent.pipeline.sink import FileSink, answered
from litefleet_agent.runtime.litert import LiteRT
from litefleet_agent.swap import Generation, HotSlot
from litefleet_agent.telemetry import Meter
from litefleet_protocol.messages import ArtifactManifest
from litefleet_protocol.tensors import Postprocess, Preprocess
from tests.agent.data.make_models import convolutions
from tests.figures import Figure, Run

ROUNDS = 2000
SEED = 1


def inferring(run: Run) -> Sequence[Figure]:
    """A 28 x 28 image through a convolutional model of about a millisecond, against LiteRT's set, invoke, get alone.

    The same interpreter for both, in turns, wall time; the median of each. The image is decoded already: what reading
    a file costs hangs on the source.
    """
    with tempfile.TemporaryDirectory() as folder:
        bare, agent = _sides(Path(folder))
        for _ in range(100):
            bare(), agent()
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(ROUNDS // 20 if run.sample else ROUNDS):
            times[0].append(_seconds(bare))
            times[1].append(_seconds(agent))
    alone, whole = statistics.median(times[0]), statistics.median(times[1])
    sides = {"LiteRT ms": alone * 1000, "agent ms": whole * 1000}
    return [Figure("agent-throughput", alone / whole, "of bare LiteRT", 0.95, ">=", sides, SEED)]


def _sides(folder: Path) -> tuple[Callable[[], object], Callable[[], object]]:
    path = folder / "model.tflite"
    convolutions(path)
    model = LiteRT().load(path, threads=1, digest=f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}")
    interpreter = model._interpreter
    into = interpreter.get_input_details()[0]["index"]
    out = interpreter.get_output_details()[0]["index"]
    image = np.random.default_rng(SEED).integers(0, 256, (28, 28), dtype=np.uint8)
    ready = (image.astype(np.float32) / 255).reshape(1, 28, 28, 1)
    manifest = ArtifactManifest(
        namespace="default",
        model="m",
        version="m-v1",
        device_class="c",
        variant="float32",
        files=(),
        chunk_bytes=1,
        chunks=(),
        signature=model.signature,
        preprocess=Preprocess(scale=1 / 255),
        postprocess=Postprocess(labels=tuple("0123456789")),
    )
    hot = HotSlot("m", time.monotonic, hang_s=30.0)
    hot.observe([Meter("m", time.monotonic, time.time)])
    hot.park(1, Generation(f"sha256:{'0' * 64}", "m-v1", manifest, model))
    hot.flip(1)
    sink = FileSink(Disk(), folder / "answers.jsonl")

    def bare() -> object:
        interpreter.set_tensor(into, ready)
        interpreter.invoke()
        return interpreter.get_tensor(out)

    def agent() -> object:
        sink.write(answered(0, "image.png", hot.infer(image), time.time()))
        return None

    return bare, agent


def _seconds(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began
