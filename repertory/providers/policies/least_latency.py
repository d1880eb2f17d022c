"""Least latency: of two candidates drawn at random, the one that is quicker and less busy.

Sources: Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", IEEE TPDS 2001; the estimate is the
peak-sensitive moving average of Finagle ("Peak EWMA").
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from repertory.clock import Clock
from repertory.errors import ConfigError
from repertory.providers.candidate import Candidate
from repertory.providers.messages import LMRequest
from repertory.providers.policies.policy import Order, Outcome, led_by, parted
from repertory.providers.policies.sticky import Homes

UNPROVEN = 1e9  # seconds: until the first call of a candidate has returned, no second one is sent its way
FIRST_FAILURE = 1.0  # seconds: what is held of a candidate that has failed and never answered
WORST = 60.0  # seconds: failures alone bring no estimate above this


@dataclass(frozen=True, slots=True)
class LeastLatency:
    """Asks first whoever has the shorter estimated wait of two drawn at random, the other of the two next.

    Two, and not the best of all: where many callers pick the best at the same moment, they all pick the same.

    Args:
        decay: Seconds after which an estimate has lost 63 % of its weight.

    Raises ConfigError if ``decay`` is not a number above 0.
    """

    decay: float = 10.0

    def __post_init__(self) -> None:
        if not (self.decay > 0 and math.isfinite(self.decay)):
            raise ConfigError(f"LeastLatency: decay = {self.decay}: expected a number of seconds above 0")

    def over(self, names: Sequence[str], clock: Clock, rng: Random) -> Order:
        """Return what learns how quick these are."""
        estimates = {name: PeakEwma(clock, self.decay) for name in names}
        return ByWait(estimates, rng, Homes(dict.fromkeys(names, 1)))


class PeakEwma:
    """How long a call is likely to take at one candidate, from those that ended and those under way.

    A failure doubles the estimate: a candidate that fails fast, or is at its rate limit, must not look quick.

    Invariant: ``_pending`` calls are under way. ``_seconds``, None before the first that said something, rises at
    once to a latency above it and follows lower ones by the weight ``1 - exp(-age / decay)``, ``age`` being the
    time since it last changed, ``_since``.
    """

    __slots__ = ("_clock", "_decay", "_pending", "_seconds", "_since")

    def __init__(self, clock: Clock, decay: float) -> None:
        self._clock = clock
        self._decay = decay
        self._pending = 0
        self._seconds: float | None = None
        self._since = clock.monotonic()

    def wait(self) -> float:
        """The estimate in seconds for one more call: those under way stand in line before it."""
        if self._seconds is None:
            return UNPROVEN * self._pending
        if self._pending:
            return self._seconds * (self._pending + 1)
        # While it is idle the estimate fades, so that a candidate once slow is tried again; by one call, since
        # with that under way the estimate is whole again.
        return self._seconds * self._kept(self._clock.monotonic())

    def sent(self) -> None:
        """One more call is under way."""
        self._pending += 1

    def ended(self, seconds: float, outcome: Outcome) -> None:
        """One fewer is, after so many seconds."""
        self._pending -= 1
        before, now = self._seconds, self._clock.monotonic()
        if outcome == "failed":
            penalty = FIRST_FAILURE if before is None else max(before, min(2 * before, WORST))
            self._seconds = max(seconds, penalty)
        elif before is None:
            if outcome == "left":
                return
            self._seconds = seconds
        elif seconds > before:
            self._seconds = seconds
        elif outcome == "answered":
            kept = self._kept(now)
            self._seconds = before * kept + seconds * (1 - kept)
        else:
            return
        self._since = now

    def _kept(self, now: float) -> float:
        return math.exp((self._since - now) / self._decay)


@dataclass(frozen=True, slots=True)
class ByWait(Order):
    """Power of two choices over the estimated waits. A sticky request goes to its key's home first."""

    estimates: dict[str, PeakEwma]
    rng: Random
    homes: Homes

    def rank(self, request: LMRequest, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """The two drawn, the shorter wait first; then the others that can answer as listed; then the rest."""
        able, others = parted(request, candidates)
        home = self.homes.of(request.terms.sticky, able) if request.terms.sticky else None
        if home is not None:
            able.remove(home)
            return [home, *self._drawn_first(able), *others]
        return [*self._drawn_first(able), *others]

    def sent(self, name: str) -> None:
        """A candidate is being asked."""
        self.estimates[name].sent()

    def ended(self, name: str, seconds: float, outcome: Outcome) -> None:
        """It is no longer, after so many seconds."""
        self.estimates[name].ended(seconds, outcome)

    def _drawn_first(self, able: list[Candidate]) -> list[Candidate]:
        if len(able) < 2:
            return able
        one = int(self.rng.random() * len(able))
        two = int(self.rng.random() * (len(able) - 1))
        two += two >= one  # the draw left out `one`
        first, second = able[one], able[two]
        if self.estimates[second.name].wait() < self.estimates[first.name].wait():
            first, second = second, first
        return led_by(first, led_by(second, able))
