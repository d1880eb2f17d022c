"""The walk that says a schema in a dialect, by the dialect's `Rules`.

What limits values but cannot be said is moved into the description, in the manner of Anthropic's SDK
(https://github.com/anthropics/anthropic-sdk-python, ``lib/_parse/_transform.py``), and told as dropped.
Every definition is walked once, so recursive types end and the time is linear in the size of the schema.
"""

import json
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Final

from repertory.signatures.dialects.cycles import circles
from repertory.signatures.dialects.outcome import Obstacle, ProviderSchema
from repertory.signatures.dialects.rules import PLAIN_TYPES, SIZES, Rules
from repertory.signatures.schemas import REF_PREFIX, JsonSchema, closed_schema

_CHECKED: Final = "it is told in the description and checked when the reply is read"
_ABSENT: Final = "a reply without it is read where the field has a default, such as `None` or an empty list"
_SHAPE: Final = frozenset(
    {"type", "description", "properties", "required", "additionalProperties", "items", "prefixItems", "anyOf"}
    | {"oneOf", "enum", "const", "$defs", "$schema"}
)
_NOTES: Final = frozenset(
    {"title", "default", "examples", "deprecated", "readOnly", "writeOnly", "discriminator", "$comment"}
    | {"contentMediaType", "contentEncoding", "contentSchema"}
)
"""Keywords that limit nothing."""


def transformed(schema: JsonSchema, dialect: str, rules: Rules) -> ProviderSchema:
    """``schema``, that of an object, as ``rules`` allow."""
    return _Walk(closed_schema(schema), rules).outcome(dialect)


