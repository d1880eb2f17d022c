"""Points in time written as bare numbers: pydantic takes ``"2024"`` for seconds since 1970, even strictly.

A model that writes it means the year; so it is refused, instead of becoming half past midnight on 1 January 1970.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

_REF_PREFIX: Final = "#/$defs/"
_NUMBER: Final = re.compile(r"\s*[-+]?\d+(\.\d*)?\s*")


def has_instants(schema: Mapping[str, Any]) -> bool:
    """Whether a value that fits ``schema`` can hold a date with time."""
    return '"date-time"' in json.dumps(schema)


def bare_number_path(value: Any, schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str | None:
    """Where ``value``, a JSON value of ``schema``, has a number as text in the place of a date with time.

    Returns:
        A dotted path, "" for the value itself; None where there is none.
    """
    if "$ref" in schema:
        schema = definitions[schema["$ref"].removeprefix(_REF_PREFIX)]
    if isinstance(value, str):
        is_number = schema.get("format") == "date-time" and _NUMBER.fullmatch(value)
        members = (*schema.get("anyOf", ()), *schema.get("oneOf", ()))
        # Beside plain text in a union, a number is that text.
        if not is_number and not any(
            member.get("type") == "string" and "format" not in member for member in members
        ):
            is_number = any(bare_number_path(value, member, definitions) is not None for member in members)
        return "" if is_number else None
    for step, each, part in _parts(value, schema, definitions):
        below = bare_number_path(each, part, definitions)
        if below is not None:
            return f"{step}.{below}" if below else step
    return None


def _parts(
    value: Any, schema: Mapping[str, Any], definitions: Mapping[str, Any]
) -> list[tuple[str, Any, Mapping[str, Any]]]:
    if "$ref" in schema:
        schema = definitions[schema["$ref"].removeprefix(_REF_PREFIX)]
    found: list[tuple[str, Any, Mapping[str, Any]]] = []
    if isinstance(value, dict):
        named, others = schema.get("properties", {}), schema.get("additionalProperties")
        others = others if isinstance(others, dict) else {}
        found = [(str(key), each, named.get(key, others)) for key, each in value.items()]
    elif isinstance(value, list):
        items, first = schema.get("items"), schema.get("prefixItems", ())
        items = items if isinstance(items, dict) else {}
        parts = [*first, *[items] * (len(value) - len(first))]
        found = [
            (str(position), each, part) for position, (each, part) in enumerate(zip(value, parts, strict=False))
        ]
    else:
        return []
    for member in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        found.extend(_parts(value, member, definitions))
    return found
