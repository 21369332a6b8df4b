"""How long to wait before the next attempt at something that ought to run all the time. Pure.

Doubling alone remembers too much: a broker that was lost a few times in an hour, or a link that comes and goes, would
be kept down ever longer although each attempt succeeds at once. So what came about is forgiven: whoever ran for a while
waits no longer than that, and after `steady_s` as if nothing had happened. What ends at once, again and again, still
waits ever longer. Called by the broker's supervisor and by the link.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds, all of them."""

    first_s: float
    longest_s: float
    steady_s: float
    """Running this long makes the next wait the first again."""

    def failed(self, last_s: float) -> float:
        """The wait after an attempt that came to nothing; `last_s` is the wait before it, nought for the first."""
        return min(max(self.first_s, last_s * 2), self.longest_s)

    def ended(self, last_s: float, ran_s: float) -> float:
        """The wait after something that ran for `ran_s`."""
        if ran_s >= self.steady_s:
            return self.first_s
        return min(self.failed(last_s), max(self.first_s, ran_s))
