"""A grammar schema allows no less than the schema it was made of, and holds nothing that harms the server."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from repertory.providers.grammar_schema import ANY_VALUE, arguments_schema, loosened, relocated

Pair = tuple[dict[str, Any], Any]  # a schema and a value that follows it

TEXTS = st.text(max_size=5)
LEAVES: st.SearchStrategy[Pair] = st.one_of(
    TEXTS.map(lambda text: ({"type": "string", "maxLength": 5, "pattern": ".*"}, text)),
    st.integers(-(10**18), 10**18).map(lambda n: ({"type": "integer", "minimum": n, "maximum": n}, n)),
    st.sampled_from([1, "a", None, True]).map(lambda value: ({"const": value}, value)),
    st.sampled_from(["a", 2, None]).map(lambda value: ({"enum": [value, "z"]}, value)),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda x: ({"type": ["number", "null"]}, x)),
    st.booleans().map(lambda value: ({"not": {"const": "x"}}, value)),
    st.just(({"$ref": "#/$defs/Leaf"}, "leaf")),
)


def nested(inner: st.SearchStrategy[Pair]) -> st.SearchStrategy[Pair]:
    return st.one_of(
        st.lists(inner, max_size=3).map(array_of),
        st.dictionaries(TEXTS, inner, max_size=3).map(object_of),
        inner.map(lambda pair: ({"oneOf": [pair[0], {"const": "never this"}]}, pair[1])),
        inner.map(lambda pair: ({"allOf": [pair[0]]}, pair[1])),
    )


def array_of(pairs: list[Pair]) -> Pair:
    schemas = [schema for schema, _ in pairs]
    return {"type": "array", "items": {"anyOf": schemas or [{}]}, "maxItems": 900}, [value for _, value in pairs]


def object_of(pairs: dict[str, Pair]) -> Pair:
    schema = {
        "type": "object",
        "properties": {name: schema for name, (schema, _) in pairs.items()},
        "required": list(pairs),
        "minProperties": len(pairs),
    }
    return schema, {name: value for name, (_, value) in pairs.items()}


@given(pair=st.recursive(LEAVES, nested, max_leaves=8))
def test_what_the_schema_allows_its_grammar_schema_allows(pair: Pair) -> None:
    schema, value = pair
    schema = {**schema, "$defs": {"Leaf": {"const": "leaf"}}}
    Draft202012Validator(schema).validate(value)
    Draft202012Validator(loosened(schema)).validate(value)


@given(pair=st.recursive(LEAVES, nested, max_leaves=8))
def test_a_schema_means_the_same_inside_another(pair: Pair) -> None:
    schema, value = pair
    definitions: dict[str, Any] = {}
    inside = relocated({**schema, "$defs": {"Leaf": {"const": "leaf"}}}, "tool0", definitions)
    other = relocated({"$ref": "#/$defs/Leaf", "$defs": {"Leaf": {"const": 7}}}, "tool1", definitions)
    whole = {"prefixItems": [inside, other], "$defs": definitions}
    Draft202012Validator(whole).validate([value, 7])
    assert not Draft202012Validator(whole).is_valid([value, "leaf"])


def test_a_schema_that_refers_to_itself_goes_along() -> None:
    definitions: dict[str, Any] = {}
    tree = {"type": "object", "properties": {"next": {"$ref": "#"}}, "additionalProperties": False}
    inside = relocated(loosened(tree), "tool0", definitions)
    whole = Draft202012Validator({"properties": {"calls": inside}, "$defs": definitions})
    assert whole.is_valid({"calls": {"next": {"next": {}}}})
    assert not whole.is_valid({"calls": {"next": {"next": {"other": 1}}}})


def test_values_that_look_like_references_stay() -> None:
    listed = {"enum": [{"$ref": "#/$defs/A"}]}
    assert relocated(listed, "tool0", {}) == listed


@pytest.mark.parametrize(
    ("given_", "kept"),
    [
        ({"type": "integer", "minimum": 10**17, "maximum": True}, {"type": "integer"}),
        ({"type": "string", "pattern": "a", "maxLength": 5000}, {"type": "string"}),
        ({"type": "string", "format": "email", "minLength": 1}, {"type": "string", "minLength": 1}),
        ({"type": "string", "format": "date", "minLength": 1}, {"type": "string", "format": "date"}),
        ({"type": "array", "minItems": 3000, "uniqueItems": True}, {"type": "array"}),
        ({"type": "no such"}, ANY_VALUE),
        ({"$ref": "https://example.org/schema"}, ANY_VALUE),
        ({"$ref": "#/$defs/None"}, ANY_VALUE),
        ({}, ANY_VALUE),
        (
            {"properties": {"a": True}, "required": ["a", "gone"]},
            {"type": "object", "properties": {"a": ANY_VALUE}, "required": ["a"]},
        ),
    ],
)
def test_what_is_not_known_to_be_taken_is_left_out(given_: dict[str, Any], kept: dict[str, Any]) -> None:
    assert loosened(given_) == kept


@pytest.mark.parametrize("parameters", [{}, {"type": "object"}, {"type": "string"}])
def test_a_tool_without_parameters_takes_none(parameters: dict[str, Any]) -> None:
    assert arguments_schema(parameters) == {"type": "object", "properties": {}, "additionalProperties": False}
