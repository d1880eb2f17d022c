"""Coercion: making a JSON value fit a schema where it is clear what was meant, and telling each step.

A value that fits is never touched. What cannot be made to fit is left as it is; validation, afterwards, reports
it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from repertory.signatures.changes import Change
from repertory.signatures.coercion_scalars import Scalar, coerced_scalar
from repertory.signatures.repair import Unreadable, repair_json
from repertory.signatures.schemas import REF_PREFIX, JsonSchema
from repertory.signatures.type_registry import TYPE_KEYWORD, Coercer

DEEPEST: Final = 100
"""How deep a value is looked into; replies have a handful of levels."""

MOST_STEPS: Final = 100_000
"""How many values are looked at. Unions within unions are tried in every combination, which only this bounds."""


@dataclass(frozen=True, slots=True)
class Coerced:
    """A JSON value, and what was changed to make it fit."""

    value: object
    changes: tuple[Change, ...]


def coerce_json(
    value: object, schema: JsonSchema, definitions: Mapping[str, JsonSchema], coercers: Mapping[str, Coercer]
) -> Coerced:
    """Make ``value`` fit ``schema`` where it is clear what was meant.

    Args:
        value: A JSON value.
        schema: As pydantic generates it.
        definitions: What its ``$ref``s name.
        coercers: By the name of a registered type, which stands in the schema under `TYPE_KEYWORD`.
    """
    walk = _Walk(definitions, coercers, _Steps(MOST_STEPS))
    fitted = walk.fit(walk.unwrapped(value, schema), schema, "", 0)
    return Coerced(fitted, tuple(walk.changes))


@dataclass(slots=True)
class _Steps:
    """How many values may still be looked at, over all that is tried."""

    left: int


class _Walk:
    def __init__(
        self, definitions: Mapping[str, JsonSchema], coercers: Mapping[str, Coercer], steps: _Steps
    ) -> None:
        self._definitions = definitions
        self._coercers = coercers
        self._steps = steps
        self.changes: list[Change] = []

    def unwrapped(self, value: object, schema: JsonSchema) -> object:
        """``value`` out of an object that was put around it, or the one output that was given bare."""
        names = list(schema.get("properties", ()))
        if isinstance(value, dict):
            if len(value) == 1 and names:
                (outer, inner), *_ = value.items()
                if outer not in names and isinstance(inner, dict) and any(name in inner for name in names):
                    self._note("", f"what is in `{outer}` as the outputs")
                    return inner
            return value
        only = value[0] if isinstance(value, list) and len(value) == 1 else None
        if isinstance(only, dict) and set(names) & set(only):
            self._note("", "the one item of a list as the outputs")
            return only
        if len(names) == 1:
            self._note("", f"the bare value as `{names[0]}`")
            return {names[0]: value}
        return value

    def fit(self, value: object, schema: JsonSchema, path: str, depth: int) -> object:
        named = schema.get(TYPE_KEYWORD)  # beside a reference, or in what it refers to
        schema = self._resolved(schema)
        self._steps.left -= 1
        if depth > DEEPEST or self._steps.left < 0:
            return value
        coercer = self._coercers.get(named or schema.get(TYPE_KEYWORD, ""))
        if coercer is not None:
            try:
                value, reason = coercer(value)
            except ValueError:
                return value
            if reason:
                self._note(path, reason)
        members = schema.get("anyOf") or schema.get("oneOf")
        if members:
            return self._fit_one_of(value, schema, members, path, depth)
        match schema.get("type"):
            case "object":
                return self._fit_object(value, schema, path, depth)
            case "array":
                return self._fit_array(value, schema, path, depth)
            case _:
                found = coerced_scalar(value, schema)
                return self._taken(found, path) if found is not None else value

    def _fit_one_of(
        self, value: object, schema: JsonSchema, members: list[JsonSchema], path: str, depth: int
    ) -> object:
        chosen = self._discriminated(value, schema)
        if chosen is not None:
            return self.fit(value, chosen, path, depth + 1)
        resolved = [self._resolved(member) for member in members]
        if any(
            _kind_fits(value, member) and not self._attempt(value, member, path, depth)[1] for member in resolved
        ):
            return value
        attempts = [self._attempt(value, member, path, depth) for member in resolved]
        changed = [(fitted, changes) for fitted, changes in attempts if changes]
        # One way to read it, or none: where two members could both be meant, it is not clear which.
        if len({repr(fitted) for fitted, _ in changed}) == 1:
            self.changes.extend(changed[0][1])
            return changed[0][0]
        return value

    def _attempt(self, value: object, member: JsonSchema, path: str, depth: int) -> tuple[object, list[Change]]:
        trial = _Walk(self._definitions, self._coercers, self._steps)
        fitted = trial.fit(value, member, path, depth + 1)
        return fitted, trial.changes

    def _discriminated(self, value: object, schema: JsonSchema) -> JsonSchema | None:
        discriminator = schema.get("discriminator")
        if not isinstance(discriminator, dict) or not isinstance(value, dict):
            return None
        by_tag = discriminator.get("mapping", {})
        tag = _by_spelling(value, discriminator["propertyName"])
        found = _by_spelling(by_tag, tag) if isinstance(tag, str) else None
        return {"$ref": found} if found is not None else None

    def _fit_object(self, value: object, schema: JsonSchema, path: str, depth: int) -> object:
        value = self._decoded(value, path, dict)
        if not isinstance(value, dict):
            return value
        named = schema.get("properties", {})
        others = schema.get("additionalProperties")
        value = self._renamed(value, named, path)
        fitted = dict(value)
        for name, each in value.items():
            part = named.get(name, others if isinstance(others, dict) else None)
            if part is not None:
                fitted[name] = self.fit(each, part, _below(path, name), depth + 1)
        for name in schema.get("required", ()):
            if name not in fitted and self._nullable(named.get(name, {})):
                self._note(_below(path, name), "what is missing as null")
                fitted[name] = None
        return fitted

    def _renamed(self, value: dict[str, Any], named: Mapping[str, Any], path: str) -> dict[str, Any]:
        """Keys that are a property's name but for case, spaces, hyphens and underscores."""
        wanted = {_folded(name): name for name in named}
        if len(wanted) < len(named):
            return value
        renamed: dict[str, Any] = {}
        for key, each in value.items():
            name = key if key in named else wanted.get(_folded(key), key)
            if name != key and (name in value or name in renamed):
                name = key
            if name != key:
                self._note(_below(path, name), f"the key {key!r} as `{name}`")
            renamed[name] = each
        return renamed

    def _fit_array(self, value: object, schema: JsonSchema, path: str, depth: int) -> object:
        value = self._decoded(value, path, list)
        items = schema.get("items")
        if isinstance(value, str) and isinstance(items, dict) and self._resolved(items).get("type") == "string":
            lines = _listed(value)
            if lines is not None:
                self._note(path, f"{len(lines)} lines as a list")
                return lines
        if not isinstance(value, list):
            if value is None or not isinstance(items, dict):
                return value
            fitted = self.fit(value, items, path, depth + 1)
            if not _kind_fits(fitted, self._resolved(items)):
                return value
            self._note(path, "a single value as a list of one")
            return [fitted]
        parts = [*schema.get("prefixItems", ())]
        return [
            self._item(each, parts[position] if position < len(parts) else items, f"{path}.{position}", depth)
            for position, each in enumerate(value)
        ]

    def _item(self, value: object, schema: object, path: str, depth: int) -> object:
        return self.fit(value, schema, path, depth + 1) if isinstance(schema, dict) else value

    def _decoded(self, value: object, path: str, kind: type) -> object:
        """The JSON that stands as text in ``value``, if it is of this kind."""
        if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "[", "`"):
            return value
        try:
            repaired = repair_json(value)
        except Unreadable:
            return value
        if not isinstance(repaired.value, kind) or repaired.truncated:
            return value
        self._note(path, "JSON within a text as the value itself")
        return repaired.value

    def _nullable(self, schema: JsonSchema) -> bool:
        schema = self._resolved(schema)
        members = (*schema.get("anyOf", ()), *schema.get("oneOf", ()))
        return schema.get("type") == "null" or any(
            self._resolved(member).get("type") == "null" for member in members
        )

    def _resolved(self, schema: JsonSchema) -> JsonSchema:
        while "$ref" in schema:
            schema = self._definitions[schema["$ref"].removeprefix(REF_PREFIX)]
        return schema

    def _taken(self, scalar: Scalar, path: str) -> object:
        self._note(path, scalar.reason)
        return scalar.value

    def _note(self, path: str, reason: str) -> None:
        self.changes.append(Change("coercion", path, reason))


