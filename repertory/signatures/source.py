"""The text of a signature as errors show it: the line at fault, and a caret under the column."""

import unicodedata
from dataclasses import dataclass
from typing import Final

from repertory.errors import SignatureError

_SHOWN: Final = 60  # characters of the line shown on either side of the caret
_UNPRINTABLE: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})


@dataclass(frozen=True, slots=True)
class Source:
    """A text that is being read. Columns count its characters from 0, across lines."""

    text: str

    def fault(self, column: int, problem: str, hint: str) -> SignatureError:
        """The error that ``problem`` is at ``column``, with ``hint`` as the remedy.

        The caret stands right where characters take two columns of a terminal, or none.
        """
        start = self.text.rfind("\n", 0, column) + 1
        end = self.text.find("\n", column)
        end = len(self.text) if end == -1 else end
        first, last = max(start, column - _SHOWN), min(end, column + _SHOWN)
        lead = "..." if first > start else ""
        trail = "..." if last < end else ""
        before, after = _printable(self.text[first:column]), _printable(self.text[column:last])
        where = f" (line {self.text.count(chr(10), 0, column) + 1})" if "\n" in self.text else ""
        caret = " " * (len(lead) + sum(map(_width, before))) + "^"
        return SignatureError(f"{problem}{where}\n  {lead}{before}{after}{trail}\n  {caret}", hint=hint)


def require_characters(owner: str, text: str) -> None:
    """Refuse half a surrogate pair in ``owner``: no wire and no file can hold it.

    Raises:
        SignatureError: Naming the owner, the half and its place.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = f"U+{ord(text[error.start]):04X}"
        raise SignatureError(
            f"{owner} holds {half}, half of a surrogate pair, at character {error.start}", hint="Remove it."
        ) from None


def clipped(text: str, limit: int = _SHOWN) -> str:
    """``text``, cut in the middle to ``limit`` characters where it is longer, and printable."""
    if len(text) <= limit:
        return _printable(text)
    half = (limit - 3) // 2
    return f"{_printable(text[:half])}...{_printable(text[-half:])}"


def _printable(text: str) -> str:
    return "".join(map(_shown, text))


def _shown(char: str) -> str:
    if char.isspace():
        return "\N{IDEOGRAPHIC SPACE}" if char == "\N{IDEOGRAPHIC SPACE}" else " "
    return "\N{REPLACEMENT CHARACTER}" if unicodedata.category(char) in _UNPRINTABLE else char


def _width(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
