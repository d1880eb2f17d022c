"""McNemar's exact test: do two ways of answering the same questions differ in accuracy?

Source: McNemar 1947, "Note on the sampling error of the difference between correlated proportions or percentages";
the exact form is a binomial test on the questions that only one of the two answered rightly.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import comb


@dataclass(frozen=True, slots=True)
class McNemar:
    """Paired outcomes of two ways, called first and second.

    Attributes:
        only_first: Questions that only the first answered rightly.
        only_second: Questions that only the second answered rightly.
    """

    only_first: int
    only_second: int

    @classmethod
    def of(cls, pairs: Iterable[tuple[bool, bool]]) -> "McNemar":
        """Count pairs of (first is right, second is right), one a question."""
        differing = [first for first, second in pairs if first != second]
        return cls(sum(differing), len(differing) - sum(differing))

    def p_value(self) -> float:
        """Two-sided: how likely so large a difference is if both are equally accurate; 1 without any."""
        return min(1.0, 2 * _at_most(min(self.only_first, self.only_second), self.only_first + self.only_second))

    def p_first_worse(self) -> float:
        """One-sided: how likely the first does so badly against the second if it is no less accurate."""
        return _at_most(self.only_first, self.only_first + self.only_second)


def _at_most(successes: int, trials: int) -> float:
    """The probability of at most ``successes`` heads in ``trials`` tosses of a fair coin."""
    return float(sum(comb(trials, count) for count in range(successes + 1)) / 2**trials)
