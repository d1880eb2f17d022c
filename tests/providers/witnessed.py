"""An endpoint whose calls are paid for and witnessed, and witnesses that are slow or fail."""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from random import Random
from typing import Any

from repertory.clock import Clock
from repertory.events import Event, Hooks, LMCallFinished
from repertory.providers.budget import BudgetSettings
from repertory.providers.endpoint import Endpoint
from repertory.providers.messages import LMRequest, Message, Terms, TextDelta
from repertory.providers.prices import Price
from repertory.providers.settings import EndpointSettings
from repertory.providers.witness import Intent
from repertory.store import AccountLimit, MemoryLedger
from repertory.testing import FakeClock
from tests.providers.recorder import Recorder

PRICE = Price.flat(input=Decimal(1), output=Decimal(4))
PAID = Terms(accounts=("a",))
COST = Decimal("0.000039")  # of a scripted reply: 11 tokens read, 7 written


def ask(witness: Recorder, text: str = "Tag?", **fields: Any) -> LMRequest:
    return LMRequest((Message("user", text),), max_tokens=5, witness=witness, **fields)


class Site:
    """An endpoint, its account with a dollar, and what it tells."""

    def __init__(self, url: str, name: str = "qa", clock: Clock | None = None, **settings: Any) -> None:
        self.clock = clock or FakeClock()
        self.events: list[Event] = []
        self.ledger = MemoryLedger()
        cache = settings.pop("cache", None)
        self.endpoint = Endpoint(
            EndpointSettings(name, "m-1", url, **{"budget": BudgetSettings(price=PRICE)} | settings),
            clock=self.clock,
            hooks=Hooks([self.events.append]),
            rng=Random(1),
            ledger=self.ledger,
            cache=cache,
        )

    async def opened(self) -> "Site":
        await self.ledger.limit("a", AccountLimit.of(dollars=Decimal(1)))
        return self

    async def call(self, request: LMRequest, *, streamed: bool = False) -> str:
        if not streamed:
            return (await self.endpoint.complete(request)).text
        said = []
        async with self.endpoint.stream(request) as deltas:
            async for delta in deltas:
                said += [delta.text] if isinstance(delta, TextDelta) else []
        return "".join(said)

    async def closed(self) -> None:
        """Close; nothing is held any more."""
        snapshot = self.endpoint.snapshot()
        assert (snapshot.in_flight, snapshot.limits.in_flight, snapshot.limits.callers) == (0, 0, 0)
        balance = await self.ledger.balance("a")
        assert balance.reservations == 0
        await self.endpoint.close()

    @property
    def finished(self) -> list[str | None]:
        return [event.error for event in self.events if isinstance(event, LMCallFinished)]


def fake(site: Site) -> FakeClock:
    assert isinstance(site.clock, FakeClock)
    return site.clock


class Stuck:
    """A disk that takes for ever.

    Attributes:
        begun: Set when something is to be written.
    """

    def __init__(self) -> None:
        self.begun = asyncio.Event()

    async def __call__(self, _: Intent) -> None:
        self.begun.set()
        await asyncio.Event().wait()


def failing(error: BaseException) -> Callable[[Intent], Awaitable[None]]:
    async def fail(_: Intent) -> None:
        raise error

    return fail
