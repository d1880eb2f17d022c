"""Reading one JSON value from damaged text: brackets, keys, commas, and what to make of those that are missing.

The reader keeps its own stack, so that no nesting can exhaust Python's.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from repertory.signatures.repair_keys import bare_key, quoted_key
from repertory.signatures.repair_reading import Changes, Reading
from repertory.signatures.repair_text import QUOTES, Place, Source, Token, Unreadable, folded, shown

DEEPEST: Final = 500
"""How many brackets may be open at once; replies have a dozen."""

_CLOSERS: Final = {"{": "}", "[": "]", "(": ")"}
_KEY_SIGN: Final = re.compile(r":|=>?")
_WORDS_BETWEEN: Final = re.compile(r"""[^,;{}\[\]()"'“”\n:]{1,80}(?=[,;}\]\n])""")
_SET_START: Final = re.compile(r"""(["'])([^"'\\\n]{0,200})\1\s*[,}]""")
_TEXT_PREFIX: Final = re.compile(r"""[rbufRBUF]{1,2}(?=["'])""")

_State: TypeAlias = "Callable[[], _State | None]"


@dataclass(slots=True)
class _Open:
    """A list or object whose bracket is open. ``key`` is the one whose value comes next."""

    closer: str
    items: dict[str, object] | list[object]
    key: str | None = None
    doubled: bool = False  # opened with two braces
    bare_keys: bool = False
    after_comma: bool = False


