"""What a routing policy is: it puts a route's candidates in the order in which they are asked."""

from collections.abc import Sequence
from random import Random
from typing import Literal, Protocol, TypeAlias

from repertory.clock import Clock
from repertory.providers.candidate import Candidate
from repertory.providers.messages import LMRequest

Outcome: TypeAlias = Literal["answered", "failed", "left"]
"""How asking a candidate ended. ``left``: it was cut off, refused the request or had it in its cache, so that the
time says nothing but that the model would not have been quicker."""


class Order(Protocol):
    """Decides the order for one route; it asks nobody itself. Every ``sent`` is followed by one ``ended``."""

    def rank(self, request: LMRequest, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """All of ``candidates``, each once; the first is asked first, the next when it failed."""
        ...

    def sent(self, name: str) -> None:
        """A candidate is being asked."""
        return  # nothing to remember, unless an order says otherwise

    def ended(self, name: str, seconds: float, outcome: Outcome) -> None:
        """It is no longer, after so many seconds."""
        return


class Policy(Protocol):
    """How a route is to choose; plain data, so that several routes can have the same one."""

    def over(self, names: Sequence[str], clock: Clock, rng: Random) -> Order:
        """Return what decides for the candidates of these names, with a memory of its own.

        Raises:
            ConfigError: The policy names a candidate that is not among them.
        """
        ...


def parted(request: LMRequest, candidates: Sequence[Candidate]) -> tuple[list[Candidate], list[Candidate]]:
    """The candidates that can answer ``request`` now, and the others; both as listed."""
    able: list[Candidate] = []
    others: list[Candidate] = []
    for each in candidates:
        ready = each.obstacle() is None and each.misfit(request) is None
        (able if ready else others).append(each)
    return able, others


def led_by(first: Candidate, candidates: Sequence[Candidate]) -> list[Candidate]:
    """``candidates`` with ``first``, one of them, at their head."""
    return [first, *[each for each in candidates if each is not first]]
