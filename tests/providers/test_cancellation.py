"""Cancelling a caller ends its work down to the socket, wherever the call is: observed by the server."""

import asyncio
from collections.abc import Mapping
from random import Random
from types import MappingProxyType
from typing import Any

import pytest

from repertory.events import Event, Hooks, LMCallFinished
from repertory.providers.endpoint import Endpoint
from repertory.providers.limits import LimitSettings
from repertory.providers.messages import LMRequest, Message, TextDelta
from repertory.providers.settings import EndpointSettings
from repertory.testing import FakeClock
from tests.faulty.dialects import OPENAI
from tests.faulty.http import EVENTS, answer, chunk, head, in_chunks
from tests.faulty.server import Cut, FaultyServer, Hold, Play, Send

ASK = LMRequest((Message("user", "Capital of France?"),))
REPLY = OPENAI.reply("Paris")
GOOD = answer(REPLY)
OPENED = head(content_type=EVENTS) + chunk(OPENAI.opening())

each_kind = pytest.mark.parametrize("streamed", [False, True], ids=["complete", "stream"])

PHASES: Mapping[str, tuple[bytes, bytes]] = MappingProxyType(
    {  # what the server has sent when the caller is cancelled: of a whole reply, of a stream
        "waiting for the headers": (b"", b""),
        "in the headers": (b"HTTP/1.1 200 OK\r\nX-Part", b"HTTP/1.1 200 OK\r\nX-Part"),
        "waiting for the body": (head(length=len(REPLY)), head(content_type=EVENTS)),
        "in the body": (head(length=len(REPLY)) + REPLY[:9], OPENED),
    }
)


class Caller:
    """An endpoint at a server, and one caller of it."""

    def __init__(self, url: str, *, streamed: bool, **settings: Any) -> None:
        self.clock = FakeClock()
        self.events: list[Event] = []
        self.begun = asyncio.Event()  # the first word has been passed on
        self.endpoint = Endpoint(
            EndpointSettings("qa", "m", url, **settings),
            clock=self.clock,
            hooks=Hooks([self.events.append]),
            rng=Random(1),
        )
        self._streamed = streamed

    def call(self) -> "asyncio.Task[None]":
        return asyncio.create_task(self._read() if self._streamed else self._complete())

    @property
    def outcomes(self) -> list[str | None]:
        return [event.error for event in self.events if isinstance(event, LMCallFinished)]

    async def ended(self, server: FaultyServer) -> None:
        """Close; nothing of the caller is left, here or there."""
        snapshot = self.endpoint.snapshot()
        assert (snapshot.in_flight, snapshot.limits.callers, snapshot.failures) == (0, 0, 0)
        assert (snapshot.circuit.state, snapshot.circuit.failures) == ("closed", 0)
        await self.endpoint.close()
        await server.until_quiet()
        assert self.clock.sleeping == 0

    async def _complete(self) -> None:
        await self.endpoint.complete(ASK)

    async def _read(self) -> None:
        async with self.endpoint.stream(ASK) as deltas:
            async for delta in deltas:
                if isinstance(delta, TextDelta):
                    self.begun.set()


async def cancelled(call: "asyncio.Task[None]") -> None:
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


@each_kind
async def test_while_it_connects(streamed: bool) -> None:
    async with FaultyServer([]) as server:
        # The handshake of TLS is part of connecting, and is never answered.
        caller = Caller(server.url.replace("http:", "https:"), streamed=streamed)
        call = caller.call()
        await server.connected.acquire()
        await cancelled(call)
        await server.until_quiet()
        await caller.ended(server)
        assert server.requests == []
        assert caller.outcomes == ["cancelled"]


