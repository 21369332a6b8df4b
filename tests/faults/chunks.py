"""Chunks that are not what they should be: a broker that is broken or lies, in front of the real agent.

A real agent serves one model and is told to fetch the next, of some ten chunks, while a few of them are corrupted, cut
off, too long, empty, another's, in each other's places, sent many times, or not there; or while an older artifact's
chunks come late. The controller's side is as much of one as an agent needs: it publishes what `need` asks for.
"""

import random
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from litefleet_agent.runtime.litert import LiteRT
from litefleet_protocol import codec, topics
from litefleet_protocol.messages import Need
from tests.agent.artifacts import Made, golden_for, make, sha
from tests.agent.world import World
from tests.faults.site import model
from tests.figures import Figure, Run

GOAL_S = 30.0
"""Silence is borne for three to six seconds before a board asks; three pieces in a row that are missing at worst."""
_LIMIT_S = 120.0
_PADDING = 600_000
_MANIFEST = -1


@dataclass
class Trial:
    """One artifact on the broker's topics. `bad` is how many parts the board must drop on its way."""

    made: Made
    older: Made
    rng: random.Random
    topics: dict[int, bytes] = field(default_factory=dict)
    order: list[int] = field(default_factory=list)
    bad: int = 0

    def __post_init__(self) -> None:
        self.topics = {_MANIFEST: self.made.envelope, **dict(enumerate(self.made.chunks))}
        self.order = list(self.topics)

    def some(self) -> list[int]:
        """One to three chunks."""
        return self.rng.sample(range(len(self.made.chunks)), self.rng.randint(1, 3))

    def spoil(self, change: Callable[[bytes], bytes]) -> None:
        for index in self.some():
            self.topics[index] = change(self.topics[index])
            self.bad += bool(self.topics[index])


def _corrupted(trial: Trial) -> None:
    def flip(chunk: bytes) -> bytes:
        at = trial.rng.randrange(len(chunk))
        return chunk[:at] + bytes([chunk[at] ^ (1 << trial.rng.randrange(8))]) + chunk[at + 1 :]

    trial.spoil(flip)


def _truncated(trial: Trial) -> None:
    trial.spoil(lambda chunk: chunk[: trial.rng.randrange(len(chunk))])


def _oversized(trial: Trial) -> None:
    trial.spoil(lambda chunk: chunk + trial.rng.randbytes(trial.rng.choice((1, 1000, 1_000_000))))


def _withheld(trial: Trial) -> None:
    for index in trial.some():
        del trial.topics[index]


def _manifest_withheld(trial: Trial) -> None:
    del trial.topics[_MANIFEST]


def _foreign(trial: Trial) -> None:
    """The same place of an older artifact, which was a good chunk there, and chunks that no artifact has."""
    for index in trial.some():
        trial.topics[index] = trial.older.chunks[index]
        trial.bad += 1
    trial.topics[len(trial.made.chunks) + trial.rng.randrange(1000)] = trial.rng.randbytes(100)


def _swapped(trial: Trial) -> None:
    one, other = trial.rng.sample(range(len(trial.made.chunks)), 2)
    trial.topics[one], trial.topics[other] = trial.topics[other], trial.topics[one]
    trial.bad += 2


def _reordered(trial: Trial) -> None:
    trial.rng.shuffle(trial.order)


def _duplicated(trial: Trial) -> None:
    trial.order = trial.rng.choices(list(trial.topics), k=4 * len(trial.topics)) + list(trial.topics)


def _manifest_corrupted(trial: Trial) -> None:
    trial.topics[_MANIFEST] = trial.older.envelope
    trial.bad += 1


KINDS = {
    "corrupted": _corrupted,
    "truncated": _truncated,
    "oversized": _oversized,
    "withheld": _withheld,
    "manifest withheld": _manifest_withheld,
    "manifest of another": _manifest_corrupted,
    "foreign": _foreign,
    "swapped": _swapped,
    "reordered": _reordered,
    "duplicated": _duplicated,
    "late from an older artifact": lambda _trial: None,
}
_SAMPLE = ("corrupted", "late from an older artifact")


@dataclass
class _Seen:
    spoiled: int = 0
    undropped: int = 0
    converged: list[float] = field(default_factory=list)


