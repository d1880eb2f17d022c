"""llama.cpp's grammars made of JSON schemas.

Source: https://github.com/ggml-org/llama.cpp/blob/master/grammars/README.md ("JSON Schemas → GBNF") and the
converter beside it, ``examples/json_schema_to_grammar.py``: bounds only for integers; patterns anchored at both
ends; of formats only dates, times and UUIDs; for a text one of pattern, format and lengths; ``prefixItems``
only without ``items``; a schema without a type would mean an object; a repetition of 2000 and more is refused.

A pattern becomes a rule over the JSON text, not over the text it stands for. So only those are kept that read
the same in both: listed characters, no ``.``, no escaped classes, no quote; an alternative only in a group.
"""

import re
from typing import Any, Final

from repertory.signatures.dialects.rules import (
    BOUNDS,
    LENGTHS,
    PLAIN_TYPES,
    SIZES,
    Rules,
    with_whole_bounds,
    without,
)
from repertory.signatures.schemas import JsonSchema

MAX_LENGTH: Final = 1_999
MAX_SIZE: Final = 500
"""In items: each is a rule of several symbols, which are multiplied."""

MAX_BOUND: Final = 10**15
"""The converter counts 16 digits."""

_FORMATS: Final = frozenset({"date", "time", "date-time", "uuid", "uuid1", "uuid2", "uuid3", "uuid4", "uuid5"})
_PLAIN_PATTERN: Final = re.compile(
    r"""\^(?: [A-Za-z0-9 _,:;=@#%&/<>~!'-]    # a character that stands for itself
          | \\[.$^\[\]()|{}*+?]               # one that must be escaped in both notations
          | \[[A-Za-z0-9_,.:;=@+*/-]+\]       # a class of characters
          | [()|]
          | (?:[*+?] | \{\d{1,3}(?:,\d{0,3})?\}) (?![*+?{])
        )*\$""",
    re.VERBOSE | re.ASCII,
)


def _adjusted(node: JsonSchema) -> JsonSchema:
    match node.get("type"):
        case "string":
            return _text(node)
        case "integer":
            bounded = with_whole_bounds(node)
            return without(bounded, [key for key in BOUNDS if not _within(bounded.get(key, 0), MAX_BOUND)])
        case "array":
            return without(node, [key for key in SIZES if not _within(node.get(key, 0), MAX_SIZE)])
        case _:
            return node


def _text(node: JsonSchema) -> JsonSchema:
    if _is_plain(node.get("pattern")):
        return without(node, {*LENGTHS, "format"})
    if node.get("format") in _FORMATS:
        return without(node, {*LENGTHS, "pattern"})
    return without(node, ["pattern", *(key for key in LENGTHS if not _within(node.get(key, 0), MAX_LENGTH))])


def _is_plain(pattern: object) -> bool:
    if not isinstance(pattern, str) or _PLAIN_PATTERN.fullmatch(pattern) is None:
        return False
    depth = 0
    for symbol in re.sub(r"\\.|\[[^]]*\]", "", pattern):
        depth += (symbol == "(") - (symbol == ")")
        if symbol == "|" and depth == 0:
            return False
    return "(?" not in pattern and "()" not in pattern


def _within(bound: Any, limit: int) -> bool:
    return isinstance(bound, int) and abs(bound) <= limit


LLAMA_CPP: Final = Rules(
    title="llama.cpp",
    constraints={
        "string": LENGTHS | {"pattern", "format"},
        "integer": BOUNDS,
        "array": SIZES,
    },
    formats=_FORMATS,
    free_keys=True,
    any_value={
        "anyOf": [{"type": kind} for kind in ("object", "array", "string", "number", "boolean", "null")],
    },
    tuples=True,
    const=True,
    enum_types=PLAIN_TYPES,
    recursion="anywhere",
    adjust=_adjusted,
)
