"""Replies damaged in every way the benchmark knows, and what holds of any text."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.damaged_replies import DAMAGES, outcome, replies
from repertory.signatures.repair import Unreadable, repair_json


@pytest.mark.parametrize("seed", range(3))
def test_damaged_replies_are_recovered_or_refused_and_never_wrong(seed: int) -> None:
    seen = [(reply, outcome(reply)) for reply in replies(seed)]
    assert {reply.kind for reply, _ in seen} == set(DAMAGES)
    assert [(reply.kind, reply.text) for reply, became in seen if became.endswith("wrong, told")] == []
    assert [(reply.kind, reply.text) for reply, became in seen if became == "silently wrong"] == []
    assert sum(became == "recovered" for _, became in seen) >= 0.97 * len(seen)


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text("abcxyz_", min_size=1, max_size=6), JSON, min_size=1, max_size=4)


@given(value=OBJECTS, indent=st.sampled_from([None, 2]))
def test_valid_json_is_read_as_it_is(value: dict[str, Any], indent: int | None) -> None:
    repaired = repair_json(json.dumps(value, indent=indent), expected=value)
    assert (repaired.value, repaired.changes, repaired.truncated) == (value, (), False)


@given(value=OBJECTS, data=st.data())
def test_a_prefix_is_never_taken_for_another_whole(value: dict[str, Any], data: st.DataObject) -> None:
    text = json.dumps(value)
    prefix = text[: data.draw(st.integers(0, len(text) - 1))]
    try:
        repaired = repair_json(prefix, expected=value)
    except Unreadable:
        return
    assert repaired.truncated or repaired.value == value
    assert repaired.changes


PIECES = st.sampled_from(
    [*"{}[]():,;'\"`\\/*#\n\t =>+.", "```json\n", "```", "“", "”", "«", "\\u00e9", "\\ud83d", "a", "key"]
)


@given(text=st.lists(PIECES | st.text(max_size=3), max_size=40).map("".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        repaired = repair_json(text, expected=("a", "key"))
    except Unreadable:
        return
    json.dumps(repaired.value)
