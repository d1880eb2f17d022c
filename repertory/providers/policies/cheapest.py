"""Cheapest: the least that a request can cost at most, among those that can answer it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from repertory.clock import Clock
from repertory.providers.candidate import Candidate
from repertory.providers.messages import LMRequest
from repertory.providers.policies.policy import Order, led_by, parted
from repertory.providers.policies.sticky import Homes


@dataclass(frozen=True, slots=True)
class Cheapest:
    """The least ``most_cost`` is asked first; among equals the first listed, unknown prices last."""

    def over(self, names: Sequence[str], clock: Clock, rng: Random) -> Order:
        """Return what compares the prices."""
        return ByCost(Homes(dict.fromkeys(names, 1)))


@dataclass(frozen=True, slots=True)
class ByCost(Order):
    """Sorts by price anew for each request: which candidate is the cheapest depends on the lengths."""

    homes: Homes

    def rank(self, request: LMRequest, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """Those that can answer, the cheapest first; then the others as listed."""
        able, others = parted(request, candidates)
        able.sort(key=lambda each: _cost(each, request))
        home = self.homes.of(request.terms.sticky, able) if request.terms.sticky else None
        return [*(led_by(home, able) if home is not None else able), *others]


def _cost(candidate: Candidate, request: LMRequest) -> float:
    cost = candidate.most_cost(request)
    return math.inf if cost is None else cost
