"""The latest outcomes of calls, so many at most and none too old: what a breaker's rates are taken over."""

from collections import deque


class OutcomeWindow:
    """How many calls ended lately, and how many of these failed or were slow.

    Nearly all outcomes are good, so one of these costs an append and an addition; the bad ones pay for counting.

    Invariants: ``_times`` holds, oldest first, when the latest outcomes came; ``forget`` takes out the old ones.
    Outcomes are numbered from 1 and ``_noted`` is the latest's number, so ``_noted - len(_times)`` is that of the
    last to have left. ``_bad`` holds, oldest first, ``(number, failed, slow)`` of the bad ones; ``failures`` and
    ``slow`` count these. After ``forget`` it holds none that has left.

    Args:
        calls: Most outcomes it holds; the oldest leave first.
        seconds: Outcomes of this age have left.
    """

    __slots__ = ("_bad", "_noted", "_seconds", "_times", "failures", "slow")

    def __init__(self, calls: int, seconds: float) -> None:
        self._seconds = seconds
        self._times: deque[float] = deque(maxlen=calls)
        self._bad: deque[tuple[int, bool, bool]] = deque()
        self._noted = 0
        self.failures = 0
        self.slow = 0

    def __len__(self) -> int:
        return len(self._times)

    def note_good(self, now: float) -> None:
        """Count a call that succeeded, and not slowly."""
        self._noted += 1
        self._times.append(now)

    def note_bad(self, now: float, *, failed: bool, slow: bool) -> None:
        """Count a call that failed, was slow, or both, and forget what has left the window."""
        self._noted += 1
        self._times.append(now)
        self._bad.append((self._noted, failed, slow))
        self.failures += failed
        self.slow += slow
        self.forget(now)

    def forget(self, now: float) -> None:
        """Let go of the outcomes that have left the window by ``now``."""
        times, bad = self._times, self._bad
        horizon = now - self._seconds
        while times and times[0] <= horizon:
            times.popleft()
        gone = self._noted - len(times)
        while bad and bad[0][0] <= gone:
            _, failed, slow = bad.popleft()
            self.failures -= failed
            self.slow -= slow

    def clear(self) -> None:
        """Let go of all outcomes."""
        self._times.clear()
        self._bad.clear()
        self.failures = self.slow = 0