class Reader:
    """Reads the value whose first bracket is at ``start``.

    Args:
        source: The text.
        start: Where an opening bracket stands, or the first key of an object whose bracket is missing.
        names: The keys that are expected in the outermost object, folded.
        opened: Whether a bracket stands at ``start``.
    """

    def __init__(self, source: Source, start: int, names: frozenset[str], *, opened: bool = True) -> None:
        self._source, self._text, self._start, self._at = source, source.text, start, start
        self._names = names
        self._stack: list[_Open] = []
        self._outer = ""  # the closers of all that is open
        self._changes = Changes()
        self._value: object = None
        self._complete = self._lost = False
        self._meant = True
        self._unsure: Token | None = None  # the last value, if more of it could have followed
        self._last_text = False  # whether the last value was a text
        self._guessed = False  # whether its end was guessed
        self._quoted_or_nested = False
        self._opened = opened

    def read(self) -> Reading:
        """The value and what was done to read it.

        Raises:
            Unreadable: It is nested too deeply or contains half a character.
        """
        if self._opened:
            state: _State | None = self._open(self._text[self._start])
        else:
            self._note("an object whose first bracket is missing")
            self._push(_Open("}", {}))
            state = self._key
        while state is not None:
            state = state()
        if self._stack:
            self._fold()
        bare = isinstance(self._value, list) and bool(self._value) and not self._quoted_or_nested
        words_only = bare and all(isinstance(item, str) for item in self._value)  # type: ignore[attr-defined]  # a list
        return Reading(
            self._start,
            self._at,
            self._value,
            self._complete,
            self._lost,
            self._meant,
            words_only,
            self._changes.listed(),
        )

    # --- states: each reads one thing and returns the next state, or None at the end

    def _key(self) -> "_State | None":
        top = self._stack[-1]
        self._blank()
        text, at = self._text, self._at
        if at >= len(text) or self._source.fence(at):
            return None
        char = text[at]
        if char in "}])":
            return self._close(char)
        if char in ",;":
            self._note("past a comma too many")
            self._at += 1
            return self._key
        if char == "{" and not top.items and not top.doubled:
            self._note("doubled braces as single ones")
            top.doubled = True
            self._at += 1
            return self._key
        if dots := self._dots():
            self._at += dots
            return self._after
        return self._read_key(top)

    def _read_key(self, top: _Open) -> "_State | None":
        text, at = self._text, self._at
        if quoted := quoted_key(text, at):
            if quoted.damage:
                self._note(quoted.damage)
            return self._colon(quoted.name, quoted.end)
        if not top.items and (first := _SET_START.match(text, at)):
            self._at = first.end(2) + 1
            return self._set(first[2])
        if text[at] in QUOTES:
            token = self._source.quoted(at, self._place())
            self._take(token)
            return self._colon(str(token.value), token.end) if token.whole else self._cut_off(token)
        if bare := bare_key(text, at):
            top.bare_keys = True
            self._note(bare.damage)
            return self._colon(bare.name, bare.end)
        if len(self._stack) == 1 and not top.items:
            self._meant = False
            return None
        word = self._source.word(at, self._place())
        if not word.whole:
            return self._cut_off(word)
        self._lost = True
        return None

    def _colon(self, key: str, end: int) -> "_State | None":
        top = self._stack[-1]
        self._at = end
        self._blank()
        text, at = self._text, self._at
        if sign := _KEY_SIGN.match(text, at):
            if sign.group() != ":":
                self._note(f"`{sign.group()}` as a colon")
            self._at = sign.end()
        elif at < len(text) and (text[at] in QUOTES + "{[-" or text[at].isalnum()):
            self._note(f"the key `{key}` as if a colon followed")
        elif at >= len(text):
            self._lost = True
            return None
        if isinstance(top.items, dict) and key in top.items:
            self._note(f"the last of several values of `{key}`")
        top.key, top.after_comma = key, False
        return self._read_value

    def _set(self, first: str) -> "_State | None":
        self._note("a set in braces as a list")
        top = self._stack[-1]
        top.items = [first]
        self._quoted_or_nested = True
        return self._after

    def _read_value(self) -> "_State | None":
        self._blank()
        text, at, top = self._text, self._at, self._stack[-1]
        if at >= len(text) or self._source.fence(at):
            self._lost = self._lost or top.key is not None
            return None
        char = text[at]
        if char in _CLOSERS:
            return self._open(char)
        maybe_key = isinstance(top.items, list) and char in QUOTES and "}" in self._outer + "}" * (not top.items)
        if maybe_key and (key := self._source.key(at)) and key["quoted"]:
            return self._key_in_list(top)
        if char in "}])":
            self._without_value()
            return self._close(char)
        if char in ",;":
            self._at += 1
            self._without_value()
            return self._key if isinstance(top.items, dict) else self._read_value
        if dots := self._dots():
            self._at += dots
            self._without_value()
            return self._after
        prefix = _TEXT_PREFIX.match(text, at)
        if prefix:
            self._note(f"past `{prefix.group()}` before a quote")
            self._at = prefix.end()
        if text.startswith('\\"', at):
            self._note("an escaped quote as a quote")
            self._at += 1
        quoted = text[self._at] in QUOTES
        token = self._source.quoted(self._at, self._place()) if quoted else self._source.word(at, self._place())
        if token.value == "" and not quoted:
            self._lost = True  # a character that begins nothing
            return None
        if not token.whole:
            return self._cut_off(token)
        self._take(token)
        self._last_text = quoted
        self._quoted_or_nested |= quoted
        self._put(token.value)
        line_ends = isinstance(token.value, int | float) and self._text.startswith("\n", token.end)
        sure = quoted or line_ends or token.value is None or isinstance(token.value, bool)
        self._unsure = None if sure else token
        return self._after

    def _key_in_list(self, top: _Open) -> "_State | None":
        """A key where an item should be: the list is an object, or its bracket is missing."""
        if not top.items:
            self._note("an object in square brackets as one")
            top.items = {}
            return self._key
        self._note("`]` as if it stood before the next key")
        while isinstance(self._stack[-1].items, list):
            self._pop()
        return self._key

    def _without_value(self) -> None:
        """Drop the key that has no value, or report the comma before nothing."""
        top = self._stack[-1]
        if top.key is not None:
            self._note(f"past the key `{top.key}`, which has no value")
            top.key = None
        elif top.after_comma or self._text[self._at - 1] == ",":
            self._note("past a comma too many")
        top.after_comma = False

    def _after(self) -> "_State | None":
        self._blank()
        text, at, top = self._text, self._at, self._stack[-1]
        if at >= len(text) or self._source.fence(at):
            return None
        char = text[at]
        if char in ",;":
            if char == ";":
                self._note("a semicolon as a comma")
            self._at += 1
            return self._separated()
        if char in "}])":
            return self._close(char)
        if char == "+" and self._last_text:
            return self._joined()
        if isinstance(top.items, dict):
            if self._source.key(at):
                self._note("on as if a comma stood between two fields")
                return self._separated()
        elif char in QUOTES + "{[(-" or char.isdigit():
            self._note("on as if a comma stood between two items")
            return self._separated()
        if dots := self._dots():
            self._at += dots
            return self._after
        if words := _WORDS_BETWEEN.match(text, at):
            self._note(f"past the words {shown(words.group().strip())}")
            self._at = words.end()
            return self._after
        self._lost = self._lost or len(self._stack) > 1
        return None

    def _separated(self) -> "_State | None":
        top = self._stack[-1]
        top.after_comma, self._unsure = True, None
        return self._key if isinstance(top.items, dict) else self._read_value

    def _joined(self) -> "_State | None":
        """The next part of a text that is written as a sum of texts."""
        self._at = self._source.past_blank(self._at + 1)
        if self._at >= len(self._text) or self._text[self._at] not in QUOTES:
            self._lost = True
            return None
        token = self._source.quoted(self._at, self._place())
        if not token.whole:
            return self._cut_off(token)
        self._take(token)
        self._note("texts joined by `+` as one")
        items = self._stack[-1].items
        last = next(reversed(items)) if isinstance(items, dict) else len(items) - 1
        items[last] = f"{items[last]}{token.value}"  # type: ignore[index]  # the container's own key
        return self._after

    # --- brackets

    def _open(self, char: str) -> "_State":
        if len(self._stack) >= DEEPEST:
            raise Unreadable(f"nested more than {DEEPEST} deep")
        if char == "(":
            self._note("a tuple as a list")
        self._quoted_or_nested |= bool(self._stack)
        self._push(_Open(_CLOSERS[char], {} if char == "{" else []))
        self._at += 1
        return self._key if char == "{" else self._read_value

    def _push(self, opened: _Open) -> None:
        self._stack.append(opened)
        self._outer += opened.closer

    def _close(self, char: str) -> "_State | None":
        level = self._outer.rfind(char)
        if level < 0 or not self._belongs(level):
            self._note(f"past a `{char}` that closes nothing")
            self._at += 1
            return self._after
        if level < len(self._stack) - 1:
            missing = self._outer[:level:-1]
            self._note(f"{' '.join(f'`{each}`' for each in missing)} as if it stood before `{char}`")
        elif self._stack[-1].after_comma:
            self._note("past a comma too many")
        self._at += 1
        self._unsure = None
        while len(self._stack) > level + 1:
            self._pop()
        if self._stack[-1].doubled and self._text.startswith("}", self._at):
            self._at += 1
        self._pop()
        self._last_text = False
        if self._stack:
            return self._after
        self._complete = True
        return None

    def _belongs(self, level: int) -> bool:
        """Whether what follows can stand after the bracket of ``level`` is closed: if not, it closes nothing."""
        text, source = self._text, self._source
        after = source.past_blank(self._at + 1)
        if self._stack[level].doubled and text.startswith("}", after):
            after = source.past_blank(after + 1)
        if after >= len(text) or text[after] not in ",;":
            return True
        beyond = source.past_blank(after + 1)
        key = source.key(beyond)
        if level < len(self._stack) - 1 and self._outer[-1] == "]" and not key:
            return beyond >= len(text) or text[beyond] not in QUOTES + "{["
        if level == 0:
            return not (key and key["quoted"] and (not self._names or folded(key["quoted"]) in self._names))
        if level == len(self._stack) - 1:
            return True
        return beyond >= len(text) or text[beyond] in "}])" or bool(key) == (self._outer[level - 1] == "}")

    def _pop(self) -> None:
        closed = self._stack.pop()
        self._outer = self._outer[:-1]
        if self._stack:
            self._put(closed.items)
        else:
            self._value = closed.items

    def _put(self, value: object) -> None:
        top = self._stack[-1]
        top.after_comma = False
        if isinstance(top.items, list):
            top.items.append(value)
        elif top.key is not None:
            top.items.pop(top.key, None)  # the last one put in is the last of the object
            top.items[top.key] = value
            top.key = None

    def _fold(self) -> None:
        """Close what is still open; what did not end for certain is left out."""
        if self._unsure is not None:
            items = self._stack[-1].items
            dropped = items.pop() if isinstance(items, list) else items.popitem()[1]
            self._note(f"on without {shown(str(dropped))}, which may go on")
            self._lost = True
        if self._stack[-1].key is not None or len(self._stack) > 1 or self._guessed:
            self._lost = True
        self._note(f"{' '.join(f'`{each}`' for each in reversed(self._outer[-5:]))} as if it stood at the end")
        while self._stack:
            self._pop()

    # --- what the states share

    def _cut_off(self, token: Token) -> "_State | None":
        self._at = token.end
        self._lost = True
        self._note(f"on without {shown(str(token.value))}, which is cut off")
        return None

    def _take(self, token: Token) -> None:
        self._at, self._guessed = token.end, token.guessed
        for reason in token.damage:
            self._note(reason)

    def _blank(self) -> None:
        end = self._source.past_blank(self._at)
        if not self._source.only_blank(self._at, end):
            comment = any(mark in self._text[self._at : end] for mark in "/#")
            self._note("past a comment" if comment else "past invisible characters")
        self._at = end

    def _dots(self) -> int:
        length = 3 if self._text.startswith("...", self._at) else int(self._text.startswith("…", self._at))
        if length:
            self._note("past dots that stand for something left out")
        return length

    def _place(self) -> Place:
        top = self._stack[-1]
        names = self._names if len(self._stack) == 1 else frozenset()
        in_object = isinstance(top.items, dict)
        return Place(in_object, top.closer, self._outer, names, top.bare_keys)

    def _note(self, reason: str) -> None:
        steps = [str(len(each.items)) if isinstance(each.items, list) else each.key or "" for each in self._stack]
        self._changes.note(reason, ".".join(steps).rstrip("."))
