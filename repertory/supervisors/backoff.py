"""Restart back-off: how long a supervisor waits before it starts a child again.

OTP restarts at once. A child that depends on something outside, such as a server that is coming back itself,
is better served by waits that grow.
"""

from dataclasses import dataclass
from random import Random

from repertory.actors.spec import is_number, is_seconds, refuse


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Waits that grow with each restart of the same child, up to a limit.

    Args:
        initial: Seconds before the first restart, above 0.
        maximum: Seconds that no wait exceeds, jitter included. A child that has lived as long begins anew.
        factor: What each further wait is multiplied by, at least 1.
        jitter: The share of a wait, from 0 to 1, by which chance may shorten it, so that children that fell
            together do not all come back together.

    Raises ConfigError naming the argument.
    """

    initial: float = 0.1
    maximum: float = 30.0
    factor: float = 2.0
    jitter: float = 0.2

    def __post_init__(self) -> None:
        self._check(is_seconds(self.initial, above=True), "initial", "seconds above 0")
        self._check(
            is_seconds(self.maximum) and self.maximum >= self.initial,
            "maximum",
            f"seconds, at least initial = {self.initial:g}",
        )
        self._check(is_number(self.factor) and self.factor >= 1, "factor", "a number, at least 1")
        self._check(is_number(self.jitter) and 0 <= self.jitter <= 1, "jitter", "a number from 0 to 1")

    def streak(self, restarts: int, lived: float) -> int:
        """The restarts in a row, after ``restarts`` of them and a life of ``lived`` seconds."""
        return 0 if lived >= self.maximum else restarts

    def delay(self, restarts: int, rng: Random) -> float:
        """Seconds to wait after ``restarts`` restarts in a row."""
        wait = self.initial
        for _ in range(restarts):  # not a power: that of a large number overflows
            wait *= self.factor
            if wait >= self.maximum or self.factor == 1:
                break
        return min(wait, self.maximum) * (1 - self.jitter * rng.random())

    def _check(self, valid: bool, argument: str, wanted: str) -> None:
        if not valid:
            refuse("Backoff", argument, getattr(self, argument), wanted)
