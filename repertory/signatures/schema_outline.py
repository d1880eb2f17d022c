"""A JSON schema as an outline in the manner of BAML: what a model is shown of nested types, in few tokens.

::

    {
      title: string,
      due: date (YYYY-MM-DD) or null,
      items: [
        {
          sku: string, // as printed on the box
          quantity: integer, at least 1,
        }
      ],
    }

Source: the compact notation of https://docs.boundaryml.com, which costs about a fifth of the JSON schema.
"""

import json
from collections.abc import Iterator, Mapping

from repertory.signatures.schemas import REF_PREFIX, JsonSchema, reachable, schema_in_words

_INDENT = "  "


def schema_outline(schema: JsonSchema) -> str:
    """``schema``, that of an object, as an outline. A recursive type is shown once and then called by its name."""
    return "".join(_Outline(schema.get("$defs", {})).of(schema, "", frozenset()))


class _Outline:
    def __init__(self, definitions: Mapping[str, JsonSchema]) -> None:
        self._definitions = definitions

    def of(self, schema: JsonSchema, indent: str, above: frozenset[str]) -> Iterator[str]:
        if "$ref" in schema:
            name = schema["$ref"].removeprefix(REF_PREFIX)
            if name in above:
                yield name
                return
            if name in reachable(self._definitions[name], self._definitions):
                yield f"{name} "
            yield from self.of(self._definitions[name], indent, above | {name})
            return
        members = schema.get("anyOf") or schema.get("oneOf")
        if members and self._has_objects(schema):
            for number, member in enumerate(members):
                yield " or " if number else ""
                yield from self.of(member, indent, above)
            return
        match schema:
            case {"type": "object", "properties": {} as properties} if properties:
                yield from self._object(properties, indent, above)
            case {"type": "array", "items": {} as items} if self._has_objects(items):
                yield f"[\n{indent}{_INDENT}"
                yield from self.of(items, indent + _INDENT, above)
                yield f"\n{indent}]"
            case {"type": "object", "additionalProperties": {} as values} if values and self._has_objects(values):
                yield "map from string to "
                yield from self.of(values, indent, above)
            case {"enum": [*values]}:
                yield " or ".join(json.dumps(value, ensure_ascii=False) for value in values)
            case _:
                yield schema_in_words(schema, self._definitions)

    def _object(self, properties: Mapping[str, JsonSchema], indent: str, above: frozenset[str]) -> Iterator[str]:
        inner = indent + _INDENT
        yield "{\n"
        for name, schema in properties.items():
            yield f"{inner}{name}: "
            yield from self.of(schema, inner, above)
            yield ","
            if said := schema.get("description"):
                yield f" // {' '.join(said.split())}"
            yield "\n"
        yield f"{indent}}}"

    def _has_objects(self, schema: JsonSchema) -> bool:
        """Whether ``schema`` needs more than a line: itself an object, or something of objects."""
        if "$ref" in schema:
            return "properties" in self._definitions[schema["$ref"].removeprefix(REF_PREFIX)]
        inner = [
            each for key in ("items", "additionalProperties") if isinstance(each := schema.get(key), dict) and each
        ]
        members = [*schema.get("anyOf", ()), *schema.get("oneOf", ()), *inner]
        return bool(schema.get("properties")) or any(map(self._has_objects, members))
