"""Reading a JSON reply while it comes.

The stream follows valid JSON, alone or in a code fence. At the first thing that is not, it falls silent: what is
meant then is for the repair of the whole reply to say.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from repertory.errors import OutputsInvalid
from repertory.modules.adapters.stream import FieldDelta, FieldDone, FieldEvent, ReplyStream
from repertory.signatures import CompiledSignature
from repertory.signatures.reading import Reading

_OPENING: Final = re.compile(r"\s{0,100}(?:```\w{0,20}\s{1,100})?\{")
_SPACE: Final = r"[ \t\r\n]{0,100}"
_KEY: Final = re.compile(rf'{_SPACE}("(?:[^"\\\x00-\x1f]|\\.){{0,256}}"){_SPACE}:{_SPACE}(?=[^ \t\r\n])')
_PLAIN: Final = re.compile(r'[^"\\\x00-\x1f\ud800-\udfff]+')
_ESCAPE: Final = re.compile(
    r"""\\(?:["\\/bfnrt]|u(?![dD][89a-fA-F])[\da-fA-F]{4}|u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2})"""
)
_BRACKET: Final = re.compile(r'["\[\]{}]')
_IN_STRING: Final = re.compile(r'["\\]')
_SCALAR: Final = re.compile(r"[^,}\] \t\r\n]*")
_NO_KEY: Final = re.compile(r'[ \t\r\n]*[^" \t\r\n]')
_NO_GAP: Final = re.compile(r"[ \t\r\n]*[^,} \t\r\n]")
_BETWEEN: Final = re.compile(rf"{_SPACE}([,}}])")
_LONGEST_ESCAPE: Final = 12  # a surrogate pair
_LONGEST_GAP: Final = 1_000  # characters waited for: more than any key, and the white space about it, may take


class _Damaged(Exception):
    """The text is not JSON."""


class JSONStream(ReplyStream):
    """Invariant: what came and was not yet understood is ``_rest`` from ``_at``; ``_step`` reads on there."""

    def __init__(self, compiled: CompiledSignature, read: Callable[[str], Reading]) -> None:
        super().__init__(compiled)
        self._whole = read
        self._names = frozenset(field.name for field in compiled.outputs)
        self._rest = ""
        self._at = 0
        self._step: Callable[[], Iterator[FieldEvent]] | None = self._open
        self._field = ""
        self._raw: list[str] = []  # the JSON of the value so far
        self._value = ""  # the JSON of the value that is over
        self._depth = 0
        self._quoted = False  # inside a string in the value

    def _told(self, text: str) -> Iterable[FieldEvent]:
        if self._step is None:
            return
        self._rest, self._at = self._rest[self._at :] + text, 0
        try:
            while (step := self._step) is not None:
                before = self._at
                yield from step()
                if self._step == step and self._at == before:
                    break
        except _Damaged:
            self._step = None
        if self._step is None:
            self._rest, self._at = "", 0

    def _read(self, reply: str) -> Reading:
        return self._whole(reply)

    def _open(self) -> Iterator[FieldEvent]:
        if (found := _OPENING.match(self._rest)) is not None:
            self._at = found.end()
            self._step = self._key
        elif len(self._rest) > _LONGEST_GAP:
            raise _Damaged
        yield from ()

    def _key(self) -> Iterator[FieldEvent]:
        if (found := _KEY.match(self._rest, self._at)) is not None:
            yield from self._settled()
            try:
                self._field = json.loads(found[1])
            except ValueError:
                raise _Damaged from None
            self._at = found.end()
            self._raw.clear()
            match self._rest[self._at]:
                case '"':
                    self._raw.append(self._taken(self._at + 1))
                    self._step = self._string
                case "[" | "{":
                    self._depth, self._quoted = 0, False
                    self._step = self._nested
                case _:
                    self._step = self._scalar
        elif _NO_KEY.match(self._rest, self._at) or self._waiting() > _LONGEST_GAP:
            raise _Damaged

    def _string(self) -> Iterator[FieldEvent]:
        text, at, ended, damaged = self._rest, self._at, False, False
        while at < len(text) and not (ended or damaged):
            if (found := _PLAIN.match(text, at) or _ESCAPE.match(text, at)) is not None:
                at = found.end()
            elif text[at] == '"':
                ended = True
            elif text[at] == "\\" and len(text) - at < _LONGEST_ESCAPE:
                break
            else:
                damaged = True
        written = self._taken(at)
        self._raw.append(written)
        if written:
            yield from self._more(json.loads(f'"{written}"'))
        if damaged:
            raise _Damaged
        if ended:
            self._raw.append(self._taken(at + 1))
            self._end_value()

    def _nested(self) -> Iterator[FieldEvent]:
        text, at, over = self._rest, self._at, False
        while not over:
            found = (_IN_STRING if self._quoted else _BRACKET).search(text, at)
            if found is None:
                at = len(text)
                break
            at = found.end()
            match found[0]:
                case '"':
                    self._quoted = not self._quoted
                case "\\" if at == len(text):
                    at -= 1  # what is escaped is still to come
                    break
                case "\\":
                    at += 1
                case "{" | "[":
                    self._depth += 1
                case _:
                    self._depth -= 1
                    over = self._depth == 0
        piece = self._taken(at)
        self._raw.append(piece)
        if piece:
            yield from self._more(piece)
        if over:
            self._end_value()

    def _scalar(self) -> Iterator[FieldEvent]:
        found = _SCALAR.match(self._rest, self._at)
        piece = self._taken(self._at if found is None else found.end())
        self._raw.append(piece)
        if piece:
            yield from self._more(piece)
        if self._waiting():
            self._end_value()

    def _between(self) -> Iterator[FieldEvent]:
        if (found := _BETWEEN.match(self._rest, self._at)) is not None:
            self._at = found.end()
            self._step = self._key if found[1] == "," else None
            if self._step is None:
                yield from self._settled()
        elif _NO_GAP.match(self._rest, self._at) or self._waiting() > _LONGEST_GAP:
            raise _Damaged

    def _more(self, text: str) -> Iterator[FieldEvent]:
        if self._field in self._names:
            yield FieldDelta(self._field, text)

    def _end_value(self) -> None:
        self._step = self._between
        raw = "".join(self._raw)
        try:
            json.loads(raw)
        except (ValueError, RecursionError):
            raise _Damaged from None
        self._value = raw

    def _settled(self) -> Iterator[FieldEvent]:
        """What comes after the value shows that it was whole: a quote within a text was not taken for its end."""
        if self._field not in self._names:
            return
        try:
            reading = self._compiled.reader_of(self._field).from_json(f'{{"{self._field}": {self._value}}}')
        except OutputsInvalid:
            return
        yield FieldDone(self._field, reading.outputs[self._field])

    def _taken(self, end: int) -> str:
        taken, self._at = self._rest[self._at : end], end
        return taken

    def _waiting(self) -> int:
        """How many characters came that are not yet understood."""
        return len(self._rest) - self._at
