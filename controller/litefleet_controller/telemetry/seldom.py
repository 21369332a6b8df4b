"""Log lines that come seldom: a board that errs does so in everything that it sends."""

import time
from collections.abc import Callable

_EVERY_S = 10.0


class Seldom:
    """Whether it is time for another line about something."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._silent_until: dict[str, float] = {}

    def may_speak(self, about: str) -> bool:
        """Whether nothing was said of it for a while; if so, something is now."""
        now = self._monotonic()
        if now < self._silent_until.get(about, 0.0):
            return False
        self._silent_until[about] = now + _EVERY_S
        return True
