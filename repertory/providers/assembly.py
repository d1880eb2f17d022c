"""A reply put together from what a stream brings, piece by piece, in the order it came."""

from dataclasses import dataclass, field
from typing import TypeVar

from repertory.providers.messages import Content, Part, ReasoningPart, TextPart, ToolCallPart


@dataclass(slots=True)
class _Text:
    pieces: list[str] = field(default_factory=list)
    signature: str = ""

    def part(self) -> Part:
        return TextPart("".join(self.pieces))


@dataclass(slots=True)
class _Thought:
    pieces: list[str] = field(default_factory=list)
    signature: str = ""
    redacted: bool = False

    def part(self) -> Part:
        return ReasoningPart("".join(self.pieces), self.signature, self.redacted)


@dataclass(slots=True)
class _Call:
    id: str
    name: str
    pieces: list[str] = field(default_factory=list)
    signature: str = ""

    def part(self) -> Part:
        return ToolCallPart(self.id, self.name, "".join(self.pieces), self.signature)


_Spoken = TypeVar("_Spoken", _Text, _Thought)


class Assembly:
    """One reply in the making. Words that follow words continue them; so do thoughts."""

    __slots__ = ("_calls", "_parts")

    def __init__(self) -> None:
        self._parts: list[_Text | _Thought | _Call] = []
        self._calls: dict[int, _Call] = {}

    @property
    def calls(self) -> int:
        """How many tool calls there are so far."""
        return len(self._calls)

    def text(self, piece: str) -> None:
        """More words."""
        parts = self._parts
        last = parts[-1] if parts else None
        if not isinstance(last, _Text) or last.signature:
            last = _Text()
            parts.append(last)
        last.pieces.append(piece)

    def thought(self, piece: str, *, signature: str = "") -> None:
        """More of a thought, or the signature that closes it."""
        last = self._last(_Thought)
        last.pieces.append(piece)
        last.signature += signature

    def redacted(self, data: str) -> None:
        """A thought that is kept from us."""
        self._parts.append(_Thought(signature=data, redacted=True))

    def call(self, index: int, id: str, name: str, arguments: str, *, signature: str = "") -> None:
        """Begin call number ``index`` if it is new, and continue its arguments."""
        call = self._calls.get(index)
        if call is None:
            call = self._calls[index] = _Call(id, name, signature=signature)
            self._parts.append(call)
        call.pieces.append(arguments)

    def content(self) -> Content:
        """The reply so far: plain text where it is nothing else."""
        return content_of(tuple(each.part() for each in self._parts))

    def _last(self, kind: type[_Spoken]) -> _Spoken:
        last = self._parts[-1] if self._parts else None
        if isinstance(last, kind) and not last.signature:
            return last
        new = kind()
        self._parts.append(new)
        return new


def content_of(parts: tuple[Part, ...]) -> Content:
    """``parts`` as content: plain text where that is all."""
    if not parts:
        return ""
    if len(parts) == 1 and isinstance(parts[0], TextPart):
        return parts[0].text
    return parts
