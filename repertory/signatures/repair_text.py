"""Damaged JSON, letter by letter: blanks and comments, where a quoted text ends, what an unquoted word says.

A quote inside a text that nobody escaped looks like the one that ends it. Which one ends it is told by what
follows: a comma and another key, a closing bracket, the end.
"""

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from pydantic_core import from_json

QUOTES: Final = "\"'`“”„‟«»‘’‚‹›"
_CLOSING_QUOTES: Final = {
    '"': '"',
    "'": "'",
    "`": "`",
    **dict.fromkeys("“”„‟", '“”"'),
    **dict.fromkeys("«»", "«»"),
    **dict.fromkeys("‘’‚", "‘’'"),
    **dict.fromkeys("‹›", "‹›"),
}
_BLANK: Final = re.compile(r"[\s\x00-\x1f\xad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]+")
_REMARK: Final = re.compile(r"#(?![0-9a-fA-F]{3,8}\b)")  # but no colour
_JSON_BLANK: Final = re.compile(r"[ \t\r\n]*")
_KEY: Final = re.compile(
    r"""(?:(?P<open>["'“”„`«‘’])(?P<quoted>(?:(?!(?P=open))[^"“”„`«»\\\n:{}]|\\['"]){1,80}?)["”“`»’']
    |(?P<bare>[^\W\d][\w$-]{0,60})["'”’]?)\s*(?::|=>?)""",
    re.VERBOSE,
)
_STRICT_KEY: Final = re.compile(r'"(?P<quoted>(?:[^"\\\x00-\x1f]|\\["\\/bfnrtu]){0,80})"(?P<bare>(?!))?:\s')
_NUMBER: Final = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
# A number or literal where it is clear that nothing more belongs to it.
_PLAIN_WORD: Final = re.compile(
    rf"""({_NUMBER.pattern}|true|false|null)(?=[ \t]*(?:[}}\])\n]|,\s*[^\s\d.,]|(?<=\s)["'“]))"""
)
_LOOSE_NUMBER: Final = re.compile(r"[+-]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_GROUPED_NUMBER: Final = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?")
_HEX_NUMBER: Final = re.compile(r"0[xX][0-9a-fA-F]+")
_LITERALS: Final = {"true": True, "false": False, "null": None}
_OTHER_LITERALS: Final = {"true": True, "false": False, "null": None, "none": None, "undefined": None, "nil": None}
_CALL: Final = re.compile(r"""[A-Za-z_][\w.]{0,60}\(\s*(?:(["'])([^"'\\]*)\1|(-?\d+(?:\.\d+)?))\s*\)""")
_WORD_ENDS: Final = re.compile(r"[,;}\])\n]|(?<=\s)(?://|#|/\*)|```")
_ESCAPE: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(\r?\n)|(.)|$)", re.DOTALL)
_ESCAPED: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", '"': '"', "\\": "\\", "/": "/"}
_IN_PATTERNS: Final = frozenset(".()[]{}|^?+")  # what a backslash stands before in regular expressions
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_PAIR: Final = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_CONTROL: Final = re.compile(r"[\x00-\x1f]")
_BRACKETS_AT_THE_END: Final = re.compile(r"([}\])\s]*)(?:```\s*)?\Z")
_AFTER_A_BREAK: Final = re.compile(r"[,\n]\s*\Z")


class Unreadable(ValueError):
    """The text holds no JSON value that could be read. The message says why."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the structure a text or word stands: what can come after it depends on that.

    Attributes:
        in_object: Whether it is an object's value, rather than a list's.
        closer: The bracket that ends what it stands in; "" at the end of the text.
        outer: The brackets that are open around it, outermost first, as the brackets that close them.
        names: The keys that can follow, folded (see ``folded``); empty: not known.
        bare_keys: Whether the keys so far were written without quotes.
    """

    in_object: bool
    closer: str
    outer: str
    names: frozenset[str]
    bare_keys: bool


@dataclass(frozen=True, slots=True)
class Token:
    """A value that was read. ``whole``: it ended where a value ends, not with the text.

    ``damage`` holds what was wrong, as reasons of changes; ``guessed``: another quote may be the one that ends it.
    """

    value: object
    end: int
    damage: tuple[str, ...] = ()
    whole: bool = True
    guessed: bool = False


@dataclass(frozen=True, slots=True)
class _End:
    """A text's end: its last character is before ``stop``, reading goes on at ``after``."""

    stop: int
    after: int
    guess: str


