"""A key goes to its endpoint and nowhere else: not into events, log lines, errors, reprs or the store."""

import asyncio
import io
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from types import MappingProxyType

import pytest
from pydantic import SecretStr

from repertory.clock import SystemClock
from repertory.errors import RepertoryError
from repertory.events import Event, Hooks
from repertory.providers.endpoint import Endpoint
from repertory.providers.messages import LMRequest, Message
from repertory.providers.settings import EndpointSettings
from repertory.runtime.config import LogConfig
from repertory.runtime.telemetry import StructlogHook, make_logger
from tests.endpoint import Raw, ScriptedEndpoint, Status, Step
from tests.faulty.dialects import DIALECTS, Complaint, Dialect
from tests.faulty.faults import Scene
from tests.faulty.http import EVENTS, answer, chunk, head, in_chunks
from tests.faulty.server import Cut, FaultyServer, Hold, Play, Send
from tests.runtime.programs import Two, runtime_for

CANARY = "sk-canary-3d7f0a91c2"
ECHO = f"no such key: {CANARY}"
ASK = LMRequest((Message("user", "Tag?"),))
EMPTY = b"{}"


def _refusing(status: int, complaint: Complaint, **headers: str) -> Callable[[Scene], Play]:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda scene: (Send(answer(scene.dialect.error(complaint, ECHO), status, headers=fields)),)


def _error_in_good_answer(complaint: Complaint) -> Callable[[Scene], Play]:
    def play(scene: Scene) -> Play:
        dialect = scene.dialect
        if scene.streamed:
            return (Send(in_chunks([dialect.opening(), dialect.error_event(complaint, ECHO)])),)
        return (Send(answer(dialect.error(complaint, ECHO))),)

    return play


def _bytes(data: bytes) -> Callable[[Scene], Play]:
    return lambda _: (Send(data), Cut())


def _body(body: bytes, status: int = 200, content_type: str = "text/plain") -> Callable[[Scene], Play]:
    return _bytes(answer(body, status, content_type))


# How a call can fail, most of them with the key in the server's answer.
FAILURES: Mapping[str, Callable[[Scene], Play]] = MappingProxyType(
    {
        "moved": _refusing(307, "invalid", Location=f"http://127.0.0.1:1/?key={CANARY}"),
        "rejected": _refusing(400, "invalid"),
        "refused": _refusing(401, "key", WWW_Authenticate=f"Bearer {CANARY}"),
        "forbidden": _refusing(403, "key"),
        "unknown": _refusing(404, "invalid"),
        "limited": _refusing(429, "rate limit", Retry_After=CANARY, x_ratelimit_reset_requests=CANARY),
        "failed": _refusing(500, "overloaded"),
        "failed without JSON": _body(ECHO.encode(), 500),
        "failed at length": _body(b"x" * 492 + ECHO.encode() + b"y" * 10_000, 500),
        "an overload in a good answer": _error_in_good_answer("overloaded"),
        "a rate limit in a good answer": _error_in_good_answer("rate limit"),
        "a refusal in a good answer": _error_in_good_answer("key"),
        "text": _body(ECHO.encode()),
        "JSON that is no reply": _body(f'["{ECHO}"]'.encode(), content_type="application/json"),
        "events that are no reply": _bytes(in_chunks([f"data: {ECHO}\n\n".encode()])),
        "an event that is an error": _bytes(in_chunks([b'data: {"error":"%b"}\n\n' % ECHO.encode()])),
        "no HTTP": _bytes(f"{CANARY} what?\r\n\r\n".encode()),
        "a status that is none": _bytes(f"HTTP/1.1 {CANARY} {CANARY}\r\n\r\n".encode()),
        "a header that is none": _bytes(f"HTTP/1.1 200 OK\r\n{CANARY}\r\n\r\n".encode()),
        "a header too long": _bytes(f"HTTP/1.1 200 OK\r\nX: {CANARY * 1000}\r\n\r\n".encode()),
        "a length that is none": _bytes(f"HTTP/1.1 200 OK\r\nContent-Length: {CANARY}\r\n\r\n".encode()),
        "a chunk that is none": _bytes(head() + CANARY.encode() + b"\r\n"),
        "not compressed": _bytes(answer(ECHO.encode(), headers={"Content-Encoding": "gzip"})),
        "an unknown encoding": _bytes(answer(ECHO.encode(), headers={"Content-Encoding": CANARY})),
        "cut": lambda _: (Cut(),),
        "reset": lambda _: (Cut(reset=True),),
        "cut in the body": _bytes(head(length=100) + ECHO.encode()),
        "cut in the stream": lambda scene: (
            Send(head(content_type=EVENTS) + chunk(scene.dialect.opening())),
            Cut(),
        ),
        "silent": lambda _: (Hold(),),
    }
)


