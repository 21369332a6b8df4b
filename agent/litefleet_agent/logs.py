"""What the agent's modules say: a constant event name and fields, said once.

It goes to two loggers of the standard library. The module's own is for whoever looks at stderr, and obeys what the
program (or a person's own program, see `embed`) has set up there. The other feeds the journal, and takes everything
from INFO on whatever the first one shows. Said is what changes or goes wrong, never each inference.
"""

import logging
import math
import sys
import traceback

from litefleet_protocol.limits import MAX_LOG_TEXT
from litefleet_protocol.logline import text
from litefleet_protocol.messages import LogValue

JOURNAL = "litefleet_agent.journal"
"""The logger that only journals listen to."""
_journal = logging.getLogger(JOURNAL)
_journal.propagate = False
_journal.setLevel(logging.INFO)
_journal.addHandler(logging.NullHandler())  # or logging would print to stderr, as its last resort, what nobody takes


class EventLog:
    """One module's voice. Values that aren't plain become text."""

    def __init__(self, name: str) -> None:
        self._people = logging.getLogger(name)

    def debug(self, event: str, **fields: object) -> None:
        """For whoever looks for it; not journaled."""
        self._say(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: object) -> None:
        """A change of state."""
        self._say(logging.INFO, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Something went wrong, and the agent deals with it."""
        self._say(logging.WARNING, event, fields)

    def exception(self, event: str, **fields: object) -> None:
        """Something that nobody foresaw. Called where the exception is handled: a traceback goes with it."""
        self._say(logging.ERROR, event, fields, trace=True)

    def _say(self, level: int, event: str, fields: dict[str, object], *, trace: bool = False) -> None:
        plain = {key: _plain(value) for key, value in fields.items()}
        self._people.log(level, "%s", text(event, plain), exc_info=trace)
        if level < logging.INFO:
            return
        if trace:
            plain |= _cause(sys.exc_info()[1])
        _journal.log(level, event, extra={"fields": plain})


def _plain(value: object) -> LogValue:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return str(value)[:MAX_LOG_TEXT]


def _cause(error: BaseException | None) -> dict[str, LogValue]:
    """What a journal has room for of a traceback: what it was, and where it came from."""
    if error is None:
        return {}
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else ""
    return {"error": f"{type(error).__name__}: {error}"[:MAX_LOG_TEXT], "raisedAt": where}
