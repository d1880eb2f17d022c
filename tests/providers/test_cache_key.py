from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis.strategies import DataObject
from hypothesis.strategies import data as draws

from repertory.errors import LMRequestRejected
from repertory.providers.cache_key import cache_key
from repertory.providers.messages import (
    LMRequest,
    MediaPart,
    Message,
    ReasoningPart,
    Terms,
    TextPart,
    Thinking,
    ToolCallPart,
    ToolDefinition,
    ToolResultPart,
)
from tests.providers.generated import REQUESTS, WORDS
from tests.providers.recorder import Recorder

HELLO = LMRequest((Message("user", "hello"),))


def key(request: LMRequest) -> str:
    return cache_key(request, "openai|gpt|https://api.openai.com/v1")


def with_part(part: Any) -> LMRequest:
    return LMRequest((Message("user", (part,)),))


def with_extra(**extra: object) -> LMRequest:
    return replace(HELLO, extra=extra)


# Every field there is, with another value than the one it has in the examples below. A field that is new must be
# entered here, and so somebody decides whether it makes another question.
ASKED: dict[str, Any] = {
    "messages": (Message("user", "bye"),),
    "response_schema": {"type": "object"},
    "schema_name": "answer",
    "temperature": 0.5,
    "max_tokens": 10,
    "seed": 1,
    "stop": ("x",),
    "top_p": 0.5,
    "tools": (ToolDefinition("look", "", {}),),
    "tool_choice": "none",
    "parallel_tool_calls": True,
    "n": 2,
    "top_logprobs": 2,
    "thinking": Thinking("low"),
    "extra": {"user": "x"},
    "terms": Terms(rollout="2"),
}
ASIDE: dict[str, Any] = {"deadline": 5.0, "witness": Recorder()}
TERMS_ASIDE: dict[str, Any] = {
    "caller": "me",
    "priority": "batch",
    "sticky": "x",
    "accounts": ("team",),
    "cache": "refresh",
    "allow_stale": True,
}
PARTS: list[tuple[Any, dict[str, Any]]] = [
    (TextPart("a"), {"text": "b"}),
    (
        MediaPart("image", "image/png", b"a"),
        {"kind": "file", "mime": "image/gif", "data": b"b", "url": "https://x", "name": "cat.png"},
    ),
    (ToolCallPart("1", "look", "{}"), {"id": "2", "name": "see", "arguments": '{"a":1}', "signature": "s"}),
    (ToolResultPart("1", "look", "x"), {"call_id": "2", "name": "see", "content": "y", "failed": True}),
    (ReasoningPart("hm"), {"text": "ah", "signature": "s", "redacted": True, "id": "1"}),
]


def test_of_every_field_of_a_request_it_is_decided_whether_it_makes_another_question() -> None:
    assert {each.name for each in fields(LMRequest)} == ASKED.keys() | ASIDE.keys()
    assert {each.name for each in fields(Terms)} == {"rollout"} | TERMS_ASIDE.keys()


@pytest.mark.parametrize("name", ASKED)
def test_what_can_change_the_answer_makes_another_key(name: str) -> None:
    assert key(replace(HELLO, **{name: ASKED[name]})) != key(HELLO)


@pytest.mark.parametrize("name", ASIDE)
def test_how_long_a_caller_waits_makes_no_other_key(name: str) -> None:
    assert key(replace(HELLO, **{name: ASIDE[name]})) == key(HELLO)


@pytest.mark.parametrize("name", TERMS_ASIDE)
def test_who_asks_and_pays_makes_no_other_key(name: str) -> None:
    assert key(replace(HELLO, terms=Terms(**{name: TERMS_ASIDE[name]}))) == key(HELLO)


@pytest.mark.parametrize(("part", "others"), PARTS, ids=[type(part).__name__ for part, _ in PARTS])
def test_every_field_of_a_part_makes_another_key(part: Any, others: dict[str, Any]) -> None:
    assert {each.name for each in fields(part)} == others.keys()
    keys = {key(with_part(part)), *(key(with_part(replace(part, **{name: others[name]}))) for name in others)}
    assert len(keys) == 1 + len(others)


def test_a_turn_that_the_provider_shall_keep_is_the_same_question() -> None:
    assert {each.name for each in fields(Message)} == {"role", "content", "cache"}
    assert key(LMRequest((Message("user", "hello", cache=True),))) == key(HELLO)
    assert key(LMRequest((Message("system", "hello"),))) != key(HELLO)


