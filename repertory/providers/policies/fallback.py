"""Fallback: the candidates as they are listed."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from repertory.clock import Clock
from repertory.providers.candidate import Candidate
from repertory.providers.messages import LMRequest
from repertory.providers.policies.policy import Order


@dataclass(frozen=True, slots=True)
class Fallback(Order):
    """The first listed is asked first, always.

    ``LMRequest.sticky`` changes nothing: every request goes to the same endpoint as long as that is well, and a
    key that made the last resort the first would defeat the list.
    """

    def over(self, names: Sequence[str], clock: Clock, rng: Random) -> Order:
        """Itself: there is nothing to remember."""
        return self

    def rank(self, request: LMRequest, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """As listed. Who cannot answer says so at once when asked, so nobody is looked at beforehand."""
        return candidates
