"""What providers accept, stated a second time from their pages: a list of complaints about a schema.

It shares nothing with the package: each dialect is its allowed keywords and its checks of one node.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

Schema = dict[str, Any]

_ANNOTATED: Final = {"type", "description"}
_STRUCTURE: Final = {
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items"},
}


def complaints(schema: Schema, dialect: str) -> list[str]:
    """What a provider would refuse or ignore in ``schema``."""
    check = CHECKS[dialect]
    found = [] if schema.get("type") == "object" and "anyOf" not in schema else ["the root is not an object"]
    for path, node in nodes(schema):
        found.extend(f"{path}: {fault}" for fault in check({k: v for k, v in node.items() if k != "$defs"}))
        reference = node.get("$ref")
        if reference is not None:
            name = reference.removeprefix("#/$defs/")
            found.extend([] if name in schema.get("$defs", {}) else [f"{path}: {reference} leads nowhere"])
    return found


def nodes(schema: Schema, path: str = "$") -> Iterator[tuple[str, Schema]]:
    yield path, schema
    for key in ("properties", "$defs", "patternProperties"):
        for name, part in schema.get(key, {}).items():
            yield from nodes(part, f"{path}.{key}.{name}")
    for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
        for number, part in enumerate(schema.get(key, ())):
            yield from nodes(part, f"{path}.{key}[{number}]")
    for key in ("items", "additionalProperties", "not", "contains", "propertyNames"):
        if isinstance(schema.get(key), dict):
            yield from nodes(schema[key], f"{path}.{key}")


def _keywords(node: Schema, allowed: dict[str, set[str]]) -> Iterator[str]:
    if "$ref" in node:
        if set(node) != {"$ref"}:
            yield f"beside a $ref: {sorted(node)}"
        return
    if "anyOf" in node:
        if set(node) - {"anyOf", "description"}:
            yield f"beside anyOf: {sorted(node)}"
        return
    kind = node.get("type")
    if not isinstance(kind, str):
        yield f"no type: {node}"
        return
    known = _ANNOTATED | {"enum"} | _STRUCTURE.get(kind, set()) | allowed.get(kind, set()) | allowed["any"]
    if set(node) - known:
        yield f"unknown for {kind}: {sorted(set(node) - known)}"


def _closed(node: Schema, *, all_required: bool = True) -> Iterator[str]:
    if node.get("type") == "object":
        if node.get("additionalProperties") is not False:
            yield "not closed"
        if all_required and node.get("required") != list(node.get("properties", {})):
            yield "something is not required"
    if node.get("type") == "array" and not isinstance(node.get("items"), dict):
        yield "no items"


def _format(node: Schema, known: set[str]) -> Iterator[str]:
    if "format" in node and node["format"] not in known:
        yield f"format {node['format']}"


def _openai_strict(node: Schema) -> Iterator[str]:
    numeric = {"multipleOf", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum"}
    allowed = {
        "any": {"const"},
        "string": {"pattern", "format"},
        "integer": numeric,
        "number": numeric,
        "array": {"minItems", "maxItems"},
    }
    yield from _keywords(node, allowed)
    yield from _closed(node)
    formats = {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"}
    yield from _format(node, formats)
    if re.search(r"\(\?[=!<]", node.get("pattern", "")):
        yield "look-around"


def _anthropic(node: Schema) -> Iterator[str]:
    yield from _keywords(node, {"any": set(), "string": {"format"}, "array": {"minItems"}})
    yield from _closed(node)
    formats = {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
    yield from _format(node, formats)
    if node.get("minItems", 0) not in (0, 1):
        yield "minItems"
    if any(isinstance(value, list | dict) for value in node.get("enum", ())):
        yield "listed values must be plain"


def _google(node: Schema) -> Iterator[str]:
    bounds = {"minimum", "maximum"}
    allowed = {
        "any": set[str](),
        "string": {"format"},
        "integer": bounds,
        "number": bounds,
        "array": {"prefixItems", "minItems", "maxItems"},
        "object": {"propertyOrdering"},
    }
    yield from _keywords(node, allowed)
    yield from _format(node, {"date-time", "date", "time"})
    if "enum" in node and node["type"] not in ("string", "integer", "number"):
        yield "enum of other than texts and numbers"
    if "properties" in node and node.get("propertyOrdering") != list(node["properties"]):
        yield "propertyOrdering"
    if not set(node.get("required", ())) <= set(node.get("properties", {})):
        yield "required but unknown"


def _llama_cpp(node: Schema) -> Iterator[str]:
    allowed = {
        "any": {"const"},
        "string": {"pattern", "format", "minLength", "maxLength"},
        "integer": {"minimum", "maximum"},
        "array": {"prefixItems", "minItems", "maxItems"},
    }
    yield from _keywords(node, allowed)
    yield from _format(node, {"date", "time", "date-time", "uuid"})
    pattern = node.get("pattern")
    if pattern is not None and not (pattern.startswith("^") and pattern.endswith("$")):
        yield "pattern is not anchored"
    if pattern is not None and re.search(r"\\[A-Za-z0-9]|\(\?|[*+?}][?+]", pattern):
        yield "pattern beyond the converter"
    if len({"pattern", "format"} & set(node)) + bool({"minLength", "maxLength"} & set(node)) > 1:
        yield "only one of pattern, format and lengths is read"
    if "prefixItems" in node and "items" in node:
        yield "prefixItems beside items"
    if any(node.get(key, 0) >= 2_000 for key in ("minLength", "maxLength", "minItems", "maxItems")):
        yield "too many repetitions"
    if any(not isinstance(node.get(key, 0), int) for key in ("minimum", "maximum")):
        yield "bounds are not whole"


CHECKS: Final[dict[str, Callable[[Schema], Iterator[str]]]] = {
    "openai_strict": _openai_strict,
    "anthropic": _anthropic,
    "google": _google,
    "llama_cpp": _llama_cpp,
}
