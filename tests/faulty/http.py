"""Answers of HTTP/1.1 as bytes, good ones and others."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

JSON = "application/json"
NO_HEADERS: Mapping[str, str] = MappingProxyType({})
EVENTS = "text/event-stream"
LAST_CHUNK = b"0\r\n\r\n"


def head(
    status: int = 200, content_type: str = JSON, length: int | None = None, headers: Mapping[str, str] = NO_HEADERS
) -> bytes:
    """Status line and headers; without a length, the body is to come in chunks."""
    framing = {"Transfer-Encoding": "chunked"} if length is None else {"Content-Length": str(length)}
    fields = {"Content-Type": content_type, **framing, **headers}
    lines = [f"HTTP/1.1 {status} Scripted", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def answer(
    body: bytes, status: int = 200, content_type: str = JSON, headers: Mapping[str, str] = NO_HEADERS
) -> bytes:
    """A whole answer."""
    return head(status, content_type, len(body), headers) + body


def chunk(data: bytes) -> bytes:
    """A chunk of a body (RFC 9112, 7.1); nothing for no data, as an empty chunk would be the last."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def in_chunks(pieces: Iterable[bytes], content_type: str = EVENTS) -> bytes:
    """A whole answer in chunks, one a piece."""
    return head(content_type=content_type) + b"".join(map(chunk, pieces)) + LAST_CHUNK
