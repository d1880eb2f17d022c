"""Each dialect's schemas keep to its provider's page, or say what keeps them from it."""

import json
from copy import deepcopy
from typing import Annotated, Any, Literal

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel, Field

from repertory.errors import SignatureError
from repertory.signatures import Signature, compile_signature
from repertory.signatures.dialects import ProviderSchema, schema_for
from tests.signatures.dialects.outputs import (
    ALL,
    ANYTHING,
    DICTIONARIES,
    RECURSIVE,
    TYPES,
    Node,
    Order,
    compiled,
    generic,
    one_of,
)
from tests.signatures.dialects.subsets import CHECKS, complaints

DIALECTS = [*CHECKS, "json_schema"]
REFUSED = {
    "openai_strict": {*DICTIONARIES, *ANYTHING},
    "anthropic": {*DICTIONARIES, *ANYTHING, *RECURSIVE},
    "google": {*ANYTHING},
    "llama_cpp": set[str](),
    "json_schema": set[str](),
}


def said(annotation: Any, dialect: str) -> Any:
    """The answer's part of the schema."""
    schema = compiled(annotation).provider_schema(dialect).schema
    assert schema is not None
    return schema["properties"]["answer"]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", ALL)
def test_what_cannot_be_said_is_an_obstacle_and_nothing_else_is(name: str, dialect: str) -> None:
    outcome = compiled(ALL[name]).provider_schema(dialect)
    assert (outcome.schema is None) == bool(outcome.obstacles) == (name in REFUSED[dialect])


@pytest.mark.parametrize("dialect", CHECKS)
@pytest.mark.parametrize("name", ALL)
def test_schemas_keep_to_the_providers_page(name: str, dialect: str) -> None:
    schema = compiled(ALL[name]).provider_schema(dialect).schema
    assert schema is None or complaints(schema, dialect) == []


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", ALL)
def test_schemas_are_json_schema_2020_12(name: str, dialect: str) -> None:
    schema = compiled(ALL[name]).provider_schema(dialect).schema
    assert schema is None or Draft202012Validator.check_schema(schema) is None


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_original_stays_and_is_not_shared_and_the_outcome_is_the_same_again(dialect: str) -> None:
    original = compiled(Order).output_schema
    before = deepcopy(original)
    first = schema_for(original, dialect)
    assert original == before
    assert json.dumps(first.schema) == json.dumps(schema_for(original, dialect).schema)
    assert first.schema is not None
    first.schema["properties"]["answer"]["type"] = "changed"
    assert original == before


@pytest.mark.parametrize("dialect", DIALECTS)
def test_properties_and_definitions_keep_their_order_and_are_said_once(dialect: str) -> None:
    signature = Signature.parse("q -> zebra: int, people: list[Order], apple: Order", types={"Order": Order})
    schema = compile_signature(signature).provider_schema(dialect).schema
    assert schema is not None
    assert list(schema["properties"]) == ["zebra", "people", "apple"]
    assert schema["properties"]["people"]["items"] == {"$ref": "#/$defs/Order"}
    assert list(schema["$defs"]) == list(compile_signature(signature).output_schema["$defs"])


@pytest.mark.parametrize(
    ("annotation", "dialect", "path", "reason"),
    [
        (dict[str, int], "openai_strict", "answer", "strict mode has no objects with free keys"),
        (list[dict[str, int]], "anthropic", "answer[]", "objects with free keys"),
        (dict[str, list[Any]], "google", "answer.*[]", "no value of any type"),
        (tuple[int, Any], "openai_strict", "answer[]", "no value of any type"),
        (list[Node], "anthropic", "answer[].children[]", "`Node` is one"),
    ],
)
def test_an_obstacle_names_the_place(annotation: Any, dialect: str, path: str, reason: str) -> None:
    obstacle = compiled(annotation).provider_schema(dialect).obstacles[0]
    assert obstacle.path == path
    assert reason in obstacle.reason
    assert str(obstacle) == f"`{path}`: {obstacle.reason}; {obstacle.remedy}"


def test_an_obstacle_inside_a_shared_type_is_told_once_where_it_is_first_used() -> None:
    class Scored(BaseModel):
        scores: dict[str, float]

    outcome = compiled(tuple[list[Scored], Scored]).provider_schema("openai_strict")
    assert [obstacle.path for obstacle in outcome.obstacles] == ["answer[][].scores"]


