"""Malformed models and data sets, thousands of them, through the converter as a controller runs it.

Mutants of a `.keras` file, a packed SavedModel, a `.tflite` file and data sets: bytes by somebody who doesn't know the
format, and whole archives with a damaged member by somebody who does. Each must end as a variant, or as one sentence
with a stable code that is final, or that the controller says after its last try. The converter runs in a process of its
own (`_controller`), so that its death would be counted and the next mutants go on.
"""

import asyncio
import collections
import contextlib
import io
import multiprocessing
import os
import random
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import structlog

from litefleet_controller.artifacts.directory import DirectoryBlobs
from litefleet_controller.convert.interface import ConversionError, ConversionRequest, ParityLimits
from litefleet_controller.convert.local import LocalConverter
from litefleet_controller.convert.opening.containment import check_keras_file
from litefleet_controller.convert.workers.limits import PoolLimits, WorkerLimits
from litefleet_controller.fleet.errors import UploadRefusedError
from litefleet_controller.fleet.formats import HEAD_BYTES, check_archive, check_head
from litefleet_protocol.tensors import Postprocess, Preprocess
from tests.faults import images, mutating, mutating_sources
from tests.figures import Figure, Run

_COUNT, _SAMPLE = 10_000, 10
_DATA = Path(__file__).parent / "data"
_TFLITE = Path(__file__).parents[1] / "agent" / "data" / "a.tflite"
_KINDS = {"keras": 0.4, "savedModel": 0.2, "tflite": 0.15, "evaluation": 0.05, "calibration": 0.1, "images": 0.1}
"""What is malformed, and its share: a `.tflite` file, or what it is answered by, needs a process of its own each."""
_LIMITS = PoolLimits(
    recycle_after=400,  # a mutant that is refused leaves little behind
    worker=WorkerLimits(max_rss_bytes=3 * 2**30, max_data_bytes=6 * 2**30, stage_seconds=90.0, check_seconds=15.0),
)
_TRIES = 3
"""As the controller's own: reconcile.versions.TRIES."""
_AT_A_TIME = 4
_PORTION = 250
_UNCLEAR = frozenset({"WorkerCrashed", "StorageFailed"})
"""What is said when nobody knows what was wrong."""
_SLOW_S = 300.0


@dataclass(frozen=True)
class Outcome:
    """What became of one mutant."""

    number: int
    kind: str
    what: str
    code: str = ""
    """Why it was refused; empty when a variant was made of it."""
    message: str = ""
    final: bool = True
    seconds: float = 0.0
    at_the_door: str = ""
    """What the upload would have said."""
    died: bool = False


@dataclass
class Observed:
    """What a controller's process was seen to hold."""

    rss_bytes: list[int] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def malformed_sources(run: Run) -> Sequence[Figure]:
    """Two workers at a time; every mutant can be made again by its number and the seed."""
    count = _SAMPLE if run.sample else _COUNT
    found: list[Outcome] = []
    seen = Observed()
    begun = time.monotonic()
    while len(found) < count:
        found += _portions(run, found, count, seen)
    return _figures(found, seen, run, time.monotonic() - begun)


def _figures(found: Sequence[Outcome], seen: Observed, run: Run, took_s: float) -> Sequence[Figure]:
    codes = collections.Counter(o.code or "converted" for o in found)
    said = ", ".join(f"{code} {n}" for code, n in codes.most_common())
    deaths = [o for o in found if o.died]
    unclear = [o for o in found if o.code in _UNCLEAR or "\n" in o.message or "Traceback" in o.message]
    examples = "; ".join(f"{o.number} ({o.kind} {o.what}): {o.code}: {o.message[:120]}" for o in unclear[:5])
    kinds = collections.Counter(o.kind for o in found)
    door = sum(bool(o.at_the_door) for o in found)
    first, last = (seen.rss_bytes[:1] or [0])[0], (seen.rss_bytes[-1:] or [0])[0]
    growth = (last - first) / 2**20
    slow = max(o.seconds for o in found)
    sides = {"mutants": len(found), **kinds, "refused at upload already": door, "converted": codes["converted"]}
    return [
        Figure("malformed-source-controller-deaths", len(deaths), "deaths", 0, "==", sides, run.seed, said),
        Figure("malformed-source-unclear", len(unclear), "mutants", 0, "==", {"mutants": len(found)}, run.seed, examples),
        Figure("malformed-source-left-behind", len(seen.left), "processes and folders", 0, "==", {}, run.seed, "; ".join(seen.left[:5])),
        Figure("malformed-source-controller-growth", growth, "MiB", 64.0, "<", {"at first MiB": first / 2**20, "at last MiB": last / 2**20}, run.seed),
        Figure("malformed-source-longest", slow, "s", _SLOW_S, "<", {"p50 s": float(np.median([o.seconds for o in found])), "all s": took_s}, run.seed),
    ]  # fmt: skip


