"""Connections: how long one may take and how many there may be, which aiohttp leaves open.

By itself aiohttp takes any number, and ends one only after an hour without a whole request.
"""

import asyncio
import resource
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from repertory.server.problems import ON_EVERY_ANSWER, Problem

HEAD_TIMEOUT: Final = 10.0  # seconds
IDLE_TIMEOUT: Final = 75.0  # seconds; proxies commonly let go after 60, and it is better that they do it first
MOST_CONNECTIONS: Final = 1000


def affordable_connections() -> int:
    """How many connections the process has file descriptors for: half of them; a prediction needs some too."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else max(1, min(MOST_CONNECTIONS, soft // 2))


@dataclass(frozen=True, slots=True)
class Bounds:
    """What clients may hold.

    Attributes:
        head_timeout: Seconds for a request's head, from the connection's beginning or the head's first byte.
        idle_timeout: Seconds a connection is kept for another request.
        connections: Open at once. One more takes the place of the oldest without a request, and if all have
            one it is closed: slow clients do not lock out others, nor health checks.
    """

    head_timeout: float = HEAD_TIMEOUT
    idle_timeout: float = IDLE_TIMEOUT
    connections: int = MOST_CONNECTIONS


class BoundedRunner(web.AppRunner):
    """Runs an application on connections within ``bounds``."""

    def __init__(self, app: web.Application, bounds: Bounds, **options: Any) -> None:
        super().__init__(app, keepalive_timeout=bounds.idle_timeout, **options)
        self._bounds = bounds

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _BoundedServer(
            made.request_handler, self._bounds, request_factory=made.request_factory, **self._kwargs
        )


class _BoundedServer(web.Server):
    def __init__(self, handler: Any, bounds: Bounds, **options: Any) -> None:
        super().__init__(handler, **options)
        self.bounds = bounds

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)

    def has_room(self) -> bool:
        """Whether one more connection may be, the oldest without a request being closed for it if need be."""
        if len(self._connections) < self.bounds.connections:
            return True
        for connection in self._connections:
            if isinstance(connection, _Connection) and connection.idle:
                connection.force_close()
                return True
        return False


class _Connection(web.RequestHandler):
    """One client's connection.

    Invariant: ``_head_timer`` runs only while a request's head is awaited that has begun, or is the first.
    """

    __slots__ = ("_bounded", "_head_timer")

    def __init__(self, server: _BoundedServer, **options: Any) -> None:
        super().__init__(server, **options)
        self._bounded = server
        self._head_timer: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """Whether it is open and waits for a request's head."""
        waits = self._waiter is not None and not self._waiter.done()
        return self.connected and (waits or self._request_count == 0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not self._bounded.has_room():
            self.force_close()  # it reads nothing from now on
            assert isinstance(transport, asyncio.Transport)
            transport.abort()
            return
        super().connection_made(transport)
        self._start_head_timer()

    def data_received(self, data: bytes) -> None:
        heads = self._request_count
        super().data_received(data)
        if self._request_count > heads:
            self._stop_head_timer()
        elif self._head_timer is None and self.idle:
            self._start_head_timer()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_head_timer()
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no valid request; aiohttp's own words go to the log only."""
        super().handle_error(request, status, exc, message)  # logs; raises if an answer has begun
        response = _problem(exc).response()
        response.headers.update(ON_EVERY_ANSWER)
        response.force_close()
        return response

    def _start_head_timer(self) -> None:
        self._head_timer = self._loop.call_later(self._bounded.bounds.head_timeout, self.force_close)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def _problem(cause: BaseException | None) -> Problem:
    if isinstance(cause, HttpProcessingError):
        reason, _, _ = cause.message.partition(":")  # behind it are the bytes
        return Problem(400, "http_invalid", "This is not a valid HTTP request", reason[:200])
    return Problem(500, "internal_error", "Internal error", "something failed inside")
