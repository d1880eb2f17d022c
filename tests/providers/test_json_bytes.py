import tracemalloc
from types import MappingProxyType

import orjson
import pytest

from repertory.providers.json_bytes import json_bytes


@pytest.mark.parametrize("length", [10, 1_000, 100_000])
def test_a_text_is_kept_in_little_more_memory_than_it_has_bytes(length: int) -> None:
    tracemalloc.start()
    try:
        text = json_bytes({"content": "x" * length})
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(text) <= kept <= len(text) + 1_000


def test_any_mapping_is_an_object() -> None:
    schema = MappingProxyType({"type": "object"})
    assert orjson.loads(json_bytes({"schema": schema})) == {"schema": {"type": "object"}}


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(TypeError):
        json_bytes({"content": object()})
