"""What the demo says while it runs: a line when something is done, and on a terminal what it waits for meanwhile."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.text import Text

LONGEST = 180
"""Characters of a waiting line: a status can name every class and metric, the end says it all."""


QUIET_S = 5.0
"""Between two lines about the same wait where there is no terminal, so that a log stays readable."""


class Teller:
    """Tells the story on stderr or stdout, with the seconds since it began."""

    def __init__(self, out: TextIO | None = None) -> None:
        stream = out or sys.stdout
        # Whoever reads a file or a log has no width: the table at the end needs this much.
        self._console = Console(
            file=stream, highlight=False, soft_wrap=True, markup=False, width=None if stream.isatty() else 140
        )
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began

    @property
    def console(self) -> Console:
        """For the table at the end."""
        return self._console

    def chapter(self, title: str) -> None:
        """A new part of the story."""
        self._console.print(f"\n{title}", style="bold")

    def say(self, text: str) -> None:
        """A thing that happened."""
        self._console.print(Text.assemble((f"{self.seconds:6.1f}s  ", "dim"), text))

    @contextmanager
    def waiting(self, text: str) -> Iterator["Waiting"]:
        """Show what is waited for: a line that changes on a terminal, or a new line when the text changes elsewhere."""
        waiting = Waiting(self, self._console, text)
        try:
            yield waiting
        finally:
            waiting.end()


class Waiting:
    """A wait that can say how far it is."""

    def __init__(self, teller: Teller, console: Console, text: str) -> None:
        self._teller = teller
        self._status = console.status(text) if console.is_terminal else None
        self._last = ""
        self._said_at = -QUIET_S
        if self._status is not None:
            self._status.start()
        else:
            self.update(text)

    def update(self, text: str) -> None:
        """What it is about now."""
        text = text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
        if text == self._last:
            return
        self._last = text
        if self._status is not None:
            self._status.update(text)
        elif self._teller.seconds - self._said_at >= QUIET_S:
            self._said_at = self._teller.seconds
            self._teller.say(f"... {text}")

    def end(self) -> None:
        """It is over."""
        if self._status is not None:
            self._status.stop()