class _Ends(IntEnum):
    """How sure it is that a quote ends its text."""

    NO = 0
    PERHAPS = 1
    YES = 2


def folded(name: str) -> str:
    """``name`` without case, blanks, hyphens and underscores: what spellings of one key have in common."""
    return "".join(filter(str.isalnum, name)).casefold()


class Source:
    """A text to read from, and the work that may still be spent on reading parts of it again.

    Invariant: every search that can run to the end of the text is either remembered or paid for from ``_spare``,
    so that reading takes time linear in the text's length.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._spare = 4 * len(text) + 1000
        self._found: dict[str, tuple[int, int]] = {}  # what was looked for, from where, and where it is

    def past_blank(self, position: int) -> int:
        """The position of the next character that is neither blank, invisible nor part of a comment."""
        text = self.text
        while True:
            if blank := _BLANK.match(text, position):
                position = blank.end()
            if text.startswith("/*", position):
                end = self.find("*/", position + 2)
                position = len(text) if end < 0 else end + 2
            elif text.startswith("//", position) or _REMARK.match(text, position):
                end = self.find("\n", position)
                position = len(text) if end < 0 else end
            else:
                return position

    def only_blank(self, start: int, end: int) -> bool:
        """Whether JSON allows what is between two positions as white space."""
        return _JSON_BLANK.fullmatch(self.text, start, end) is not None

    def find(self, what: str, position: int) -> int:
        """``str.find``, which does not look twice for what is far off or not there."""
        asked, found = self._found.get(what, (len(self.text) + 1, -1))
        if asked <= position and (found < 0 or position <= found):
            return found
        found = self.text.find(what, position)
        self._found[what] = (position, found)
        return found

    def fence(self, position: int) -> bool:
        """Whether a code fence stands here."""
        return self.text.startswith("```", position)

    def key(self, position: int) -> re.Match[str] | None:
        """The key that stands here with its colon, if one does: its groups are ``quoted`` and ``bare``."""
        return _KEY.match(self.text, position) or _STRICT_KEY.match(self.text, position)

    def quoted(self, start: int, place: Place) -> Token:
        """The text whose opening quote is at ``start``.

        Raises:
            Unreadable: It contains half of a surrogate pair.
        """
        opener = self.text[start]
        if self.text.startswith(opener * 3, start) and (close := self.find(opener * 3, start + 3)) >= 0:
            value, damage = unescaped(self.text[start + 3 : close])
            return Token(value, close + 3, (*damage, "triple quotes as quotes"))
        style = () if opener == '"' else (f"{opener} as a quote",)
        end = self._end(start, _CLOSING_QUOTES[opener], place)
        if end is None:
            return Token(self.text[start + 1 :], len(self.text), style, whole=False)
        value, damage = unescaped(self.text[start + 1 : end.stop])
        guess = (end.guess,) if end.guess else ()
        return Token(value, end.after, (*style, *damage, *guess), guessed=bool(guess))

    def _end(self, start: int, closers: str, place: Place) -> "_End | None":
        """Where the text opened at ``start`` ends; None if it does not."""
        text, marks = self.text, re.compile(f"[{closers}\\\\]")
        inner: list[int] = []  # quotes that do not end it, the first few
        perhaps: _End | None = None
        count, position = 0, start + 1
        while mark := marks.search(text, position):
            at, position = mark.start(), mark.end()
            if mark.group() == "\\":
                position += 1
                continue
            ends = self._ends(position, place, count)
            if ends is _Ends.YES:
                return _End(at, position, _quotes_inside(count))
            if ends is _Ends.PERHAPS:
                perhaps = _End(at, position, _quotes_inside(count))
            elif count < 2 and (before := self._before_key(start, at, place, count)):
                if not inner:
                    return _End(before, before, "a text as ended before the next key")
                words = text[inner[0] + 1 : before].strip()
                return _End(inner[0], before, f"past the words {shown(words)} after a text")
            if count < 2:
                inner.append(at)
            count += 1
        if perhaps and self._affords(len(text) - perhaps.after):
            return perhaps
        tail = _BRACKETS_AT_THE_END.search(text, max(start + 1, len(text) - 2 * len(place.outer) - 60))
        closers = "".join(tail[1].split()) if count == 0 and tail else ""
        if tail and closers == place.outer[::-1] != "" and not self._opens(start, tail.start(), closers):
            return _End(tail.start(), tail.start(), "a text as ended before the last brackets")
        return None

    def _opens(self, start: int, end: int, closers: str) -> bool:
        """Whether ``closers`` close a bracket that was opened between two positions: they are the text's own."""
        inside = self.text[start + 1 : end]
        return any(
            inside.count(opener) > inside.count(closer)
            for opener, closer in ("{}", "[]", "()")
            if closer in closers
        )

    def _affords(self, work: int) -> bool:
        self._spare -= work
        return self._spare > 0

    def _ends(self, position: int, place: Place, inner: int) -> _Ends:
        """Whether the quote before ``position`` ends a text that had ``inner`` quotes inside so far."""
        text = self.text
        after = self.past_blank(position)
        if after >= len(text) or self.fence(after):
            return _Ends.YES
        char = text[after]
        if char in "}])":
            return self._ends_before_bracket(after, place, inner)
        if char in ",;":
            return self._ends_before_comma(after, place, inner)
        if char == "+" and (beyond := self.past_blank(after + 1)) < len(text) and text[beyond] in QUOTES:
            return _Ends.YES
        if not place.closer:
            return _Ends.PERHAPS if inner else _Ends.YES
        if place.in_object:
            if not (key := self.key(after)) or (key["bare"] and not place.bare_keys and after == position):
                return _Ends.NO
            known = not place.names or folded(key["quoted"] or key["bare"]) in place.names
            if "\n" in text[position:after] or (key["quoted"] and not inner):
                return _Ends.YES if known or not inner else _Ends.PERHAPS
            return _Ends.PERHAPS if inner % 2 == 0 and known else _Ends.NO
        if char in QUOTES and inner % 2 == 0:
            return _Ends.YES if after > position and not inner else _Ends.PERHAPS
        return _Ends.NO

    def _ends_before_bracket(self, at: int, place: Place, inner: int) -> _Ends:
        text, char = self.text, self.text[at]
        if char != place.closer:
            return _Ends.PERHAPS if char in place.outer and not inner else _Ends.NO
        if not inner:
            return _Ends.YES
        beyond = self.past_blank(at + 1)
        sure = beyond >= len(text) or text[beyond] in ",;}])" or "\n" in text[at:beyond] or self.fence(beyond)
        return _Ends.YES if sure else _Ends.PERHAPS

    def _ends_before_comma(self, at: int, place: Place, inner: int) -> _Ends:
        text = self.text
        beyond = self.past_blank(at + 1)
        while beyond < len(text) and text[beyond] in ",;":
            beyond = self.past_blank(beyond + 1)
        if beyond >= len(text) or text[beyond] in "}])" or self.fence(beyond):
            return _Ends.YES
        if place.in_object:
            key = self.key(beyond)
            if not key or (key["bare"] and not place.bare_keys and inner and "\n" not in text[at:beyond]):
                return _Ends.PERHAPS if not inner and text[beyond] in QUOTES + "." else _Ends.NO
            known = not place.names or folded(key["quoted"] or key["bare"]) in place.names
            return _Ends.YES if known or not inner else _Ends.PERHAPS
        if text[beyond] in QUOTES + "{[(-" or text[beyond].isdigit() or text.startswith("...", beyond):
            return _Ends.YES if inner % 2 == 0 or "\n" in text[at:beyond] else _Ends.PERHAPS
        literal = text[beyond : beyond + 4].casefold() in ("true", "fals", "null", "none")
        return _Ends.YES if literal and not inner else _Ends.PERHAPS if not inner else _Ends.NO

    def _before_key(self, start: int, quote: int, place: Place, inner: int) -> int:
        """Where the text ends if ``quote`` opens the next key and the text's own quote is missing; else 0."""
        key = self.key(quote) if place.in_object else None
        if not key or key["quoted"] is None:
            return 0
        floor = max(start + 1, quote - 40)
        before = self.text[floor:quote]
        if not (separator := _AFTER_A_BREAK.search(before)) or not before[: separator.start()].strip():
            return 0
        sure = folded(key["quoted"]) in place.names or (not inner and not place.names)
        return floor + separator.start() if sure else 0

    def word(self, start: int, place: Place) -> Token:
        """What stands unquoted at ``start``: a number, a literal, or words that are a text without quotes.

        Raises:
            Unreadable: The text was gone through too often without finding JSON.
        """
        if plain := _PLAIN_WORD.match(self.text, start):
            return _plain(plain[1], plain.end(1))
        end = self._word_end(start, place)
        if not self._affords(end - start):
            raise Unreadable("too much of it is no JSON")
        written = self.text[start:end].strip()
        whole = end < len(self.text)
        if written in _LITERALS or _NUMBER.fullmatch(written):
            return _plain(written, end, whole)
        if written.casefold() in _OTHER_LITERALS:
            value = _OTHER_LITERALS[written.casefold()]
            return Token(value, end, (f"`{written}` as {_json_word(value)}",), whole)
        if _LOOSE_NUMBER.fullmatch(written) and not re.match(r"[+-]?0[0-9]", written):
            digits = re.sub(r"^([+-]?)\.", r"\g<1>0.", written.replace("_", "").lstrip("+"))
            return _number(re.sub(r"\.(?=$|[eE])", ".0", digits), end, whole, written)
        if _GROUPED_NUMBER.fullmatch(written):
            return _number(written.replace(",", "").lstrip("+"), end, whole, written)
        if _HEX_NUMBER.fullmatch(written):
            return Token(int(written, 16), end, (f"`{written}` as {int(written, 16)}",), whole)
        if call := _CALL.fullmatch(written):
            argument = call[2] if call[2] is not None else from_json(call[3])
            return Token(argument, end, (f"`{written}` as {argument!r}",), whole)
        if len(written) > 1 and written[-1] in QUOTES and written[-1] not in written[:-1]:
            return Token(unescaped(written[:-1])[0], end, ("a text as if its quote were opened",), whole)
        return Token(unescaped(written)[0], end, (f"unquoted {shown(written)} as text",), whole)

    def _word_end(self, start: int, place: Place) -> int:
        text, position = self.text, start
        while mark := _WORD_ENDS.search(text, position):
            at, char = mark.start(), mark.group()
            goes_on = place.closer != ")" if char == ")" else place.in_object and not self._separates(at)
            if char not in ",;)" or not goes_on:
                return at
            position = mark.end()
        return len(text)

    def _separates(self, comma: int) -> bool:
        beyond = self.past_blank(comma + 1)
        text = self.text
        return beyond >= len(text) or text[beyond] in "}])," or self.fence(beyond) or bool(self.key(beyond))


