"""Where one board stands towards one version, read from what it was commanded and what it last said.

Everything that counts boards (cohorts, budget, thresholds, messages) counts these, so that the words mean the same
everywhere. Who commands what is decided elsewhere.
"""

from datetime import datetime, timedelta
from enum import StrEnum

from litefleet_controller.rollout.view import Board
from litefleet_protocol.messages import Phase


class Standing(StrEnum):
    """Towards the version in question. All but APART and PROGRESSING are terminal."""

    APART = "Apart"
    """Not commanded to it."""
    PROGRESSING = "Progressing"
    UPDATED = "Updated"
    FAILED = "Failed"
    TIMED_OUT = "TimedOut"
    """Neither, for longer than deviceTimeoutSeconds. Becomes UPDATED or FAILED when the board comes back."""


def standing(board: Board, version: str, artifact: str, now: datetime, timeout_s: float) -> Standing:
    """Of `board` towards `version` as `artifact` (empty: whichever artifact it was commanded)."""
    if not board.assigned_artifact or board.assigned_version != version:
        return Standing.APART
    if artifact and board.assigned_artifact != artifact:
        return Standing.APART
    return assigned_standing(board, now, timeout_s)


def assigned_standing(board: Board, now: datetime, timeout_s: float) -> Standing:
    """Of `board` towards whatever it is commanded to run. What it says of another artifact is an old report."""
    if not board.assigned_artifact:
        return Standing.APART
    if board.desired_artifact == board.assigned_artifact:
        if board.phase == Phase.UPDATED:
            return Standing.UPDATED
        if board.phase == Phase.FAILED:
            return Standing.FAILED
    return Standing.TIMED_OUT if is_overdue(board, now, timeout_s) else Standing.PROGRESSING


def is_overdue(board: Board, now: datetime, timeout_s: float) -> bool:
    """Whether its last command is older than deviceTimeoutSeconds."""
    return board.assigned_at is not None and now >= board.assigned_at + timedelta(seconds=timeout_s)


def says_failed(board: Board, artifact: str) -> bool:
    """Whether its last report is a failure of `artifact`.

    Until it reports anything else, commanding `artifact` again could not be told from the failure before.
    """
    return bool(artifact) and board.desired_artifact == artifact and board.phase == Phase.FAILED
