"""What a route knows of each of its endpoints."""

from typing import Protocol

from repertory.errors import LMError
from repertory.providers.lm import LM
from repertory.providers.messages import LMRequest, LMResponse


class Candidate(LM, Protocol):
    """An ``LM`` that says beforehand what asking it would come to.

    Entering its ``stream`` waits for the first delta: what fails until then is another candidate's chance.
    """

    def obstacle(self) -> str | None:
        """Why it should not be asked at present, such as an open circuit; None if nothing is in the way."""
        ...

    def misfit(self, request: LMRequest) -> LMError | None:
        """Why it can never answer ``request``, such as a feature it lacks; None if it can."""
        ...

    def most_cost(self, request: LMRequest) -> int | None:
        """What ``request`` costs at most, in nano-dollars; None if nobody knows."""
        ...

    @property
    def can_fetch(self) -> bool:
        """Whether an answer that it has given can be fetched again by its id."""
        ...

    async def fetch(
        self, response_id: str, deadline: float, request: LMRequest | None = None
    ) -> LMResponse | None:
        """An answer given before; see ``Endpoint.fetch``."""
        ...

    async def stale(self, request: LMRequest) -> LMResponse | None:
        """An answer given before, however old; None if there is none or it cannot be read."""
        ...
