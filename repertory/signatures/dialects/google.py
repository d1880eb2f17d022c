"""Gemini's ``response_json_schema``.

Source: https://ai.google.dev/gemini-api/docs/structured-output and the field's description in
https://github.com/googleapis/python-genai, ``google/genai/types.py``: the keywords ``type``, ``format``,
``description``, ``enum`` (texts and numbers), ``items``, ``prefixItems``, ``minItems``, ``maxItems``,
``minimum``, ``maximum``, ``anyOf``, ``properties``, ``additionalProperties``, ``required``, ``$ref`` with
nothing beside it, ``$defs`` and ``propertyOrdering``; recursion is unrolled and so only stands in
properties that are not required. Neither page tells of a schema without a type.
"""

from typing import Final

from repertory.signatures.dialects.rules import BOUNDS, SIZES, Rules, with_whole_bounds
from repertory.signatures.schemas import JsonSchema


def _adjusted(node: JsonSchema) -> JsonSchema:
    if node.get("type") == "integer":
        return with_whole_bounds(node)
    if node.get("type") == "number":
        return {**_with_closed_bounds(node), **node}
    return node


def _with_closed_bounds(node: JsonSchema) -> JsonSchema:
    """The open bounds as closed ones, which admit one value more."""
    ends = (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum"))
    return {closed: node[open_] for open_, closed in ends if open_ in node}


GOOGLE: Final = Rules(
    title="Gemini",
    constraints={
        "string": frozenset({"format"}),
        "integer": BOUNDS,
        "number": BOUNDS,
        "array": SIZES,
    },
    formats=frozenset({"date-time", "date", "time"}),
    free_keys=True,
    any_value=None,
    tuples=True,
    const=False,
    enum_types=frozenset({"string", "integer", "number"}),
    recursion="in optional properties",
    ordering=True,
    adjust=_adjusted,
)
