"""What can go wrong on the wire, and what a call must make of it: the reply, another attempt, or one error."""

import asyncio
import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from email.utils import formatdate
from types import MappingProxyType
from typing import TypeAlias

from tests.faulty.dialects import Complaint, Dialect
from tests.faulty.http import EVENTS, JSON, LAST_CHUNK, answer, chunk, head, in_chunks
from tests.faulty.server import Cut, Drip, Hold, Pause, Play, Send, Trickle

NOW = 1_700_000_000  # when the answers with a date are given
DEADLINE = 60.0  # seconds that a call has
JITTER = 0.25  # seconds by which the first repetition may be later than asked for
WORDS = ("Pa", "ris")
TEXT = "".join(WORDS)
OVERSIZED = 17 * 2**20  # bytes: above what a body, and far above what an event, may have


@dataclass(frozen=True, slots=True)
class Scene:
    """Whom a fault is played to.

    Attributes:
        passed_on: Set by the reader of a stream as soon as it has the first word.
    """

    dialect: Dialect
    streamed: bool
    passed_on: asyncio.Event

    def good(self) -> bytes:
        """The answer as it should be."""
        return in_chunks(self.dialect.stream(*WORDS)) if self.streamed else answer(self.dialect.reply(TEXT))

    def begun(self) -> bytes:
        """A stream up to the first word."""
        dialect = self.dialect
        return head(content_type=EVENTS) + chunk(dialect.opening()) + chunk(dialect.word(WORDS[0]))


@dataclass(frozen=True, slots=True)
class Replies:
    """The answer is taken as the reply."""


@dataclass(frozen=True, slots=True)
class Repeats:
    """Another attempt is made, ``at_least`` seconds later, and its reply is the call's."""

    code: str
    at_least: float = 0.0


@dataclass(frozen=True, slots=True)
class Raises:
    """The call fails after so many ``requests``."""

    code: str
    requests: int = 1


