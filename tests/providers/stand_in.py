"""A route's candidate without a network: it does what it is told to, and keeps what it was asked."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

from repertory.errors import LMError, LMRequestRejected
from repertory.providers.messages import Delta, LMRequest, LMResponse, Message, SchemaDialect, Usage
from repertory.providers.replay import deltas_of

ASK = LMRequest((Message("user", "Capital of France?"),))

Deed: TypeAlias = str | LMResponse | BaseException


def reply(text: str) -> LMResponse:
    return LMResponse(text, "stop", Usage(3, 1), "m", "id")


class StandIn:
    """After so many seconds it does its deed: a text or a reply is given, an error raised.

    Attributes:
        asked: The requests.
        fetched: The ids of answers that it was asked for again; it gives ``kept``.
        cut_off: How many of them were cancelled.
    """

    def __init__(
        self,
        name: str,
        deed: Deed = "ok",
        *,
        after: float | Callable[[], float] = 0.0,
        blocked: str | None = None,
        unfit: bool = False,
        cost: int | None = None,
        kept: LMResponse | None = None,
        dialect: SchemaDialect | None = None,
        can_fetch: bool = False,
    ) -> None:
        self.name = name
        self.schema_dialect = dialect
        self.deed = deed
        self.after = after
        self.blocked = blocked
        self.unfit = unfit
        self.cost = cost
        self.kept = kept
        self.asked: list[LMRequest] = []
        self.cut_off = 0
        self.can_fetch = can_fetch
        self.fetched: list[str] = []
        self.closed = False

    def __repr__(self) -> str:
        return self.name

    def obstacle(self) -> str | None:
        return self.blocked

    def misfit(self, request: LMRequest) -> LMError | None:
        return LMRequestRejected(f"{self.name}: lacks it", endpoint=self.name) if self.unfit else None

    def most_cost(self, request: LMRequest) -> int | None:
        return self.cost

    async def fetch(
        self, response_id: str, deadline: float, request: LMRequest | None = None
    ) -> LMResponse | None:
        self.fetched.append(response_id)
        return self.kept

    async def stale(self, request: LMRequest) -> LMResponse | None:
        return self.kept

    async def complete(self, request: LMRequest) -> LMResponse:
        self.asked.append(request)
        if self.unfit:
            raise LMRequestRejected(f"{self.name}: lacks it", endpoint=self.name)
        seconds = self.after() if callable(self.after) else self.after
        try:
            if seconds:
                await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self.cut_off += 1
            raise
        if isinstance(self.deed, BaseException):
            raise self.deed
        return reply(self.deed) if isinstance(self.deed, str) else self.deed

    @asynccontextmanager
    async def stream(self, request: LMRequest) -> AsyncIterator[AsyncIterator[Delta]]:
        yield deltas_of(await self.complete(request))

    async def close(self) -> None:
        self.closed = True
