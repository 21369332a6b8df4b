"""What is asked of the boards' logs, by people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from litefleet_protocol.messages import LogValue


@dataclass(frozen=True, slots=True)
class LogLine:
    """One entry of a board's log."""

    id: int
    """Grows in the order in which the board's entries were stored, which is the board's own."""
    at: datetime
    """When it happened, as well as can be known: by the board's clock where that is to be believed, else at receipt."""
    received_at: datetime
    boot_id: str
    sequence: int
    monotonic: float
    clock_trusted: bool
    level: str
    event: str
    fields: Mapping[str, LogValue]


class BoardLogs(Protocol):
    """Queries. Oldest first."""

    async def tail(
        self, namespace: str, device: str, *, lines: int, since: datetime | None = None
    ) -> Sequence[LogLine]:
        """The last `lines` entries, of those that happened at `since` or later."""
        ...

    async def after(self, namespace: str, device: str, line: int, *, lines: int) -> Sequence[LogLine]:
        """The next `lines` entries behind the one with the id `line`."""
        ...
