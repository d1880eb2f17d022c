"""A retry budget: retries may be a small share of the calls, so that an outage is not answered by a storm of them.

Source: "Handling Overload", ch. 21 of Google's "Site Reliability Engineering": a client's retries stay below 10 %
of its requests. A share over a sliding window with a floor beside it is Finagle's ``RetryBudget``; gRPC's design
for retries (A6) throttles them to the same end by a token bucket.
"""

import math
from collections import deque
from dataclasses import dataclass
from fractions import Fraction

from repertory.clock import Clock
from repertory.errors import ConfigError

SLICES = 20  # of a window; one slice is how much shorter than ``window_seconds`` it may be


@dataclass(frozen=True, slots=True)
class RetryBudgetSnapshot:
    """A retry budget's state as data."""

    calls: int  # first attempts in the window
    retries: int  # granted in the window
    left: int  # retries that would be granted now
    refused: int  # since the start


class RetryBudget:
    """Grants retries out of the calls of a sliding window: ``note_call()`` for each first attempt that is sent,
    ``take()`` before each retry.

    Bound: whenever ``take`` grants, ``retries <= floor + share * calls`` holds with that retry counted, over the
    window of the present slice of time and the ``SLICES - 1`` before it. Take the window of the last grant, then
    that of the last grant before this window, and so on: they do not overlap, and no retry lies between them. So
    within T seconds of its making there are at most ``share * calls + floor * (1 + T // window_seconds)``
    retries, whatever fails and whenever: a total outage that meets n calls in less than a window's time makes at
    most ``1 + share + floor / n`` attempts of each. The sum is done in whole numbers, with ``share`` taken as the
    decimal fraction it is written as.

    Invariant: ``_calls`` and ``_retries`` count all since the start, and ``_edges`` holds what they were at the
    beginning of each of the latest ``SLICES`` slices, oldest first.

    Args:
        clock: What divides the calls into windows.
        share: Retries granted for each call, from 0 to 1.
        floor: Retries granted in any window besides, so that an endpoint that is seldom called can still retry.
        window_seconds: Calls of this age have left the window.
    """

    __slots__ = (
        "_calls",
        "_denominator",
        "_edges",
        "_floor",
        "_monotonic",
        "_numerator",
        "_refused",
        "_retries",
        "_slice",
        "_slice_seconds",
        "_started",
    )

    def __init__(self, clock: Clock, share: float = 0.1, floor: int = 10, window_seconds: float = 60.0) -> None:
        if not 0 <= share <= 1:
            raise ConfigError(f"retry budget: share = {share}: expected a share from 0 to 1, such as 0.1")
        if floor < 0:
            raise ConfigError(f"retry budget: floor = {floor}: expected 0 or more retries")
        if not (window_seconds > 0 and math.isfinite(window_seconds)):
            raise ConfigError(f"retry budget: window_seconds = {window_seconds}: expected seconds above 0")
        self._monotonic = clock.monotonic
        self._numerator, self._denominator = Fraction(str(share)).as_integer_ratio()
        self._floor = floor
        self._slice_seconds = window_seconds / SLICES
        self._started = clock.monotonic()
        self._slice = 0  # number of the present one since the start
        self._calls = self._retries = self._refused = 0
        self._edges = deque([(0, 0)] * SLICES, maxlen=SLICES)

    def note_call(self) -> None:
        """Count a call's first attempt."""
        self._slide()
        self._calls += 1

    def take(self) -> bool:
        """Return whether a retry may be made, and count it if so."""
        if self._left() < 1:
            self._refused += 1
            return False
        self._retries += 1
        return True

    def snapshot(self) -> RetryBudgetSnapshot:
        """Return the present state."""
        left = self._left()
        calls, retries = self._edges[0]
        return RetryBudgetSnapshot(self._calls - calls, self._retries - retries, max(0, left), self._refused)

    def _left(self) -> int:
        """How many more retries the window grants; below 0 once calls that paid for its retries have left it."""
        self._slide()
        calls, retries = self._edges[0]
        granted = self._floor + (self._calls - calls) * self._numerator // self._denominator
        return granted - (self._retries - retries)

    def _slide(self) -> None:
        """Begin the slices whose time has come."""
        present = int((self._monotonic() - self._started) / self._slice_seconds)
        if present != self._slice:
            passed = min(present - self._slice, SLICES)
            self._edges.extend([(self._calls, self._retries)] * passed)
            self._slice = present
