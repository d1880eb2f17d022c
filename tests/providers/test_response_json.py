from dataclasses import replace
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis.strategies import binary, integers, sampled_from

from repertory.providers.messages import (
    Choice,
    LMResponse,
    MediaPart,
    ReasoningPart,
    TextPart,
    TokenLogprob,
    ToolCallPart,
    ToolResultPart,
    Usage,
)
from repertory.providers.response_json import from_json, to_json
from tests.providers.generated import JSON_VALUES, RESPONSES

RICH = LMResponse(
    (
        ReasoningPart("hm", "signature", redacted=True, id="rs_1"),
        TextPart("Look: "),
        MediaPart("image", "image/png", b"\x00\xff", name="cat.png"),
        ToolCallPart("call_1", "look", '{"at": "cat"}', "signature"),
        ToolResultPart("call_1", "look", "meow", failed=True),
    ),
    "tool_calls",
    Usage(1, 2, 3, 4, 5),
    "scripted-1",
    "id-1",
    (TokenLogprob("a", -0.5, (("a", -0.5), ("b", float("-inf")))),),
    (Choice("other", "stop", (TokenLogprob("o", -1),)),),
    Decimal("0.000123"),
    "model",
    ("tools",),
)


@given(RESPONSES)
def test_every_reply_comes_back_as_it_was(response: LMResponse) -> None:
    again = from_json(to_json(response))
    assert again == response
    assert repr(again) == repr(response)  # 1 is not 1.0


def test_a_reply_that_is_read_from_elsewhere_says_so_and_costs_nothing() -> None:
    assert from_json(to_json(RICH), "stale") == replace(RICH, source="stale", cost=Decimal(0))


def test_a_kept_reply_reads_the_same_from_release_to_release() -> None:
    """If this fails on purpose, raise VERSION."""
    text = (
        b'{"v":1,"content":[{"reasoning":"hm","signature":"signature","redacted":true,"id":"rs_1"},'
        b'{"text":"Look: "},'
        b'{"media":"image","mime":"image/png","data":"AP8=","url":null,"name":"cat.png"},'
        b'{"call":"call_1","name":"look","arguments":"{\\"at\\": \\"cat\\"}","signature":"signature"},'
        b'{"result":"call_1","name":"look","content":"meow","failed":true}],"finish_reason":"tool_calls",'
        b'"usage":[1,2,3,4,5],"model":"scripted-1","id":"id-1","source":"model",'
        b'"logprobs":[["a",-0.5,[["a",-0.5],["b","-inf"]]]],"others":[["other","stop",[["o",-1,[]]]]],'
        b'"cost":"0.000123","emulated":["tools"]}'
    )
    assert to_json(RICH) == text
    assert from_json(text) == RICH


def test_one_of_another_version_is_not_read() -> None:
    assert from_json(to_json(RICH).replace(b'"v":1', b'"v":2')) is None


@given(cut=integers(0, len(to_json(RICH)) - 1))
def test_one_that_was_cut_is_not_read(cut: int) -> None:
    assert from_json(to_json(RICH)[:cut]) is None


@given(sampled_from(sorted(orjson.loads(to_json(RICH)))), JSON_VALUES)
def test_a_field_of_another_kind_is_not_read_as_what_it_is_not(name: str, value: object) -> None:
    damaged = orjson.loads(to_json(RICH)) | {name: value}
    response = from_json(orjson.dumps(damaged))
    # What is read all the same is a reply like any other.
    assert response is None or from_json(to_json(response)) == response


@given(binary(max_size=20))
def test_bytes_that_are_no_reply_are_not_read(text: bytes) -> None:
    assert from_json(text) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"content": 5},
        {"content": [{"text": 5}]},
        {"content": [{"media": "film", "mime": "", "data": None, "url": None, "name": ""}]},
        {"content": [{"media": "image", "mime": "", "data": "*", "url": None, "name": ""}]},
        {"usage": [1, 2]},
        {"usage": [1, 2, 3, 4, True]},
        {"usage": [1, 2, 3, 4, 5, 6]},
        {"logprobs": [["a", True, []]]},
        {"logprobs": [["a", "low", []]]},
        {"others": [["a", "stop"]]},
        {"cost": "much"},
        {"cost": 1},
        {"source": "elsewhere"},
        {"emulated": "tools"},
    ],
    ids=repr,
)
def test_a_damaged_field_makes_the_reply_unreadable(fields: dict[str, Any]) -> None:
    assert from_json(orjson.dumps(orjson.loads(to_json(RICH)) | fields)) is None


def test_a_field_that_is_missing_makes_the_reply_unreadable() -> None:
    form = orjson.loads(to_json(RICH))
    for name in ("v", "content", "finish_reason", "usage", "model", "id", "source"):
        assert from_json(orjson.dumps({other: form[other] for other in form if other != name})) is None


def test_text_that_is_not_unicode_cannot_be_written() -> None:
    with pytest.raises(TypeError):
        to_json(replace(RICH, content="\ud800"))
