"""Requests a minute: aiolimiter's leaky bucket, asked on behalf of whoever is first in line.

aiolimiter lets late comers overtake those it is waking, and knows no priorities: so nobody waits inside of it.
"""

from aiolimiter import AsyncLimiter

MINUTE = 60.0
HALVINGS = 16


class RequestRate:
    """Lets at most ``requests_per_minute`` through in any minute, spread over it.

    At most a sixtieth of them, and at least one, may come as a burst. The time is the running loop's, as
    aiolimiter knows no other.
    """

    __slots__ = ("_limiter", "_spacing")

    def __init__(self, requests_per_minute: float) -> None:
        self._limiter = _spread(requests_per_minute)
        self._spacing = self._limiter.time_period / self._limiter.max_rate

    def seconds_until(self, requests: int = 1) -> float:
        """Seconds until that many requests have been let through if each goes as soon as it may; 0 is now."""
        return (requests - self._free(min(requests, self._limiter.max_rate))) * self._spacing

    def take(self) -> None:
        """Let a request through. There must be room for it: ``seconds_until()`` is 0."""
        passing = self._limiter.acquire()
        try:
            passing.send(None)
        except StopIteration:  # it did not have to wait
            return
        raise RuntimeError("a request was let through before its time")

    def _free(self, wanted: float) -> float:
        """How much room there is, at most ``wanted``; a trifle less where there is not as much."""
        has_capacity = self._limiter.has_capacity
        if has_capacity(wanted):
            return wanted
        # aiolimiter says whether an amount fits, not how much does: that is found by halving.
        fits, exceeds = 0.0, wanted
        for _ in range(HALVINGS):
            middle = (fits + exceeds) / 2
            if has_capacity(middle):
                fits = middle
            else:
                exceeds = middle
        return fits


def _spread(requests_per_minute: float) -> AsyncLimiter:
    """A bucket that lets at most ``requests_per_minute`` through in any minute, the worst one included.

    A bucket of ``burst`` that refills ``r`` a second lets ``burst + 60 * r - 1`` through in a minute that starts
    with a full bucket; solved for ``r``.
    """
    burst = max(1.0, requests_per_minute // MINUTE)
    per_second = (requests_per_minute - burst + 1) / MINUTE
    return AsyncLimiter(burst, burst / per_second)
