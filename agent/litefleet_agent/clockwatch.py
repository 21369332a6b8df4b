"""Notices that the wall clock was set: by a person, by NTP after a start in 1970, or while the board slept. Pure."""

LEAST_S = 5.0
"""Less is drift that NTP smooths, and a main loop that was late."""


class ClockWatch:
    """Compares what both clocks say has passed."""

    def __init__(self, least_s: float = LEAST_S) -> None:
        self._least_s = least_s
        self._apart: float | None = None

    def look(self, wall: float, monotonic: float) -> float | None:
        """Seconds that the wall clock has jumped since the last look, forward positive; None when it hasn't."""
        apart = wall - monotonic
        before, self._apart = self._apart, apart
        if before is None or abs(apart - before) < self._least_s:
            return None
        return apart - before
