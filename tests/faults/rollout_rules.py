"""What a rollout may never have done, read off what was committed and what boards answered. Pure."""

import itertools
import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from tests.faults.audit import Transaction
from tests.faults.shipped import PAUSE_S, STEPS, weight

Json = dict[str, Any]
_PAUSES = [n for n, step in enumerate(STEPS) if "pause" in step]


def broken_rules(committed: Sequence[Transaction], target: str, boards: int) -> list[str]:
    """What was wrong on the way to `target` on `boards` boards; each in a sentence."""
    return [
        *_wrong_versions(committed, target),
        *_steps(committed, target),
        *_weights(committed, target, boards),
        *_short_pauses(committed, target),
        *_epochs(committed),
    ]


def _wrong_versions(committed: Sequence[Transaction], target: str) -> Iterator[str]:
    for transaction in committed:
        for board, version in transaction.assigned.items():
            if version != target:
                yield f"{board} was commanded to {version}"


def _statuses(committed: Sequence[Transaction], target: str) -> list[Json]:
    return [t.rollout for t in committed if t.rollout is not None and t.rollout.get("targetVersion") == target]


def _steps(committed: Sequence[Transaction], target: str) -> Iterator[str]:
    indices = [s["currentStepIndex"] for s in _statuses(committed, target) if s.get("currentStepIndex") is not None]
    seen = [index for index, _ in itertools.groupby(indices)]
    if seen != list(range(len(STEPS) + 1)):
        yield f"went through the steps {seen}"


def _weights(committed: Sequence[Transaction], target: str, boards: int) -> Iterator[str]:
    commanded: set[str] = set()
    step: int | None = None
    for transaction in committed:
        status = transaction.rollout
        if status is not None and status.get("targetVersion") == target:
            step = status.get("currentStepIndex")
        commanded |= {board for board, version in transaction.assigned.items() if version == target}
        allowed = math.ceil(boards * weight(step) / 100)
        if len(commanded) > allowed:
            yield f"{len(commanded)} of {boards} boards commanded at step {step}, which allows {allowed}"


def _short_pauses(committed: Sequence[Transaction], target: str) -> Iterator[str]:
    began = {s.get("currentStepIndex"): s.get("stepStartedAt") for s in _statuses(committed, target)}
    for step in _PAUSES:
        start, end = began.get(step), began.get(step + 1)
        if start and end and (_time(end) - _time(start)).total_seconds() < PAUSE_S:
            yield f"paused from {start} to {end} only"


def _epochs(committed: Sequence[Transaction]) -> Iterator[str]:
    epochs = [epoch for t in committed for epoch in t.epochs]
    if epochs != sorted(set(epochs)):
        yield f"epochs did not rise: {epochs}"


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def wrong_answers(answers: Sequence[Json], before: str | None, target: str) -> list[str]:
    """What was wrong with a board's answers from when it served `before` (None: nothing) to when it serves `target`."""
    found = [f"answer {row['seq']} failed: {row['error']}" for row in answers if "error" in row]
    found += [
        f"answers between {a['seq']} and {b['seq']} are missing"
        for a, b in itertools.pairwise(answers)
        if b["seq"] != a["seq"] + 1
    ]
    versions = [version for version, _ in itertools.groupby(row["version"] for row in answers if "version" in row)]
    if versions != [v for v in (before, target) if v]:
        found.append(f"served {versions}")
    return found


def ending(status: Json, target: str) -> Json:
    """What must be the same however often the controller died on the way."""
    kept = ("phase", "message", "targetVersion", "currentStepIndex", "pauseReason", "aborted", "classes")
    text = {key: status.get(key) for key in kept}
    return _named(text, target)


def _named(value: Any, target: str) -> Any:
    if isinstance(value, dict):
        return {k: _named(v, target) for k, v in value.items()}
    if isinstance(value, list):
        return [_named(v, target) for v in value]
    return value.replace(target, "TARGET") if isinstance(value, str) else value
