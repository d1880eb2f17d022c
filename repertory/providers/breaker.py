"""A circuit breaker: stops calling an endpoint that keeps failing or dawdling, and probes until it is well again.

Source: Michael Nygard, "Release It!", ch. 5; the sliding window with a minimum volume and the slow-call rate are
resilience4j's.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Literal, TypeAlias

from repertory.clock import Clock
from repertory.errors import (
    BudgetExceeded,
    CircuitOpen,
    ConfigError,
    EndpointOverloaded,
    LMAuthError,
    LMRateLimited,
    LMRequestRejected,
    PriceUnknown,
    RepertoryError,
)
from repertory.providers.breaker_memory import BreakerMemory, Forced, in_short
from repertory.providers.breaker_window import OutcomeWindow

State: TypeAlias = Literal["closed", "open", "half_open"]

JITTER = 0.25  # an open interval is lengthened by up to this share, so that breakers do not probe in step
LONGEST_RETRY_AFTER = 300.0  # seconds; a peer that asks for more is probed all the same

NO_SIGN_OF_HEALTH = (
    LMRequestRejected,  # the caller's fault
    LMRateLimited,  # the limiter's business
    # These four end calls that were never made.
    CircuitOpen,
    EndpointOverloaded,
    BudgetExceeded,
    PriceUnknown,
)
"""Errors that count neither as failures nor as successes, and give a probe's permit back.

``LMAuthError`` opens at once. All others are failures: ``LMConnectionError``, ``LMTimeout``, ``LMServerError``,
``LMReplyMalformed``, a plain ``LMError``, and ``DeadlineExceeded``, which the endpoint hands in only if it was the
endpoint that was too slow. So are classes yet unknown: a fault nobody thought of must not keep a circuit closed.
"""


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """When a breaker opens and for how long. The defaults suit a small local server that restarts in a second.

    Args:
        window_calls: Most outcomes the rates are taken over; the oldest leave first.
        window_seconds: Outcomes of this age have left the window.
        minimum_volume: The rates say nothing about fewer outcomes than this.
        failure_rate: The share of failures, above 0 and at most 1, at which it opens.
        open_seconds: Length of the first open interval; each failed probe doubles it.
        open_seconds_cap: The doubling ends here. A longer ``Retry-After`` is still obeyed, up to five minutes.
        probes: Calls admitted when half open; when all of them succeed the breaker closes.
        slow_seconds: A call that takes this long or longer is slow; None: no call is.
        slow_rate: The share of slow calls, failed ones included, above 0 and at most 1, at which it opens.
    """

    window_calls: int = 20
    window_seconds: float = 120.0  # long enough for a few callers at a time to run into timeouts
    minimum_volume: int = 5
    failure_rate: float = 0.5
    open_seconds: float = 1.0
    open_seconds_cap: float = 30.0
    probes: int = 1
    slow_seconds: float | None = None
    slow_rate: float = 0.8

    def __post_init__(self) -> None:
        for name in ("window_calls", "minimum_volume", "probes"):
            if getattr(self, name) < 1:
                raise self._wrong(name, "expected 1 or more")
        for name in ("window_seconds", "open_seconds", "open_seconds_cap", "slow_seconds"):
            value = getattr(self, name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise self._wrong(name, "expected seconds above 0")
        for name in ("failure_rate", "slow_rate"):
            if not 0 < getattr(self, name) <= 1:
                raise self._wrong(name, "expected a share above 0 and at most 1, such as 0.5 for every other call")
        if self.minimum_volume > self.window_calls:
            raise self._wrong("minimum_volume", f"a window of {self.window_calls} calls never holds so many")

    def _wrong(self, name: str, why: str) -> ConfigError:
        return ConfigError(f"breaker: {name} = {getattr(self, name)}: {why}")


@dataclass(frozen=True, slots=True)
class BreakerSnapshot:
    """A breaker's state as data."""

    state: State
    calls: int  # outcomes in the window
    failures: int  # of these
    open_for: float  # seconds until it admits a probe; 0 unless open, and 0 if forced open
    slow: int  # of the calls
    forced: Forced | None  # by an operator
    reason: str  # why it is open, in words; "" if closed

    @property
    def shut(self) -> bool:
        """Whether it is open and no call may probe yet."""
        return self.forced == "open" or self.open_for > 0


