"""A real agent under `litefleet-agent run`, with a broker over mutual TLS, for benchmarks: its inputs and its answers."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from litefleet_agent.runtime.litert import LiteRT
from litefleet_protocol.tensors import Postprocess, Preprocess
from tests.agent.artifacts import Made, golden_for, make, sha
from tests.agent.data.make_models import mobilenet_v2
from tests.agent.world import World

SCALE = 1 / 255
LABELS = tuple(map(str, range(10)))


@dataclass(frozen=True)
class Model:
    """A MobileNetV2 of ten classes with random weights, and its artifact."""

    path: Path
    made: Made

    @property
    def version(self) -> str:
        return self.made.manifest.version


def mobilenet(world: World, version: str, seed: int, size: int) -> Model:
    """One that takes [1, size, size, 3]; other seeds give other weights."""
    path = world.folder / f"{version}.tflite"
    mobilenet_v2(path, seed=seed, size=size, classes=len(LABELS))
    signature = LiteRT().load(path, threads=1, digest=sha(path.read_bytes())).signature
    golden = golden_for(path, x=np.random.default_rng(seed).random((4, size, size, 3), dtype=np.float32))
    made = make(
        world.key,
        path.read_bytes(),
        golden,
        version=version,
        signature=signature,
        preprocess=Preprocess(scale=SCALE),
        postprocess=Postprocess(labels=LABELS),
    )
    return Model(path, made)


def configure(world: World, images: np.ndarray, rate_hz: float) -> None:
    """The pipeline's inputs and rate."""
    for old in world.inputs.iterdir():
        old.unlink()
    for n, image in enumerate(images):
        np.save(world.inputs / f"{n}.npy", image)
    (world.folder / "agent.toml").write_text(
        f'[pipelines.digits]\nsource = {{kind="directory", path="inputs", rate_hz={rate_hz}, loop=true}}\n'
        'sink = {kind="file", path="answers.jsonl"}\n'
    )


def images(seed: int, count: int, size: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def lines(world: World) -> list[dict]:
    """Every whole line of the answers' file."""
    text = world.answers_file.read_bytes() if world.answers_file.exists() else b""
    return [json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines()]


def status_kb(pid: int, name: str, file: str = "status") -> int:
    """A line of /proc/PID/status or smaps_rollup, in KiB."""
    for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise AssertionError(f"no {name} in /proc/{pid}/{file}")
