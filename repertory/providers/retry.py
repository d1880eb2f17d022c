"""When a failed attempt is repeated: exponential back-off with full jitter.

Source: "Exponential Backoff and Jitter", AWS Architecture Blog, 2015 ("full jitter").
"""

from dataclasses import dataclass
from random import Random

from repertory.errors import RepertoryError


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Decides whether and when another attempt follows a failure; it waits for nothing itself.

    Args:
        rng: Source of the jitter.
        attempts: Most attempts a call makes, the first included; at least 1.
        base: Upper bound, in seconds, of the wait before the second attempt; it doubles with each further one.
        cap: The bound never grows beyond this.
    """

    rng: Random
    attempts: int = 3
    base: float = 0.25
    cap: float = 8.0

    def delay_before(self, attempt: int, error: RepertoryError, now: float, deadline: float) -> float | None:
        """Return the seconds to wait before making attempt number ``attempt``, or None to give up.

        The failing side's ``retry_after`` is a floor; the jitter comes on top of it, or all who were told the
        same would return at the same moment. Gives up if the attempt would start at the deadline or later.

        Args:
            attempt: Number of the attempt in question, so at least 2.
            error: Why the attempt before it failed.
            now: The present, on ``Clock.monotonic()``.
            deadline: When the caller stops waiting, on the same clock.
        """
        if attempt > self.attempts or not error.retryable:
            return None
        # The exponent is bounded because 2.0**1024 overflows long before anybody makes so many attempts.
        bound = min(self.cap, self.base * 2.0 ** min(attempt - 2, 64))
        delay = (error.retry_after or 0.0) + self.rng.uniform(0, bound)
        return delay if now + delay < deadline else None