Outcome: TypeAlias = Replies | Repeats | Raises


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        plays: What the server does, request by request; further ones are answered well.
        complete: What becomes of a call for a whole reply; None where there is no such fault.
        stream: What becomes of one for a stream; a function where the protocols differ.
        attempts: How many a call may make.
        timeout: Seconds one may take, in real time.
        waits_in_limiter: Whether a call waits in the limiter, whose timers are the loop's.
    """

    plays: Callable[[Scene], tuple[Play, ...]]
    complete: Outcome | None
    stream: Outcome | Callable[[Dialect], Outcome | None] | None
    attempts: int = 2
    timeout: float = 30.0
    waits_in_limiter: bool = False

    def outcome(self, dialect: Dialect, *, streamed: bool) -> Outcome | None:
        """What becomes of a call."""
        if not streamed:
            return self.complete
        return self.stream(dialect) if callable(self.stream) else self.stream


def _both(plays: Callable[[Scene], tuple[Play, ...]], outcome: Outcome, attempts: int = 2) -> Fault:
    return Fault(plays, outcome, outcome, attempts)


def _says(bytes_of: Callable[[Scene], bytes], complete: Outcome | None, stream: Outcome | None) -> Fault:
    """The server sends these bytes and waits for the next request."""
    return Fault(lambda scene: ((Send(bytes_of(scene)),),), complete, stream)


def _status(status: int, outcome: Outcome, complaint: Complaint = "overloaded", **headers: str) -> Fault:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return _says(
        lambda scene: answer(scene.dialect.error(complaint, "scripted failure"), status, headers=fields),
        outcome,
        outcome,
    )


def _body(body: bytes, complete: Outcome, stream: Outcome, content_type: str = JSON) -> Fault:
    """An answer of status 200 with this body, whatever was asked."""
    return _says(lambda _: answer(body, content_type=content_type), complete, stream)


def _error_in_good_answer(complaint: Complaint, outcome: Outcome) -> Fault:
    def bytes_of(scene: Scene) -> bytes:
        error = scene.dialect.error_event if scene.streamed else scene.dialect.error
        body = error(complaint, "scripted failure")
        return in_chunks([scene.dialect.opening(), body]) if scene.streamed else answer(body)

    return _says(bytes_of, outcome, outcome)


def _events(*more: bytes, outcome: Outcome) -> Fault:
    """A stream that begins well and goes on with ``more`` before the first word."""
    return _says(lambda scene: in_chunks([scene.dialect.opening(), *more]), None, outcome)


def _after_first_word(*then: bytes, outcome: Outcome, cut: Cut | None = None) -> Fault:
    """A stream that goes on wrongly once its first word has been passed on."""

    def plays(scene: Scene) -> tuple[Play, ...]:
        rest = (Send(b"".join(then)),) if then else ()
        return ((Send(scene.begun()), Hold(scene.passed_on), *rest, *([cut] if cut else [])),)

    return Fault(plays, None, outcome)


def _silent(first: Callable[[Scene], bytes], *then: Hold | Trickle) -> Fault:
    """What comes is never whole: the attempt, the only one, runs out of time."""
    late = Raises("lm_timeout")
    return Fault(lambda scene: ((Send(first(scene)), *then),), late, late, attempts=1, timeout=0.1)


def _half(scene: Scene) -> bytes:
    """A good answer's first half, which is before the first word of a stream."""
    if scene.streamed:
        return head(content_type=EVENTS) + chunk(scene.dialect.opening() + scene.dialect.word("?")[:12])
    body = scene.dialect.reply(TEXT)
    return head(length=len(body)) + body[: len(body) // 2]


def _gzipped(scene: Scene) -> bytes:
    if not scene.streamed:
        return answer(gzip.compress(scene.dialect.reply(TEXT)), headers={"Content-Encoding": "gzip"})
    body = gzip.compress(b"".join(scene.dialect.stream(*WORDS)))
    return answer(body, content_type=EVENTS, headers={"Content-Encoding": "gzip"})


def _until_closed(scene: Scene) -> tuple[Play, ...]:
    body = b"".join(scene.dialect.stream(*WORDS)) if scene.streamed else scene.dialect.reply(TEXT)
    start = f"HTTP/1.1 200 OK\r\nContent-Type: {EVENTS if scene.streamed else JSON}\r\nConnection: close\r\n\r\n"
    return ((Send(start.encode() + body), Cut()),)


def _stream_of(change: Callable[[tuple[bytes, ...]], list[bytes]], outcome: Outcome) -> Fault:
    """A good stream whose events were changed."""
    return _says(lambda scene: in_chunks(change(scene.dialect.stream(*WORDS))), None, outcome)


BAD_GATEWAY = b"<html><body>502 Bad Gateway</body></html>"
UNREACHABLE, MALFORMED = Repeats("lm_unreachable"), Repeats("lm_reply_malformed")
SERVER_ERROR, LIMITED = Repeats("lm_server_error"), Repeats("lm_rate_limited")
REJECTED, REFUSED = Raises("lm_request_rejected"), Raises("lm_auth")
RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3.5s"}

WELL: Mapping[str, Fault] = MappingProxyType(
    {
        "nothing": _both(lambda scene: ((Send(scene.good()),),), Replies()),
        "a delay": _both(lambda scene: ((Pause(0.01), Send(scene.good())),), Replies()),
        "byte by byte": _both(lambda scene: ((Drip(scene.good()),),), Replies()),
        "in chunks": _says(
            lambda scene: in_chunks([scene.dialect.reply(TEXT)[:9], scene.dialect.reply(TEXT)[9:]], JSON),
            Replies(),
            None,
        ),
        "until the connection closes": _both(_until_closed, Replies()),
        "compressed": _says(_gzipped, Replies(), Replies()),
        "a wrong content type": _both(
            lambda scene: ((Send(scene.good().replace(EVENTS.encode(), b"text/plain", 1)),),), Replies()
        ),
        "closed after a good answer": _both(lambda scene: ((Send(scene.good()), Cut()),), Replies()),
    }
)

CONNECTIONS: Mapping[str, Fault] = MappingProxyType(
    {
        "cut before the headers": _both(lambda _: ((Cut(),),), UNREACHABLE),
        "reset before the headers": _both(lambda _: ((Cut(reset=True),),), UNREACHABLE),
        "cut in the headers": _both(lambda _: ((Send(b"HTTP/1.1 200 OK\r\nContent-T"), Cut()),), UNREACHABLE),
        "cut in the body": _both(lambda scene: ((Send(_half(scene)), Cut()),), UNREACHABLE),
        "reset in the body": _both(
            lambda scene: ((Send(_half(scene)), Pause(0.01), Cut(reset=True)),), UNREACHABLE
        ),
        "cut after the first word": _after_first_word(cut=Cut(), outcome=Raises("lm_unreachable")),
        "reset after the first word": _after_first_word(cut=Cut(reset=True), outcome=Raises("lm_unreachable")),
        "no answer": _silent(lambda _: b"", Hold()),
        "headers without end": _silent(lambda _: b"HTTP/1.1 200 OK\r\n", Trickle(b"X-Slow: loris\r\n")),
        "a body without end": _silent(_half, Hold()),
        "a body that comes too slowly": Fault(
            lambda scene: ((Send(head(length=10**6)), Trickle(b" ")),),
            Raises("lm_timeout"),
            None,
            attempts=1,
            timeout=0.1,
        ),
        "silence after the first word": _silent(lambda scene: scene.begun(), Hold()),
    }
)

STATUSES: Mapping[str, Fault] = MappingProxyType(
    {
        "429": _status(429, LIMITED, "rate limit"),
        "429 for seconds": _status(429, Repeats("lm_rate_limited", 7), "rate limit", Retry_After="7"),
        "429 until a date": _status(
            429, Repeats("lm_rate_limited", 7), "rate limit", Retry_After=formatdate(NOW + 7, usegmt=True)
        ),
        "429 for milliseconds": _status(
            429, Repeats("lm_rate_limited", 0.4), "rate limit", retry_after_ms="400", Retry_After="1"
        ),
        "429 with RetryInfo": _says(
            lambda _: answer(
                json.dumps({"error": {"code": 429, "message": "quota", "details": [RETRY_INFO]}}).encode(), 429
            ),
            Repeats("lm_rate_limited", 3.5),
            Repeats("lm_rate_limited", 3.5),
        ),
        "429 with counters": replace(
            _status(
                429,
                LIMITED,
                "rate limit",
                x_ratelimit_remaining_requests="0",
                x_ratelimit_reset_requests="30ms",
            ),
            waits_in_limiter=True,
        ),
        "429 with a hint that means nothing": _status(429, LIMITED, "rate limit", Retry_After="soon"),
        "429 until after the deadline": _status(
            429, Raises("lm_rate_limited"), "rate limit", Retry_After=f"{DEADLINE + 1:.0f}"
        ),
        "500": _status(500, SERVER_ERROR),
        "502 with a page": _says(lambda _: answer(BAD_GATEWAY, 502, "text/html"), SERVER_ERROR, SERVER_ERROR),
        "503 for seconds": _status(503, Repeats("lm_server_error", 7), Retry_After="7"),
        "529": _status(529, SERVER_ERROR),
        "a burst of 500s": _both(
            lambda scene: ((Send(answer(scene.dialect.error("overloaded", "busy"), 500)),),) * 2,
            SERVER_ERROR,
            attempts=3,
        ),
        "500s without end": _both(
            lambda scene: ((Send(answer(scene.dialect.error("overloaded", "busy"), 500)),),) * 3,
            Raises("lm_server_error", requests=3),
            attempts=3,
        ),
        "408": _status(408, Repeats("lm_timeout")),
        "409": _status(409, SERVER_ERROR),
        "400": _status(400, REJECTED, "invalid"),
        "401": _status(401, REFUSED, "key"),
        "402": _status(402, REFUSED, "key"),
        "403": _status(403, REFUSED, "key"),
        "404": _status(404, Raises("lm_model_unknown"), "invalid"),
        "413": _status(413, REJECTED, "invalid"),
        "422": _status(422, REJECTED, "invalid"),
        "307": _status(307, REJECTED, Location="http://127.0.0.1:1/v1"),
        "200 that is an overload": _error_in_good_answer("overloaded", SERVER_ERROR),
        "200 that is a rate limit": _error_in_good_answer("rate limit", LIMITED),
        "200 that rejects": _error_in_good_answer("invalid", REJECTED),
        "200 that refuses the key": _error_in_good_answer("key", REFUSED),
    }
)

BODIES: Mapping[str, Fault] = MappingProxyType(
    {
        # A stream without an event has ended before its reply.
        "an empty body": _body(b"", MALFORMED, UNREACHABLE),
        "a web page": _body(BAD_GATEWAY, MALFORMED, UNREACHABLE, "text/html"),
        "half of a JSON text": _body(b'{"choices":[{"mess', MALFORMED, UNREACHABLE),
        "JSON that is no reply": _body(b"[1, 2]", MALFORMED, UNREACHABLE),
        "bytes that are no text": _body(b'{"a":"\xff\xfe"}', MALFORMED, UNREACHABLE),
        "a whole reply instead of a stream": _says(
            lambda scene: answer(scene.dialect.reply(TEXT)), None, UNREACHABLE
        ),
        "no HTTP": _both(lambda _: ((Send(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), Cut()),), MALFORMED),
        "an endless header": _both(
            lambda _: ((Send(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000), Cut()),), MALFORMED
        ),
        "an oversized body": _both(lambda scene: ((Send(head(length=OVERSIZED) + b" " * OVERSIZED),),), MALFORMED),
        "a small body that unpacks to an oversized one": _says(
            lambda scene: answer(
                gzip.compress(b"data: " + b" " * OVERSIZED, 1), headers={"Content-Encoding": "gzip"}
            ),
            MALFORMED,
            MALFORMED,
        ),
    }
)

EVENTS_OF_STREAMS: Mapping[str, Fault] = MappingProxyType(
    {
        "no end": Fault(
            lambda scene: ((Send(in_chunks(scene.dialect.stream(*WORDS)[:-1])),),),
            None,
            # Where the end brings the reply, it cannot be done without.
            lambda dialect: Replies() if dialect.closing(TEXT) and _counts(dialect) else Raises("lm_unreachable"),
        ),
        "the end twice": _stream_of(lambda events: [*events, events[-1]], Replies()),
        "more after the end": Fault(
            lambda scene: (
                (Send(in_chunks([*scene.dialect.stream(*WORDS), scene.dialect.word("?"), b"data: {broken\n\n"])),),
            ),
            None,
            lambda dialect: Replies() if dialect.end(TEXT) else None,  # nothing says so: there is no after
        ),
        "comments between": _stream_of(lambda events: [b": ping\n\n" + each for each in events], Replies()),
        "lines that end in CRLF": _stream_of(
            lambda events: [each.replace(b"\n", b"\r\n") for each in events], Replies()
        ),
        "a byte order mark": _stream_of(lambda events: [b"\xef\xbb\xbf", *events], Replies()),
        "several events a chunk": _stream_of(lambda events: [b"".join(events)], Replies()),
        "no first word": _events(outcome=UNREACHABLE),
        "malformed before the first word": _events(b"data: {broken\n\n", outcome=MALFORMED),
        "no object before the first word": _events(b"data: [1]\n\n", outcome=MALFORMED),
        "no text before the first word": _events(b'data: {"a":"\xff"}\n\n', outcome=MALFORMED),
        "an oversized event": _events(b"data: " + b"x" * OVERSIZED, outcome=MALFORMED),
        "malformed after the first word": _after_first_word(
            chunk(b"data: {broken\n\n"), outcome=Raises("lm_reply_malformed")
        ),
        "an end in good order after the first word": _after_first_word(
            LAST_CHUNK, outcome=Raises("lm_unreachable")
        ),
    }
)

FAULTS: Mapping[str, Fault] = MappingProxyType({**WELL, **CONNECTIONS, **STATUSES, **BODIES, **EVENTS_OF_STREAMS})


def _counts(dialect: Dialect) -> bool:
    """Whether what tells how a stream ended is another event than its end."""
    return b'"usage' in dialect.closing(TEXT)