@pytest.mark.parametrize(
    ("annotation", "dialect", "expected", "dropped"),
    [
        (Literal["a"], "google", {"type": "string", "enum": ["a"]}, []),
        (Literal["a"], "openai_strict", {"type": "string", "const": "a"}, []),
        (Literal[True], "google", {"type": "boolean", "description": "{enum: [true]}"}, ["enum"]),
        (
            Literal["a", 1, None],
            "anthropic",
            {"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "integer", "enum": [1]}, {"type": "null"}]},
            [],
        ),
        (TYPES["bounded whole number"], "google", {"type": "integer", "minimum": -3, "maximum": 6}, []),
        (
            TYPES["threes"],
            "llama_cpp",
            {"type": "integer", "minimum": 1, "description": "{multipleOf: 3}"},
            ["multipleOf"],
        ),
        (
            TYPES["huge bound"],
            "llama_cpp",
            {"type": "integer", "minimum": 0, "description": "{maximum: 1000000000000000000}"},
            ["maximum"],
        ),
        (
            TYPES["bounded number"],
            "google",
            {"type": "number", "minimum": 0.0, "maximum": 1.0, "description": "{exclusiveMinimum: 0}"},
            ["exclusiveMinimum"],
        ),
        (
            TYPES["sized list"],
            "anthropic",
            {"type": "array", "items": {"type": "integer"}, "description": "{maxItems: 3, minItems: 2}"},
            ["maxItems", "minItems"],
        ),
        (
            TYPES["text of some length"],
            "llama_cpp",
            {"type": "string", "minLength": 2, "description": "{maxLength: 5000}"},
            ["maxLength"],
        ),
        (TYPES["pattern"], "llama_cpp", {"type": "string", "pattern": r"^(ab|cd)+\.[0-9]{2}$"}, []),
        (TYPES["set"], "openai_strict", {"type": "array", "items": {"type": "integer"}}, ["uniqueItems"]),
        (
            tuple[int, str],
            "openai_strict",
            {
                "type": "array",
                "items": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
                "minItems": 2,
                "maxItems": 2,
                "description": "{exactly 2 items, in this order: integer, string}",
            },
            ["prefixItems"],
        ),
        (
            DICTIONARIES["dictionary with patterns"],
            "google",
            {
                "type": "object",
                "additionalProperties": {"type": "integer"},
                "description": '{patternProperties: ["^[a-z]$"]}',
            },
            ["patternProperties"],
        ),
    ],
)
def test_constraints_are_said_another_way_or_in_the_description(
    annotation: Any, dialect: str, expected: dict[str, Any], dropped: list[str]
) -> None:
    part = said(annotation, dialect)
    assert {key: part.get(key) for key in expected} == expected
    told = compiled(annotation).provider_schema(dialect).dropped
    assert [each.reason.rpartition("this ")[2] for each in told] == [f"`{keyword}`" for keyword in dropped]
    assert {each.path for each in told} <= {"answer"}
    assert all(keyword in part["description"] for keyword in dropped if keyword != "prefixItems")


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({"minimum": 0.5, "maximum": 2.5}, {"minimum": 1, "maximum": 2}),
        ({"exclusiveMinimum": 0.5, "exclusiveMaximum": 2.5}, {"minimum": 1, "maximum": 2}),
        ({"exclusiveMinimum": 1, "exclusiveMaximum": 3.0}, {"minimum": 2, "maximum": 2}),
        ({"minimum": 5, "exclusiveMinimum": 1}, {"minimum": 5}),
        ({"maximum": 5, "exclusiveMaximum": 2}, {"maximum": 1}),
    ],
)
@pytest.mark.parametrize("dialect", ["google", "llama_cpp"])
def test_a_whole_numbers_bounds_become_whole_and_inclusive(
    bounds: dict[str, float], expected: dict[str, int], dialect: str
) -> None:
    outcome = schema_for({"type": "object", "properties": {"a": {"type": "integer", **bounds}}}, dialect)
    assert outcome.schema is not None
    assert outcome.schema["properties"]["a"] == {"type": "integer", **expected}
    assert outcome.dropped == ()


@pytest.mark.parametrize(
    "pattern", ["a+", r"^\d+$", "^a|b$", "^.*$", '^"$', "^[^a]$", "^(?:a)$", "^a+?$", "^a$$", r"^\u0041$"]
)
def test_llama_cpp_is_not_given_patterns_that_mean_something_else_there(pattern: str) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": pattern}}}
    outcome = schema_for(schema, "llama_cpp")
    assert outcome.schema is not None
    assert "pattern" not in outcome.schema["properties"]["a"]


