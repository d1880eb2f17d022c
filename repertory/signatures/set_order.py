"""Sets in a fixed order: JSON has lists only, and a set's own order differs from process to process."""

import json
from collections.abc import Mapping
from typing import Any

REF = "#/$defs/"


def has_sets(schema: Mapping[str, Any]) -> bool:
    """Whether a value that fits ``schema`` can hold a set."""
    return '"uniqueItems"' in json.dumps(schema)


def sort_sets(value: Any, schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Any:
    """``value``, JSON written by ``schema``, with the lists that stand for sets sorted."""
    if "$ref" in schema:
        schema = definitions[schema["$ref"].removeprefix(REF)]
    for member in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        value = sort_sets(value, member, definitions)
    if isinstance(value, dict):
        named, others = schema.get("properties", {}), schema.get("additionalProperties")
        others = others if isinstance(others, dict) else {}
        return {key: sort_sets(each, named.get(key, others), definitions) for key, each in value.items()}
    if not isinstance(value, list):
        return value
    items = schema.get("items")
    items = items if isinstance(items, dict) else {}
    listed = [sort_sets(each, items, definitions) for each in value]
    return sorted(listed, key=_text) if schema.get("uniqueItems") else listed


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
