"""Anthropic's structured outputs.

Source: https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations: no
recursive schemas, no bounds, no lengths, ``minItems`` only 0 or 1, ``additionalProperties`` false, listed
values plain, at most 16 unions. Patterns and ``const`` are told as the vendor's SDK tells them, in the
description and as an ``enum`` (https://github.com/anthropics/anthropic-sdk-python,
``lib/_parse/_transform.py``), so that the SDK sends the schema as it is, but for the ``type`` beside an
``enum``, which later versions leave out.
"""

from collections.abc import Iterator
from typing import Final

from repertory.signatures.dialects.outcome import Obstacle
from repertory.signatures.dialects.rules import PLAIN_TYPES, Rules, all_schemas, without
from repertory.signatures.schemas import JsonSchema

MAX_UNIONS: Final = 16

_TITLE: Final = "Anthropic's structured output"


def _adjusted(node: JsonSchema) -> JsonSchema:
    return node if node.get("minItems") in (None, 0, 1) else without(node, ["minItems"])


def _exceeded(schema: JsonSchema) -> Iterator[Obstacle]:
    unions = sum("anyOf" in node for node in all_schemas(schema))
    if unions > MAX_UNIONS:
        reason = f"{_TITLE} has at most {MAX_UNIONS} unions, not {unions}"
        yield Obstacle("", reason, 'use fewer optional and union types, such as "" for an absent text')


ANTHROPIC: Final = Rules(
    title=_TITLE,
    constraints={"string": frozenset({"format"}), "array": frozenset({"minItems"})},
    formats=frozenset(
        {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"},
    ),
    free_keys=False,
    any_value=None,
    tuples=False,
    const=False,
    enum_types=PLAIN_TYPES,
    recursion="nowhere",
    adjust=_adjusted,
    limits=_exceeded,
)
