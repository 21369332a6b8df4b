"""Log-bucket histograms that merge exactly.

A value x > 0 falls in bucket ceil(log(x) / log(gamma)), gamma = (1 + a) / (1 - a), so that a bucket's representative
value is within relative error `a` of every value in it. This is the bucket mapping of DDSketch (Masson, Rim, Lee,
VLDB 2019) without its collapsing: the range below is bounded instead, hence merging is plain addition and exact.
Zero and what lies under `SMALLEST` count in their own bucket.
"""

import math
from collections.abc import Iterable

from msgspec import Struct

RELATIVE_ERROR = 0.01
SMALLEST = 1e-6
LARGEST = 1e9

_GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_LOG_GAMMA = math.log(_GAMMA)
_LOW = math.ceil(math.log(SMALLEST) / _LOG_GAMMA)
_HIGH = math.ceil(math.log(LARGEST) / _LOG_GAMMA)


class Histogram(Struct, frozen=True, array_like=True):
    """Counts by bucket, ready for the wire and for merging.

    `buckets` maps bucket index to count; `zeros` counts values below `SMALLEST`; `total` is the sum of the values,
    each at most `LARGEST`.
    """

    buckets: dict[int, int] = {}
    zeros: int = 0
    total: float = 0.0

    @property
    def count(self) -> int:
        """Number of values."""
        return self.zeros + sum(self.buckets.values())

    @property
    def mean(self) -> float:
        """Arithmetic mean; NaN when empty."""
        n = self.count
        return self.total / n if n else math.nan

    def quantile(self, q: float) -> float:
        """Value at rank q in [0, 1], within `RELATIVE_ERROR`; NaN when empty."""
        n = self.count
        if not n:
            return math.nan
        rank = q * (n - 1)
        seen = self.zeros
        if rank < seen:
            return 0.0
        for index in sorted(self.buckets):
            seen += self.buckets[index]
            if rank < seen:
                return bucket_value(index)
        return bucket_value(max(self.buckets))

    def is_sound(self) -> bool:
        """Whether a histogram from the wire has only possible buckets and counts, and a sum that they can have.

        A bound on the sum is what keeps a merge of many from overflowing.
        """
        return (
            0 <= self.zeros < 2**53
            and all(_LOW <= i <= _HIGH and 0 < c < 2**53 for i, c in self.buckets.items())
            and 0 <= self.total <= self.count * LARGEST * (1 + RELATIVE_ERROR)
        )


class HistogramBuilder:
    """Adds values one at a time; `freeze` hands the histogram out and starts anew. Not thread-safe."""

    __slots__ = ("_buckets", "_total", "_zeros")

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self._zeros = 0
        self._total = 0.0

    def add(self, value: float) -> bool:
        """Count `value`; False (and not counted) when it is negative, NaN or infinite."""
        if not 0 <= value < math.inf:
            return False
        self._total += min(value, LARGEST)
        if value < SMALLEST:
            self._zeros += 1
            return True
        index = bucket_index(value)
        self._buckets[index] = self._buckets.get(index, 0) + 1
        return True

    def freeze(self) -> Histogram:
        """The histogram of everything added since the last call."""
        made = Histogram(self._buckets, self._zeros, self._total)
        self._buckets, self._zeros, self._total = {}, 0, 0.0
        return made


def bucket_index(value: float) -> int:
    """The bucket of a value of at least `SMALLEST`; values past `LARGEST` share the last one."""
    return max(_LOW, min(_HIGH, math.ceil(math.log(value) / _LOG_GAMMA)))


def bucket_value(index: int) -> float:
    """The value that stands for a bucket: within `RELATIVE_ERROR` of all that fell in it."""
    return 2 * _GAMMA**index / (_GAMMA + 1)


def merge(histograms: Iterable[Histogram]) -> Histogram:
    """The histogram of all values of all `histograms`: exact, in whatever order."""
    buckets: dict[int, int] = {}
    zeros = 0
    totals: list[float] = []
    for histogram in histograms:
        zeros += histogram.zeros
        totals.append(histogram.total)
        for index, count in histogram.buckets.items():
            buckets[index] = buckets.get(index, 0) + count
    return Histogram(buckets, zeros, math.fsum(totals))
