import asyncio
import socket
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import cast

import aiohttp
import pytest
from aiohttp.base_protocol import BaseProtocol

from repertory.errors import LMConnectionError, LMReplyMalformed, LMTimeout, RuntimeClosed
from repertory.providers.transport import HttpTransport, Stream
from repertory.providers.transport_settings import TransportSettings
from tests.endpoint import CutConnection, Hang, Hold, Raw, Reply, ScriptedEndpoint, Status
from tests.virtual_time import run_in_virtual_time

PATH = "/chat/completions"


@pytest.fixture
async def server() -> AsyncIterator[ScriptedEndpoint]:
    """One that echoes the body's field ``say``."""
    async with ScriptedEndpoint(lambda seen: Reply(str(seen.body["say"]))) as scripted:
        yield scripted


async def test_returns_the_answer_whatever_its_status() -> None:
    async with ScriptedEndpoint([Status(418, "teapot", {"Retry-After": "3"})]) as server:
        transport = HttpTransport(server.url, settings=TransportSettings(headers={"X-Team": "qa"}))
        status, headers, body = await transport.post(PATH, b"{}", timeout=5, headers={"X-Call": "1"})
        await transport.close()
    assert (status, headers["retry-after"]) == (418, "3")
    assert b"teapot" in body
    seen = server.requests[0]
    assert seen.path == "/v1/chat/completions"
    assert seen.headers["content-type"] == "application/json"
    assert (seen.headers["x-team"], seen.headers["x-call"]) == ("qa", "1")


async def test_connections_are_kept_and_not_capped() -> None:
    gate = asyncio.Event()
    async with ScriptedEndpoint(lambda _: Hold(gate)) as server:
        transport = HttpTransport(server.url)
        calls = [asyncio.create_task(transport.post(PATH, b"{}", timeout=30)) for _ in range(150)]
        async with asyncio.timeout(20):
            for _ in calls:
                await server.arrived.acquire()  # aiohttp's own cap would let 100 arrive
        gate.set()
        answers = await asyncio.gather(*calls)
        await transport.close()
    assert {status for status, _, _ in answers} == {200}


async def test_a_body_above_a_mebibyte_is_sent_without_complaint(server: ScriptedEndpoint) -> None:
    transport = HttpTransport(server.url)
    status, _, body = await transport.post(PATH, b'{"say":"' + b"x" * 3 * 2**20 + b'"}', timeout=30)
    await transport.close()
    assert status == 200
    assert len(body) > 3 * 2**20


@pytest.mark.parametrize("mid_body", [False, True])
async def test_a_cut_connection_is_a_connection_error(mid_body: bool) -> None:
    async with ScriptedEndpoint([CutConnection(mid_body=mid_body)]) as server:
        transport = HttpTransport(server.url, name="qa")
        with pytest.raises(LMConnectionError, match="qa: the connection failed"):
            await transport.post(PATH, b"{}", timeout=5)
        await transport.close()
    assert len(server.requests) == 1  # nothing is repeated behind the retry policy's back


async def test_a_refused_connection_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    transport = HttpTransport(f"http://127.0.0.1:{port}")
    with pytest.raises(LMConnectionError, match="Connect call failed"):
        await transport.post(PATH, b"{}", timeout=5)
    await transport.close()


async def test_a_connection_that_does_not_open_has_its_own_timeout() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        # Nobody accepts: these fill the backlog, the next connection hangs.
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        transport = HttpTransport(f"http://127.0.0.1:{address[1]}", connect_timeout=0.05)
        with pytest.raises(LMConnectionError, match=r"no connection within 0\.05 s"):
            await transport.post(PATH, b"{}", timeout=30)
        await transport.close()
        for filler in fillers:
            filler.close()


async def test_a_silent_endpoint_times_out_and_its_socket_is_closed() -> None:
    async with ScriptedEndpoint([Hang()]) as server:
        transport = HttpTransport(server.url)
        with pytest.raises(LMTimeout):
            await transport.post(PATH, b"{}", timeout=0.1)
        await asyncio.wait_for(server.client_left.wait(), 5)
        await transport.close()


async def test_cancelling_the_caller_closes_its_socket() -> None:
    async with ScriptedEndpoint([Hang()]) as server:
        transport = HttpTransport(server.url)
        call = asyncio.create_task(transport.post(PATH, b"{}", timeout=60))
        await server.arrived.acquire()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.wait_for(server.client_left.wait(), 5)
        assert server.disconnects == 1
        await transport.close()


async def test_a_body_larger_than_allowed_is_not_read() -> None:
    async with ScriptedEndpoint([Raw(b"x" * 5000), Raw(b"x" * 4999)]) as server:
        transport = HttpTransport(server.url, settings=TransportSettings(max_body=4999))
        with pytest.raises(LMReplyMalformed, match="larger than 4999 bytes"):
            await transport.post(PATH, b"{}", timeout=5)
        _, _, body = await transport.post(PATH, b"{}", timeout=5)
        assert len(body) == 4999
        await transport.close()


async def test_redirects_are_not_followed(server: ScriptedEndpoint) -> None:
    async with ScriptedEndpoint([Status(307, headers={"Location": server.url})]) as moved:
        transport = HttpTransport(moved.url)
        status, _, _ = await transport.post(PATH, b"{}", timeout=5)
        await transport.close()
    assert status == 307
    assert server.requests == []


async def test_the_address_is_asked_for_at_each_request(server: ScriptedEndpoint) -> None:
    url: str | None = None
    transport = HttpTransport(lambda: url, name="local")
    with pytest.raises(LMConnectionError, match="local: is not up") as refused:
        await transport.post(PATH, b'{"say":1}', timeout=5)
    assert refused.value.retry_after is not None
    async with ScriptedEndpoint([Reply("first life")]) as first:
        url = first.url
        assert b"first life" in (await transport.post(PATH, b"{}", timeout=5))[2]
    url = server.url
    assert b"second life" in (await transport.post(PATH, b'{"say":"second life"}', timeout=5))[2]
    await transport.close()


async def test_a_closed_transport_takes_no_requests(server: ScriptedEndpoint) -> None:
    transport = HttpTransport(server.url)
    await transport.post(PATH, b'{"say":1}', timeout=5)
    await transport.close()
    with pytest.raises(RuntimeClosed):
        await transport.post(PATH, b'{"say":1}', timeout=5)


def test_what_comes_in_the_last_moment_of_a_wait_is_returned_and_ends_nothing() -> None:
    async def main() -> list[bytes]:
        loop = asyncio.get_running_loop()
        protocol = BaseProtocol(loop)
        protocol.connection_made(asyncio.Transport())
        content = aiohttp.StreamReader(protocol, 2**16, loop=loop)
        answer = cast(aiohttp.ClientResponse, SimpleNamespace(content=content, close=lambda: None))
        stream = Stream(HttpTransport("http://127.0.0.1"), answer)
        # Before the timer and in the same turn of the loop, so that the reader has not run in between.
        loop.call_at(loop.time() + 5, content.feed_data, b"late")
        loop.call_later(8, content.feed_data, b"later")
        return [await stream.read(5), await stream.read(5)]

    assert run_in_virtual_time(main()) == [b"late", b"later"]
