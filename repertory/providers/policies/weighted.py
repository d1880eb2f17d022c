"""Weighted: each candidate gets its share of the requests, exactly, and evenly mixed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from repertory.clock import Clock
from repertory.errors import ConfigError
from repertory.providers.candidate import Candidate
from repertory.providers.messages import LMRequest
from repertory.providers.policies.policy import Order, led_by, parted
from repertory.providers.policies.sticky import Homes


@dataclass(frozen=True, slots=True)
class Weighted:
    """Asks first whose turn it is; after that the others as listed.

    Args:
        weights: Parts of the requests by name, whole numbers. Who has 0 or is not named is only asked when
            others failed. Sticky keys are given out by the same weights.

    Raises ConfigError if a weight is no such number, or all are 0.
    """

    weights: Mapping[str, int]

    def __post_init__(self) -> None:
        for name, weight in self.weights.items():
            if type(weight) is not int or weight < 0:
                raise ConfigError(
                    f"Weighted: weights[{name!r}] = {weight!r}: expected a whole number, 0 or above",
                    hint="Weights are parts: 3 and 1 send three of four requests to the first.",
                )
        if not any(self.weights.values()):
            raise ConfigError(
                f"Weighted: weights = {dict(self.weights)!r}: nobody has a part of the requests",
                hint="Give at least one endpoint a weight above 0.",
            )

    def over(self, names: Sequence[str], clock: Clock, rng: Random) -> Order:
        """Return what takes turns by these weights; see ``Policy.over``."""
        for name in self.weights:
            if name not in names:
                raise ConfigError(
                    f"Weighted: weights[{name!r}]: the route has no such endpoint",
                    hint=f"It has: {', '.join(names)}.",
                )
        weights = {name: self.weights.get(name, 0) for name in names}
        return ByTurns(SmoothTurns(weights), Homes(weights))


class SmoothTurns:
    """Smooth weighted round robin, as in nginx: with weights 5, 1, 1 the turns are a a b a c a a.

    Invariant: the credits add up to 0. While the same names are present, each has exactly its weight in turns in
    every period of as many turns as their weights add up to.

    Args:
        weights: By name; all numbers 0 or above.
    """

    __slots__ = ("_credits", "_weights")

    def __init__(self, weights: Mapping[str, int]) -> None:
        self._weights = dict(weights)
        self._credits = dict.fromkeys(weights, 0)

    def turn(self, present: Iterable[str]) -> str | None:
        """Whose turn it is among the names present; None if none of them has a weight."""
        credits = self._credits
        chosen, most, total = None, 0, 0
        for name in present:
            weight = self._weights[name]
            if not weight:
                continue
            total += weight
            credits[name] += weight
            if chosen is None or credits[name] > most:
                chosen, most = name, credits[name]
        if chosen is not None:
            credits[chosen] -= total
        return chosen


@dataclass(frozen=True, slots=True)
class ByTurns(Order):
    """Takes turns among those that can answer. A sticky request goes to its key's home, and is nobody's turn."""

    turns: SmoothTurns
    homes: Homes

    def rank(self, request: LMRequest, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """Whose turn it is; then the others that can answer as listed; then the rest."""
        able, others = parted(request, candidates)
        if request.terms.sticky:
            first = self.homes.of(request.terms.sticky, able)
        else:
            name = self.turns.turn([each.name for each in able])
            first = next((each for each in able if each.name == name), None)
        return [*(led_by(first, able) if first is not None else able), *others]
