"""Autoscaling: when a pool gets another replica, and when it gives one up."""

from dataclasses import dataclass, field
from typing import Literal

from repertory.actors.spec import is_number, is_seconds, refuse
from repertory.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """When to scale; between ``low`` and ``high`` nothing changes, so that small swings change nothing.

    Args:
        high: Messages that wait per replica, in the mean, above which there are too few replicas.
        low: The same below which there are too many, below ``high``.
        up_after: Seconds it must have been above ``high`` without a break before one is added.
        down_after: Seconds it must have been below ``low`` before one is taken away.
        every: Seconds between two looks.

    Raises ConfigError naming the argument.
    """

    high: float = 2.0
    low: float = 0.5
    up_after: float = 1.0
    down_after: float = 30.0
    every: float = 0.25

    def __post_init__(self) -> None:
        self._check(is_number(self.high) and self.high > 0, "high", "a number above 0")
        self._check(
            is_number(self.low) and 0 < self.low < self.high,
            "low",
            f"a number above 0 and below high = {self.high:g}",
        )
        self._check(is_seconds(self.up_after), "up_after", "seconds, 0 or more")
        self._check(is_seconds(self.down_after), "down_after", "seconds, 0 or more")
        self._check(is_seconds(self.every, above=True), "every", "seconds above 0")

    def _check(self, valid: bool, argument: str, wanted: str) -> None:
        if not valid:
            refuse("Scaling", argument, getattr(self, argument), wanted)


@dataclass(slots=True)
class Autoscaler:
    """Decides, look by look, about one replica more or less.

    Invariant: ``_since`` is when the first look of an unbroken row found what ``_trend`` says; both begin anew
    with every step.

    Args:
        minimum: Replicas below which it takes none away.
        maximum: Replicas above which it adds none.
    """

    scaling: Scaling
    minimum: int
    maximum: int
    clock: Clock
    _trend: Literal[-1, 0, 1] = field(default=0, init=False)
    _since: float = field(default=0.0, init=False)

    def look(self, replicas: int, waiting: int, idle: int) -> Literal[-1, 0, 1]:
        """One more replica (1), one fewer (-1) or as many as there are (0).

        Args:
            replicas: How many take messages.
            waiting: Messages that wait for them, all together.
            idle: How many of them have nothing to do. While all are at work none is taken away, however little
                waits: it would have to be added again.
        """
        trend = self._trend_of(replicas, waiting, idle)
        now = self.clock.monotonic()
        if trend != self._trend:
            self._trend, self._since = trend, now
        patience = self.scaling.up_after if trend > 0 else self.scaling.down_after
        if trend == 0 or now - self._since < patience:
            return 0
        self._trend = 0
        return trend

    def _trend_of(self, replicas: int, waiting: int, idle: int) -> Literal[-1, 0, 1]:
        if waiting > self.scaling.high * replicas:
            return 1 if replicas < self.maximum else 0
        if waiting < self.scaling.low * replicas and idle:
            return -1 if replicas > self.minimum else 0
        return 0
