"""What is left of a provider's own limits, by its announcements and by what was sent since."""

import math

from repertory.clock import Clock
from repertory.providers.limits.announced import Allowance, Announced

LONGEST_WAIT = 300.0  # seconds; whoever announces a later reset is asked again by then
MINUTE = 60.0


class Quotas:
    """Whether the provider has enough left for the next request.

    Where it has not, the request waits for the announced reset. OpenAI and Anthropic replenish evenly and mean by
    reset that all is there again, so that less waiting would often do; but others that use the same headers
    replenish all at once, and refuse who comes early. Nothing is lost meanwhile: what is not used is saved up.

    A provider counts a request when it comes in. What it announces in the answer is therefore reduced by all that
    was sent after that request, and a later request's answer is worth more than an earlier one's that comes late.
    """

    __slots__ = ("_clock", "_heard", "_input", "_output", "_requests", "_tokens")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heard = 0  # number of the latest request whose answer counted
        self._requests: _Quota | None = None
        self._tokens: _Quota | None = None
        self._input: _Quota | None = None
        self._output: _Quota | None = None

    @property
    def requests_left(self) -> int | None:
        """Requests that may still be sent before the reset; None if nothing limits them."""
        quota = self._requests
        return quota.left_at(self._clock.monotonic()) if quota is not None else None

    def heed(self, announced: Announced, number: int, requests_since: int, tokens_since: int) -> None:
        """Take in what the answer to a request announced.

        Args:
            announced: What it said.
            number: The request's, in the order they were sent.
            requests_since: How many were sent after it.
            tokens_since: How many tokens were reserved for those.
        """
        if number < self._heard:
            return
        self._heard = number
        now = self._clock.monotonic()
        self._requests = _heeded(self._requests, announced.requests, requests_since, now)
        self._tokens = _heeded(self._tokens, announced.tokens, tokens_since, now)
        # How a reservation divides into these two is not known: they count only where nothing at all is left.
        self._input = _heeded(self._input, announced.input_tokens, 0, now)
        self._output = _heeded(self._output, announced.output_tokens, 0, now)

    def take(self, tokens: int) -> None:
        """Count a request that is sent, and the tokens reserved for it."""
        if self._requests is not None:
            self._requests.left -= 1
        if self._tokens is not None:
            self._tokens.left -= tokens

    def seconds_until(self, tokens: int) -> float:
        """Seconds until a request with that many tokens may be sent; 0 is now."""
        now = self._clock.monotonic()
        wait = 0.0
        if self._requests is not None:
            wait = self._requests.seconds_until(1, now)
        if self._tokens is not None:
            wait = max(wait, self._tokens.seconds_until(max(1, tokens), now))
        if self._input is not None:
            wait = max(wait, self._input.seconds_until(1, now))
        if self._output is not None:
            wait = max(wait, self._output.seconds_until(1, now))
        return wait


class _Quota:
    """What is left of one limit until ``reset``; then all of it is there again, for a minute at a time."""

    __slots__ = ("left", "limit", "reset")

    def __init__(self, left: float, limit: float, reset: float) -> None:
        self.left = left
        self.limit = limit
        self.reset = reset

    def left_at(self, now: float) -> int | None:
        self._renew(now)
        return max(0, int(self.left)) if self.left < math.inf else None

    def seconds_until(self, amount: int, now: float) -> float:
        self._renew(now)
        # One request may want more than there ever is: it goes when all is there.
        return 0.0 if self.left >= min(amount, self.limit) else self.reset - now

    def _renew(self, now: float) -> None:
        if now >= self.reset:
            self.left = self.limit
            self.reset = now + MINUTE


def _heeded(known: _Quota | None, said: Allowance | None, since: int, now: float) -> _Quota | None:
    if said is None or said.resets_in is None:  # without a reset nobody knows how long to wait
        return known
    limit = said.limit if said.limit else math.inf
    return _Quota(said.remaining - since, limit, now + min(said.resets_in, LONGEST_WAIT))
