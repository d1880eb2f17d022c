"""How many attempts an endpoint can take at once, found out by trying: additive increase, multiplicative decrease.

Sources: Dah-Ming Chiu, Raj Jain, "Analysis of the Increase and Decrease Algorithms for Congestion Avoidance in
Computer Networks", 1989; for one decrease a round trip RFC 6582 (``recover``); for the share RFC 9438 (CUBIC); for
growth only while the limit is used Netflix's ``AIMDLimit`` (https://github.com/Netflix/concurrency-limits).
"""

import math

from repertory.providers.limits.slowness import Slowness

SHARE = 0.7  # of what was in flight is let in after a sign of overload


class AdaptiveConcurrency:
    """A limit of attempts in flight, at most ``ceiling``. It is ``ceiling`` until there is a sign of overload.

    A sign (a 429, a timeout, a row of slow answers) makes it ``SHARE`` of what was in flight, if that was more
    than one. Further signs from attempts that were under way by then are about the load before the decrease, and
    change nothing. A good answer raises it by one part in as many as it is high, so that a round of them adds 1, if
    at least half of it is used. Once it has grown to twice what is in flight it limits nobody, and is forgotten.

    Attempts are told apart by their number, in the order they were let in.

    Invariants: ``1 <= limit <= ceiling``; ``_recover`` is the number of the latest attempt let in before the last
    decrease, and ``_peak`` the most that were seen in flight since, up to the limit.

    Attributes:
        limit: Most attempts in flight; ``math.inf`` is no limit. A fraction is the way to the next one more.
    """

    __slots__ = ("_ceiling", "_peak", "_recover", "_slowness", "limit")

    def __init__(self, ceiling: float = math.inf) -> None:
        self._ceiling = ceiling
        self._slowness = Slowness()
        self._recover = 0
        self._peak = 0.0
        self.limit = ceiling

    def answered(self, number: int, seconds: float, tokens: int, in_flight: int, newest: int) -> None:
        """An attempt got a good answer.

        Args:
            number: Its number.
            seconds: How long it took.
            tokens: Read and written for it; 0 if unknown, and then nothing is learnt from the seconds.
            in_flight: Attempts that were in flight with it.
            newest: Number of the latest attempt let in.
        """
        if number <= self._recover:
            return
        if tokens > 0 and self._slowness.note(seconds, tokens):
            self.overloaded(number, in_flight, newest)
        elif self.limit < self._ceiling:
            self._grow(in_flight)

    def overloaded(self, number: int, in_flight: int, newest: int) -> None:
        """An attempt showed that the endpoint has too many; the arguments are those of ``answered``."""
        if number <= self._recover or in_flight <= 1:  # one alone is not too many
            return
        self.limit = max(1.0, math.floor(SHARE * min(in_flight, self.limit)))
        self._recover = newest
        self._peak = 0.0
        self._slowness.restart()

    def _grow(self, in_flight: int) -> None:
        if 2 * in_flight < self.limit:
            return
        self._peak = max(self._peak, min(in_flight, self.limit))
        self.limit += 1 / self.limit
        if self.limit > 2 * self._peak or self.limit > self._ceiling:
            self.limit = self._ceiling