# --- one controller after the other: the next one only when one died ---


def _portions(run: Run, found: Sequence[Outcome], count: int, seen: Observed) -> list[Outcome]:
    made: list[Outcome] = []
    done = {o.number for o in found}
    left = collections.deque(n for n in _chosen(run, count) if n not in done)
    with _process(run.seed) as (process, pipe):
        while left:
            portion = [left.popleft() for _ in range(min(_PORTION, len(left)))]
            answered: set[int] = set()
            try:
                pipe.send(portion)
                while len(answered) < len(portion):
                    outcome = pipe.recv()
                    answered.add(outcome.number)
                    made.append(outcome)
                seen.rss_bytes.append(pipe.recv())
            except (EOFError, OSError):
                process.join(10)
                # Whichever of those under way it was: all of them are looked at again by hand.
                lost = [n for n in portion if n not in answered][:_AT_A_TIME]
                made += [Outcome(n, _kind(n), f"exit {process.exitcode}", died=True) for n in lost]
                return made
        pipe.send(None)
        seen.left += pipe.recv()
    return made


def _chosen(run: Run, count: int) -> Iterator[int]:
    """All, or for a sample the first that need no TensorFlow: importing it takes longer than everything else."""
    if not run.sample:
        yield from range(count)
        return
    with tempfile.TemporaryDirectory() as folder:
        numbers = (n for n in range(10 * count) if _is_quick(n, run.seed, Path(folder)))
        yield from (n for n, _ in zip(numbers, range(count), strict=False))


def _is_quick(number: int, seed: int, folder: Path) -> bool:
    kind, _, data = _made(number, seed)
    if kind == "keras":
        (folder / "source").write_bytes(data)
        with contextlib.suppress(ConversionError):
            check_keras_file(folder / "source")
            return False
    return kind not in ("savedModel", "images")


@contextlib.contextmanager
def _process(seed: int) -> Iterator[tuple[Any, Connection]]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with tempfile.TemporaryDirectory() as folder:
        process = context.Process(target=_controller, args=(theirs, Path(folder), seed))
        process.start()
        theirs.close()
        try:
            yield process, ours
        finally:
            ours.close()
            process.join(20)
            process.kill()
            process.join()


def _kind(number: int) -> str:
    """Spread evenly, and the same for every count."""
    at, end = (number * 0.6180339887) % 1, 0.0
    for kind, share in _KINDS.items():
        end += share
        if at < end:
            return kind
    return kind


def _made(number: int, seed: int) -> tuple[str, str, bytes]:
    """Kind, what was done, and the file."""
    kind, rng = _kind(number), random.Random(f"{seed}/{number}")
    if kind == "tflite":
        return kind, *mutating.mutant(_TFLITE.read_bytes(), rng)
    if kind == "images":
        return kind, *mutating_sources.mutant(images.as_tar() if rng.random() < 0.3 else images.as_zip(), rng)
    name = {"keras": "small.keras", "savedModel": "small.zip"}.get(kind)
    return kind, *mutating_sources.mutant(_numbers() if name is None else (_DATA / name).read_bytes(), rng)


def _numbers() -> bytes:
    """A data set for _TFLITE, which takes four numbers and tells three classes apart; the same each time."""
    file = io.BytesIO()
    np.savez(file, x=np.eye(4, dtype=np.float32), y=np.array([0, 1, 2, 0]))
    return file.getvalue()


# --- inside the controller's process ---


def _controller(pipe: Connection, folder: Path, seed: int) -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory((folder / "log").open("w")))
    asyncio.run(_serve(pipe, folder, seed))


async def _serve(pipe: Connection, folder: Path, seed: int) -> None:
    async with _bench(folder) as bench:
        while (portion := await asyncio.to_thread(pipe.recv)) is not None:
            places = asyncio.Semaphore(_AT_A_TIME)

            async def one(number: int, places: asyncio.Semaphore = places) -> None:
                async with places:
                    pipe.send(await bench.outcome(number, *_made(number, seed)))

            async with asyncio.TaskGroup() as group:
                for number in portion:
                    group.create_task(one(number))
            await bench.forget(portion, seed)
            pipe.send(psutil.Process().memory_info().rss)
    left = [f"process {p.pid} {p.name()}" for p in psutil.Process().children(recursive=True) if p.status() != "zombie"]
    left += [f"folder {p.name}" for p in (folder / "work" / "scratch").iterdir()]
    pipe.send(left)