def _plain(written: str, end: int, whole: bool = True) -> Token:
    """A number or literal as JSON writes it."""
    return Token(_LITERALS[written], end) if written in _LITERALS else _number(written, end, whole)


def _number(written: str, end: int, whole: bool, original: str = "") -> Token:
    try:
        value = from_json(written, allow_inf_nan=False)
    except ValueError:  # more digits than an integer may have
        return Token(written, end, (f"the number {shown(written)} as text",), whole)
    return Token(value, end, (f"{shown(original)} as {value}",) if original else (), whole)


def unescaped(raw: str) -> tuple[str, tuple[str, ...]]:
    """What the characters between two quotes mean, and what about them JSON does not allow.

    Raises:
        Unreadable: They contain half of a surrogate pair.
    """
    damage: dict[str, None] = {}
    if _CONTROL.search(raw):
        damage["line breaks or control characters within a text"] = None

    def meant(escape: re.Match[str]) -> str:
        if escape[1]:
            return chr(int(escape[1], 16))
        char = escape[4] or ""
        if char in _ESCAPED and char:
            return _ESCAPED[char]
        damage[f"the escape {shown(escape.group())}"] = None
        if escape[2]:
            return chr(int(escape[2], 16))
        # \_ or \' stand for the character itself; the backslash is more likely meant in \d, \alpha, C:\Users, \.
        return escape.group() if char.isalnum() or char in _IN_PATTERNS else char

    text = _ESCAPE.sub(meant, raw) if "\\" in raw else raw
    if _SURROGATE.search(text):
        text = _PAIR.sub(lambda pair: pair.group().encode("utf-16", "surrogatepass").decode("utf-16"), text)
        if lone := _SURROGATE.search(text):
            raise Unreadable(f"\\u{ord(lone.group()):04x} is half of a surrogate pair: no character")
    return text, tuple(damage)


def shown(text: str) -> str:
    """``text`` for a message: quoted, and its beginning only where it is long."""
    return repr(text if len(text) <= 40 else f"{text[:37]}...")


def _quotes_inside(count: int) -> str:
    return f"{count} {'quote' if count == 1 else 'quotes'} within a text as part of it" if count else ""


def _json_word(value: object) -> str:
    return {True: "true", False: "false"}.get(value, "null") if isinstance(value, bool) else "null"
