"""Times that are yet to come: they were noted while the controller's clock ran ahead. Pure.

A board or server without a battery for its clock starts anywhere, 2061 included, and is set right later. A pause that
began in 2061 would then last for decades, a board that was commanded then would never be given up, and an analysis
would wait for telemetry from the future. Every decision therefore looks at a view without such times: what is said to
have begun later than now begins now, and the status that comes of it remembers that.
"""

from dataclasses import replace
from datetime import datetime

from litefleet_controller.resources.rollout import AnalysisStatus, ModelRolloutStatus
from litefleet_controller.rollout.view import Board, RolloutView


def without_future(view: RolloutView, now: datetime) -> RolloutView:
    """The view with no time in it after `now`; the very same view when there is none."""
    status = _status(view.status, now)
    # Assignments aren't written for this: one from the future counts from the last moment that the status is sure of.
    sure = max((at for at in (status.started_at, status.step_started_at) if at is not None), default=now)
    boards = [_board(board, sure, now) for board in view.boards]
    if status is view.status and all(new is old for new, old in zip(boards, view.boards, strict=True)):
        return view
    return replace(view, status=status, boards=boards)


def _status(status: ModelRolloutStatus, now: datetime) -> ModelRolloutStatus:
    changed: dict[str, object] = {
        name: now
        for name in ("started_at", "step_started_at")
        if (at := getattr(status, name)) is not None and at > now
    }
    for name in ("analysis", "background_analysis"):
        found: AnalysisStatus | None = getattr(status, name)
        if found is not None and (earlier := _analysis(found, now)) is not found:
            changed[name] = earlier
    return status.model_copy(update=changed) if changed else status


def _analysis(found: AnalysisStatus, now: datetime) -> AnalysisStatus:
    runs = [
        r.model_copy(update={"last_look_at": now}) if r.last_look_at is not None and r.last_look_at > now else r
        for r in found.runs
    ]
    if found.started_at <= now and all(new is old for new, old in zip(runs, found.runs, strict=True)):
        return found
    return found.model_copy(update={"started_at": min(found.started_at, now), "runs": runs})


def _board(board: Board, sure: datetime, now: datetime) -> Board:
    if board.assigned_at is None or board.assigned_at <= now:
        return board
    return replace(board, assigned_at=sure)
