"""The quantiles of the latest latencies of one endpoint."""

import math
from bisect import bisect_left, insort
from collections import deque


class LatencyWindow:
    """Exact quantiles of the last ``size`` samples; the oldest leaves when a new one comes.

    Invariant: ``_latest`` and ``_sorted`` hold the same samples, by age and by length.

    Args:
        size: Most samples kept, above 0.
        least: Fewer samples than this say nothing.
    """

    __slots__ = ("_latest", "_least", "_size", "_sorted")

    def __init__(self, size: int = 200, least: int = 20) -> None:
        self._size = size
        self._least = least
        self._latest: deque[float] = deque()
        self._sorted: list[float] = []

    def add(self, seconds: float) -> None:
        """Take in one sample."""
        if len(self._latest) == self._size:
            oldest = self._latest.popleft()
            del self._sorted[bisect_left(self._sorted, oldest)]
        self._latest.append(seconds)
        insort(self._sorted, seconds)

    def quantile(self, share: float) -> float | None:
        """The least sample that at least ``share`` of all do not exceed; None while there are too few.

        Args:
            share: Above 0 and at most 1.
        """
        count = len(self._sorted)
        if count < self._least:
            return None
        return self._sorted[math.ceil(share * count) - 1]
