"""What a dialect of JSON Schema can say, as a table for the walk of `transform`."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from repertory.signatures.dialects.outcome import Obstacle
from repertory.signatures.schemas import JsonSchema

Recursion: TypeAlias = Literal["anywhere", "in optional properties", "nowhere"]

LENGTHS: Final = frozenset({"minLength", "maxLength"})
SIZES: Final = frozenset({"minItems", "maxItems"})
BOUNDS: Final = frozenset({"minimum", "maximum"})
OPEN_BOUNDS: Final = frozenset({"exclusiveMinimum", "exclusiveMaximum"})
PLAIN_TYPES: Final = frozenset({"string", "integer", "number", "boolean", "null"})

_NOT_REGULAR = re.compile(r"\(\?(?!:)|\\[1-9]")


def _unchanged(node: JsonSchema) -> JsonSchema:
    return node


def _no_limits(schema: JsonSchema) -> Iterable[Obstacle]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """One dialect.

    Attributes:
        title: What its obstacles call it.
        constraints: The keywords that limit values, by the type they limit.
        formats: The values of ``format`` it knows.
        free_keys: Whether objects may have keys that the schema does not list.
        any_value: How it says that any value will do; None if it cannot.
        tuples: Whether it knows ``prefixItems``.
        const: Whether it knows ``const``.
        enum_types: The types whose values may be listed.
        recursion: Where a type may refer to itself.
        ordering: Whether the order of properties is told by ``propertyOrdering``.
        adjust: Rewrites the constraints of a node of plain type, or of an array, to what the dialect knows;
            what it leaves out is dropped. Must not change its argument.
        limits: The limits of size that a finished schema exceeds.
    """

    title: str
    constraints: Mapping[str, frozenset[str]]
    formats: frozenset[str]
    free_keys: bool
    any_value: JsonSchema | None
    tuples: bool
    const: bool
    enum_types: frozenset[str]
    recursion: Recursion
    ordering: bool = False
    adjust: Callable[[JsonSchema], JsonSchema] = _unchanged
    limits: Callable[[JsonSchema], Iterable[Obstacle]] = _no_limits


def is_regular(pattern: object) -> bool:
    """Whether ``pattern`` needs no look-around and no back-reference, which automata cannot follow."""
    return isinstance(pattern, str) and _NOT_REGULAR.search(pattern) is None


def without(node: JsonSchema, keys: Iterable[str]) -> JsonSchema:
    """``node`` without ``keys``."""
    left_out = frozenset(keys)
    return {key: value for key, value in node.items() if key not in left_out}


def with_whole_bounds(node: JsonSchema) -> JsonSchema:
    """An integer's bounds as ``minimum`` and ``maximum``, both whole and inclusive; the same integers fit."""
    bounds = {key: node[key] for key in (*BOUNDS, *OPEN_BOUNDS) if _is_finite(node.get(key))}
    lowest = [math.ceil(bounds[key]) for key in ("minimum",) if key in bounds]
    lowest += [math.floor(bounds[key]) + 1 for key in ("exclusiveMinimum",) if key in bounds]
    highest = [math.floor(bounds[key]) for key in ("maximum",) if key in bounds]
    highest += [math.ceil(bounds[key]) - 1 for key in ("exclusiveMaximum",) if key in bounds]
    rewritten = without(node, bounds)
    if lowest:
        rewritten["minimum"] = max(lowest)
    if highest:
        rewritten["maximum"] = min(highest)
    return rewritten


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def sub_schemas(node: JsonSchema) -> Iterator[JsonSchema]:
    """The schemas directly inside ``node`` in the form that the walk writes; definitions are not inside."""
    yield from node.get("properties", {}).values()
    yield from node.get("anyOf", ())
    yield from node.get("prefixItems", ())
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            yield node[key]


def all_schemas(schema: JsonSchema) -> Iterator[JsonSchema]:
    """``schema``, its definitions and everything inside them, each once."""
    waiting = [*reversed(schema.get("$defs", {}).values()), schema]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(sub_schemas(node))
