"""The one thing modules know of language models."""

from typing import Protocol

from repertory.providers.messages import LMRequest, LMResponse, SchemaDialect


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

    async def close(self) -> None:
        """Give back connections; calls in flight fail, later ones raise ``RuntimeClosed``."""
        ...