def test_gemini_may_leave_out_what_leads_around_a_circle() -> None:
    outcome = compiled(list[Node]).provider_schema("google")
    assert outcome.schema is not None
    assert outcome.schema["$defs"]["Node"]["required"] == ["name"]
    assert [each.path for each in outcome.dropped] == ["answer[].children", "answer[].parent"]


def test_gemini_has_no_circle_outside_a_models_fields() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/Json"}},
        "$defs": {"Json": {"anyOf": [{"type": "null"}, {"type": "array", "items": {"$ref": "#/$defs/Json"}}]}},
    }
    (obstacle,) = schema_for(schema, "google").obstacles
    assert obstacle.path == "a[]"
    assert schema_for(schema, "openai_strict").obstacles == ()


OPTIONALS = generic(tuple, *(Annotated[int, Field(ge=least)] | None for least in range(17)))


def nested(levels: int) -> Any:
    annotation: Any = int
    for _ in range(levels):
        annotation = generic(list, annotation)
    return annotation


@pytest.mark.parametrize(
    ("annotation", "dialect", "told"),
    [
        (nested(10), "openai_strict", "10 levels of nesting, not 11"),
        (one_of(f"v{number}" for number in range(1_001)), "openai_strict", "1000 enum values, not 1001"),
        (Literal["x" * 120_000], "openai_strict", "120000 characters of names and enum values, not 120006"),
        (one_of(f"{number:080}" for number in range(251)), "openai_strict", "15000 characters in an enum"),
        (
            generic(tuple, *(Annotated[int, Field(ge=n)] | None for n in range(17))),
            "anthropic",
            "16 unions, not 18",
        ),
    ],
)
def test_limits_of_size_are_obstacles(annotation: Any, dialect: str, told: str) -> None:
    (obstacle,) = compiled(annotation).provider_schema(dialect).obstacles
    assert obstacle.path == ""
    assert told in obstacle.reason


def test_as_much_as_the_limits_allow_is_no_obstacle() -> None:
    assert compiled(nested(9)).provider_schema("openai_strict").obstacles == ()
    choices = one_of(f"v{number}" for number in range(1_000))
    assert compiled(choices).provider_schema("openai_strict").obstacles == ()


def test_properties_are_counted_over_all_types() -> None:
    wide = {"type": "object", "properties": {f"p{number}": {"type": "string"} for number in range(2_500)}}
    schema = {"type": "object", "properties": {"a": wide, "b": wide}}
    (obstacle,) = schema_for(schema, "openai_strict").obstacles
    assert "5000 properties, not 5002" in obstacle.reason


def test_json_schema_is_the_original_with_its_draft() -> None:
    original = compiled(Node).output_schema
    assert compiled(Node).provider_schema("json_schema").schema == {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **original,
    }


def test_a_long_chain_of_types_is_no_deeper_than_its_last_step() -> None:
    chain = {
        f"T{number}": {"type": "object", "properties": {"next": {"$ref": f"#/$defs/T{number + 1}"}}}
        for number in range(5_000)
    }
    end = {"T5000": {"type": "object", "properties": {"text": {"type": "string"}}}}
    schema = {"type": "object", "properties": {"a": {"$ref": "#/$defs/T0"}}, "$defs": {**chain, **end}}
    assert schema_for(schema, "anthropic").obstacles == ()
    assert "levels of nesting, not 5002" in "".join(map(str, schema_for(schema, "openai_strict").obstacles))


def test_a_schema_nested_beyond_measure_is_refused() -> None:
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(100_000):
        schema = {"type": "array", "items": schema}
    with pytest.raises(SignatureError, match="more than 200 levels"):
        schema_for({"type": "object", "properties": {"a": schema}}, "google")


def test_unknown_dialects_and_definitions_are_refused() -> None:
    with pytest.raises(SignatureError, match="'openai': there is no such dialect"):
        compiled(int).provider_schema("openai")
    with pytest.raises(SignatureError, match="'Gone', which it does not define"):
        schema_for({"type": "object", "properties": {"a": {"$ref": "#/$defs/Gone"}}}, "google")


def test_a_compiled_signature_keeps_what_it_made() -> None:
    signature = compiled(Order)
    made = signature.provider_schema("google")
    assert isinstance(made, ProviderSchema)
    assert signature.provider_schema("google") is made
    assert signature.provider_schema("anthropic") is not made
