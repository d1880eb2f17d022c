"""What fits the types fits every dialect's schema: saying it another way only admits more."""

import json
from typing import Annotated, Any, Literal

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from jsonschema import Draft202012Validator
from pydantic import Field

from repertory.signatures.dialects import schema_for
from tests.signatures.dialects.outputs import ALL, Colour, Node, Order, compiled, generic, union
from tests.signatures.dialects.subsets import CHECKS, complaints

DIALECTS = [*CHECKS, "json_schema"]
LEAVES = [str, int, float, bool, None, Colour, Order, Node, Literal["a", 1], Literal[True], Any]
LEAVES += [Annotated[int, Field(gt=-2, lt=3)], Annotated[float, Field(gt=0)]]
LEAVES += [Annotated[str, Field(max_length=3)]]
LEAVES += [Annotated[str, Field(pattern="^[ab]+$")], Annotated[str, Field(min_length=1, pattern="b")]]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)


def combined(inner: SearchStrategy[Any]) -> SearchStrategy[Any]:
    several = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        inner.map(lambda each: generic(list, each)),
        inner.map(lambda each: Annotated[generic(list, each), Field(min_length=1, max_length=2)]),
        inner.map(lambda each: generic(dict, str, each)),
        several.map(lambda members: generic(tuple, *members)),
        several.map(union),
    )


ANNOTATIONS = st.recursive(st.sampled_from(LEAVES), combined, max_leaves=4)


def fitting(node: dict[str, Any], definitions: dict[str, Any], depth: int = 0) -> SearchStrategy[Any]:
    """Values of ``node``, the schema of a type as pydantic makes it."""
    if "$ref" in node:
        return fitting(definitions[node["$ref"].removeprefix("#/$defs/")], definitions, depth + 1)
    members = node.get("anyOf") or node.get("oneOf")
    if members:
        ends = [each for each in members if each.get("type") == "null"] if depth > 2 else []
        return st.one_of([fitting(each, definitions, depth) for each in ends or members])
    if "const" in node or "enum" in node:
        return st.sampled_from([node["const"]] if "const" in node else node["enum"])
    match node.get("type"):
        case "object" if "properties" in node:
            parts = {name: fitting(part, definitions, depth) for name, part in node["properties"].items()}
            return st.fixed_dictionaries(parts)
        case "object":
            values = node.get("additionalProperties", True)
            inner = fitting(values, definitions, depth) if isinstance(values, dict) else JSON
            patterns = node.get("patternProperties")
            if patterns:
                ((pattern, part),) = patterns.items()
                keys = st.from_regex(pattern, fullmatch=True)
                return st.dictionaries(keys, fitting(part, definitions, depth))
            return st.dictionaries(st.text(max_size=3), inner, max_size=2)
        case "array":
            return lists(node, definitions, depth)
        case "string":
            return texts(node)
        case "integer" | "number" as kind:
            return numbers(node, kind)
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case _:
            return JSON


def numbers(node: dict[str, Any], kind: str) -> SearchStrategy[Any]:
    low = node.get("minimum", node.get("exclusiveMinimum", -5))
    step = node.get("multipleOf", 1 if kind == "integer" else 0.25)
    near = [low + number * step for number in range(10)]
    return st.sampled_from([number for number in near if Draft202012Validator(node).is_valid(number)])


def lists(node: dict[str, Any], definitions: dict[str, Any], depth: int) -> SearchStrategy[Any]:
    if "prefixItems" in node:
        return st.tuples(*(fitting(each, definitions, depth) for each in node["prefixItems"])).map(list)
    least = node.get("minItems", 0)
    if depth > 2 and least == 0:
        return st.just([])
    items = node.get("items")
    inner = JSON if not items else fitting(items, definitions, depth)
    unique = json.dumps if node.get("uniqueItems") else None
    most = min(node.get("maxItems", 2), max(least, 2))
    return st.lists(inner, min_size=least, max_size=most, unique_by=unique)


def texts(node: dict[str, Any]) -> SearchStrategy[str]:
    if "pattern" in node:
        return st.from_regex(node["pattern"]).filter(lambda text: not text.endswith("\n"))
    least = node.get("minLength", 0)
    return st.text(min_size=least, max_size=min(node.get("maxLength", least + 2), least + 2))


def assert_only_looser(annotation: Any, data: st.DataObject) -> None:
    original = compiled(annotation).output_schema
    value = data.draw(fitting(original, original.get("$defs", {})))
    assume(Draft202012Validator(original).is_valid(value))
    for dialect in DIALECTS:
        outcome = schema_for(original, dialect)
        assert (outcome.schema is None) == bool(outcome.obstacles)
        if outcome.schema is not None:
            assert [fault.message for fault in Draft202012Validator(outcome.schema).iter_errors(value)] == []
            assert dialect not in CHECKS or complaints(outcome.schema, dialect) == []


@pytest.mark.parametrize("name", ALL)
@given(data=st.data())
@settings(max_examples=15)
def test_what_fits_a_type_fits_its_schemas(name: str, data: st.DataObject) -> None:
    assert_only_looser(ALL[name], data)


@given(annotation=ANNOTATIONS, data=st.data())
@settings(max_examples=150)
def test_what_fits_any_combination_of_types_fits_its_schemas(annotation: Any, data: st.DataObject) -> None:
    assert_only_looser(annotation, data)
