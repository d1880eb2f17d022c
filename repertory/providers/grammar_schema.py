"""JSON schemas for llama.cpp's grammars: cut down to what it is known to take, and brought together in one.

What it does not know may be refused, read as another, or end the server's process, as a bound of 17 digits does.
So only keywords known to be taken are kept. What is left out makes the grammar wider, never narrower: whoever gave
the schema still checks the value against it.
Source: https://github.com/ggml-org/llama.cpp/blob/master/grammars/README.md ("JSON Schemas → GBNF").
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

Schema: TypeAlias = Mapping[str, object]

TYPES: Final = frozenset({"object", "array", "string", "integer", "number", "boolean", "null"})
ANY_VALUE: Final[Schema] = MappingProxyType(
    {"anyOf": [{"type": kind} for kind in ("object", "array", "string", "number", "boolean", "null")]}
)
FORMATS: Final = frozenset({"date", "time", "date-time", "uuid"})
LONGEST_TEXT: Final = 1_999  # a repetition of 2000 is refused
MOST_ITEMS: Final = 500  # each is a rule of several symbols, which are multiplied
LARGEST_BOUND: Final = 10**15  # the converter counts 16 digits
LIMITS: Final = MappingProxyType(
    {
        "string": {"minLength": LONGEST_TEXT, "maxLength": LONGEST_TEXT},
        "array": {"minItems": MOST_ITEMS, "maxItems": MOST_ITEMS},
        "integer": dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), LARGEST_BOUND),
    }
)
DEFINITIONS: Final = ("$defs", "definitions")
VALUES: Final = frozenset({"const", "enum", "default", "examples"})  # below these stand values, not schemas


def arguments_schema(parameters: Schema) -> Schema:
    """What is kept of the schema of a tool's arguments: always an object's."""
    kept = loosened(parameters)
    if kept.get("type") != "object" and "$ref" not in kept:
        kept = {"type": "object"}
    if "properties" in kept or "additionalProperties" in kept or "$ref" in kept:
        return kept
    # To llama.cpp this would be any object, and a small model would fill it until its tokens run out.
    return {**kept, "properties": {}, "additionalProperties": False}


def loosened(schema: Schema) -> Schema:
    """What is kept of ``schema``, the definitions it refers to among it."""
    definitions = {
        keyword: {name: _kept(each, schema) for name, each in named.items()}
        for keyword in DEFINITIONS
        if isinstance(named := schema.get(keyword), Mapping)
    }
    return {**_kept(schema, schema), **definitions}


def relocated(schema: Schema, prefix: str, definitions: dict[str, object]) -> Schema:
    """Return ``schema`` fit to stand inside another one.

    A reference counts from the root of its document. So what this schema refers to goes into ``definitions``,
    which is to be ``$defs`` of the whole, under names that begin with ``prefix``. These must differ from all the
    others there, as llama.cpp takes the last word of a reference for the whole of it.
    """
    moved = _moved(schema, prefix)
    assert isinstance(moved, dict)
    itself = f"#/$defs/{prefix}"
    wanted = any(each == itself or each.startswith(f"{itself}/") for each in _references(moved))
    for keyword in DEFINITIONS:
        definitions.update({f"{prefix}-{name}": each for name, each in moved.pop(keyword, {}).items()})
    if wanted:
        definitions[prefix] = moved
    return moved


def _references(node: object) -> Iterator[str]:
    inside = [node]
    while inside:
        match inside.pop():
            case list(nodes):
                inside += nodes
            case dict(schema):
                if isinstance(reference := schema.get("$ref"), str):
                    yield reference
                inside += [each for key, each in schema.items() if key not in VALUES]


def _moved(node: object, prefix: str) -> object:
    """The same with every reference pointing to where what it means will be."""
    if isinstance(node, list | tuple):
        return [_moved(each, prefix) for each in node]
    if not isinstance(node, Mapping):
        return node
    moved = {key: each if key in VALUES else _moved(each, prefix) for key, each in node.items()}
    if isinstance(reference := node.get("$ref"), str):
        moved["$ref"] = _new_place(reference, prefix)
    return moved


def _new_place(reference: str, prefix: str) -> str:
    for keyword in DEFINITIONS:
        if reference.startswith(f"#/{keyword}/"):
            return f"#/$defs/{prefix}-{reference.removeprefix(f'#/{keyword}/')}"
    return f"#/$defs/{prefix}{reference.removeprefix('#')}" if reference.startswith("#") else reference


def _kept(schema: object, root: Schema) -> Schema:
    """What is kept of one schema of the document ``root``."""
    if not isinstance(schema, Mapping):
        return ANY_VALUE
    match schema:
        case {"$ref": str(reference)}:
            return {"$ref": reference} if _is_there(reference, root) else ANY_VALUE
        case {"const": value}:
            return {"const": value}
        case {"enum": list(values) | tuple(values)} if values:
            return {"enum": list(values)}
        case {"type": str(kind)} if kind in TYPES:
            return _typed(schema, kind, root)
        case {"type": list(kinds) | tuple(kinds)} if kinds:
            return {"anyOf": [_kept({**schema, "type": kind}, root) for kind in kinds]}
        case {"properties": Mapping()}:
            return _typed(schema, "object", root)
        case {"anyOf": list(ways) | tuple(ways)} | {"oneOf": list(ways) | tuple(ways)} if ways:
            return {"anyOf": [_kept(way, root) for way in ways]}
        case {"allOf": [only]}:
            return _kept(only, root)
    return ANY_VALUE


def _is_there(reference: str, root: Schema) -> bool:
    if reference == "#":
        return True
    keyword, _, name = reference.removeprefix("#/").partition("/")
    named = root.get(keyword) if keyword in DEFINITIONS else None
    return isinstance(named, Mapping) and name in named


def _typed(schema: Schema, kind: str, root: Schema) -> Schema:
    kept: dict[str, object] = {"type": kind}
    if kind == "string" and schema.get("format") in FORMATS:
        return {**kept, "format": schema["format"]}
    for keyword, most in LIMITS.get(kind, {}).items():
        bound = schema.get(keyword)
        if type(bound) is int and abs(bound) <= most:  # by type, as a bool is an int too
            kept[keyword] = bound
    if kind == "object":
        kept.update(_members(schema, root))
    elif kind == "array":
        match schema:
            case {"prefixItems": list(places) | tuple(places)}:
                return {**kept, "prefixItems": [_kept(place, root) for place in places]} if places else kept
            case {"items": each}:
                kept["items"] = _kept(each, root)
    return kept


def _members(schema: Schema, root: Schema) -> dict[str, object]:
    kept: dict[str, object] = {}
    properties, required = schema.get("properties"), schema.get("required")
    if isinstance(properties, Mapping):
        kept["properties"] = {name: _kept(each, root) for name, each in properties.items()}
        if isinstance(required, list | tuple):
            kept["required"] = [name for name in required if name in properties]
    others = schema.get("additionalProperties")
    if isinstance(others, bool):
        kept["additionalProperties"] = others
    elif isinstance(others, Mapping):
        kept["additionalProperties"] = _kept(others, root)
    return kept
