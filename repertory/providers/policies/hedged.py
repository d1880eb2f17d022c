"""Hedged: a second endpoint is asked when the first takes unusually long.

Source: Dean and Barroso, "The Tail at Scale", CACM 2013 ("hedged requests").
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from random import Random

from repertory.clock import Clock
from repertory.errors import ConfigError
from repertory.providers.candidate import Candidate
from repertory.providers.messages import LMRequest
from repertory.providers.policies.latency_window import LatencyWindow
from repertory.providers.policies.policy import Order, Outcome, Policy

MOST_SAVED = 10  # extra requests that calls without one can save up for later: a stall must not double the load


@dataclass(frozen=True, slots=True)
class Hedged:
    """The order of another policy; and where the first has not answered in time, the second is asked as well.

    Args:
        policy: Gives the order.
        quantile: In time is what this share of the first one's latest answers kept; above 0, below 1.
        most_extra: Most second requests for each call of the route, above 0, at most 1; never exceeded.

    Raises ConfigError if one of them cannot be used.
    """

    policy: Policy
    quantile: float = 0.95
    most_extra: float = 0.05

    def __post_init__(self) -> None:
        if isinstance(self.policy, Hedged):
            raise ConfigError("Hedged: policy is itself Hedged", hint="Wrap the inner policy once.")
        if not 0 < self.quantile < 1:
            raise ConfigError(f"Hedged: quantile = {self.quantile}: expected a number between 0 and 1")
        if not 0 < self.most_extra <= 1:
            raise ConfigError(
                f"Hedged: most_extra = {self.most_extra}: expected a number above 0, at most 1",
                hint="0.05 allows one extra request in twenty calls.",
            )

    def over(self, names: Sequence[str], clock: Clock, rng: Random) -> "Hedging":
        """Return what decides when a second is asked; see ``Policy.over``."""
        return Hedging(self.policy.over(names, clock, rng), names, self.quantile, HedgeBudget(self.most_extra))


class HedgeBudget:
    """How many extra requests are allowed.

    Invariant: at any time the extra requests are at most ``most_extra`` times the calls so far; and in any stretch
    of calls at most that share of the stretch and ``MOST_SAVED``.

    Args:
        most_extra: Above 0, at most 1; taken as it is written, so that 0.05 is a twentieth exactly.
    """

    __slots__ = ("_earned", "_left", "_price")

    def __init__(self, most_extra: float) -> None:
        share = Fraction(str(most_extra))
        self._earned, self._price = share.numerator, share.denominator
        self._left = 0

    def earn(self) -> None:
        """Count one call."""
        self._left = min(self._left + self._earned, MOST_SAVED * self._price)

    def spend(self) -> bool:
        """Count one extra request; return whether it is allowed."""
        if self._left < self._price:
            return False
        self._left -= self._price
        return True


class Hedging(Order):
    """Decides whether and when a second candidate is asked; the order is another's decision."""

    __slots__ = ("_budget", "_order", "_quantile", "_windows")

    def __init__(self, order: Order, names: Sequence[str], quantile: float, budget: HedgeBudget) -> None:
        self._order = order
        self._quantile = quantile
        self._budget = budget
        self._windows = {name: LatencyWindow() for name in names}

    def rank(self, request: LMRequest, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """As the other policy has it."""
        return self._order.rank(request, candidates)

    def sent(self, name: str) -> None:
        """A candidate is being asked."""
        self._order.sent(name)

    def ended(self, name: str, seconds: float, outcome: Outcome) -> None:
        """It is no longer, after so many seconds."""
        self._order.ended(name, seconds, outcome)
        window = self._windows[name]
        if outcome != "answered":
            # A call that was cut off is known to be of the slow ones only if it was slow already. To leave those
            # out would make the quantile sink with every extra request, and each would bring on more.
            late = window.quantile(self._quantile)
            if late is None or seconds < late:
                return
        window.add(seconds)

    def patience(self, request: LMRequest, name: str) -> float | None:
        """Count a call whose first candidate is ``name``: after how many seconds a second may be asked, if at all.

        None while too little is known of the first one's latency, and where a second request would do harm.
        """
        self._budget.earn()
        return self._windows[name].quantile(self._quantile) if repeatable(request) else None

    def spend(self) -> bool:
        """Count a second request; return whether it is allowed."""
        return self._budget.spend()


def repeatable(request: LMRequest) -> bool:
    """Whether asking two endpoints for the same reply does nothing but cost twice.

    A completion changes nothing at the provider, and tools are called by the caller, who sees one of the replies.
    But what ``extra`` asks for nobody here knows: it may store the reply, or have tools called over there. Who
    bypasses the cache wants one call made, and counted as one; and nobody waits for a batch.
    """
    return not request.extra and request.terms.cache != "bypass" and request.terms.priority != "batch"
