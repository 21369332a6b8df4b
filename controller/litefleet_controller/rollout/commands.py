"""What the boards are to be told now, within the budget.

Going back is the same command as going forward, with the stable version in it. A board is emptied only when its class
has nothing to go back to and this rollout put the aborted target on it.
"""

from collections.abc import Iterable

from litefleet_controller.resources.rollout import ModelRolloutStatus, RolloutClass
from litefleet_controller.rollout.budget import Wish, grant, in_flight, limit
from litefleet_controller.rollout.cohort import stable_artifact
from litefleet_controller.rollout.scene import Scene
from litefleet_controller.rollout.view import Board, Command


def commands(scene: Scene, status: ModelRolloutStatus) -> list[Command]:
    """In the order in which they are to be given."""
    wishes = [w for entry in status.classes for w in _wishes(scene, status, entry)]
    if not wishes:
        return []
    return grant(wishes, limit=limit(scene.view, scene.fleet), busy=in_flight(scene.view, scene.fleet, scene.now))


def _wishes(scene: Scene, status: ModelRolloutStatus, entry: RolloutClass) -> list[Wish]:
    if entry.state in ("Aborted", "Refused"):
        boards = [b for b in scene.fleet.by_class.get(entry.device_class, ()) if _must_return(scene, status, entry, b)]
        return _numbered(boards, (_back(scene, entry, b) for b in boards), back=True)
    if entry.state == "Waiting" or scene.is_held(status):
        return []
    front = scene.front(status, entry)
    again = _numbered(front.leftover, (_back(scene, entry, b) for b in front.leftover), back=True)
    return again + _numbered(front.missing, (_forward(scene, entry, b) for b in front.missing), back=False)


def _numbered(boards: Iterable[Board], told: Iterable[Command], *, back: bool) -> list[Wish]:
    return [Wish(b, c, back, rank) for rank, (b, c) in enumerate(zip(boards, told, strict=True))]


def _must_return(scene: Scene, status: ModelRolloutStatus, entry: RolloutClass, board: Board) -> bool:
    if not entry.stable:
        ours = board.assigned_by == scene.view.name and board.assigned_version == scene.view.target
        return entry.state == "Aborted" and ours
    artifact = stable_artifact(scene.view, entry)
    if not artifact or (board.assigned_version, board.assigned_artifact) == (entry.stable, artifact):
        return False
    is_new = not board.assigned_version and not scene.is_held(status)
    return is_new or (bool(board.assigned_version) and board.assigned_by == scene.view.name)


def _back(scene: Scene, entry: RolloutClass, board: Board) -> Command:
    return Command(board.name, entry.stable, stable_artifact(scene.view, entry), "", entry.device_class)


def _forward(scene: Scene, entry: RolloutClass, board: Board) -> Command:
    artifact = scene.view.versions[scene.view.target, entry.device_class].artifact
    fallback = "" if entry.stable == scene.view.target else stable_artifact(scene.view, entry)
    return Command(board.name, scene.view.target, artifact, fallback, entry.device_class)
