"""`litefleet up` without TensorFlow: the real controller, whose converter hands on models that were made before.

Faults of wires and clocks need a whole controller with its broker as a process, and new versions within seconds; what a
conversion does is none of theirs. A source is an .npz with the bytes of a `.tflite` and of its golden samples.
"""

import argparse
import asyncio
import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from litefleet_controller.app import Settings, serve
from litefleet_controller.artifacts.interface import Blobs
from litefleet_controller.convert.interface import ConversionRequest, Made, ModelFile, Outcome, Progress
from litefleet_controller.logs import configure_logging
from litefleet_protocol.tensors import Signature, TensorSpec

SIGNATURE = Signature(
    inputs=(TensorSpec(name="x", shape=(1, 4), dtype="float32"),),
    outputs=(TensorSpec(name="z", shape=(1, 3), dtype="float32"),),
)
_TOLERANCE = 1e-3


class ReadyMade:
    """Implements `convert.interface.Converter`."""

    def __init__(self, blobs: Blobs, work_dir: Path) -> None:
        self._blobs = blobs

    async def convert(self, request: ConversionRequest, progress: Callable[[Progress], None]) -> Outcome:
        with np.load(io.BytesIO(await self._blobs.get(request.source)), allow_pickle=False) as source:
            model, golden = source["model"].tobytes(), source["golden"].tobytes()
        made = Made(
            recipe="float32",
            files=(ModelFile("model.tflite", await self._blobs.put(model), len(model)),),
            golden=await self._blobs.put(golden),
            golden_size=len(golden),
            golden_samples=1,
            golden_tolerance=_TOLERANCE,
            signature=SIGNATURE,
            operators={},
            agreement=1.0,
            accuracy=1.0,
            source_accuracy=1.0,
            evaluated=1,
            toolchain={},
            seconds=0.0,
            cached=True,
        )
        return Outcome(made, ())

    async def close(self) -> None:
        pass


def main() -> None:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()
    given.data_dir.mkdir(parents=True, exist_ok=True)
    configure_logging(sys.stderr)
    settings = Settings(data_dir=given.data_dir.resolve(), host=given.host, port=given.port)
    asyncio.run(serve(settings, _say_ready, make_converter=ReadyMade))


def _say_ready(url: str, _kubeconfig: Path) -> None:
    sys.stdout.write(f"litefleet is ready at {url}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
