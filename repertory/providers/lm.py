"""The one thing modules know of language models."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from repertory.providers.messages import Delta, LMRequest, LMResponse, SchemaDialect


class LM(Protocol):
    """Something that answers an ``LMRequest``: an endpoint, a route over endpoints, or a scripted double."""

    @property
    def name(self) -> str:
        """What events and errors call it."""
        ...

    @property
    def schema_dialect(self) -> SchemaDialect | None:
        """The subset of JSON Schema that replies are constrained with; None if they are not."""
        ...

    async def complete(self, request: LMRequest) -> LMResponse:
        """Return the reply.

        Cancelling the caller cancels the call down to the socket.

        Raises:
            LMError: The call failed; its class says how, ``retryable`` whether repeating makes sense.
            DeadlineExceeded: The request's deadline passed first.
            RuntimeClosed: The LM was closed.
        """
        ...

    def stream(self, request: LMRequest) -> AbstractAsyncContextManager[AsyncIterator[Delta]]:
        """Give the reply as it comes, the last delta being the ``End`` with the whole of it.

        ```python
        async with lm.stream(request) as deltas:
            async for delta in deltas:
                ...
        ```

        Leaving the block before the end cancels the call down to the socket. What fails before the first delta is
        repeated like ``complete``; later nothing is, as its output has been passed on. Raises as ``complete``.
        """
        ...

    async def close(self) -> None:
        """Give back connections; calls in flight fail, later ones raise ``RuntimeClosed``."""
        ...
