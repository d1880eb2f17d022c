"""JSON Schemas of signatures and their wording for prompts."""

from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Any, Literal, Optional

import pytest
from pydantic import BaseModel

from repertory.signatures import InputField, OutputField, Signature, compile_signature


class Kind(Enum):
    A = "a"
    B = "b"


class Person(BaseModel):
    """Somebody."""

    title: str = "Dr"
    boss: Optional["Person"] = None


@dataclass
class Point:
    x: int


class Everything(Signature):
    """Do all."""

    given: str = InputField()
    topic: Literal["business", "sports"] = OutputField(desc="the topic")
    person: Person = OutputField(desc="who")
    people: list[Person] = OutputField()
    kind: Kind = OutputField(desc="what")
    point: Point | None = OutputField()


PERSON = {
    "type": "object",
    "description": "Somebody.",
    "properties": {
        "title": {"type": "string"},
        "boss": {"anyOf": [{"$ref": "#/$defs/Person"}, {"type": "null"}]},
    },
    "required": ["title", "boss"],
    "additionalProperties": False,
}


def test_the_output_schema_is_closed_self_contained_and_requires_everything() -> None:
    assert compile_signature(Everything).output_schema == {
        "type": "object",
        "properties": {
            "topic": {"type": "string", "enum": ["business", "sports"], "description": "the topic"},
            # Nothing stands beside a $ref: where a field has a description, the definition is copied.
            "person": {**PERSON, "description": "who"},
            "people": {"type": "array", "items": {"$ref": "#/$defs/Person"}},
            "kind": {"type": "string", "enum": ["a", "b"], "description": "what"},
            "point": {"anyOf": [{"$ref": "#/$defs/Point"}, {"type": "null"}]},
        },
        "required": ["topic", "person", "people", "kind", "point"],
        "additionalProperties": False,
        "$defs": {
            "Person": PERSON,
            "Point": {
                "type": "object",
                "properties": {"x": {"type": "integer"}},
                "required": ["x"],
                "additionalProperties": False,
            },
        },
    }


def test_the_input_schema_leaves_defaults_optional() -> None:
    signature = Signature.parse("a: int, when: date = '2020-01-02' -> b")
    assert compile_signature(signature).input_schema == {
        "type": "object",
        "properties": {
            "a": {"type": "integer"},
            "when": {"type": "string", "format": "date", "default": "2020-01-02"},
        },
        "required": ["a"],
        "additionalProperties": False,
    }


def test_fields_called_like_schema_keywords_survive() -> None:
    signature = Signature.parse("a -> title: str, default: int, properties: list[str]")
    assert list(compile_signature(signature).output_schema["properties"]) == ["title", "default", "properties"]


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (str, "string"),
        (int, "integer"),
        (float, "number"),
        (bool, "boolean"),
        (Any, "any value"),
        (date, "date (YYYY-MM-DD)"),
        (Literal["business", "sports"], 'one of "business", "sports"'),
        (Literal["only"], '"only"'),
        (Kind, 'one of "a", "b"'),
        (list, "list"),
        (list[str], "list of string"),
        (list[int | None], "list of (integer or null)"),
        (list[Kind], 'list of (one of "a", "b")'),
        (dict[str, float], "object from string to number"),
        (tuple[int, str], "list of exactly (integer), (string)"),
        (Optional[str], "string or null"),  # noqa: UP045  # what a user may write
        (Point, 'object with "x" (integer)'),
        (Person, 'object with "title" (string), "boss" (Person or null)'),
    ],
)
def test_a_type_in_words(annotation: Any, words: str) -> None:
    compiled = compile_signature(Signature.parse("a -> b").prepend("probe", OutputField(), annotation))
    assert compiled.outputs[0].type_hint == words


@pytest.mark.parametrize(
    ("annotation", "constraints", "words"),
    [
        (int, {"ge": 1, "le": 5}, "integer, at least 1, at most 5"),
        (float, {"gt": 0, "lt": 1, "multiple_of": 0.5}, "number, above 0, below 1, a multiple of 0.5"),
        (str, {"min_length": 2, "pattern": "^a"}, "string, 2 or more characters, matching ^a"),
        (list[str], {"max_length": 3}, "list of string, 3 or fewer items"),
    ],
)
def test_constraints_in_words(annotation: Any, constraints: dict[str, Any], words: str) -> None:
    class Probe(Signature):
        given: str = InputField()
        answer: annotation = OutputField(**constraints)

    assert compile_signature(Probe).outputs[0].type_hint == words
