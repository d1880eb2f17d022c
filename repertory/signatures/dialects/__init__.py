"""Schemas of outputs in the dialects of JSON Schema that providers constrain replies with.

Each dialect is a table of `Rules` in a module of its own, which names the provider's page; `transform` walks a
schema by them. ``json_schema`` is JSON Schema 2020-12 (https://json-schema.org/draft/2020-12/schema) as it is.
"""

from collections.abc import Mapping
from copy import deepcopy
from types import MappingProxyType
from typing import Any, Final

from repertory.errors import SignatureError
from repertory.signatures.dialects.anthropic import ANTHROPIC
from repertory.signatures.dialects.google import GOOGLE
from repertory.signatures.dialects.llama_cpp import LLAMA_CPP
from repertory.signatures.dialects.openai_strict import OPENAI_STRICT
from repertory.signatures.dialects.outcome import Obstacle, ProviderSchema
from repertory.signatures.dialects.rules import Rules
from repertory.signatures.dialects.transform import transformed
from repertory.signatures.schemas import JsonSchema

__all__ = ["DIALECTS", "Obstacle", "ProviderSchema", "schema_for"]

MAX_LEVELS: Final = 200
"""Objects and lists inside each other in a schema's JSON; a type has two or three a level."""

_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_WHOLE: Final = "json_schema"
_RULES: Final[Mapping[str, Rules]] = MappingProxyType(
    {"openai_strict": OPENAI_STRICT, "anthropic": ANTHROPIC, "google": GOOGLE, "llama_cpp": LLAMA_CPP}
)


DIALECTS: Final = (*_RULES, _WHOLE)
"""Their names."""


def schema_for(schema: JsonSchema, dialect: str) -> ProviderSchema:
    """``schema`` as the provider of ``dialect`` can follow it; it admits whatever the original admits.

    Args:
        schema: JSON Schema of an object, as pydantic makes it (``CompiledSignature.output_schema``). It stays
            as it is, and nothing of it is shared with what comes back.
        dialect: ``openai_strict``, ``anthropic``, ``google``, ``llama_cpp`` or ``json_schema``.

    Raises:
        SignatureError: There is no such dialect, the schema is nested deeper than ``MAX_LEVELS``, or it refers
            to a definition that it does not have.
    """
    if dialect not in DIALECTS:
        raise SignatureError(
            f"dialect = {dialect!r}: there is no such dialect", hint=f"Write one of: {', '.join(DIALECTS)}."
        )
    if _is_deeper(schema, MAX_LEVELS):
        hint = "Use types that are nested less deeply."
        raise SignatureError(f"the schema has more than {MAX_LEVELS} levels of JSON", hint=hint)
    own = deepcopy(schema)
    if dialect == _WHOLE:
        return ProviderSchema(dialect, {"$schema": _DRAFT, **own}, (), ())
    try:
        return transformed(own, dialect, _RULES[dialect])
    except KeyError as error:
        hint = "Every $ref is #/$defs/ and the name of a definition."
        raise SignatureError(f"the schema refers to {error}, which it does not define", hint=hint) from None


def _is_deeper(schema: JsonSchema, limit: int) -> bool:
    level: list[Any] = [schema]
    for _ in range(limit):
        level = [part for node in level for part in _parts(node)]
        if not level:
            return False
    return True


def _parts(node: object) -> list[Any]:
    match node:
        case dict():
            return list(node.values())
        case list():
            return node
        case _:
            return []