class _Plant:
    """The agent's world, and every version that was ever named."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.world = World(folder)
        self.rng = rng
        self.answers: dict[str, list[np.ndarray]] = {}
        self.made: list[Made] = []
        self._taken = 0

    def make(self) -> Made:
        number = len(self.made) + 1
        path = self.world.folder / f"{number}.tflite"
        model(path, self.rng.randrange(2**32), _PADDING)
        made = make(self.world.key, path.read_bytes(), golden_for(path), version=f"digits-v{number}")
        loaded = LiteRT().load(path, threads=1, digest=sha(path.read_bytes()))
        inputs = [np.load(self.world.inputs / f"{n}.npy") for n in range(4)]
        self.answers[made.manifest.version] = [loaded.infer([x[np.newaxis]])[0][0] for x in inputs]
        self.made.append(made)
        return made

    def answer_needs(self) -> None:
        """As the controller does: publish what an assigned board asks for."""
        needs = self.world.controller.client.received("/up/need")
        for data in needs[self._taken :]:
            need = codec.decode(Need, data)
            made = next(m for m in self.made if m.digest == need.artifact)
            for index in need.chunks:
                self._publish(made, index, made.envelope if index == _MANIFEST else made.chunks[index])
        self._taken = len(needs)

    def put(self, trial: Trial) -> None:
        for index in trial.order:
            if index in trial.topics:
                self._publish(trial.made, index, trial.topics[index])

    def _publish(self, made: Made, index: int, data: bytes) -> None:
        whole = topics.manifest("default", made.digest) if index == _MANIFEST else None
        self.world.controller.client.publish(whole or topics.chunk("default", made.digest, index), data)

    def serves(self, version: str) -> bool:
        reports = self.world.controller.reports()
        last = reports[-1] if reports else None
        slot = last.slots.get("digits") if last is not None else None
        fits = last is not None and last.counter == self.world.controller.counter
        return slot is not None and fits and slot.phase == "Updated" and slot.current_version == version

    def dropped(self) -> int:
        return len(re.findall("dropped part", (self.world.folder / "agent.log").read_text()))

    def wait(self, made: Made) -> float:
        began = time.monotonic()
        while not self.serves(made.manifest.version):
            assert time.monotonic() - began < _LIMIT_S, (self.world.folder / "agent.log").read_text()[-2000:]
            self.answer_needs()
            time.sleep(0.05)
        return time.monotonic() - began


def chunks(run: Run) -> Sequence[Figure]:
    folder = Path(tempfile.mkdtemp(prefix="litefleet-chunks-"))
    plant = _Plant(folder, random.Random(run.seed))
    try:
        return _measure(plant, run)
    finally:
        plant.world.close()
        shutil.rmtree(folder, ignore_errors=True)


def _measure(plant: _Plant, run: Run) -> Sequence[Figure]:
    world, seen = plant.world, _Seen()
    first = plant.make()
    world.controller.publish(first)
    world.start()
    world.controller.assign(first, probation_seconds=0.2)
    plant.wait(first)
    kinds = list(_SAMPLE) if run.sample else list(KINDS) * 6
    for kind in kinds:
        _try(plant, kind, seen)
    rows = world.answers()
    lost = sum(row["seq"] != n or "error" in row for n, row in enumerate(rows))
    wrong = sum(
        not np.allclose(row["output"], plant.answers[row["version"]][int(row["input"].split(".")[0])], atol=1e-4)
        for row in rows
        if "error" not in row
    )
    note = f"{len(kinds)} artifacts of {len(KINDS)} kinds, {seen.spoiled} spoiled parts, {len(rows)} answers"

    def figure(name: str, value: float, unit: str, goal: float, comparison: str = "==", **sides: float) -> Figure:
        return Figure(name, value, unit, goal, comparison, sides, run.seed, note)  # type: ignore[arg-type]

    return [
        figure("chunks: inferences lost", lost, "inferences", 0),
        figure("chunks: answers that no released model gives", wrong, "answers", 0),
        figure("chunks: spoiled parts that were not dropped and told of", seen.undropped, "parts", 0),
        figure("chunks: artifacts spoiled", len(kinds), "artifacts", 1 if run.sample else 60, ">="),
        figure(
            "chunks: until the board serves the artifact", max(seen.converged), "s", GOAL_S, "<=",
            mean=sum(seen.converged) / len(seen.converged),
        ),
    ]  # fmt: skip


def _try(plant: _Plant, kind: str, seen: _Seen) -> None:
    controller, older, made = plant.world.controller, plant.made[-1], plant.make()
    trial = Trial(made, older, plant.rng)
    before = plant.dropped()
    if kind == "late from an older artifact":
        _overtake(plant, trial)
    else:
        KINDS[kind](trial)
        plant.put(trial)
        controller.assign(made, probation_seconds=0.2)
    seen.converged.append(plant.wait(trial.made))
    seen.spoiled += trial.bad
    seen.undropped += max(0, trial.bad - (plant.dropped() - before))


def _overtake(plant: _Plant, trial: Trial) -> None:
    """One artifact is half there when another takes its place, and then the rest of the first comes."""
    controller, half = plant.world.controller, trial.made
    controller.publish(half, without=tuple(range(len(half.chunks) // 2, len(half.chunks))))
    controller.assign(half, probation_seconds=0.2)
    _until_received(plant, half)
    trial.made = plant.make()
    controller.publish(trial.made, without=tuple(range(3)))
    controller.assign(trial.made, probation_seconds=0.2)
    controller.publish(half)


def _until_received(plant: _Plant, made: Made) -> None:
    end = time.monotonic() + _LIMIT_S
    while time.monotonic() < end:
        report = plant.world.controller.reports()[-1]
        if report.counter == plant.world.controller.counter and report.slots["digits"].received_chunks:
            return
        time.sleep(0.02)
    raise AssertionError(f"{made.manifest.version} was never begun")