@contextlib.asynccontextmanager
async def _bench(folder: Path) -> AsyncIterator["_Bench"]:
    blobs = DirectoryBlobs(folder / "blobs")
    converter = LocalConverter(blobs, folder / "work", workers=2, limits=_LIMITS)
    try:
        yield _Bench(
            folder,
            converter,
            blobs,
            ConversionRequest(
                device_class="pi",
                source=await blobs.put((_DATA / "small.keras").read_bytes()),
                source_format="keras",
                ladder=("float32",),
                limits=ParityLimits(min_agreement=0.0, max_accuracy_drop=1.0),
                evaluation=await blobs.put((_DATA / "small.npz").read_bytes()),
            ),
            await blobs.put(images.as_zip()),
            await blobs.put(_numbers()),
            await blobs.put(_TFLITE.read_bytes()),
        )
    finally:
        await converter.close()


@dataclass(frozen=True)
class _Bench:
    folder: Path
    converter: LocalConverter
    blobs: DirectoryBlobs
    good: ConversionRequest
    pictures: str
    """A data set as a folder of images, packed."""
    numbers: str
    tflite: str

    async def outcome(self, number: int, kind: str, what: str, data: bytes) -> Outcome:
        """As the ModelVersion's reconciler goes about it: what isn't final is tried again, a few times."""
        begun = time.monotonic()
        base = Outcome(number, kind, what, at_the_door=await asyncio.to_thread(self._door, number, kind, data))
        request = await self._request(kind, data)
        for attempt in range(_TRIES):
            try:
                outcome = await self.converter.convert(request, lambda _: None)
            except ConversionError as e:
                base = replace(base, code=e.code, message=str(e), final=e.final)
                if e.final or attempt == _TRIES - 1:
                    break
            else:
                refused = outcome.refused[0] if outcome.made is None else None
                base = replace(base, code=refused.code if refused else "", message=refused.message if refused else "")
                break
        return replace(base, seconds=time.monotonic() - begun)

    async def _request(self, kind: str, data: bytes) -> ConversionRequest:
        digest = await self.blobs.put(data or b"\0")
        match kind:
            case "keras" | "savedModel" as source_format:
                return replace(self.good, source=digest, source_format=source_format)
            case "tflite":
                return replace(self.good, source=digest, source_format="tflite", evaluation=self.numbers)
            case "images":
                # A calibration set of the network that takes them, which is frozen once for all of these.
                return replace(
                    self.good, source_format="keras", ladder=("int8",), calibration=digest,
                    preprocess=Preprocess(resize=(8, 8), channels=1, scale=1 / 255),
                    postprocess=Postprocess(labels=("a", "b", "c")), evaluation=self.pictures,
                )  # fmt: skip
            case "evaluation":
                # Of a file that needs no TensorFlow.
                return replace(self.good, source=self.tflite, source_format="tflite", evaluation=digest)
        return replace(
            self.good, source=self.tflite, source_format="tflite", evaluation=self.numbers, ladder=("int8",),
            calibration=digest,
        )  # fmt: skip

    async def forget(self, numbers: Sequence[int], seed: int) -> None:
        """Ten thousand blobs needn't lie about. Afterwards, since two mutants may be the same file."""
        for number in numbers:
            await self.blobs.delete(await self.blobs.put(_made(number, seed)[2] or b"\0"))

    def _door(self, number: int, kind: str, data: bytes) -> str:
        """What `litefleet model push` would have said of it; anything but a refusal would end this process."""
        name = {"keras": "x.keras", "savedModel": "x.zip", "images": "x.zip", "tflite": "x.tflite"}.get(kind, "x.npz")
        path = self.folder / f"door-{number}"
        path.write_bytes(data)
        try:
            check_head(name, data[:HEAD_BYTES])
            check_archive(name, path)
        except UploadRefusedError as e:
            return e.code
        finally:
            path.unlink()
        return ""


if __name__ == "__main__":
    # One mutant again, to look at: python -m tests.faults.malformed_sources NUMBER [SEED] > FILE
    import sys

    made = _made(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    sys.stderr.write(f"{made[0]}: {made[1]}\n")
    os.write(1, made[2])
