"""A circuit breaker: stops calling an endpoint that keeps failing, and probes until it is well again.

Source: Michael Nygard, "Release It!", ch. 5; the sliding window with a minimum volume is resilience4j's.
"""

from collections import deque
from dataclasses import dataclass
from random import Random
from typing import Literal, TypeAlias

from repertory.clock import Clock
from repertory.errors import CircuitOpen, LMAuthError, LMRateLimited, LMRequestRejected, RepertoryError

State: TypeAlias = Literal["closed", "open", "half_open"]

JITTER = 0.25  # an open interval is lengthened by up to this share, so that breakers do not probe in step
LONGEST_RETRY_AFTER = 300.0  # seconds; a peer that asks for more is probed all the same


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """When a breaker opens and for how long. The defaults suit a small local server that restarts in a second.

    Args:
        window_calls: Most outcomes the failure rate is taken over; the oldest leave first.
        window_seconds: Outcomes of this age have left the window.
        minimum_volume: The rate says nothing about fewer outcomes than this.
        failure_rate: The share of failures, above 0 and at most 1, at which it opens.
        open_seconds: Length of the first open interval; each failed probe doubles it.
        open_seconds_cap: The doubling ends here. A longer ``Retry-After`` is still obeyed, up to five minutes.
        probes: Calls admitted when half open; when all of them succeed the breaker closes.
    """

    window_calls: int = 20
    window_seconds: float = 120.0  # long enough for a few callers at a time to run into timeouts
    minimum_volume: int = 5
    failure_rate: float = 0.5
    open_seconds: float = 1.0
    open_seconds_cap: float = 30.0
    probes: int = 1


@dataclass(frozen=True, slots=True)
class BreakerSnapshot:
    """A breaker's state as data."""

    state: State
    calls: int  # outcomes in the window
    failures: int  # of these
    open_for: float  # seconds until it admits a probe; 0 unless open


class CircuitBreaker:
    """Closed, open or half open; plain state and a clock, nothing awaited.

    Every call does ``permit = breaker.admit()`` and then exactly one of ``record(permit, outcome)`` and, if it
    has no outcome because it was cancelled, ``release(permit)``.

    Invariants: ``_outcomes`` holds, oldest first, the closed state's latest outcomes as ``(time, failed)``, and
    ``_failures`` counts the failed ones; both are empty in every other state. In the half-open state ``_probing``
    permits are out, ``_proven`` probes succeeded, and together they never exceed ``probes``. A permit is the
    number of the state it was given in: those of earlier states change nothing.
    """

    __slots__ = (
        "_clock",
        "_endpoint",
        "_era",
        "_failures",
        "_interval",
        "_outcomes",
        "_probing",
        "_proven",
        "_rng",
        "_settings",
        "_until",
        "state",
    )

    state: State

    def __init__(self, settings: BreakerSettings, clock: Clock, rng: Random, endpoint: str = "") -> None:
        self._settings = settings
        self._clock = clock
        self._rng = rng
        self._endpoint = endpoint
        self._era = 0
        self._outcomes: deque[tuple[float, bool]] = deque()
        self._failures = 0
        self._interval = settings.open_seconds
        self._until = 0.0
        self._probing = 0
        self._proven = 0
        self.state = "closed"

    def admit(self) -> int:
        """Return a permit for one call.

        Raises:
            CircuitOpen: The call must not be made; ``retry_after`` is when to ask again.
        """
        if self.state == "closed":
            return self._era
        self.check()
        if self.state == "open":
            self._enter("half_open")
        self._probing += 1
        return self._era

    def check(self) -> None:
        """Raise ``CircuitOpen`` if ``admit`` would; give out nothing."""
        if self.state == "open" and (wait := self.open_for()) > 0:
            raise self._refusal(f"is open for another {wait:.1f} s", wait)
        if self.state == "half_open" and self._probing + self._proven >= self._settings.probes:
            raise self._refusal("is half open and its probes are out", self._settings.open_seconds)

    def record(self, permit: int, error: RepertoryError | None) -> None:
        """Take back ``permit`` with the call's outcome; ``error`` None means it succeeded.

        Rejected requests (the caller's fault) and rate limits (the limiter's business) say nothing about the
        endpoint's health: they count neither as success nor as failure. Refused credentials open at once.
        """
        if permit != self._era:
            return
        if isinstance(error, LMRequestRejected | LMRateLimited):
            self.release(permit)
        elif self.state == "closed":
            self._count(error)
        else:
            self._conclude_probe(error)

    def release(self, permit: int) -> None:
        """Take back ``permit`` from a call that ended without an outcome."""
        if permit == self._era and self.state == "half_open":
            self._probing -= 1

    def open_for(self) -> float:
        """Seconds until a probe is admitted; 0 if not open."""
        return max(0.0, self._until - self._clock.monotonic()) if self.state == "open" else 0.0

    def snapshot(self) -> BreakerSnapshot:
        """Return the present state."""
        self._forget_old(self._clock.monotonic())
        return BreakerSnapshot(self.state, len(self._outcomes), self._failures, self.open_for())

    def _count(self, error: RepertoryError | None) -> None:
        now = self._clock.monotonic()
        self._forget_old(now)
        outcomes = self._outcomes
        if len(outcomes) == self._settings.window_calls:
            self._failures -= outcomes.popleft()[1]
        if error is None:
            outcomes.append((now, False))
            return
        outcomes.append((now, True))
        self._failures += 1
        settings = self._settings
        failing = len(outcomes) >= settings.minimum_volume and self._failures >= settings.failure_rate * len(
            outcomes
        )
        if failing or isinstance(error, LMAuthError):
            self._open(error)

    def _forget_old(self, now: float) -> None:
        horizon = now - self._settings.window_seconds
        outcomes = self._outcomes
        while outcomes and outcomes[0][0] <= horizon:
            self._failures -= outcomes.popleft()[1]

    def _conclude_probe(self, error: RepertoryError | None) -> None:
        if error is not None:
            self._interval = min(self._interval * 2, self._settings.open_seconds_cap)
            self._open(error)
            return
        self._probing -= 1
        self._proven += 1
        if self._proven == self._settings.probes:
            self._interval = self._settings.open_seconds
            self._enter("closed")

    def _open(self, error: RepertoryError) -> None:
        interval = self._interval * (1 + JITTER * self._rng.random())
        self._until = self._clock.monotonic() + max(interval, min(error.retry_after or 0.0, LONGEST_RETRY_AFTER))
        self._enter("open")

    def _enter(self, state: State) -> None:
        self.state = state
        self._era += 1
        self._probing = self._proven = 0
        self._outcomes.clear()
        self._failures = 0

    def _refusal(self, why: str, retry_after: float) -> CircuitOpen:
        return CircuitOpen(
            f"{self._endpoint or 'endpoint'}: not called: its circuit {why}",
            endpoint=self._endpoint,
            retry_after=retry_after,
        )
