"""Repair of damaged JSON: what a language model wrote where JSON was asked for, and what was done to read it.

Nothing is guessed in silence: each step away from JSON as written is a ``Change``; a value that ends before it is
complete is marked as truncated and holds only what is complete in it.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Final

from pydantic_core import from_json

from repertory.signatures.changes import Change
from repertory.signatures.repair_reader import Reader
from repertory.signatures.repair_reading import Reading
from repertory.signatures.repair_text import QUOTES, Place, Source, Unreadable, folded, shown, unescaped

__all__ = ["Repaired", "Unreadable", "repair_json"]

_OPENING: Final = re.compile(r"[{\[]")
_BRACES: Final = re.compile(r"\{{3,}")  # nobody means three
_THOUGHT: Final = re.compile(r"<(/?)(think|thinking|thought|reasoning|reflection|scratchpad)>", re.IGNORECASE)
_ESCAPED_OBJECT: Final = re.compile(r'[{\[]\s{0,20}(?:\\[nrt]\s{0,20}){0,4}(?:[{\[]\s{0,20}){0,4}\\"')
_UNESCAPED_KEY: Final = re.compile(r"""(?:(?<!\\)["'”’]|\{\s{0,100}[^\W\d]\w{0,60})\s{0,100}:""")
_FIRST_KEY: Final = re.compile(r"""(?<![\w"'“])(["'“]?)([^\W\d][\w-]{0,60})["'”]?\s*[:=]""")
_FENCE: Final = re.compile(r"(?:```|~~~)[^\S\n]{0,20}[\w+-]{0,20}\Z")
_FENCES: Final = ("```", "~~~")
_PATIENCE: Final = 200  # brackets that open nothing: each may cost a look at all that follows
_LEVELS: Final = 3  # JSON in a text in JSON: how far to look


@dataclass(frozen=True, slots=True)
class Repaired:
    """A value read from text that may be damaged.

    Attributes:
        value: A JSON value.
        changes: What was done to read it; empty if the text was JSON.
        truncated: The value ends before it is complete, and not all of it is here: what was cut off in the
            middle is left out.
    """

    value: object
    changes: tuple[Change, ...]
    truncated: bool


def repair_json(text: str, expected: Collection[str] = ()) -> Repaired:
    """Read the JSON value that ``text`` was meant to contain.

    Args:
        text: A model's reply: the value alone or within prose, a code fence, after its thinking.
        expected: The names of the object's fields. They tell which of several objects is meant, where a text with
            quotes inside ends, and whether an object whose last bracket is missing is complete.

    Raises:
        Unreadable: No JSON value is intended, or one is nested more than 500 deep or holds half a character.
    """
    try:
        value = from_json(text, allow_inf_nan=False)
    except (ValueError, TypeError):  # TypeError: half of a surrogate pair
        return _Search(text, expected).repaired()
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        return _within(value, expected, _LEVELS)
    return Repaired(value, (), False)


def _within(text: str, expected: Collection[str], levels: int) -> Repaired:
    """The value in ``text``, itself a JSON text, if there is one."""
    outer = Change("repair", "", "JSON within a text as the value itself")
    try:
        inner = from_json(text, allow_inf_nan=False)
    except ValueError:
        try:
            repaired = _Search(text, expected).repaired()
        except Unreadable:
            return Repaired(text, (), False)
        return replace(repaired, changes=(outer, *repaired.changes))
    if isinstance(inner, str) and inner.lstrip()[:1] in ("{", "[") and levels > 1:
        return _within(inner, expected, levels - 1)
    return Repaired(inner, (outer,), False)


class _Search:
    """The search for the value that is meant in one text."""

    def __init__(self, text: str, expected: Collection[str]) -> None:
        self._names = frozenset(map(folded, expected))
        self._wanted = len(expected)  # more than names, if two differ in spelling alone: then no cut is sure
        self._whole = text
        self._changes: list[Change] = []
        self._text = self._unwrapped(self._answer(text))

    def repaired(self) -> Repaired:
        source = Source(self._text)
        readings = list(self._readings(source))
        best = max(readings, key=self._rank, default=None)
        if self._names and (best is None or not self._fit(best.value)):
            best = self._without_first_bracket(source) or best
        if best is None or (best.words_only and self._text.strip() != self._text[best.start : best.end]):
            return self._single()
        if merged := self._spread(readings):
            return merged
        self._note_surroundings(best, readings)
        cut_later = [each for each in readings if each.start > best.start and self._truncated(each)]
        if cut_later and (not self._names or any(self._fit(each.value) for each in cut_later)):
            self._note("the value before one that is cut off")
            return Repaired(best.value, (*self._changes, *best.changes), True)
        return Repaired(best.value, (*self._changes, *best.changes), self._truncated(best))

    def _single(self) -> Repaired:
        """The text as one number, literal or quoted text."""
        text = self._text.strip("\ufeff \t\r\n")
        if text.startswith(_FENCES):
            text = text.partition("\n")[2]
        if text.endswith(_FENCES):
            text = text[:-3]
        text = text.strip("\ufeff \t\r\n")
        if not text:
            raise Unreadable("the reply is empty")
        nowhere = Place(False, "", "", frozenset(), False)
        source = Source(text)
        token = source.quoted(0, nowhere) if text[0] in QUOTES else source.word(0, nowhere)
        read = (token.whole and text[0] in QUOTES) or not isinstance(token.value, str)
        if not read or token.end < len(text):
            raise Unreadable(f"there is no JSON in {shown(text)}")
        if text != self._whole:
            self._note("past what is around the value")
        told = (Change("repair", "", reason) for reason in token.damage)
        return Repaired(token.value, (*self._changes, *told), False)

    # --- which part of the text is the answer

    def _answer(self, text: str) -> str:
        """``text`` after the model's thinking."""
        tags = list(_THOUGHT.finditer(text))
        if not tags:
            return text
        ends = [tag for tag in tags if tag[1]]
        if ends and _OPENING.search(text, ends[-1].end()):
            self._note("past the thinking before the answer")
            return text[ends[-1].end() :]
        if ends or not text.rstrip().endswith(("}", "]", "```")):
            first = tags[0].start()
            if not ends or not _OPENING.search(text[:first]):
                raise Unreadable("the reply ends within its thinking, before an answer")
            return text[:first]
        self._note("the thinking as if it ended before the value")
        return text

    def _unwrapped(self, text: str) -> str:
        """``text`` without a further layer of escapes around its JSON."""
        found = _ESCAPED_OBJECT.search(text)
        if not found or _UNESCAPED_KEY.search(text):
            return text
        self._note("escaped quotes as quotes")
        end = text.rstrip()
        if end.endswith('"') and not end.endswith('\\"'):
            text = end[:-1]
        if text[: found.start()].endswith('"'):
            text = text[: found.start() - 1] + text[found.start() :]
        return unescaped(text)[0]

    # --- the values in it

    def _readings(self, source: Source) -> Iterator[Reading]:
        position = 0
        in_vain = 0
        while in_vain < _PATIENCE and (opening := _OPENING.search(source.text, position)):
            if run := _BRACES.match(source.text, opening.start()):
                position = run.end()
                continue
            reading = Reader(source, opening.start(), self._names).read()
            if reading.meant:
                yield reading
            else:
                in_vain += 1
            position = max(reading.end, opening.end())

    def _without_first_bracket(self, source: Source) -> Reading | None:
        """The object that begins at the first expected key, its bracket missing."""
        for key in _FIRST_KEY.finditer(source.text):
            if folded(key[2]) in self._names and (key[1] or self._begins_a_line(key.start())):
                reading = Reader(source, key.start(), self._names, opened=False).read()
                return reading if self._fit(reading.value) else None
        return None

    def _begins_a_line(self, position: int) -> bool:
        before = self._text[max(0, position - 20) : position]
        return not before.rpartition("\n")[2].strip(" \t-*")

    def _fit(self, value: object) -> int:
        """How many of the expected names ``value`` has."""
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        return len(self._names.intersection(map(folded, value))) if isinstance(value, dict) else 0

    def _rank(self, reading: Reading) -> tuple[int, bool, bool, bool, int]:
        objects = isinstance(reading.value, dict) or (
            isinstance(reading.value, list) and any(isinstance(item, dict) for item in reading.value)
        )
        filled = bool(reading.value) and not reading.words_only
        return (self._fit(reading.value), reading.complete, objects, filled, reading.start)

    def _truncated(self, reading: Reading) -> bool:
        if reading.complete:
            return False
        return reading.lost or not self._names or self._fit(reading.value) < self._wanted

    def _spread(self, readings: list[Reading]) -> Repaired | None:
        """The one object whose fields were given as objects of their own, each expected name exactly once."""
        objects = [each for each in readings if isinstance(each.value, dict) and self._fit(each.value)]
        if len(objects) < 2 or not all(each.complete for each in objects):
            return None
        fields = [item for each in objects if isinstance(each.value, dict) for item in each.value.items()]
        if sorted(folded(name) for name, _ in fields) != sorted(self._names):
            return None
        merged = Change("repair", "", f"{len(objects)} objects as the fields of one")
        changes = [change for each in objects for change in each.changes]
        return Repaired(dict(fields), (*self._changes, merged, *changes), False)

    def _note_surroundings(self, best: Reading, readings: list[Reading]) -> None:
        text = self._text
        before, after = text[: best.start].strip(), text[best.end :].strip()
        opened = _FENCE.search(before, max(0, len(before) - 45))
        if (opened and opened.start() == 0) or (after in _FENCES and not before):
            self._note("a code fence as the edge of the value")
        if opened:
            before = before[: opened.start()].rstrip()
            after = after.removesuffix("```").removesuffix("~~~").rstrip()
        others = sum(1 for each in readings if self._rank(each)[:3] == self._rank(best)[:3])
        if others > 1:
            self._note(f"the last of {others} values")
        elif len(readings) > 1:
            self._note(f"one of {len(readings)} values, the one that fits")
        if before:
            self._note("past the words before the value")
        if after:
            self._note("past the words after the value")

    def _note(self, reason: str) -> None:
        self._changes.append(Change("repair", "", reason))
