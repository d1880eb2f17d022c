"""Slow, idle and too many connections."""

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import pytest

from repertory.server.connections import Bounds, affordable_connections
from repertory.testing import ScriptedLM
from tests.endpoint import Hold, Reply, ScriptedEndpoint
from tests.server.service import PATIENCE, PREDICT, SPAM, Service, endpoint_config, serving

LIVE = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Socket:
    """A client that says what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def answer(self, request: bytes) -> bytes:
        self.writer.write(request)
        async with asyncio.timeout(PATIENCE):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            return head + await self.reader.readexactly(length)

    async def closed(self, drip: bytes = b"") -> None:
        """Return once the server has closed the connection, although ``drip`` is sent again and again."""
        closed = asyncio.create_task(self.reader.read())
        async with asyncio.timeout(PATIENCE):
            while not closed.done():
                self.writer.write(drip)
                await asyncio.wait({closed}, timeout=0.005 if drip else None)
        assert isinstance(closed.exception(), ConnectionError) or closed.result() == b""


@asynccontextmanager
async def connected(service: Service) -> AsyncIterator[Socket]:
    reader, writer = await asyncio.open_connection(service.host, service.port)
    try:
        yield Socket(reader, writer)
    finally:
        writer.transport.abort()


async def test_a_request_head_that_comes_byte_by_byte_is_not_waited_for() -> None:
    async with serving(ScriptedLM([]), bounds=Bounds(head_timeout=0.05)) as service, connected(service) as slow:
        slow.writer.write(LIVE[:-2] + b"X: ")
        await slow.closed(drip=b"x")


async def test_a_connection_that_says_nothing_is_not_waited_for() -> None:
    async with serving(ScriptedLM([]), bounds=Bounds(head_timeout=0.05)) as service, connected(service) as silent:
        await silent.closed()


async def test_the_second_request_head_has_to_come_in_time_too() -> None:
    async with serving(ScriptedLM([]), bounds=Bounds(head_timeout=0.05)) as service, connected(service) as slow:
        assert b"200 OK" in await slow.answer(LIVE)
        slow.writer.write(LIVE[:-2] + b"X: ")
        await slow.closed(drip=b"x")


async def test_an_idle_connection_is_kept_for_a_while_and_longer_than_a_head_may_take() -> None:
    bounds = Bounds(head_timeout=0.1, idle_timeout=60)
    async with serving(ScriptedLM([]), bounds=bounds) as service, connected(service) as idle:
        await idle.answer(LIVE)
        async with connected(service) as silent:
            await silent.closed()  # a head's time has passed
        assert b"200 OK" in await idle.answer(LIVE)
    async with serving(ScriptedLM([]), bounds=Bounds(idle_timeout=0.05)) as service, connected(service) as idle:
        await idle.answer(LIVE)
        await idle.closed()


async def test_a_body_may_take_longer_than_a_head() -> None:
    body = b'{"text": "Win!"}'
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    async with serving(ScriptedLM([SPAM]), bounds=Bounds(head_timeout=0.1)) as service, connected(service) as slow:
        slow.writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:3])
        async with connected(service) as silent:
            await silent.closed()  # a head's time has passed
        assert b"200 OK" in await slow.answer(body[3:])


async def test_one_connection_too_many_takes_the_place_of_the_oldest_without_a_request() -> None:
    held = asyncio.Event()
    async with (
        ScriptedEndpoint([Hold(held, Reply(SPAM))]) as endpoint,
        serving(endpoint_config(endpoint.url), bounds=Bounds(connections=3)) as service,
    ):
        asking = asyncio.create_task(service.predict())
        await endpoint.arrived.acquire()
        async with connected(service) as first, connected(service) as second:
            async with service.client.get("/health/live") as response:
                assert response.status == 200
            await first.closed()
            assert b"200 OK" in await second.answer(LIVE)
        held.set()
        assert (await asking)[0] == 200


async def test_slow_clients_in_numbers_do_not_lock_out_health_checks() -> None:
    async with serving(ScriptedLM([]), bounds=Bounds(connections=10)) as service, AsyncExitStack() as stack:
        slow = await asyncio.gather(*(stack.enter_async_context(connected(service)) for _ in range(100)))
        for each in slow:
            each.writer.write(LIVE[:9])
        async with service.client.get("/health/live") as response:
            assert response.status == 200
        for each in slow[:90]:
            await each.closed()


async def test_no_connection_takes_the_place_of_one_with_a_request() -> None:
    held = asyncio.Event()
    async with (
        ScriptedEndpoint([Hold(held, Reply(SPAM))]) as endpoint,
        serving(endpoint_config(endpoint.url), bounds=Bounds(connections=1)) as service,
    ):
        asking = asyncio.create_task(service.predict())
        await endpoint.arrived.acquire()
        async with connected(service) as refused:
            await refused.closed()
        with pytest.raises(aiohttp.ClientConnectionError):
            await service.client.get("/health/live")
        held.set()
        assert (await asking)[0] == 200


@pytest.mark.parametrize(
    ("descriptors", "connections"), [(256, 128), (1_048_576, 1000), (resource.RLIM_INFINITY, 1000), (1, 1)]
)
def test_connections_take_half_of_the_file_descriptors_at_most(
    descriptors: int, connections: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (descriptors, resource.RLIM_INFINITY))
    assert affordable_connections() == connections
