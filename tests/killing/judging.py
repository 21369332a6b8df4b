"""Whether one life of an agent lost an inference or gave a wrong answer, by the lines that it left. Pure."""

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from litefleet_agent.state import Saved, SavedSlot
from litefleet_protocol.messages import Reported
from tests.killing.scenarios import INPUTS, Scenario

_SAME = 1e-5


@dataclass(frozen=True)
class Oracle:
    """What is right: outputs by model and input, and which digest is which model."""

    outputs: Mapping[str, Sequence[np.ndarray]]
    models: Mapping[str, str]


@dataclass(frozen=True)
class Verdict:
    answers: int
    wrong: list[str]
    lost: list[str]


def judge(
    slot: str, before: bytes, after: bytes, saved: SavedSlot | None, scenario: Scenario, oracle: Oracle
) -> Verdict:
    """A slot's answers file when an agent started and when it had ended, and what its pointer file said at first.

    The line that was being written when it ended, and the torn end of what a life before it wrote, are the kill's.
    """
    whole = before[: before.rfind(b"\n") + 1]
    lost = [] if after.startswith(whole) else ["lines that were there are gone"]
    lines, _torn = _lines(after[len(whole) :])
    wrong = []
    served = []
    for n, text in enumerate(lines):
        try:
            line = json.loads(text)
        except ValueError:
            lost.append(f"line {n} can't be read: {text[:120]!r}")
            continue
        if (line["seq"], line["input"]) != (n, f"{n % len(INPUTS)}.npy"):
            lost.append(f"input {n} is missing: {text[:120]!r}")
        if "error" in line:
            if slot not in scenario.errs or "BadOutput" not in line["error"]:
                lost.append(f"input {n} was not answered: {line['error']}")
            continue
        served.append(model := oracle.models.get(line["artifact"], "a stranger"))
        right = oracle.outputs.get(model)
        if right is None or not np.allclose(line["output"], right[n % len(INPUTS)].reshape(-1), rtol=0, atol=_SAME):
            wrong.append(f"input {n}, {model}: {line['output']}")
    return Verdict(len(served), wrong + _out_of_turn(slot, served, saved, scenario, oracle), lost)


def _lines(data: bytes) -> tuple[list[bytes], bytes]:
    *lines, torn = data.split(b"\n")
    return lines, torn


def _out_of_turn(
    slot: str, served: Sequence[str], saved: SavedSlot | None, scenario: Scenario, oracle: Oracle
) -> list[str]:
    """A model that never was to answer, or not yet, or not any more."""
    wrong = []
    allowed = {scenario.before.get(slot), scenario.after.get(slot)}
    if strangers := set(served) - allowed:
        wrong.append(f"{sorted(strangers)} answered")
    if saved is not None and saved.current is not None and served:
        proven = oracle.models[saved.current.digest]
        if served[0] != proven:
            wrong.append(f"{served[0]} answered first, {proven} is what was proven")
    changes = sum(a != b for a, b in itertools.pairwise(served))
    if changes > 1:
        wrong.append(f"went back and forth: {changes} changes")
    return wrong


def broken_promises(told: Reported | None, remembered: Saved) -> list[str]:
    """What the controller was told and a board that starts now no longer knows."""
    if told is None:
        return []
    followed, remembers = (told.epoch, told.counter), (remembered.epoch, remembered.counter)
    if followed != remembers:
        # What is newer than the report had been saved, and was about to be told.
        return [f"followed {followed}, remembers {remembers}"] if followed > remembers else []
    broken = []
    for name, slot in told.slots.items():
        kept = remembered.slots.get(name, SavedSlot())
        current = kept.current.digest if kept.current else None
        if slot.phase == "Updated" and current != slot.current:
            broken.append(f"{name}: proved {slot.current}, remembers {current}")
        if lost := set(slot.bad) - set(kept.bad):
            broken.append(f"{name}: forgot that {sorted(lost)} are bad")
        over = slot.desired in (current, *kept.bad)  # attempts are forgotten with the last one's outcome
        if not over and kept.attempts.get(slot.desired or "", 0) < slot.attempts:
            broken.append(f"{name}: forgot attempt {slot.attempts}")
    return broken


def forgotten_windows(kept: Sequence[tuple[str, int]], left: Sequence[tuple[str, int]]) -> list[str]:
    """Telemetry that was on the disk and isn't after a power cut; the last may have been under way to it."""
    return [f"telemetry {window} is gone" for window in kept[:-1] if window not in left]
