"""OpenAI's strict mode.

Source: https://platform.openai.com/docs/guides/structured-outputs#supported-schemas: every property required,
``additionalProperties`` false, no free keys, ``anyOf`` but neither ``oneOf`` nor ``allOf``, nothing beside a
``$ref``, an object at the root, recursion allowed; for texts ``pattern`` and ``format``, for numbers bounds and
``multipleOf``, for arrays ``minItems`` and ``maxItems``; and limits of size. How the page counts nesting is not
said; objects and arrays are counted here, along references, which errs on the safe side.
"""

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Final

from repertory.signatures.dialects.cycles import innermost_first
from repertory.signatures.dialects.outcome import Obstacle
from repertory.signatures.dialects.rules import (
    BOUNDS,
    OPEN_BOUNDS,
    PLAIN_TYPES,
    SIZES,
    Rules,
    all_schemas,
    is_regular,
    sub_schemas,
    without,
)
from repertory.signatures.schemas import REF_PREFIX, JsonSchema

MAX_PROPERTIES: Final = 5_000
MAX_DEPTH: Final = 10
MAX_ENUM_VALUES: Final = 1_000
MAX_CHARACTERS: Final = 120_000
LONG_ENUM: Final = 250
"""The number of texts in one enum above which their total length is limited too."""

MAX_LONG_ENUM_CHARACTERS: Final = 15_000

_TITLE: Final = "strict mode"
_NUMERIC: Final = BOUNDS | OPEN_BOUNDS | {"multipleOf"}


def _adjusted(node: JsonSchema) -> JsonSchema:
    return node if is_regular(node.get("pattern", "")) else without(node, ["pattern"])


def _exceeded(schema: JsonSchema) -> Iterator[Obstacle]:
    nodes = list(all_schemas(schema))
    names = list(chain.from_iterable(node.get("properties", ()) for node in nodes))
    values = [_values(node) for node in nodes]
    counted = [
        (len(names), MAX_PROPERTIES, "properties"),
        (_depth(schema), MAX_DEPTH, "levels of nesting"),
        (sum(map(len, values)), MAX_ENUM_VALUES, "enum values"),
        (
            sum(map(len, chain(names, schema.get("$defs", ()), *values))),
            MAX_CHARACTERS,
            "characters of names and enum values",
        ),
    ]
    for count, limit, what in counted:
        if count > limit:
            reason = f"{_TITLE} has at most {limit} {what}, not {count}"
            yield Obstacle("", reason, "use fewer or smaller types")
    for texts in values:
        length = sum(map(len, texts))
        if len(texts) > LONG_ENUM and length > MAX_LONG_ENUM_CHARACTERS:
            reason = (
                f"{_TITLE} has at most {MAX_LONG_ENUM_CHARACTERS} characters in an enum of {len(texts)} values"
            )
            yield Obstacle("", f"{reason}, not {length}", "use shorter or fewer choices")


def _values(node: JsonSchema) -> list[str]:
    return [str(value) for value in (*node.get("enum", ()), *([node["const"]] if "const" in node else ()))]


def _depth(schema: JsonSchema) -> int:
    """Objects and arrays inside each other on the deepest way down; what refers back up ends it."""
    definitions = schema.get("$defs", {})
    depths: dict[str, int] = {}
    for name in innermost_first(definitions):
        depths[name] = _depth_of(definitions[name], depths)
    return _depth_of(schema, depths)


def _depth_of(node: JsonSchema, depths: Mapping[str, int]) -> int:
    if "$ref" in node:
        return depths.get(node["$ref"].removeprefix(REF_PREFIX), 0)
    inside = max((_depth_of(part, depths) for part in sub_schemas(node)), default=0)
    return inside + (node.get("type") in ("object", "array"))


OPENAI_STRICT: Final = Rules(
    title=_TITLE,
    constraints={
        "string": frozenset({"pattern", "format"}),
        "integer": _NUMERIC,
        "number": _NUMERIC,
        "array": SIZES,
    },
    formats=frozenset(
        {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"},
    ),
    free_keys=False,
    any_value=None,
    tuples=False,
    const=True,
    enum_types=PLAIN_TYPES,
    recursion="anywhere",
    adjust=_adjusted,
    limits=_exceeded,
)
