"""The vendors' own code finds nothing left to change in our schemas."""

from copy import deepcopy
from typing import Any

import pytest
from anthropic import transform_schema
from openai.lib._pydantic import _ensure_strict_json_schema

from tests.signatures.dialects.outputs import ALL, compiled


@pytest.mark.parametrize("name", ALL)
def test_openais_sdk_leaves_them_as_they_are(name: str) -> None:
    schema = compiled(ALL[name]).provider_schema("openai_strict").schema
    if schema is not None:
        assert _ensure_strict_json_schema(deepcopy(schema), path=(), root=deepcopy(schema)) == schema


def without_types_of_listed_values(node: Any) -> Any:
    """What later versions of Anthropic's SDK leave out, for it adds nothing."""
    if isinstance(node, list):
        return [without_types_of_listed_values(each) for each in node]
    if not isinstance(node, dict):
        return node
    kept = {key: without_types_of_listed_values(value) for key, value in node.items()}
    return {key: value for key, value in kept.items() if key != "type" or "enum" not in kept}


@pytest.mark.parametrize("name", ALL)
def test_anthropics_sdk_leaves_them_as_they_are(name: str) -> None:
    schema = compiled(ALL[name]).provider_schema("anthropic").schema
    if schema is not None:
        sent = transform_schema(deepcopy(schema))
        assert sent in (schema, without_types_of_listed_values(schema))


@pytest.mark.parametrize("name", ALL)
def test_llama_cpp_converts_them(name: str) -> None:
    llama = pytest.importorskip("xllamacpp", reason="the package xllamacpp is not installed")
    schema = compiled(ALL[name]).provider_schema("llama_cpp").schema
    assert "{" in llama.json_schema_to_grammar(schema)
