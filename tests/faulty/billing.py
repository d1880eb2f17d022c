"""A server that bills: its own log says what it was asked, under which key, and what it charges for it.

Example::

    async with BillingServer(RESPONSES, lambda request: "Paris", log=tmp_path / "asked.jsonl") as server:
        ...  # clients of server.url, in this process or in others that are killed
    assert billed(server.asked) == Usage(33, 21)
    assert read_log(tmp_path / "asked.jsonl") == server.asked

A request is in the log, and in its file, before a byte of the answer is sent. What is charged is what has been
generated, whether or not anybody was there to read it.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Literal, TextIO, TypeAlias

from repertory.providers.messages import Usage
from tests.faulty.dialects import USAGE, Dialect
from tests.faulty.http import answer, in_chunks
from tests.faulty.server import Drip, FaultyServer, Note, Play, Request, Send

KEY = "idempotency-key"

Keeping: TypeAlias = Literal["completed", "in_progress", "cancelled"]


@dataclass(slots=True)
class Asked:
    """One request for a reply.

    Attributes:
        number: From 1.
        key: Its idempotency key; "" if it had none.
        path: What was asked for.
        digest: Of the request's body.
        id: What the reply is called.
        input_tokens: Charged for; 0 where nothing was generated.
        output_tokens: Likewise.
        whole: Whether all of the answer has been sent, with the client still there.
    """

    number: int
    key: str
    path: str
    digest: str
    id: str
    input_tokens: int
    output_tokens: int
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Manner:
    """How a request is answered.

    Attributes:
        play: What is done with the good answer's bytes.
        bills: Whether a reply is generated, and charged.
        keeps: How it is kept, where the client wants that.
    """

    play: Callable[[bytes], Play] = lambda good: (Send(good),)
    bills: bool = True
    keeps: Keeping = "completed"


WELL = Manner()


def billed(asked: Iterable[Asked]) -> Usage:
    """What is charged in all."""
    return sum((Usage(each.input_tokens, each.output_tokens) for each in asked), Usage())


def read_log(path: Path) -> list[Asked]:
    """What a server has written to its log file so far."""
    asked: dict[int, Asked] = {}
    for line in path.read_text().splitlines():
        match json.loads(line):
            case {"sent": int(number)}:
                asked[number].whole = True
            case entry:
                asked[entry["number"]] = Asked(**entry)
    return list(asked.values())


class BillingServer:
    """The server; an async context manager.

    Args:
        dialect: What it speaks.
        words: What it says to a request.
        manner: How the request with this number is answered; well if not said.
        log: A file to which its log is appended.

    Attributes:
        asked: Its log.
        fetched: The ids of replies that it was asked for again.
    """

    def __init__(
        self,
        dialect: Dialect,
        words: Callable[[Request], str] = lambda _: "Paris",
        manner: Callable[[int], Manner] = lambda _: WELL,
        *,
        log: Path | None = None,
    ) -> None:
        self._dialect = dialect
        self._words = words
        self._manner = manner
        self._log = log
        self._file: TextIO | None = None
        self._kept: dict[str, tuple[str, Keeping]] = {}
        self._server = FaultyServer(self._play)
        self.asked: list[Asked] = []
        self.fetched: list[str] = []

    @property
    def url(self) -> str:
        """What a client takes as its base URL."""
        return f"{self._server.url}/v1"

    @property
    def server(self) -> FaultyServer:
        """The sockets."""
        return self._server

    def finish(self, id: str, how: Keeping = "completed") -> None:
        """A reply that was still being made is no longer."""
        self._kept[id] = self._kept[id][0], how

    def forget(self) -> None:
        """No reply is kept any longer."""
        self._kept.clear()

    async def __aenter__(self) -> "BillingServer":
        if self._log is not None:
            self._file = self._log.open("a", encoding="utf-8")
        await self._server.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.__aexit__(kind, error, trace)
        if self._file is not None:
            self._file.close()

    def _play(self, request: Request) -> Play:
        _, kept, id = request.path.partition("/responses/")
        return (Send(self._again(id.partition("?")[0])),) if kept else self._new(request)

    def _again(self, id: str) -> bytes:
        self.fetched.append(id)
        if id not in self._kept:
            return answer(self._dialect.error("invalid", f"there is no {id}"), 404)
        text, status = self._kept[id]
        whole = self._dialect.named(self._dialect.reply(text), id)
        if status != "completed":
            unfinished = {**json.loads(whole), "status": status, "output": [], "usage": None}
            return answer(json.dumps(unfinished).encode())
        return answer(whole)

    def _new(self, request: Request) -> Play:
        number = len(self.asked) + 1
        manner, text = self._manner(number), self._words(request)
        usage = USAGE if manner.bills else Usage()
        digest = blake2b(json.dumps(request.body, sort_keys=True).encode(), digest_size=16).hexdigest()
        key, id = request.headers.get(KEY, ""), f"{self._dialect.id}-{number}"
        asked = Asked(number, key, request.path, digest, id, usage.input_tokens, usage.output_tokens)
        self.asked.append(asked)
        self._append(asdict(asked))
        if manner.bills and request.body.get("store", True):
            self._kept[id] = text, manner.keeps
        good = self._good(text, id, streamed=request.streamed)
        play = manner.play(good)
        sent = b"".join(act.data for act in play if isinstance(act, Send | Drip))
        return (*play, Note(lambda: self._sent(asked))) if sent == good else play

    def _good(self, text: str, id: str, *, streamed: bool) -> bytes:
        dialect = self._dialect
        if not streamed:
            return answer(dialect.named(dialect.reply(text), id))
        first, space, rest = text.partition(" ")
        words = (first, space + rest) if rest else (first,)
        return in_chunks([dialect.named(piece, id) for piece in dialect.stream(*words)])

    def _sent(self, asked: Asked) -> None:
        asked.whole = True
        self._append({"sent": asked.number})

    def _append(self, line: dict[str, object]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
