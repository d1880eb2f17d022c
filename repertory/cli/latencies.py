"""Latencies: percentiles of any number of durations in constant memory.

Beyond the first ones it is DDSketch (Masson, Rim, Lee: "DDSketch: A Fast and Fully-Mergeable Quantile Sketch with
Relative-Error Guarantees", VLDB 2019): durations are counted in buckets that grow geometrically.
"""

from array import array
from collections import Counter
from math import ceil, log
from statistics import quantiles

EXACT = 10_000  # durations kept as they are
ERROR = 0.005  # of a percentile of more than those, relative
SHORTEST = 1e-6  # seconds; what is shorter counts as this
LONGEST = 1e6  # seconds; what is longer counts as this

_GROWTH = (1 + ERROR) / (1 - ERROR)  # of each bucket over the one before
_LOG_GROWTH = log(_GROWTH)


class Latencies:
    """Durations in seconds.

    Invariant: ``_buckets`` counts every duration once, in at most some 2,800 buckets; ``_first`` holds them
    all, as long as they are no more than `EXACT`.
    """

    def __init__(self) -> None:
        self.count = 0
        self._first = array("d")
        self._buckets: Counter[int] = Counter()

    @property
    def exact(self) -> bool:
        """Whether percentiles are exact, not within `ERROR`."""
        return self.count <= EXACT

    def record(self, seconds: float) -> None:
        """Count one duration."""
        self.count += 1
        if self.count <= EXACT:
            self._first.append(seconds)
        elif self._first:
            del self._first[:]
        self._buckets[ceil(log(min(max(seconds, SHORTEST), LONGEST)) / _LOG_GROWTH)] += 1

    def percentile(self, percent: int) -> float:
        """Seconds that ``percent`` (1 to 99) of the durations took at most; 0 where there are none.

        An exact one is interpolated between the two durations it falls between; one of many is that of the
        duration at its rank, within `ERROR`.
        """
        if self.count <= 1:
            return sum(self._first)
        if self.exact:
            return quantiles(self._first, n=100, method="inclusive")[percent - 1]
        remaining = ceil(percent / 100 * self.count)
        for bucket in sorted(self._buckets):
            remaining -= self._buckets[bucket]
            if remaining <= 0:
                # Bucket i holds what is above growth ** (i - 1), up to growth ** i.
                return 2 * _GROWTH**bucket / (_GROWTH + 1)
        raise AssertionError("unreachable: the buckets hold every duration")
