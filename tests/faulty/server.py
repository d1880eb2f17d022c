"""A server on real sockets that plays what it is told, byte by byte.

Example::

    async with FaultyServer([(Send(head + half), Cut()), (Send(head + body),)]) as server:
        ...  # a client of server.url
        await server.until_quiet()

Each request is answered with the script's next play; a script may also be a function from the request to its play.
A list that has run out answers 500, so that a request too many is seen.
"""

import asyncio
import json
import socket
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeAlias

PIECE = 65_536  # bytes handed to a socket at a time


@dataclass(frozen=True, slots=True)
class Request:
    """A request as the server received it. Header names are in lower case."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Any] = field(default_factory=dict)

    @property
    def streamed(self) -> bool:
        """Whether it asks for a stream, in any of the protocols."""
        return bool(self.body.get("stream")) or "stream" in self.path


@dataclass(frozen=True, slots=True)
class Send:
    """Sends ``data``, as fast as the client takes it."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Drip:
    """Sends ``data`` in pieces of ``size``, each in a packet of its own."""

    data: bytes = field(repr=False)
    size: int = 1


@dataclass(frozen=True, slots=True)
class Trickle:
    """Sends ``data`` again and again, with a pause between, until the client leaves."""

    data: bytes = field(repr=False)
    pause: float = 0.005


@dataclass(frozen=True, slots=True)
class Hold:
    """Waits for ``until``, or for ever; ``FaultyServer.holding`` tells that it does."""

    until: asyncio.Event | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """Waits, in real time."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Cut:
    """Ends the connection: in order, or with a reset."""

    reset: bool = False


@dataclass(frozen=True, slots=True)
class Note:
    """Calls ``to``: the play has come so far, with the client still there."""

    to: Callable[[], None]


Act: TypeAlias = Send | Drip | Trickle | Hold | Pause | Cut | Note
Play: TypeAlias = tuple[Act, ...]

EXHAUSTED: Play = (Send(b"HTTP/1.1 500 Script exhausted\r\nContent-Length: 0\r\n\r\n"),)


class FaultyServer:
    """The server; an async context manager.

    Attributes:
        requests: Every request received, in order.
        connections: How many connections were ever opened.
        connected: Released once a connection.
        arrived: Released once a request, before its play: ``await server.arrived.acquire()``.
        holding: Released once a `Hold`.
        left: How many clients went away during their plays.
    """

    def __init__(self, script: Iterable[Play] | Callable[[Request], Play]) -> None:
        self._script = script if callable(script) else _in_order(script)
        self.requests: list[Request] = []
        self.connections = 0
        self.connected = asyncio.Semaphore(0)
        self.arrived = asyncio.Semaphore(0)
        self.holding = asyncio.Semaphore(0)
        self.left = 0
        self._open: set[_Connection] = set()
        self._plays: set[asyncio.Task[None]] = set()
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._port = 0

    @property
    def url(self) -> str:
        """Its address, without a path."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def open(self) -> int:
        """How many connections there are."""
        return len(self._open)

    async def until_quiet(self) -> None:
        """Return as soon as no connection is open."""
        async with asyncio.timeout(20):
            await self._quiet.wait()

    async def __aenter__(self) -> "FaultyServer":
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for connection in list(self._open):
            connection.cut(reset=True)
        await self._quiet.wait()
        for outcome in await asyncio.gather(*self._plays, return_exceptions=True):
            if isinstance(outcome, Exception):  # of the play itself: those that were cut short are no failure
                raise outcome

    def _joined(self, connection: "_Connection") -> None:
        self.connections += 1
        self._open.add(connection)
        self._quiet.clear()
        self.connected.release()

    def _gone(self, connection: "_Connection") -> None:
        self._open.discard(connection)
        if not self._open:
            self._quiet.set()

    def _begin(self, connection: "_Connection", request: Request) -> "asyncio.Task[None]":
        self.requests.append(request)
        self.arrived.release()
        task = asyncio.get_running_loop().create_task(connection.perform(self._script(request)))
        self._plays.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, play: "asyncio.Task[None]") -> None:
        if play.cancelled() or play.exception() is None:
            self._plays.discard(play)


class _Connection(asyncio.Protocol):
    """One connection: reads a request, plays the answer, reads the next.

    Invariant: at most one play at a time, and none once the connection is lost.
    """

    def __init__(self, server: FaultyServer) -> None:
        self._server = server
        self._buffer = b""
        self._play: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        # Each piece shall be a packet of its own.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._server._joined(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._writable.set()
        if self._play is not None:
            self._server.left += 1
            self._play.cancel()
        self._server._gone(self)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    async def perform(self, play: Play) -> None:
        for act in play:
            await self._take(act)
        self._play = None
        self._next()

    def cut(self, *, reset: bool) -> None:
        if reset:
            linger = struct.pack("ii", 1, 0)  # a close that sends RST, see socket(7)
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self._transport.abort()
        else:
            self._transport.close()

    def _next(self) -> None:
        if self._play is None and not self._transport.is_closing():
            request = self._read_request()
            if request is not None:
                self._play = self._server._begin(self, request)

    def _read_request(self) -> Request | None:
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return None
        line, *fields = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in fields)}
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return None
        self._buffer = rest[length:]
        return Request(line.split(" ")[1], headers, json.loads(rest[:length] or b"{}"))

    async def _take(self, act: Act) -> None:
        match act:
            case Send(data):
                await self._write(data, PIECE)
            case Drip(data, size):
                await self._write(data, size)
            case Trickle(data, pause):
                while True:
                    self._transport.write(data)
                    await asyncio.sleep(pause)
            case Hold(until):
                self._server.holding.release()
                await (until or asyncio.Event()).wait()
            case Pause(seconds):
                await asyncio.sleep(seconds)
            case Cut(reset):
                self._play = None  # this client does not leave, it is left
                self.cut(reset=reset)
            case Note(to):
                to()

    async def _write(self, data: bytes, size: int) -> None:
        for at in range(0, len(data), size):
            self._transport.write(data[at : at + size])
            await self._writable.wait()
            if size < PIECE:
                await asyncio.sleep(0)


def _in_order(script: Iterable[Play]) -> Callable[[Request], Play]:
    plays = iter(script)
    return lambda _: next(plays, EXHAUSTED)
