"""One call's way down a route: who is asked next, after which failure, and what is raised at the bottom."""

from collections.abc import Sequence
from dataclasses import replace

from repertory.clock import Clock
from repertory.errors import (
    CircuitOpen,
    DeadlineExceeded,
    EndpointOverloaded,
    LMAuthError,
    LMError,
    LMModelUnknown,
    LMRequestRejected,
    PriceUnknown,
    RepertoryError,
)
from repertory.providers.candidate import Candidate
from repertory.providers.messages import LMRequest

# Another endpoint has another key, other models and a price of its own.
ELSEWHERE = (LMAuthError, LMModelUnknown, PriceUnknown)
NOT_ASKED = (CircuitOpen, EndpointOverloaded, PriceUnknown)


class Ladder:
    """Hands out a call's candidates one after the other, as long as their failures are a reason to go on.

    Invariant: a candidate is handed out at most once, in the order given; ``failures`` are those that came to
    nothing, in the order in which they did, each with a failure that was a reason to ask another.

    Args:
        request: The call.
        ranked: The candidates, the first to be asked first.
        share: The part of the time left that a candidate gets while something stands behind it.
        clock: What the call's deadline is a point on.

    Attributes:
        asked: The request as the candidate handed out last is to be asked it.
        failures: Names and failures.
        request: The call.
    """

    __slots__ = ("_clock", "_place", "_ranked", "_share", "asked", "failures", "request")

    def __init__(self, request: LMRequest, ranked: Sequence[Candidate], share: float, clock: Clock) -> None:
        self.request = request
        self._ranked = ranked
        self._share = share
        self._clock = clock
        self._place = 0
        self.asked = request
        self.failures: list[tuple[str, RepertoryError]] = []

    def next(self) -> Candidate | None:
        """The next to be asked; None if there is none, or if the deadline has passed since the first was."""
        place = self._place
        if place == len(self._ranked) or (place and self._is_over()):
            return None
        self._place = place + 1
        if self._share < 1:
            self.asked = self._hurried()
        return self._ranked[place]

    def has_spare(self) -> bool:
        """Whether the next can answer, so that it can be asked beside the one that is being asked."""
        if self._place == len(self._ranked):
            return False
        candidate = self._ranked[self._place]
        return candidate.obstacle() is None and candidate.misfit(self.request) is None

    def failed(self, candidate: Candidate, error: RepertoryError) -> bool:
        """Note that asking ``candidate`` came to nothing; return whether another may be asked because of it.

        Another may be asked after all that passes by itself, after what lies in the endpoint's key, models or
        price, and if this one could never have answered. A request whose content was refused is not carried from
        door to door; an empty budget is empty for all, and a deadline that has passed has passed for all. One that
        has not was the endpoint's own, or its estimate: another may be quicker.
        """
        if isinstance(error, DeadlineExceeded):
            goes_on = not self._is_over()
        elif isinstance(error, LMRequestRejected) and not isinstance(error, ELSEWHERE):
            goes_on = candidate.misfit(self.request) is not None
        else:
            goes_on = isinstance(error, LMError) and (error.retryable or isinstance(error, ELSEWHERE))
        if goes_on:
            self.failures.append((candidate.name, error))
        return goes_on

    def end(self) -> RepertoryError:
        """What is raised when all have failed: the one failure, or the most telling one with the story of all."""
        errors = [error for _, error in self.failures]
        if len(errors) == 1:
            return errors[0]
        # Whether repeating makes sense is what callers ask first; then, what an endpoint said of itself tells
        # more than that it was not asked; then, the last word counts.
        telling = max(reversed(errors), key=lambda error: (error.retryable, not isinstance(error, NOT_ASKED)))
        return _with_story(telling, errors)

    def _is_over(self) -> bool:
        deadline = self.request.deadline
        return deadline is not None and self._clock.monotonic() >= deadline

    def _hurried(self) -> LMRequest:
        """The request, with less time while something stands behind the candidate handed out last."""
        request, deadline = self.request, self.request.deadline
        if deadline is None or (self._place == len(self._ranked) and not request.terms.allow_stale):
            return request
        now = self._clock.monotonic()
        return replace(request, deadline=now + self._share * (deadline - now))


def _with_story(telling: RepertoryError, errors: Sequence[RepertoryError]) -> RepertoryError:
    """A new error like ``telling``, for that may belong to other callers too; it is the cause."""
    others = "; ".join([error.message for error in errors if error is not telling])
    message = f"{telling.message}; and no other endpoint answered: {others}"
    waits = [error.retry_after for error in errors if error.retryable and error.retry_after is not None]
    told: RepertoryError
    if isinstance(telling, LMError):
        told = type(telling)(
            message, endpoint=telling.endpoint, hint=telling.hint, retry_after=min(waits, default=None)
        )
    else:
        told = type(telling)(message, hint=telling.hint)
    told.__cause__ = telling
    return told
