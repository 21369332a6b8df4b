"""What the agent adds to an inference: pre- and post-processing, the hot slot, telemetry, the line that is written."""

import hashlib
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from litefleet_agent.fileio import Disk
from litefleet_agent.pipeline.loop import Pipeline, Tally
from litefleet_agent.pipeline.sink import FileSink, NullSink, Sink
from litefleet_agent.runtime.litert import LiteRT
from litefleet_agent.swap import Generation, HotSlot
from litefleet_agent.telemetry import Meter
from litefleet_protocol.messages import ArtifactManifest
from litefleet_protocol.tensors import Postprocess, Preprocess
from tests.agent.data.make_models import convolutions, mobilenet_v2
from tests.figures import Figure, Run

_BLOCK = 10
"""Inferences in a row: loops are compared, and what a loop has in the processor's caches is part of what it costs. Short
enough that a machine whose speed wanders is as fast for a block as for the one beside it."""
_WARM_UP = 2
_SCALE = 1 / 255


@dataclass(frozen=True)
class Side:
    """A model, its input's shape without the batch, how many blocks are timed, and whether answers go to a file."""

    name: str
    make: Callable[[Path], None]
    image: tuple[int, ...]
    blocks: int
    written: bool = False


_SIDES = (
    Side("loop-throughput", mobilenet_v2, (224, 224, 3), 150),
    Side("loop-throughput-1ms-model", convolutions, (28, 28), 500),
    Side("loop-throughput-1ms-model-and-file", convolutions, (28, 28), 500, written=True),
)


def looping(run: Run) -> Sequence[Figure]:
    """The agent's own pipeline thread against a loop of LiteRT's set, invoke, get with the same interpreter and input.

    In turns, a block each; wall time from one inference's beginning to the next one's; the median of what each pair of
    blocks says. The agent's side converts and scales the image, reads the answer and counts it for telemetry; one figure has each answer's line
    appended to a file as well, which a board does only when it is told to. The image is decoded already: what reading
    a file costs hangs on the source.
    """
    return [_figure(side, run) for side in _SIDES]


def _figure(side: Side, run: Run) -> Figure:
    with tempfile.TemporaryDirectory() as folder:
        bare, agent = _times(side, Path(folder), run)
    alone, whole = statistics.median(bare) * 1000, statistics.median(agent) * 1000
    ratio = statistics.median(b / a for b, a in zip(_blocks(bare), _blocks(agent), strict=True))
    written = ", each answer written to a file" if side.written else ""
    note = f"{side.make.__name__} {list(side.image)}, float32, random weights{written}; {len(agent)} inferences each; the agent adds {(1 / ratio - 1) * alone * 1000:.0f} us"
    sides = {"LiteRT median ms": alone, "agent median ms": whole}
    return Figure(side.name, ratio, "of bare LiteRT", 0.98, ">=", sides, run.seed, note)


def _blocks(times: Sequence[float]) -> list[float]:
    return [sum(times[n : n + _BLOCK]) for n in range(0, len(times), _BLOCK)]


class Turns:
    """Implements the pipeline's source: between two blocks that it hands out it runs a block of `bare` itself."""

    def __init__(self, image: np.ndarray, bare: Callable[[], object], blocks: int) -> None:
        self._image = image
        self._bare = bare
        self._blocks = blocks
        self.name = "image.png"
        self.bare_s: list[float] = []
        self.agent_s: list[float] = []

    def load(self) -> np.ndarray:
        return self._image

    def __iter__(self) -> Iterator["Turns"]:
        for block in range(self._blocks + _WARM_UP):
            if block == _WARM_UP:
                self.bare_s.clear(), self.agent_s.clear()
            before = time.perf_counter()
            for _ in range(_BLOCK):
                self._bare()
                before = _lap(self.bare_s, before)
            for _ in range(_BLOCK):
                yield self
                before = _lap(self.agent_s, before)


def _lap(times: list[float], before: float) -> float:
    now = time.perf_counter()
    times.append(now - before)
    return now


def _times(side: Side, folder: Path, run: Run) -> tuple[list[float], list[float]]:
    path = folder / "model.tflite"
    side.make(path)
    model = LiteRT().load(path, threads=1, digest=f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}")
    interpreter = model._interpreter
    into = interpreter.get_input_details()[0]["index"]
    out = interpreter.get_output_details()[0]["index"]
    image = np.random.default_rng(run.seed).integers(0, 256, side.image, dtype=np.uint8)
    ready = (image.astype(np.float32) * np.float32(_SCALE)).reshape(model.signature.inputs[0].shape)

    def bare() -> object:
        interpreter.set_tensor(into, ready)
        interpreter.invoke()
        return interpreter.get_tensor(out)

    turns = Turns(image, bare, 2 if run.sample else side.blocks)
    answers = FileSink(Disk(), folder / "answers.jsonl") if side.written else NullSink()
    meter = Meter("m", time.monotonic, time.time)
    pipeline = _pipeline(turns, model, meter, answers)
    pipeline.start()
    assert pipeline.wait(600)
    assert meter.answered_total == len(turns.agent_s) + _WARM_UP * _BLOCK
    return turns.bare_s, turns.agent_s


def _pipeline(turns: Turns, model: object, meter: Meter, answers: Sink) -> Pipeline:
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
        preprocess=Preprocess(scale=_SCALE),
        postprocess=Postprocess(labels=tuple(map(str, range(10)))),
    )
    hot = HotSlot("m", time.monotonic, hang_s=30.0)
    hot.observe([meter])
    hot.park(1, Generation(f"sha256:{'0' * 64}", "m-v1", manifest, model))
    hot.flip(1)
    return Pipeline(
        hot,
        turns,
        answers,
        rate_hz=0.0,
        clock=time.monotonic,
        wall=time.time,
        tally=Tally(input_failed=itertools.count().__next__, missed=lambda _: None),
    )
