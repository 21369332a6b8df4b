"""Which assignment put an artifact into a board's slot, from memory.

Filled by desired.py with what it publishes; asked for each report and each telemetry window, which name artifacts only.
"""

from collections.abc import Sequence

from litefleet_controller.store.interface import Assignment


class AssignedView:
    """Assignments as last published, by board and slot."""

    def __init__(self) -> None:
        self._boards: dict[str, dict[str, Assignment]] = {}

    def keep(self, device: str, assignments: Sequence[Assignment]) -> None:
        """These are the board's assignments now."""
        self._boards[device] = {a.slot: a for a in assignments}

    def forget(self, device: str) -> None:
        """The board is no more."""
        self._boards.pop(device, None)

    def rollout_of(self, device: str, slot: str, artifact: str) -> str | None:
        """Name of the ModelRollout, None when `artifact` isn't what is assigned there."""
        found = self._find(device, slot, artifact)
        return found.rollout if found is not None else None

    def version_of(self, device: str, slot: str, artifact: str) -> str:
        """Name of the ModelVersion, empty when `artifact` isn't what is assigned there."""
        found = self._find(device, slot, artifact)
        return found.version if found is not None else ""

    def _find(self, device: str, slot: str, artifact: str) -> Assignment | None:
        found = self._boards.get(device, {}).get(slot)
        return found if found is not None and found.artifact == artifact else None
