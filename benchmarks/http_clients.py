"""The clients of `benchmarks.http`: an endpoint with all its stages, and aiohttp with nothing around it."""

from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import replace
from decimal import Decimal
from random import Random

import aiohttp

from benchmarks.timing import Call
from repertory.clock import SystemClock
from repertory.events import Event, Hook, Hooks
from repertory.providers import openai_chat
from repertory.providers.breaker import BreakerSettings
from repertory.providers.budget import BudgetSettings
from repertory.providers.cache import ReplyCache
from repertory.providers.endpoint import Endpoint
from repertory.providers.limits import LimitSettings
from repertory.providers.messages import LMRequest, Message, Terms
from repertory.providers.prices import Price
from repertory.providers.settings import EndpointSettings
from repertory.providers.wire import Quirks
from repertory.store import AccountLimit, MemoryLedger

ARTICLE = "How to smash a home computer. An executive who froze his broken hard disk thinking it would be fixed "
UNPAID = LMRequest((Message("system", "Name the topic."), Message("user", ARTICLE)), max_tokens=100)
ACCOUNTS = ("run", "session", "key", "tenant", "global")
REQUEST = replace(UNPAID, terms=Terms(accounts=ACCOUNTS))
HEADERS = {"Content-Type": "application/json"}
PATIENCE = 120.0  # seconds that a call may take, on either side
BREAKER = BreakerSettings(slow_seconds=PATIENCE)


async def all_stages(
    url: str,
    hooks: Iterable[Hook] = (),
    *,
    name: str = "benchmark",
    breaker: BreakerSettings = BREAKER,
    cache: ReplyCache | None = None,
) -> Endpoint:
    """An endpoint at ``url`` with every stage on, the cache only if there is one; no stage makes a call wait."""
    settings = EndpointSettings(
        name,
        "mock",
        url,
        timeout=PATIENCE,
        limits=LimitSettings(max_concurrency=2_000, requests_per_minute=60e6, tokens_per_minute=60e9),
        breaker=breaker,
        budget=BudgetSettings(price=Price.flat(input=Decimal("0.4"), output=Decimal("1.6"))),
    )
    ledger = MemoryLedger()
    for account in ACCOUNTS:
        await ledger.limit(account, AccountLimit(nano_dollars=10**18, tokens=10**15))
    told = Hooks((_no_op, *hooks))
    return Endpoint(settings, clock=SystemClock(), hooks=told, rng=Random(0), cache=cache, ledger=ledger)


def bare(url: str) -> Endpoint:
    """An endpoint at ``url`` that has only what none is without: breaker and retries."""
    settings = EndpointSettings("benchmark", "mock", url, timeout=PATIENCE)
    return Endpoint(settings, clock=SystemClock(), hooks=Hooks(), rng=Random(0))


def caller(endpoint: Endpoint, stack: AsyncExitStack, request: LMRequest = REQUEST) -> Call:
    """A call of ``endpoint``, which ``stack`` closes."""
    stack.push_async_callback(endpoint.close)

    async def call() -> None:
        await endpoint.complete(request)

    return call


async def raw_session(stack: AsyncExitStack) -> aiohttp.ClientSession:
    """A session without a cap on connections and with one total timeout."""
    return await stack.enter_async_context(
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=PATIENCE)
        )
    )


async def raw_caller(url: str, stack: AsyncExitStack) -> Call:
    """A call that posts the same bytes as `caller` and reads the reply, nothing parsed."""
    session = await raw_session(stack)
    body = body_of(REQUEST)

    async def call() -> None:
        async with session.post(f"{url}/chat/completions", data=body, headers=HEADERS) as response:
            await response.read()

    return call


def body_of(request: LMRequest, *, stream: bool = False) -> bytes:
    """The bytes that an endpoint sends for ``request``."""
    return openai_chat.encode(request, "mock", Quirks(), stream=stream)


async def requests_at(url: str) -> int:
    """How many requests the mock endpoint at ``url`` has had."""
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return int(await response.read())


def _no_op(event: Event) -> None:
    """A hook that is there and does nothing."""