class CircuitBreaker:
    """Closed, open or half open; plain state and a clock, nothing awaited.

    Every call does ``permit = breaker.admit()`` and then exactly one of ``record(permit, outcome, seconds)`` and,
    if it has no outcome because it was cancelled, ``release(permit)``.

    Invariants: ``_window`` holds the closed state's latest outcomes; it is empty in every other state and while an
    operator forces one. In the half-open state ``_probing`` permits are out, ``_proven`` probes succeeded, and
    together they never exceed ``probes``. A permit is the number of the state it was given in, from 1: those of
    earlier states change nothing. ``_counting`` is the present state's number while outcomes are counted, that is
    closed and not forced, else 0.

    Args:
        settings: When it opens and for how long.
        clock: Where it has the time from.
        rng: Source of the jitter.
        endpoint: The endpoint's name, for errors.
        memory: What its predecessor remembered; None starts closed.
    """

    __slots__ = (
        "_clock",
        "_counting",
        "_endpoint",
        "_era",
        "_forced",
        "_interval",
        "_monotonic",
        "_probing",
        "_proven",
        "_reason",
        "_rng",
        "_settings",
        "_slow_from",
        "_until",
        "_window",
        "state",
    )

    state: State

    def __init__(
        self,
        settings: BreakerSettings,
        clock: Clock,
        rng: Random,
        endpoint: str = "",
        memory: BreakerMemory | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._monotonic: Callable[[], float] = clock.monotonic
        self._rng = rng
        self._endpoint = endpoint
        self._window = OutcomeWindow(settings.window_calls, settings.window_seconds)
        self._slow_from = math.inf if settings.slow_seconds is None else settings.slow_seconds
        self._forced: Forced | None = None
        self._era = 0
        self._until = 0.0
        self._enter("closed")
        if memory is not None:
            self.recall(memory)

    def admit(self) -> int:
        """Return a permit for one call.

        Raises:
            CircuitOpen: The call must not be made; ``retry_after`` is when to ask again, None if nobody knows.
        """
        return self._counting or self._admit_uncounted()

    def check(self) -> None:
        """Raise ``CircuitOpen`` if ``admit`` would; give out nothing."""
        if self.state == "closed":
            return
        if self._forced == "open":
            raise self._refusal(
                "an operator forced its circuit open", None, "It stays so until it is forced closed or given back."
            )
        if self.state == "half_open":
            if self._probing + self._proven >= self._settings.probes:
                raise self._refusal("its circuit is half open and its probes are out", self._settings.open_seconds)
        elif (wait := self.open_for()) > 0:
            raise self._refusal(f"its circuit is open for another {wait:.1f} s", wait)

    def record(self, permit: int, error: RepertoryError | None, seconds: float = 0.0) -> None:
        """Take back ``permit`` with the call's outcome, and decide what follows from it.

        ``NO_SIGN_OF_HEALTH`` tells what each class of errors means.

        Args:
            permit: What ``admit`` gave for the call.
            error: How it failed; None means it succeeded.
            seconds: How long it took.
        """
        if permit == self._counting:
            if error is None and seconds < self._slow_from:
                self._window.note_good(self._monotonic())
            elif not isinstance(error, NO_SIGN_OF_HEALTH):
                self._count_bad(error, seconds)
        elif permit == self._era and self.state == "half_open":
            self._probing -= 1
            if not isinstance(error, NO_SIGN_OF_HEALTH):
                self._conclude_probe(error, seconds)

    def release(self, permit: int) -> None:
        """Take back ``permit`` from a call that ended without an outcome."""
        if permit == self._era and self.state == "half_open":
            self._probing -= 1

    def force(self, forced: Forced | None) -> None:
        """Take the decision from it, or give it back.

        Forced open it refuses all calls; forced closed it admits all and counts none. Given back (None) it starts
        anew: closed, with an empty window and the first open interval. What it is already changes nothing.
        """
        if forced == self._forced:
            return
        self._forced = forced
        self._enter("open" if forced == "open" else "closed")
        if forced == "open":
            self._reason = "an operator forced it open"

    def hasten(self) -> None:
        """End the open interval, since a health check had an answer: the next call may probe."""
        if self.state == "open":
            self._until = self._monotonic()

    def open_for(self) -> float:
        """Seconds until a probe is admitted; 0 if not open, infinite if forced open."""
        if self.state != "open":
            return 0.0
        if self._forced == "open":
            return math.inf
        return max(0.0, self._until - self._monotonic())

    def snapshot(self) -> BreakerSnapshot:
        """Return the present state."""
        window = self._window
        window.forget(self._monotonic())
        return BreakerSnapshot(
            state=self.state,
            calls=len(window),
            failures=window.failures,
            open_for=0.0 if self._forced else self.open_for(),
            slow=window.slow,
            forced=self._forced,
            reason=self._reason,
        )

    def memory(self) -> BreakerMemory:
        """Return what a successor goes on from: to be kept whenever the state changes."""
        open_until = None
        if self.state != "closed" and self._forced is None:
            # Not by `open_for`: once the interval is over, that would be a new time at every look.
            open_until = self._clock.time() + self._until - self._monotonic()
        return BreakerMemory(self._forced, open_until, self._interval, self._reason)

    def recall(self, memory: BreakerMemory) -> None:
        if memory.forced is not None:
            self.force(memory.forced)
        elif memory.open_until is not None:
            settings = self._settings
            self._enter("open")
            self._interval = max(settings.open_seconds, min(memory.interval, settings.open_seconds_cap))
            # A wall clock that was set back meanwhile must not keep it open longer than it ever would have been.
            longest = max(self._interval * (1 + JITTER), LONGEST_RETRY_AFTER)
            left = min(max(0.0, memory.open_until - self._clock.time()), longest)
            self._until = self._monotonic() + left
            self._reason = memory.reason

    def _admit_uncounted(self) -> int:
        """Admit a call in any state but the closed one that counts."""
        self.check()
        if self.state == "open":
            self._enter("half_open")
        if self.state == "half_open":
            self._probing += 1
        return self._era

    def _count_bad(self, error: RepertoryError | None, seconds: float) -> None:
        """Count a failure or a slow call, and open if it was one too many."""
        window, settings = self._window, self._settings
        window.note_bad(self._monotonic(), failed=error is not None, slow=seconds >= self._slow_from)
        calls = len(window)
        if isinstance(error, LMAuthError):
            self._open(error.message, error)
        elif calls < settings.minimum_volume:
            return
        # Divided rather than multiplied: 11 of 20 is 0.55 exactly as written, but 0.55 * 20 is more than 11.
        elif (share := window.failures / calls) >= settings.failure_rate:
            last = "" if error is None else f", the last: {error.message}"
            self._open(f"failures {share * 100:.0f} % of {calls}{last}", error)
        elif (share := window.slow / calls) >= settings.slow_rate:
            self._open(f"slow calls {share * 100:.0f} % of {calls}", error)

    def _conclude_probe(self, error: RepertoryError | None, seconds: float) -> None:
        settings = self._settings
        if error is not None or seconds >= self._slow_from:
            # An interval that began above the cap must not shrink to it.
            self._interval = max(self._interval, min(self._interval * 2, settings.open_seconds_cap))
            why = f"took {seconds:.1f} s" if error is None else f"failed: {error.message}"
            self._open(f"a probe {why}", error)
            return
        self._proven += 1
        if self._proven == settings.probes:
            self._enter("closed")

    def _open(self, reason: str, error: RepertoryError | None) -> None:
        interval = self._interval * (1 + JITTER * self._rng.random())
        wish = 0.0 if error is None else error.retry_after or 0.0
        self._until = self._monotonic() + max(interval, min(wish, LONGEST_RETRY_AFTER))
        self._reason = in_short(reason)
        self._enter("open")

    def _enter(self, state: State) -> None:
        self.state = state
        self._era += 1
        self._counting = 0
        self._probing = self._proven = 0
        self._window.clear()
        if state == "closed":
            self._interval = self._settings.open_seconds
            self._reason = ""
            if self._forced is None:
                self._counting = self._era

    def _refusal(self, why: str, retry_after: float | None, hint: str | None = None) -> CircuitOpen:
        return CircuitOpen(
            f"{self._endpoint or 'endpoint'}: not called: {why}",
            endpoint=self._endpoint,
            hint=hint,
            retry_after=retry_after,
        )
