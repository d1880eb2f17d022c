"""The clients of `benchmarks.http`: an endpoint with all its stages, and aiohttp with nothing around it."""

from collections.abc import Iterable
from contextlib import AsyncExitStack
from random import Random

import aiohttp

from benchmarks.timing import Call
from repertory.clock import SystemClock
from repertory.events import Event, Hook, Hooks
from repertory.providers import openai_chat
from repertory.providers.breaker import BreakerSettings
from repertory.providers.endpoint import Endpoint
from repertory.providers.limits import LimitSettings
from repertory.providers.messages import LMRequest, Message
from repertory.providers.settings import EndpointSettings
from repertory.providers.wire import Quirks

ARTICLE = "How to smash a home computer. An executive who froze his broken hard disk thinking it would be fixed "
REQUEST = LMRequest((Message("system", "Name the topic."), Message("user", ARTICLE)), max_tokens=100)
HEADERS = {"Content-Type": "application/json"}
DEFAULT_BREAKER = BreakerSettings()
PATIENCE = 120.0  # seconds that a call may take, on either side


def all_stages(
    url: str,
    hooks: Iterable[Hook] = (),
    *,
    name: str = "benchmark",
    breaker: BreakerSettings = DEFAULT_BREAKER,
) -> Endpoint:
    """An endpoint at ``url`` with every stage on except the cache."""
    settings = wide_settings(url, name, breaker)
    return Endpoint(settings, clock=SystemClock(), hooks=Hooks((_no_op, *hooks)), rng=Random(0))


def wide_settings(
    url: str, name: str = "benchmark", breaker: BreakerSettings = DEFAULT_BREAKER
) -> EndpointSettings:
    """Settings that turn every stage on, none so narrow that a call has to wait.

    A stage that comes to the pipeline belongs in here and in `all_stages`.
    """
    return EndpointSettings(
        name,
        "mock",
        url,
        timeout=PATIENCE,
        limits=LimitSettings(requests_per_minute=60e6, tokens_per_minute=60e9, max_concurrency=2_000),
        breaker=breaker,
    )


def bare(url: str) -> Endpoint:
    """An endpoint at ``url`` that has only what none is without: breaker and retries."""
    settings = EndpointSettings("benchmark", "mock", url, timeout=PATIENCE)
    return Endpoint(settings, clock=SystemClock(), hooks=Hooks(), rng=Random(0))


def caller(endpoint: Endpoint, stack: AsyncExitStack) -> Call:
    """A call of ``endpoint``, which ``stack`` closes."""
    stack.push_async_callback(endpoint.close)

    async def call() -> None:
        await endpoint.complete(REQUEST)

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
