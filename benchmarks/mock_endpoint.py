"""A chat-completions endpoint that costs next to nothing: what is measured is the client.

Runs as a process of its own: ``python -m benchmarks.mock_endpoint --delay 0.05`` prints its URL and ends when
its standard input closes. It answers every POST with a completion, or with a stream if the body asks for one,
and every GET with the number of POSTs so far; it is no general HTTP server.
"""

import argparse
import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from random import Random

QUESTION = re.compile(rb"question (\d+)")
USAGE = {"prompt_tokens": 180, "completion_tokens": 6, "total_tokens": 186}


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How it answers.

    Attributes:
        delay: Seconds until it answers.
        tokens: How many tokens a stream has, each an event and a chunk of its own.
        pace: Seconds from one token to the next, all streams in step, as where a model answers them as one batch;
            0 sends a whole stream at once.
        echo: Whether ``question 7`` in the request is answered by ``answer 7``.
        faults: The share of requests, drawn from ``seed``, that get no answer but a 500, a connection cut before
            the answer or in the middle of it, or a body that is no JSON.
    """

    delay: float = 0.0
    tokens: int = 200
    pace: float = 0.0
    echo: bool = False
    faults: float = 0.0
    seed: int = 0


PLAIN = Behaviour()


class MockServer:
    """What all connections share: how to answer, how many requests came, which streams go on."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.requests = 0
        self.reply = _json_answer(_completion('{"topic": "tech"}'))
        self.broken = _json_answer(b'{"id": "chatcmpl-mock", "choices": [{"mess')
        self.events = _stream(behaviour.tokens)
        self._rng = Random(behaviour.seed)
        self._streams: list[tuple[asyncio.Transport, Iterator[bytes]]] = []

    def fault(self) -> str | None:
        """What goes wrong with the next answer; None: nothing."""
        if not self.behaviour.faults or self._rng.random() >= self.behaviour.faults:
            return None
        return self._rng.choice(("500", "cut", "cut_in_body", "malformed"))

    def stream_to(self, transport: asyncio.Transport) -> None:
        """Send a stream, at once or in step with the others."""
        if not self.behaviour.pace:
            transport.write(b"".join(self.events))
            return
        if not self._streams:
            asyncio.get_running_loop().call_later(self.behaviour.pace, self._step)
        self._streams.append((transport, iter(self.events)))

    def _step(self) -> None:
        going_on = []
        for transport, events in self._streams:
            event = next(events, None)
            if event is not None and not transport.is_closing():
                transport.write(event)
                going_on.append((transport, events))
        self._streams = going_on
        if going_on:
            asyncio.get_running_loop().call_later(self.behaviour.pace, self._step)


class MockConnection(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, server: MockServer) -> None:
        self._server = server
        self._delay = server.behaviour.delay
        # The common case is to be no slower for what the others can do.
        self._plain = not (server.behaviour.echo or server.behaviour.faults)
        self._received = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end].lower()
            _, _, length = head.partition(b"content-length:")
            size = end + 4 + (int(length.partition(b"\r\n")[0]) if length else 0)
            if len(self._received) < size:
                return
            body = self._received[end + 4 : size]
            self._received = self._received[size:]
            if head.startswith(b"get "):
                self._transport.write(_json_answer(b"%d" % self._server.requests))
                continue
            self._server.requests += 1
            if self._delay:
                asyncio.get_running_loop().call_later(self._delay, self._answer, body)
            else:
                self._answer(body)

    def _answer(self, body: bytes) -> None:
        if self._transport.is_closing():
            return
        if b'"stream":true' in body:
            self._server.stream_to(self._transport)
        elif self._plain:
            self._transport.write(self._server.reply)
        else:
            self._answer_or_fail(body)

    def _answer_or_fail(self, body: bytes) -> None:
        reply = self._server.reply
        question = QUESTION.search(body) if self._server.behaviour.echo else None
        if question is not None:
            reply = _json_answer(_completion(f"answer {question[1].decode()}"))
        match self._server.fault():
            case None:
                self._transport.write(reply)
            case "500":
                self._transport.write(_json_answer(b'{"error": {"message": "mock fault"}}', b"500 Oops"))
            case "malformed":
                self._transport.write(self._server.broken)
            case "cut_in_body":
                self._transport.write(reply[:-20])
                self._transport.close()
            case _:
                self._transport.close()


@contextmanager
def mock_endpoint(behaviour: Behaviour = PLAIN) -> Iterator[str]:
    """A mock endpoint in a process of its own; yields its base URL."""
    command = [sys.executable, "-m", "benchmarks.mock_endpoint"]
    for each in fields(behaviour):
        value = getattr(behaviour, each.name)
        if value != each.default:
            command += [f"--{each.name}"] if value is True else [f"--{each.name}", str(value)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()


def _completion(content: str) -> bytes:
    return json.dumps(
        {
            "id": "chatcmpl-mock",
            "object": "chat.completion",
            "created": 1,
            "model": "mock",
            "choices": [
                {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}
            ],
            "usage": USAGE,
        }
    ).encode()


def _json_answer(body: bytes, status: bytes = b"200 OK") -> bytes:
    head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % (status, len(body)) + body


def _stream(tokens: int) -> list[bytes]:
    """A streamed completion as OpenAI's looks, in the pieces it is sent in."""

    def choice(finish: str | None = None, **delta: str | None) -> list[object]:
        return [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]

    return [
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        + _event(choice(role="assistant", content="", refusal=None)),
        *(_event(choice(content=f" word{number}")) for number in range(tokens)),
        _event(choice("stop")),
        _event([], USAGE),
        _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n",
    ]


def _event(choices: list[object], usage: dict[str, int] | None = None) -> bytes:
    data = {
        "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
        "object": "chat.completion.chunk",
        "created": 1741569952,
        "model": "mock-2026-01-01",
        "service_tier": "default",
        "system_fingerprint": "fp_44709d6fcb",
        "choices": choices,
        "usage": usage,
    }
    return _chunk(b"data: %b\n\n" % json.dumps(data, separators=(",", ":")).encode())


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def _serve(behaviour: Behaviour) -> None:
    loop = asyncio.get_running_loop()
    server = MockServer(behaviour)
    listening = await loop.create_server(lambda: MockConnection(server), "127.0.0.1", 0, backlog=4096)
    port = listening.sockets[0].getsockname()[1]
    print(f"http://127.0.0.1:{port}/v1", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    listening.close()


def _behaviour() -> Behaviour:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--delay", type=float, default=PLAIN.delay)
    parser.add_argument("--tokens", type=int, default=PLAIN.tokens)
    parser.add_argument("--pace", type=float, default=PLAIN.pace)
    parser.add_argument("--echo", action="store_true")
    parser.add_argument("--faults", type=float, default=PLAIN.faults)
    parser.add_argument("--seed", type=int, default=PLAIN.seed)
    return Behaviour(**vars(parser.parse_args()))


if __name__ == "__main__":
    asyncio.run(_serve(_behaviour()))
