"""A converter with the workshop's files in its blobs, and what is asked of it in one line."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from litefleet_controller.artifacts.directory import DirectoryBlobs
from litefleet_controller.convert.interface import (
    ConversionError,
    ConversionRequest,
    Made,
    Outcome,
    ParityLimits,
    Progress,
    RecipeName,
)
from litefleet_controller.convert.local import LocalConverter
from litefleet_controller.convert.tflite.flatbuffer import parse, serialize
from litefleet_controller.convert.workers.limits import PoolLimits
from litefleet_controller.convert.workers.tasks import Freeze, Result, Stage, Task
from litefleet_protocol.tensors import Postprocess, Preprocess

DATA = Path(__file__).parents[2] / "agent" / "data"
LIMITS = ParityLimits(min_agreement=0.95, max_accuracy_drop=0.02)


def ignore(_: Progress | Stage) -> None:
    """Nobody listens."""


class CountedBlobs(DirectoryBlobs):
    """Real blobs that know which files were handed to workers."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.handed_out: list[str] = []

    async def local_path(self, digest: str) -> Path:
        self.handed_out.append(digest)
        return await super().local_path(digest)


class Bench:
    """A converter with the workshop's files in its blobs."""

    def __init__(self, folder: Path, workshop: Any, limits: PoolLimits | None = None) -> None:
        self.folder = folder
        self.workshop = workshop
        self.blobs = CountedBlobs(folder / "blobs")
        self.converter = LocalConverter(self.blobs, folder / "work", limits=limits)

    async def request(
        self,
        *ladder: RecipeName,
        source: str = "digits.keras",
        calibration: str | None = "calibration.npz",
        **changes: Any,
    ) -> ConversionRequest:
        return replace(
            ConversionRequest(
                device_class="pi",
                source=await self.blobs.put(self.workshop.read(source)),
                source_format="keras",
                ladder=ladder or ("int8",),
                limits=LIMITS,
                evaluation=await self.blobs.put(self.workshop.read("evaluation.npz")),
                calibration=await self.blobs.put(self.workshop.read(calibration)) if calibration else None,
                preprocess=Preprocess(scale=1 / 16),
                postprocess=Postprocess(labels=tuple("0123456789")),
            ),
            **changes,
        )

    async def convert(self, *ladder: RecipeName, **changes: Any) -> Outcome:
        return await self.converter.convert(await self.request(*ladder, **changes), ignore)

    async def make(self, *ladder: RecipeName, **changes: Any) -> Made:
        outcome = await self.convert(*ladder, **changes)
        assert outcome.made is not None, outcome.refused
        return outcome.made

    async def ask(
        self, task: Callable[[Path], Task], *files: str, told: Callable[[Stage], None] = ignore
    ) -> tuple[Result, dict[str, bytes]]:
        """Have a task done by the worker that has tensorflow loaded: its answer, and files that it made."""
        async with self.converter._pool.worker(Freeze) as worker:
            # As the pool's own tasks: the next one finds nothing of this.
            with tempfile.TemporaryDirectory(dir=worker.scratch) as folder:
                done = await worker.ask(task(Path(folder)), told)
                return done, {name: (Path(folder) / name).read_bytes() for name in files}

    async def refusal(self, *ladder: RecipeName, **changes: Any) -> ConversionError:
        with pytest.raises(ConversionError) as refused:
            await self.convert(*ladder, **changes)
        return refused.value


def endless() -> bytes:
    """A loop whose body is the graph that it stands in: LiteRT prepares one in the other until its stack is full."""
    model = parse((DATA / "hang-4.tflite").read_bytes())
    model.subgraphs[0].operators[0].builtinOptions.bodySubgraphIndex = 0
    return serialize(model)