def _kind_fits(value: object, schema: JsonSchema) -> bool:
    """Whether ``value`` is of the JSON type that ``schema`` names, constraints aside."""
    choices = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if choices is not None:
        return any(type(value) is type(choice) and value == choice for choice in choices)
    match schema.get("type"):
        case "null":
            return value is None
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "string":
            return isinstance(value, str)
        case "array":
            return isinstance(value, list)
        case "object":
            return isinstance(value, dict)
        case _:
            return True


def _listed(text: str) -> list[str] | None:
    """The items of a list written as lines with bullets or numbers; None if it is none."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    items = [_without_bullet(line) for line in lines]
    marked = [item for item in items if item is not None]
    return marked if len(marked) == len(lines) and marked else None


def _without_bullet(line: str) -> str | None:
    if line[:2] in ("- ", "* ", "• "):
        return line[2:].strip()
    number, dot, rest = line.partition(". ")
    if not (dot and number.isdigit()):
        number, dot, rest = line.partition(") ")
    return rest.strip() if dot and number.isdigit() else None


def _folded(name: str) -> str:
    return "".join(char for char in name.casefold() if char.isalnum())


def _by_spelling(values: Mapping[str, Any], name: str) -> object:
    """What ``values`` has under ``name``, or else under the one key that is ``name`` but for its spelling."""
    if name in values:
        return values[name]
    near = [key for key in values if _folded(key) == _folded(name)]
    return values[near[0]] if len(near) == 1 else None


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
