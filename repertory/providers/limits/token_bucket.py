"""Tokens a minute: a bucket that is filled evenly, reserved from before a call and settled after it.

Source: the algorithm the providers name, https://docs.anthropic.com/en/api/rate-limits ("token bucket algorithm";
capacity is replenished continuously up to the limit).
"""

from repertory.clock import Clock

MINUTE = 60.0
TRIFLE = 1e-9  # of the size; less than that is missing only because of rounding


class TokenBucket:
    """Holds at most a minute's worth of tokens; full at first.

    What a call takes is an estimate: once its use is known, what was too much comes back and what was too little
    becomes a debt, which later calls wait for. A call that wants more than the bucket holds gets through when the
    bucket is full, and leaves a debt: it would wait for ever otherwise.

    Invariant: ``_level`` at ``_at``, plus what has flowed in since, up to ``size``, is what is there. Within any
    ``s`` seconds at most ``size * (1 + s / 60)`` are taken, but for the excess of calls larger than the bucket and
    of calls whose estimates were too low.
    """

    __slots__ = ("_at", "_clock", "_level", "_per_second", "size")

    def __init__(self, tokens_per_minute: float, clock: Clock) -> None:
        self.size = tokens_per_minute
        self._per_second = tokens_per_minute / MINUTE
        self._clock = clock
        self._level = tokens_per_minute
        self._at = clock.monotonic()

    @property
    def level(self) -> float:
        """Tokens there are; below 0, those owed."""
        self._fill()
        return self._level

    def seconds_until(self, tokens: int, before: int = 0) -> float:
        """Seconds until ``take(tokens)`` may be called if others take ``before`` first; 0 is now."""
        self._fill()
        missing = before + min(tokens, self.size) - self._level
        return missing / self._per_second if missing > TRIFLE * self.size else 0.0

    def take(self, tokens: int) -> None:
        """Reserve tokens."""
        self._fill()
        self._level -= tokens

    def settle(self, reserved: int, used: int) -> None:
        """Replace what a call took by what it used."""
        self._fill()
        self._level += reserved - used  # what is beyond the size flows over the next time anybody looks

    def _fill(self) -> None:
        now = self._clock.monotonic()
        level = self._level + (now - self._at) * self._per_second
        self._level = level if level < self.size else self.size
        self._at = now
