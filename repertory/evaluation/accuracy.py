"""Accuracy with its uncertainty.

The interval is Wilson's score interval (Wilson 1927, "Probable inference, the law of succession, and
statistical inference"), which stays inside 0..1 and holds for small samples.
"""

from dataclasses import dataclass
from math import sqrt

Z_95 = 1.959963984540054  # the standard normal's 97.5 % quantile


@dataclass(slots=True)
class Accuracy:
    """A running count of right and wrong answers."""

    correct: int = 0
    total: int = 0

    def record(self, is_correct: bool) -> None:
        """Count one answer."""
        self.total += 1
        self.correct += is_correct

    @property
    def rate(self) -> float:
        """Share of right answers, 0..1; 0 before the first answer."""
        return self.correct / self.total if self.total else 0.0

    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the true rate; (0, 1) before the first answer."""
        if not self.total:
            return 0.0, 1.0
        n, p, z2 = self.total, self.rate, Z_95 * Z_95
        centre = (p + z2 / (2 * n)) / (1 + z2 / n)
        half = Z_95 / (1 + z2 / n) * sqrt(p * (1 - p) / n + z2 / (4 * n * n))
        return max(0.0, centre - half), min(1.0, centre + half)