class _Walk:
    """One walk over one schema.

    ``_owner`` is the definition being walked (None in the root); ``_recursive`` has one mark for each property
    of it that the walk is inside of: whether a type refers to itself there.
    """

    def __init__(self, schema: JsonSchema, rules: Rules) -> None:
        self._schema = schema
        self._rules = rules
        self._definitions: Mapping[str, JsonSchema] = schema.get("$defs", {})
        self._circles = circles(self._definitions)
        self._paths: dict[str, str] = {}
        self._waiting: deque[str] = deque()
        self._owner: str | None = None
        self._recursive: list[bool] = []
        self._obstacles: list[Obstacle] = []
        self._dropped: list[Obstacle] = []

    def outcome(self, dialect: str) -> ProviderSchema:
        written = self._node(self._schema, "")
        definitions: dict[str, JsonSchema] = {}
        while self._waiting:
            self._owner = self._waiting.popleft()
            definitions[self._owner] = self._node(self._definitions[self._owner], self._paths[self._owner])
        if definitions:
            written["$defs"] = {name: definitions[name] for name in self._definitions if name in definitions}
        if not self._obstacles:
            self._obstacles.extend(self._rules.limits(written))
        schema = None if self._obstacles else written
        return ProviderSchema(dialect, schema, tuple(self._obstacles), tuple(self._dropped))

    def _node(self, node: JsonSchema, path: str) -> JsonSchema:
        if "$ref" in node:
            return self._reference(node["$ref"], path)
        members = node.get("anyOf") or node.get("oneOf")
        if members:
            written = {"anyOf": [self._node(member, path) for member in members]}
            return self._described(written, node, self._unsaid(node, (), path))
        if "enum" in node or "const" in node:
            return self._choice(node, path)
        match node.get("type"):
            case "object":
                return self._object(node, path)
            case "array":
                return self._array(node, path)
            case str():
                return self._plain(node, path)
            case list() as kinds:
                return self._node({"anyOf": [{**node, "type": kind} for kind in kinds]}, path)
            case _:
                return self._anything(node, path)

    def _reference(self, reference: str, path: str) -> JsonSchema:
        name = reference.removeprefix(REF_PREFIX)
        if name not in self._paths:
            self._paths[name] = path
            self._waiting.append(name)
        if self._owner is not None and self._circles[name] == self._circles[self._owner]:
            self._recursion(name, path)
        return {"$ref": reference}

    def _recursion(self, name: str, path: str) -> None:
        if self._rules.recursion == "nowhere":
            remedy = "give the type a fixed depth, or let it name the others by a text or number"
            self._refuse(path, f"{self._rules.title} has no recursive types, and `{name}` is one", remedy)
        elif self._rules.recursion == "in optional properties":
            if self._recursive:
                self._recursive[-1] = True
            else:
                reason = f"{self._rules.title} has recursion only in the properties of a model"
                self._refuse(path, reason, f"make `{name}` a model that refers to itself in one of its fields")

    def _choice(self, node: JsonSchema, path: str) -> JsonSchema:
        by_type: dict[str, list[Any]] = {}
        for value in [node["const"]] if "const" in node else node["enum"]:
            by_type.setdefault(_type_of(value), []).append(value)
        if not by_type.keys() <= PLAIN_TYPES:
            reason = f"{self._rules.title} lists plain values only"
            return self._refuse(path, reason, "use texts as the choices")
        unlisted = [kind for kind in by_type if kind not in self._rules.enum_types and kind != "null"]
        unsaid = {"enum": [value for kind in unlisted for value in by_type[kind]]} if unlisted else {}
        if unsaid:
            self._drop(path, "enum")
        members = [self._listed(kind, values) for kind, values in by_type.items()]
        written = members[0] if len(members) == 1 else {"anyOf": members}
        return self._described(written, node, unsaid)

    def _listed(self, kind: str, values: list[Any]) -> JsonSchema:
        if kind == "null" or kind not in self._rules.enum_types:
            return {"type": kind}
        if len(values) == 1 and self._rules.const:
            return {"type": kind, "const": values[0]}
        return {"type": kind, "enum": values}

    def _object(self, node: JsonSchema, path: str) -> JsonSchema:
        if "properties" not in node:
            return self._dictionary(node, path)
        properties, required = {}, []
        for name, part in node["properties"].items():
            here = f"{path}.{name}" if path else name
            self._recursive.append(False)
            properties[name] = self._node(part, here)
            if self._recursive.pop():
                self._drop(here, "required", _ABSENT)
            else:
                required.append(name)
        written: JsonSchema = {"type": "object", "properties": properties, "required": required}
        written["additionalProperties"] = False
        if self._rules.ordering:
            written["propertyOrdering"] = list(properties)
        return self._limited(written, node, path)

    def _dictionary(self, node: JsonSchema, path: str) -> JsonSchema:
        if not self._rules.free_keys:
            reason = f"{self._rules.title} has no objects with free keys"
            return self._refuse(path, reason, "use a list of {key, value} models")
        values = node.get("additionalProperties", True)
        patterns = node.get("patternProperties")
        if patterns:
            several = _distinct(list(patterns.values()))
            values = several[0] if len(several) == 1 else {"anyOf": several}
            node = {**node, "patternProperties": list(patterns)}
        written: JsonSchema = {"type": "object", "additionalProperties": True}
        if isinstance(values, dict) and values:
            written["additionalProperties"] = self._node(values, f"{path}.*")
        return self._limited(written, node, path)

    def _array(self, node: JsonSchema, path: str) -> JsonSchema:
        members = node.get("prefixItems")
        items = f"{path}[]"
        written: JsonSchema = {"type": "array"}
        if members and self._rules.tuples:
            written["prefixItems"] = [self._node(each, f"{path}[{at}]") for at, each in enumerate(members)]
            return self._limited(written, node, path)
        if members:
            self._drop(path, "prefixItems")
            several = _distinct(members)
            written["items"] = self._node(several[0] if len(several) == 1 else {"anyOf": several}, items)
            told = {"description": _with_note(node.get("description"), _order_in_words(members))}
            return self._limited(written, {**node, **told}, path)
        # Without items nothing is in it, an empty tuple's only value: any type of item is as good.
        empty = node.get("maxItems") == 0 and "items" not in node
        written["items"] = {"type": "string"} if empty else self._node(node.get("items", {}), items)
        return self._limited(written, node, path)

    def _plain(self, node: JsonSchema, path: str) -> JsonSchema:
        return self._limited({"type": node["type"]}, node, path)

    def _anything(self, node: JsonSchema, path: str) -> JsonSchema:
        if self._rules.any_value is None:
            reason = f"{self._rules.title} has no value of any type"
            return self._refuse(path, reason, "name its type, such as `str` or a union")
        return self._described(dict(self._rules.any_value), node, self._unsaid(node, (), path))

    def _limited(self, written: JsonSchema, node: JsonSchema, path: str) -> JsonSchema:
        """``written`` with those of the node's constraints that can be said; the others are told."""
        allowed = self._rules.constraints.get(written["type"], frozenset())
        adjusted = self._rules.adjust(node)
        kept = {key: value for key, value in adjusted.items() if key in allowed and key not in written}
        if kept.get("format", "") not in ("", *self._rules.formats):
            del kept["format"]
        restated = {key for key in node if key not in adjusted and _restated(key, kept)}
        return self._described({**written, **kept}, node, self._unsaid(node, {*kept, *restated}, path))

    def _unsaid(self, node: JsonSchema, said: Iterable[str], path: str) -> JsonSchema:
        unsaid = {
            key: value
            for key, value in node.items()
            if key not in said and key not in _SHAPE and key not in _NOTES and not key.startswith("x-")
        }
        if "prefixItems" in node:
            unsaid = {key: value for key, value in unsaid.items() if key not in SIZES}  # told by its members
        for key in unsaid:
            self._drop(path, key)
        return unsaid

    def _described(self, written: JsonSchema, node: JsonSchema, unsaid: JsonSchema) -> JsonSchema:
        told = ", ".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in unsaid.items())
        description = _with_note(node.get("description"), f"{{{told}}}" if told else "")
        return {**written, "description": description} if description else written

    def _refuse(self, path: str, reason: str, remedy: str) -> JsonSchema:
        self._obstacles.append(Obstacle(path, reason, remedy))
        return {}

    def _drop(self, path: str, keyword: str, remedy: str = _CHECKED) -> None:
        self._dropped.append(Obstacle(path, f"{self._rules.title} cannot say this `{keyword}`", remedy))


def _type_of(value: object) -> str:
    match value:
        case bool():
            return "boolean"
        case None:
            return "null"
        case str():
            return "string"
        case int():
            return "integer"
        case float():
            return "number"
        case _:
            return "object"


def _restated(key: str, kept: JsonSchema) -> bool:
    end = key.removeprefix("exclusive").lower()
    return key.startswith("exclusive") and end in kept


def _distinct(members: list[JsonSchema]) -> list[JsonSchema]:
    return list({json.dumps(member, sort_keys=True): member for member in members}.values())


def _order_in_words(members: list[JsonSchema]) -> str:
    kinds = (member.get("type") or member.get("$ref", "value").removeprefix(REF_PREFIX) for member in members)
    return f"{{exactly {len(members)} items, in this order: {', '.join(map(str, kinds))}}}"


def _with_note(description: str | None, note: str) -> str:
    return "\n\n".join(part for part in (description, note) if part)