def test_every_field_of_a_tool_and_of_thinking_makes_another_key() -> None:
    tool = ToolDefinition("look", "around", {"type": "object"})
    others: dict[str, Any] = {"name": "see", "description": "up", "parameters": {}, "strict": True}
    assert {each.name for each in fields(ToolDefinition)} == others.keys()
    tools = [tool, *(replace(tool, **{name: value}) for name, value in others.items())]
    assert len({key(replace(HELLO, tools=(each,))) for each in tools}) == 5
    assert {each.name for each in fields(Thinking)} == {"effort", "tokens"}
    thoughts = [Thinking(), Thinking("low"), Thinking(tokens=5), Thinking("low", 5)]
    assert len({key(replace(HELLO, thinking=each)) for each in thoughts}) == 4


def test_another_endpoint_is_another_key() -> None:
    assert cache_key(HELLO, "a") != cache_key(HELLO, "b")


def test_a_key_stays_the_same_from_release_to_release() -> None:
    """If this fails on purpose, raise FORM: what is kept under old keys must not be found by new requests."""
    turns = (Message("system", "be kind"), Message("user", tuple(part for part, _ in PARTS)))
    request = LMRequest(turns, response_schema={"b": 1, "a": [True, None]}, temperature=0.5, stop=("x", "y"))
    assert cache_key(request, "someone") == "5c57db8aa4d53bbbf73dd00f9d46c23b447f6a5c54f663e5aadb4302a1b72088"


def test_the_order_of_a_mapping_does_not_matter() -> None:
    assert key(with_extra(a={"x": 1, "y": 2}, b=2)) == key(with_extra(b=2, a={"y": 2, "x": 1}))
    assert key(with_extra(a=[1, 2])) != key(with_extra(a=[2, 1]))


def test_any_mapping_is_taken_for_what_is_in_it() -> None:
    assert key(replace(HELLO, extra=MappingProxyType({"a": MappingProxyType({})}))) == key(with_extra(a={}))


def test_values_of_different_types_are_different() -> None:
    values = [1, 1.0, True, "1", "true", [1], {"1": 1}, None, "null", "", [], {}]
    assert len({key(with_extra(a=value)) for value in values}) == len(values)
    assert key(with_part(MediaPart("file", data=b"x"))) != key(with_part(MediaPart("file", url="x")))
    assert key(LMRequest((Message("user", (TextPart("hello"),)),))) != key(HELLO)


@pytest.mark.parametrize(
    ("request_", "where"),
    [
        (with_extra(when={"days": [1, {2}]}), r"extra\.when\.days\[1\]: Type is not JSON serializable: set"),
        (with_extra(data=b"raw"), r"extra\.data: .*bytes"),
        (with_extra(a={1: "x"}), r"extra\.a: Dict key must be str"),
        (with_extra(a=2**64), r"extra\.a: Integer exceeds 64-bit range"),
        (replace(HELLO, seed=-(2**63) - 1), r"seed: Integer exceeds 64-bit range"),
        (replace(HELLO, response_schema={"a": object()}), r"response_schema\.a: .*object"),
        (replace(HELLO, terms=Terms(rollout="\ud800")), r"terms.rollout: str is not valid UTF-8"),
        (
            LMRequest((Message("user", "ok"), Message("user", "\ud800"))),
            r"messages\[1\]\.content: str is not valid",
        ),
        (replace(HELLO, tools=(ToolDefinition("a", "", {"x": {1}}),)), r"tools\[0\].*: Type is not JSON .*set"),
    ],
)
def test_what_json_cannot_carry_is_refused_by_name(request_: LMRequest, where: str) -> None:
    with pytest.raises(LMRequestRejected, match=where) as caught:
        key(request_)
    assert caught.value.hint
    assert caught.value.__cause__ is None  # which would quote the request


def test_a_value_that_holds_itself_is_refused() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(LMRequestRejected, match=r"extra\.a.*Recursion limit"):
        key(with_extra(a=loop))


@given(REQUESTS, REQUESTS, draws())
def test_requests_have_one_key_if_and_only_if_they_ask_the_same(
    a: LMRequest, b: LMRequest, data: DataObject
) -> None:
    # Two of a kind are rarely drawn: most fields of the second are the first's.
    for each in fields(LMRequest):
        if data.draw(WORDS) != "a":
            b = replace(b, **{each.name: getattr(a, each.name)})
    assert (key(a) == key(b)) == (meaning(a) == meaning(b))


def meaning(value: object) -> object:
    """``value`` as something that compares equal only to what asks the same."""
    if isinstance(value, Mapping):
        return "mapping", frozenset((name, meaning(each)) for name, each in value.items())
    if isinstance(value, list | tuple):
        return "list", tuple(map(meaning, value))
    if is_dataclass(value) and not isinstance(value, type):
        aside = {LMRequest: ASIDE.keys(), Terms: TERMS_ASIDE.keys(), Message: {"cache"}}.get(type(value), set())
        named = [
            (each.name, meaning(getattr(value, each.name))) for each in fields(value) if each.name not in aside
        ]
        return type(value), tuple(named)
    return type(value), value
