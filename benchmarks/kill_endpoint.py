"""An endpoint that bills: its log says what it was asked, under which idempotency key, and what that costs.

A request is in the log, and billed, as soon as it has been read, whether or not anybody is there for the answer:
what a model has generated is paid for. It speaks OpenAI Chat Completions, and is no general HTTP server.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random

import orjson

from benchmarks.kill_load import INPUT, OUTPUT, reply

SECONDS = (0.001, 0.02)  # until an answer
FAULTS = 0.005
BYTES_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Asked:
    """One request.

    Attributes:
        key: Its idempotency key; "" if it had none.
        input_tokens: Billed; 0 where nothing was generated.
        output_tokens: Likewise.
    """

    key: str
    input_tokens: int
    output_tokens: int

    @property
    def nano(self) -> int:
        """Nano-dollars on the bill."""
        return self.input_tokens * INPUT + self.output_tokens * OUTPUT


class KillEndpoint:
    """What all connections share.

    Args:
        faults: The share of requests that are refused, and of those whose connection is cut.

    Attributes:
        asked: The log.
        keys: Those of the calls that have been asked.
    """

    def __init__(self, seed: int, faults: float) -> None:
        self.asked: list[Asked] = []
        self.keys: set[str] = set()
        self.url = ""
        self._rng = Random(seed)
        self._faults = faults
        self._open = 0
        self._news: set[asyncio.Future[None]] = set()

    async def reached(self, keys: int) -> None:
        """Return as soon as that many calls have been asked."""
        while len(self.keys) < keys:
            await self._next()

    async def quiet(self) -> None:
        """Return once all that was sent has been read, and its senders are gone."""
        while self._open:
            await self._next()

    # --- for connections ---

    def joined(self) -> None:
        """There is another connection."""
        self._open += 1

    def left(self) -> None:
        """There is one less."""
        self._open -= 1
        self._tell()

    def take(self, key: str, body: bytes) -> tuple[float, bytes | None]:
        """Log and bill a request; return after how many seconds it gets what, None: its connection is cut."""
        fate, number = self._rng.random(), len(self.asked)
        refused = fate < self._faults
        # No two answers in a row cost the same: whoever counts one for another is found out.
        tokens = (0, 0) if refused else (len(body) // BYTES_PER_TOKEN + number % 7, 1 + number % 97)
        self.asked.append(Asked(key, *tokens))
        self.keys.add(key)
        self._tell()
        seconds = self._rng.uniform(*SECONDS)
        if refused:
            return seconds, _answer("500 Oops", {"error": {"message": "refused"}})
        if fate < 2 * self._faults:
            return seconds, None  # it is billed all the same
        return seconds, _answer("200 OK", _completion(number, orjson.loads(body), tokens))

    def _tell(self) -> None:
        for future in self._news:
            future.set_result(None)
        self._news.clear()

    async def _next(self) -> None:
        future = asyncio.get_running_loop().create_future()
        self._news.add(future)
        try:
            await future
        finally:
            self._news.discard(future)


class _Connection(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, endpoint: KillEndpoint) -> None:
        self._endpoint = endpoint
        self._received = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._endpoint.joined()

    def connection_lost(self, exc: Exception | None) -> None:
        self._endpoint.left()

    def data_received(self, data: bytes) -> None:
        self._received += data
        for key, body in self._requests():
            seconds, answer = self._endpoint.take(key, body)
            asyncio.get_running_loop().call_later(seconds, self._answer, answer)

    def _requests(self) -> Iterator[tuple[str, bytes]]:
        """The whole requests that have been received: key and body."""
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            lines = self._received[:end].decode("latin-1").lower().split("\r\n")[1:]
            headers = dict(line.split(": ", 1) for line in lines)
            size = end + 4 + int(headers.get("content-length", 0))
            if len(self._received) < size:
                return
            body, self._received = self._received[end + 4 : size], self._received[size:]
            yield headers.get("idempotency-key", ""), body

    def _answer(self, answer: bytes | None) -> None:
        if self._transport.is_closing():
            return
        if answer is None:
            self._transport.abort()
        else:
            self._transport.write(answer)


@asynccontextmanager
async def kill_endpoint(seed: int, faults: float = FAULTS) -> AsyncIterator[KillEndpoint]:
    """An endpoint on this loop."""
    endpoint = KillEndpoint(seed, faults)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(endpoint), "127.0.0.1", 0, backlog=1024)
    endpoint.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield endpoint
    finally:
        server.close()


def _completion(number: int, body: dict[str, object], tokens: tuple[int, int]) -> dict[str, object]:
    match body:
        case {
            "messages": [_, {"content": str(question)}, *_] as messages,
            "response_format": {"json_schema": {"schema": {"required": [str(output)]}}},
        }:
            said = orjson.dumps(reply(output, question, len(messages))).decode()
        case _:
            raise AssertionError(f"what is {body}?")
    message = {"role": "assistant", "content": said}
    read, written = tokens
    usage = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    return {"id": f"c-{number}", "object": "chat.completion", "model": "m", "choices": [choice], "usage": usage}


def _answer(status: str, content: object) -> bytes:
    body = orjson.dumps(content)
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body
