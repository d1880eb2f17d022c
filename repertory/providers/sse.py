"""Server-sent events, read from bytes as they come.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html. Lines end in LF, CR or CRLF; a chunk may
end anywhere, in the middle of a character or of a CRLF too. Only the fields ``event`` and ``data`` matter here.
"""

from typing import NamedTuple

from repertory.errors import LMReplyMalformed
from repertory.providers.failures import Peer

MAX_EVENT = 8 * 2**20  # bytes: a peer that never ends an event must not fill the memory
BOM = b"\xef\xbb\xbf"


class ServerEvent(NamedTuple):
    """One event: its name, "" if it has none, and its data, lines joined by LF."""

    name: str
    data: bytes


class EventReader:
    """Turns chunks into events, the same ones for every way of cutting the bytes.

    Invariant between chunks: ``_rest`` holds the pieces of the line that has not ended, and ``_rest_size`` counts
    their bytes; ``_name`` and ``_data`` hold what the event's lines before it said, and ``_size`` counts theirs.

    Args:
        peer: Who sends them, for errors.
        max_event: Most bytes of one event.

    Example::

        reader = EventReader(Peer("qa"))
        reader.feed(b"data: a\\n\\nda")      # [ServerEvent("", b"a")]
        reader.feed(b"ta: b\\n\\n")          # [ServerEvent("", b"b")]
    """

    __slots__ = ("_after_cr", "_begun", "_data", "_max_event", "_name", "_peer", "_rest", "_rest_size", "_size")

    def __init__(self, peer: Peer, max_event: int = MAX_EVENT) -> None:
        self._peer = peer
        self._max_event = max_event
        self._rest: list[bytes] = []
        self._rest_size = 0
        self._data: list[bytes] = []
        self._name = ""
        self._size = 0
        self._after_cr = False  # an LF that comes now belongs to the CR before it
        self._begun = False

    def feed(self, chunk: bytes) -> list[ServerEvent]:
        """Return the events that ``chunk`` completes.

        Raises:
            LMReplyMalformed: An event is larger than ``max_event``.
        """
        if not self._begun and (chunk := self._without_bom(chunk)) == b"":
            return []
        if self._is_one_event(chunk):
            return [ServerEvent("", chunk[6:-2])]
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        if b"\r" in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = chunk.split(b"\n")
        rest = lines.pop()
        if lines and self._rest:
            lines[0] = b"".join((*self._rest, lines[0]))
            self._rest.clear()
            self._rest_size = 0
        events = self._events(lines)
        if rest:
            self._rest.append(rest)
            self._rest_size += len(rest)
        if self._size + self._rest_size > self._max_event:
            raise self._too_large()
        return events

    def _is_one_event(self, chunk: bytes) -> bool:
        """Whether ``chunk`` is one whole event with a line of data: as a model's tokens come, nearly all are."""
        return (
            chunk.startswith(b"data: ")
            and chunk.find(b"\n") == len(chunk) - 2
            and chunk.endswith(b"\n")
            and not (self._rest or self._data or self._name or self._size or self._after_cr)
            and b"\r" not in chunk
            and len(chunk) <= self._max_event
        )

    def _without_bom(self, chunk: bytes) -> bytes:
        text = b"".join(self._rest) + chunk
        self._rest.clear()
        if len(text) < len(BOM) and BOM.startswith(text):
            self._rest.append(text)
            return b""
        self._begun = True
        return text.removeprefix(BOM)

    def _events(self, lines: list[bytes]) -> list[ServerEvent]:
        """Take whole lines in; return the events that end among them."""
        events = []
        data = self._data
        for line in lines:
            if line:
                self._size += len(line)
                if line.startswith(b"data: "):
                    data.append(line[6:])
                else:
                    self._take_field(line)
                continue
            if self._size > self._max_event:
                raise self._too_large()
            if data:
                events.append(ServerEvent(self._name, data[0] if len(data) == 1 else b"\n".join(data)))
                data.clear()
            self._name, self._size = "", 0
        return events

    def _take_field(self, line: bytes) -> None:
        if line.startswith(b"data:"):
            self._data.append(line[5:])
        elif line.startswith(b"event:"):
            self._name = line[6:].removeprefix(b" ").decode(errors="replace")
        elif line == b"data":
            self._data.append(b"")

    def _too_large(self) -> LMReplyMalformed:
        return self._peer.malformed(f"an event of its stream is larger than {self._max_event} bytes")
