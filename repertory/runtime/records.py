"""Splitting a stream of bytes into records: JSON lines, or CSV rows that may hold line breaks.

Both splitters are fed whatever pieces arrive and hold at most one record, up to a bound; a longer record is
reported as too long and passed over without being held.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

MAX_RECORD_BYTES: Final = 1_048_576


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it stands in the data.

    Attributes:
        line: Number of its first line, from 1.
        text: Its bytes without the final line feed; None if it is longer than the bound.
    """

    line: int
    text: bytes | None


class LineSplitter:
    """Splits at line breaks.

    Invariant: ``_held`` is the beginning of the present line, or empty while an overlong one is passed over.
    """

    def __init__(self, max_bytes: int = MAX_RECORD_BYTES) -> None:
        self._max_bytes = max_bytes
        self._held = bytearray()
        self._overlong = False
        self._line = 1

    def feed(self, data: bytes) -> Iterator[Record]:
        """Take in ``data``; yield the lines it completes."""
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            self._hold(data[start:end])
            yield self._take()
            start = end + 1
        self._hold(data[start:])

    def finish(self) -> Iterator[Record]:
        """Yield the last line, if it did not end with a line break."""
        if self._held or self._overlong:
            yield self._take()

    def _hold(self, piece: bytes) -> None:
        if self._overlong:
            return
        if len(self._held) + len(piece) > self._max_bytes:
            self._overlong = True
            self._held.clear()
        else:
            self._held += piece

    def _take(self) -> Record:
        text = None if self._overlong else bytes(self._held)
        if self._line == 1 and text is not None:
            text = text.removeprefix(b"\xef\xbb\xbf")  # a byte order mark says nothing about UTF-8
        record = Record(self._line, text)
        self._held.clear()
        self._overlong = False
        self._line += 1
        return record


class CSVSplitter:
    """Joins lines to CSV records: a record goes on while a quoted cell is open (RFC 4180, section 2.6).

    A quote opens a cell only where the cell begins: the inches in ``5" pipe`` are text, as for the csv module.
    """

    def __init__(self, max_bytes: int = MAX_RECORD_BYTES) -> None:
        self._lines = LineSplitter(max_bytes)
        self._max_bytes = max_bytes
        self._held: list[bytes] = []
        self._size = 0
        self._first_line = 1
        self._open_quote = False

    def feed(self, data: bytes) -> Iterator[Record]:
        """Take in ``data``; yield the records it completes."""
        for line in self._lines.feed(data):
            yield from self._join(line)

    def finish(self) -> Iterator[Record]:
        """Yield what is left; a quote that was never closed makes its record fail to parse, not vanish."""
        for line in self._lines.finish():
            yield from self._join(line)
        if self._held:
            yield self._take()

    def _join(self, line: Record) -> Iterator[Record]:
        if not self._held:
            self._first_line = line.line
        if line.text is None or self._size + len(line.text) > self._max_bytes:
            self._reset()
            yield Record(self._first_line, None)
            return
        self._held.append(line.text)
        self._size += len(line.text) + 1
        self._open_quote = _ends_open(line.text, self._open_quote)
        if not self._open_quote:
            yield self._take()

    def _take(self) -> Record:
        record = Record(self._first_line, b"\n".join(self._held).removesuffix(b"\r"))
        self._reset()
        return record

    def _reset(self) -> None:
        self._held = []
        self._size = 0
        self._open_quote = False


def _ends_open(line: bytes, is_open: bool) -> bool:
    """Whether a quoted cell is open at the end of a line that began inside (``is_open``) or outside of one."""
    place = 0
    while True:
        if is_open:
            if (place := line.find(b'"', place) + 1) == 0:
                return True
            if line.startswith(b'"', place):  # a doubled quote stands for one
                place += 1
                continue
            is_open = False
        elif line.startswith(b'"', place):
            is_open = True
            place += 1
            continue
        if (place := line.find(b",", place) + 1) == 0:
            return False