@each_kind
@pytest.mark.parametrize("phase", PHASES)
async def test_while_it_waits_or_reads(phase: str, streamed: bool) -> None:
    async with FaultyServer([(Send(PHASES[phase][streamed]), Hold())]) as server:
        caller = Caller(server.url, streamed=streamed)
        call = caller.call()
        await server.holding.acquire()
        for _ in range(10):
            # The caller runs in the same loop as the server: in a few turns it has read what was sent.
            await asyncio.sleep(0)
        assert server.open == 1
        await cancelled(call)
        await server.until_quiet()
        assert server.left == 1
        await caller.ended(server)
        assert caller.outcomes == ["cancelled"]


async def test_in_mid_stream() -> None:
    async with FaultyServer([(Send(OPENED + chunk(OPENAI.word("Pa"))), Hold())]) as server:
        caller = Caller(server.url, streamed=True)
        call = caller.call()
        await caller.begun.wait()
        await cancelled(call)
        await server.until_quiet()
        assert server.left == 1
        await caller.ended(server)
        assert caller.outcomes == ["cancelled"]


@each_kind
async def test_in_the_limiters_queue(streamed: bool) -> None:
    gate = asyncio.Event()
    good = in_chunks(OPENAI.stream("Paris")) if streamed else GOOD
    async with FaultyServer(lambda _: (Hold(gate), Send(good))) as server:
        caller = Caller(server.url, streamed=streamed, limits=LimitSettings(max_concurrency=1))
        first, second, third = (caller.call() for _ in range(3))
        await server.holding.acquire()
        assert caller.endpoint.snapshot().limits.waiting["normal"] == 2
        await cancelled(second)
        assert caller.endpoint.snapshot().limits.waiting["normal"] == 1
        assert (server.connections, len(server.requests)) == (1, 1)
        gate.set()
        await asyncio.gather(first, third)
        await caller.ended(server)
        assert len(server.requests) == 2
        assert caller.outcomes == [None, None]


@each_kind
async def test_before_another_attempt(streamed: bool) -> None:
    async with FaultyServer([(Send(answer(b"{}", 500)), Cut())]) as server:
        caller = Caller(server.url, streamed=streamed)
        call = caller.call()
        await caller.clock.until_asleep()
        await cancelled(call)
        caller.clock.advance(60)
        await server.until_quiet()
        assert len(server.requests) == 1
        assert caller.outcomes == ["lm_server_error"]
        await caller.endpoint.close()
        assert caller.endpoint.snapshot().in_flight == 0
        assert caller.clock.sleeping == 0


@each_kind
async def test_during_another_attempt(streamed: bool) -> None:
    plays: list[Play] = [(Send(answer(b"{}", 500)),), (Hold(),)]
    async with FaultyServer(plays) as server:
        caller = Caller(server.url, streamed=streamed)
        call = caller.call()
        await caller.clock.until_asleep()
        caller.clock.advance(1)
        await server.holding.acquire()
        await cancelled(call)
        await server.until_quiet()
        assert server.left == 1
        assert caller.outcomes == ["lm_server_error", "cancelled"]
        await caller.endpoint.close()


@each_kind
async def test_a_hundred_at_once(streamed: bool) -> None:
    async with FaultyServer(lambda _: (Hold(),)) as server:
        caller = Caller(server.url, streamed=streamed)
        calls = [caller.call() for _ in range(100)]
        for _ in calls:
            await server.holding.acquire()
        assert server.open == 100
        for call in calls:
            call.cancel()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {asyncio.CancelledError}
        await server.until_quiet()  # although the endpoint has not been closed
        await caller.ended(server)


@each_kind
async def test_closing_the_endpoint_ends_what_is_under_way(streamed: bool) -> None:
    async with FaultyServer(lambda _: (Hold(),)) as server:
        caller = Caller(server.url, streamed=streamed, attempts=1)
        calls = [caller.call() for _ in range(5)]
        for _ in calls:
            await server.holding.acquire()
        await caller.endpoint.close()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert {getattr(outcome, "code", outcome) for outcome in outcomes} == {"lm_unreachable"}
        await server.until_quiet()
