"""Reading a reply while it comes: what is certain of its fields is told at once, piece by piece.

However the text is cut into pieces, a stream tells the same, and of a field only what ``parse`` will say of the
whole reply too. What is not certain before the end (a damaged reply, say) it keeps to itself until then. Where a
model takes back what it wrote, with a second object after the first, `close` has the last word.
"""

from abc import ABC, abstractmethod
from codecs import getincrementaldecoder
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from repertory.errors import OutputsInvalid
from repertory.signatures import CompiledSignature
from repertory.signatures.reading import Reading


@dataclass(frozen=True, slots=True)
class FieldDelta:
    """More of one output: of a text its characters, of any other value its JSON, as the model writes it."""

    field: str
    text: str


@dataclass(frozen=True, slots=True)
class FieldDone:
    """One output is complete; ``value`` is typed. An output whose text does not fit its type is never done."""

    field: str
    value: object


FieldEvent: TypeAlias = FieldDelta | FieldDone


class ReplyStream(ABC):
    """Reads one reply, piece by piece, then as a whole.

    Invariant: what `close` returns, or raises, depends on the text alone and not on where it was cut.
    """

    def __init__(self, compiled: CompiledSignature) -> None:
        self._compiled = compiled
        self._decode = getincrementaldecoder("utf-8")("replace").decode
        self._pieces: list[str] = []

    def feed(self, piece: str | bytes) -> tuple[FieldEvent, ...]:
        """What the next ``piece`` of the reply tells. Bytes are UTF-8, cut anywhere."""
        text = self._decode(piece) if isinstance(piece, bytes) else piece
        self._pieces.append(text)
        return tuple(self._told(text))

    def close(self) -> Reading:
        """All outputs, the reply being over.

        Raises:
            OutputsInvalid: As the adapter's ``parse`` of the whole reply.
        """
        return self._read("".join((*self._pieces, self._decode(b"", final=True))))

    @abstractmethod
    def _told(self, text: str) -> Iterable[FieldEvent]:
        """What ``text``, coming after all that was fed before, makes certain."""

    @abstractmethod
    def _read(self, reply: str) -> Reading:
        """The outputs of the whole reply."""


class Section:
    """The text of one output as it comes, without the white space around it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._told: list[str] = []
        self._spaces: list[str] = []  # white space that counts only if more follows

    def add(self, text: str) -> Iterable[FieldDelta]:
        """``text`` comes next in the section."""
        bare = text.rstrip()
        if not bare:
            if self._told:
                self._spaces.append(text)
            return
        told = "".join((*self._spaces, bare)) if self._told else bare.lstrip()
        self._spaces = [text[len(bare) :]]
        self._told.append(told)
        yield FieldDelta(self.name, told)

    def end(self, compiled: CompiledSignature) -> Iterable[FieldDone]:
        """The section is over."""
        try:
            reading = compiled.reader_of(self.name).from_texts({self.name: "".join(self._told)})
        except OutputsInvalid:
            return
        if not reading.truncated:
            yield FieldDone(self.name, reading.outputs[self.name])
