"""What the controller is told at its start, what it says when it can't start, and its sources of time and ids."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from litefleet_controller.sources.policy import SourcePolicy

WRITTEN = datetime(2026, 1, 1, tzinfo=UTC)
_REPLACED_WITHIN = timedelta(days=3653)


class StartError(Exception):
    """The controller can't start: one sentence, a stable code, what to do."""

    def __init__(self, message: str, code: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Settings:
    """What `litefleet up` was told."""

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 7443
    advertise: tuple[str, ...] = ()
    mqtt_port: int = 0
    sources: SourcePolicy = SourcePolicy()  # noqa: RUF009 - frozen
    """Where files are fetched from."""

    @property
    def local(self) -> str:
        """An address of this machine on which the controller reaches itself."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - compared, not bound

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names and addresses for certificates; boards are told the first."""
        return tuple(dict.fromkeys((*self.advertise, self.local, "localhost", "127.0.0.1")))


def utc_now() -> datetime:
    """The clock of everything that runs here."""
    return datetime.now(UTC)


def is_plausible(now: datetime) -> bool:
    """Whether a clock can be right at all: this program was written in 2026, and is replaced within ten years."""
    return WRITTEN <= now < datetime.fromtimestamp(Path(__file__).stat().st_mtime, UTC) + _REPLACED_WITHIN


def new_uid() -> str:
    """A uid for an object."""
    return str(uuid.uuid4())
