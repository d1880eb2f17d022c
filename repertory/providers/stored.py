"""Answers that a provider keeps, to be fetched again by their id at no cost; and when to stop asking for one."""

from collections.abc import Awaitable, Callable
from typing import Final, Literal, Protocol, TypeAlias

from repertory.clock import Clock
from repertory.errors import DeadlineExceeded, LMError, LMRequestRejected
from repertory.providers.failures import Peer
from repertory.providers.messages import LMRequest, LMResponse

Fetched: TypeAlias = LMResponse | Literal["under way", "gone"]
"""An answer that is kept; or that it is still being made; or that there is none and never will be."""

POLL: Final = 1.0  # seconds from one question for an answer that is being made to the next


class StoredReplies(Protocol):
    """What a module has whose vendor keeps answers."""

    def kept(self, request: LMRequest) -> LMRequest:
        """Return ``request`` asking that its answer be kept, unless it says otherwise itself."""
        ...

    def path(self, response_id: str, request: LMRequest | None) -> str:
        """What is appended to the base URL for a GET of the answer to ``request``, None if that is not known."""
        ...

    def decode(self, body: bytes, peer: Peer) -> Fetched:
        """Return what is in ``body``, the body of a 2xx answer.

        Raises:
            LMReplyMalformed: It holds no answer.
        """
        ...


def keeping(stored: StoredReplies | None, endpoint: str) -> StoredReplies:
    """Return what the endpoint has.

    Raises:
        LMRequestRejected: Nothing; the hint says who does.
    """
    if stored is None:
        raise LMRequestRejected(
            f"{endpoint}: the endpoint keeps no answers that could be fetched by their id",
            endpoint=endpoint,
            hint="Ask anew, or take OpenAI's Responses protocol: openai-responses/NAME.",
        )
    return stored


async def finished(
    ask: Callable[[float], Awaitable[Fetched]], clock: Clock, deadline: float, endpoint: str
) -> LMResponse | None:
    """Ask for an answer until it is there; None if there is none and never will be.

    What fails but may pass is asked again as long as the deadline allows: it is free, and the answer is paid for.

    Args:
        ask: Asks once; its argument is the seconds until the deadline.
        clock: What the deadline is a point on.
        deadline: When to give up.
        endpoint: The endpoint's name, for errors.

    Raises:
        DeadlineExceeded: It is still being made.
        LMError: It cannot be asked for, or could not up to the deadline.
    """
    while True:
        late: LMError | DeadlineExceeded = DeadlineExceeded(
            f"{endpoint}: the deadline passed while the answer was still being made"
        )
        wait = POLL
        try:
            found = await ask(deadline - clock.monotonic())
        except LMError as error:
            if not error.retryable:
                raise
            late, wait = error, max(wait, error.retry_after or 0.0)
        else:
            if not isinstance(found, str):
                return found
            if found == "gone":
                return None
        if clock.monotonic() + wait >= deadline:
            raise late
        await clock.sleep(wait)