class Witness:
    """Writes down all that an attentive operator could see of an endpoint."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.events: list[Event] = []
        self.failures = 0
        self._lines = [io.StringIO(), io.StringIO()]
        json, console = self._lines
        self.hooks = Hooks(
            [
                self.events.append,
                StructlogHook(make_logger(LogConfig(format="json", level="debug"), json)),
                StructlogHook(make_logger(LogConfig(format="console", level="debug"), console)),
            ]
        )

    def note_error(self, error: BaseException) -> None:
        self.failures += 1
        self.shown.append("".join(traceback.format_exception(error)))
        link: BaseException | None = error
        while link is not None:
            self.shown.append(f"{link!r} {link} {vars(link)!r}")
            link = link.__cause__ or link.__context__

    def note_endpoint(self, endpoint: Endpoint) -> None:
        parts = (endpoint, endpoint.settings, endpoint.settings.identity, endpoint.snapshot())
        inside = (endpoint._exchange, endpoint._exchange.peer, endpoint._gate, endpoint.circuit_memory())
        self.shown += [repr(part) for part in (*parts, *inside)]

    def leaks(self) -> list[str]:
        """Every line in which the key is."""
        texts = [*self.shown, repr(self.events), *(lines.getvalue() for lines in self._lines)]
        return [line for text in texts for line in text.splitlines() if CANARY in line]

    def said(self, words: str) -> bool:
        return any(words in text for text in self.shown)


async def fail(witness: Witness, url: str, dialect: Dialect, *, streamed: bool) -> None:
    settings = EndpointSettings(
        "qa",
        "m",
        url,
        api_key=SecretStr(CANARY),
        api_key_env="QA_KEY",
        protocol=dialect.protocol,
        attempts=1,
        timeout=0.1,
    )
    endpoint = Endpoint(settings, clock=SystemClock(), hooks=witness.hooks, rng=Random(1))
    with pytest.raises(RepertoryError) as raised:
        await (_read(endpoint) if streamed else endpoint.complete(ASK))
    witness.note_error(raised.value)
    witness.note_endpoint(endpoint)
    await endpoint.close()


async def _read(endpoint: Endpoint) -> None:
    async with endpoint.stream(ASK) as deltas:
        async for _ in deltas:
            pass


@pytest.mark.parametrize("streamed", [False, True], ids=["complete", "stream"])
@pytest.mark.parametrize("name", DIALECTS)
async def test_no_failure_of_a_call_shows_its_key(name: str, streamed: bool) -> None:
    witness, dialect = Witness(), DIALECTS[name]
    scene = Scene(dialect, streamed, asyncio.Event())
    async with FaultyServer([play(scene) for play in FAILURES.values()]) as server:
        for _ in FAILURES:
            await fail(witness, server.url, dialect, streamed=streamed)
        assert len(server.requests) == len(FAILURES)
        sent = [request.headers for request in server.requests]
    assert all(any(CANARY in value for value in headers.values()) for headers in sent)
    await fail(witness, "http://127.0.0.1:1", dialect, streamed=streamed)
    await fail(witness, server.url.replace("http:", "https:"), dialect, streamed=streamed)
    assert witness.failures == len(FAILURES) + 2
    assert witness.said("no such key: [secret]")  # the quotes are there to be searched
    assert witness.leaks() == []


def _failing() -> list[Step]:
    body = b'{"choices":[{"message":{"content":"no outputs in here"}}]}'
    return [Status(401, ECHO), Status(500, ECHO), Raw(ECHO.encode()), Raw(body)]


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


async def test_no_run_leaves_a_key_in_the_store_or_in_what_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY_KEY", CANARY)
    witness = Witness()
    for number, step in enumerate(_failing()):
        async with ScriptedEndpoint(lambda _, step=step: step) as server:  # type: ignore[misc]  # bound per step
            hooks = [lambda event: witness.hooks.emit(event)]
            store = tmp_path / f"{number}.db"
            async with runtime_for(server, store, hooks=hooks, api_key_env="CANARY_KEY") as runtime:
                two = await runtime.start(Two())
                with pytest.raises(RepertoryError) as raised:
                    await two.run({"text": "x"})
                witness.note_error(raised.value)
                witness.shown += [repr(runtime), repr(two)]
            assert server.requests[0].headers["authorization"] == f"Bearer {CANARY}"
    assert witness.leaks() == []
    files = contents(tmp_path)
    assert len(files) >= len(_failing())
    assert [name for name, content in files.items() if CANARY.encode() in content] == []
