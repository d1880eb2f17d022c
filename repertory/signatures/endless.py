"""Types without a finite value: a model that must hold a model that must hold the first."""

from collections.abc import Collection, Mapping
from typing import Any

from repertory.signatures.schemas import REF_PREFIX, JsonSchema


def has_finite_value(schema: JsonSchema, definitions: Mapping[str, JsonSchema]) -> bool:
    """Whether some value of ``schema``, as pydantic generates it, can be written to its end."""
    return _ends(schema, _finite(definitions))


def _finite(definitions: Mapping[str, JsonSchema]) -> set[str]:
    """The definitions with a finite value: those of plain values, then those made of these, and so on."""
    finite: set[str] = set()
    waiting = set(definitions)
    while found := {name for name in waiting if _ends(definitions[name], finite)}:
        finite |= found
        waiting -= found
    return finite


def _ends(schema: Any, finite: Collection[str]) -> bool:
    match schema:
        case {"$ref": str() as ref}:
            return ref.removeprefix(REF_PREFIX) in finite
        case {"anyOf": [*members]} | {"oneOf": [*members]}:
            return any(_ends(member, finite) for member in members)
        case {"allOf": [*members]}:
            return all(_ends(member, finite) for member in members)
        case {"type": "object", "properties": {} as properties}:
            return all(_ends(properties.get(name, {}), finite) for name in schema.get("required", ()))
        case {"type": "array", "minItems": int() as least} if least > 0:
            first = schema.get("prefixItems", [])
            others = [schema.get("items", {})] if least > len(first) else []
            return all(_ends(item, finite) for item in (*first[:least], *others))
        case _:
            return True
