"""A real HTTP server that speaks OpenAI chat completions and fails as its script says.

Example::

    async with ScriptedEndpoint([Status(503), CutConnection(), Reply("Paris")]) as server:
        ...  # a client of server.url
    assert len(server.requests) == 3

Each request is answered with the script's next step; a script may also be a function from the request to its
step. A list that has run out answers 500 "script exhausted", so that a call too many is seen.
"""

import asyncio
import json
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeAlias

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as the server received it. Header names are in lower case."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]

    @property
    def last_message(self) -> str:
        """The content of the conversation's last turn."""
        return str(self.body["messages"][-1]["content"])


@dataclass(frozen=True, slots=True)
class Reply:
    """A well-formed completion. ``content`` may be computed from the request."""

    content: str | Callable[[Seen], str] = "ok"
    finish_reason: str = "stop"


@dataclass(frozen=True, slots=True)
class Status:
    """An error status with OpenAI's error body."""

    status: int
    message: str = "scripted failure"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Raw:
    """Any bytes: malformed JSON, a web page, 200 with an error in it, a body of any size."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class CutConnection:
    """Ends the connection before the answer's headers, or after half of its body."""

    mid_body: bool = False


@dataclass(frozen=True, slots=True)
class Hang:
    """Says nothing until the client goes away; see ``ScriptedEndpoint.client_left``."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Takes the step ``then`` once ``until`` is set; ``ScriptedEndpoint.arrived`` tells that the request came."""

    until: asyncio.Event
    then: Reply | Status | Raw | CutConnection = field(default_factory=Reply)


@dataclass(frozen=True, slots=True)
class Delay:
    """Takes the step ``then`` after ``seconds`` of real time."""

    seconds: float
    then: Reply | Status | Raw | CutConnection = field(default_factory=Reply)


@dataclass(frozen=True, slots=True)
class Streamed:
    """Server-sent events, piece by piece, each flushed; before piece number ``wait_at`` it waits for ``until``.

    ``cut`` ends the connection after the last piece, in the middle of the body.
    """

    pieces: tuple[bytes, ...]
    cut: bool = False
    until: asyncio.Event | None = None
    wait_at: int = 1


Step: TypeAlias = Reply | Status | Raw | CutConnection | Hang | Hold | Delay | Streamed


class ScriptedEndpoint:
    """The server; an async context manager.

    Attributes:
        requests: Every request received, in order.
        disconnects: How many clients went away while their answer was pending.
        client_left: Set when the first of them did.
        arrived: Released once a request, before its step is taken: ``await server.arrived.acquire()``.
    """

    def __init__(
        self, script: Iterable[Step] | Callable[[Seen], Step], *, tls: ssl.SSLContext | None = None
    ) -> None:
        self._tls = tls
        self._script = script if callable(script) else _in_order(script)
        self.requests: list[Seen] = []
        self.disconnects = 0
        self.client_left = asyncio.Event()
        self.arrived = asyncio.Semaphore(0)
        self._closing = asyncio.Event()
        self._url = ""

    @property
    def url(self) -> str:
        """What an OpenAI client takes as its base URL."""
        return self._url

    async def __aenter__(self) -> "ScriptedEndpoint":
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        # With handler_cancellation a pending handler is cancelled when its client goes away.
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls)
        await site.start()
        self._url = f"http{'s' if self._tls else ''}://127.0.0.1:{self._runner.addresses[0][1]}/v1"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        seen = Seen(request.path, headers, json.loads(body) if body else {})
        self.requests.append(seen)
        self.arrived.release()
        try:
            return await self._take(self._script(seen), seen, request)
        except asyncio.CancelledError:
            self.disconnects += 1
            self.client_left.set()
            raise

    async def _take(self, step: Step, seen: Seen, request: web.Request) -> web.StreamResponse:
        match step:
            case Hold(until, then):
                await until.wait()
                return await self._take(then, seen, request)
            case Delay(seconds, then):
                await asyncio.sleep(seconds)
                return await self._take(then, seen, request)
            case Hang():
                await self._closing.wait()
                return web.Response()
            case Reply(content, finish_reason):
                text = content if isinstance(content, str) else content(seen)
                return web.json_response(completion(text, finish_reason))
            case Status(status, message, headers):
                return web.json_response({"error": {"message": message}}, status=status, headers=headers)
            case Raw(body, status, content_type):
                return web.Response(body=body, status=status, content_type=content_type)
            case CutConnection(mid_body):
                return await _cut(request, mid_body)
            case Streamed():
                return await _stream(request, step)


def completion(text: str | None, finish_reason: str = "stop", **message: Any) -> dict[str, Any]:
    """Return a chat completion as the wire has it. ``message`` adds fields to the message or replaces them."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "scripted-1",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text} | message,
                "finish_reason": finish_reason,
            }
        ],
        "usage": {
            "prompt_tokens": 11,
            "completion_tokens": 7,
            "total_tokens": 18,
            "prompt_tokens_details": {"cached_tokens": 3},
        },
    }


async def _cut(request: web.Request, mid_body: bool) -> web.StreamResponse:
    body = json.dumps(completion("never whole")).encode()
    response = web.StreamResponse()
    response.content_length = len(body)
    if mid_body:
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
    assert request.transport is not None
    request.transport.close()
    return response


def chunk(finish_reason: str | None = None, **delta: Any) -> bytes:
    """Return a streamed piece of a chat completion as an event."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    event = {"id": "chatcmpl-1", "model": "scripted-1", "choices": [choice]}
    return b"data: " + json.dumps(event).encode() + b"\n\n"


async def _stream(request: web.Request, step: Streamed) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for number, piece in enumerate(step.pieces):
        if step.until is not None and number == step.wait_at:
            await step.until.wait()
        await response.write(piece)
    if step.cut:
        assert request.transport is not None
        request.transport.close()
    return response


def _in_order(script: Iterable[Step]) -> Callable[[Seen], Step]:
    steps = iter(script)
    return lambda _: next(steps, Status(500, "script exhausted"))
