"""Calls of tools through a JSON schema: what is asked for, what is read back, and the packaged model doing it."""

from collections.abc import AsyncIterator
from dataclasses import replace
from random import Random
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from repertory.clock import SystemClock
from repertory.errors import LMReplyMalformed, LMRequestRejected
from repertory.events import Hooks
from repertory.providers import openai_chat
from repertory.providers.capabilities import gaps
from repertory.providers.emulation import emulate, held_back, is_needed, passed_on, restore
from repertory.providers.endpoint import Endpoint
from repertory.providers.failures import Peer
from repertory.providers.local import QUIRKS, LocalModelSettings, LocalServerProcess, endpoint_settings
from repertory.providers.messages import (
    Choice,
    End,
    LMRequest,
    LMResponse,
    MediaPart,
    Message,
    ReasoningDelta,
    ReasoningPart,
    TextDelta,
    TextPart,
    ToolCallDelta,
    ToolCallPart,
    ToolDefinition,
    ToolResultPart,
    Usage,
    UsageDelta,
)
from repertory.providers.wire import Quirks

PEER = Peer("local")
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "unit": {"enum": ["C", "F"]}},
    "required": ["city", "unit"],
}
WEATHER = ToolDefinition("weather", "Tells the weather in a city.", CITY)
NOW = ToolDefinition("now", "Tells the time.", {"type": "object"})
ASK = LMRequest((Message("user", "What is the weather in Paris?"),), tools=(WEATHER, NOW))
PARIS = {"name": "weather", "arguments": {"city": "Paris", "unit": "C"}}


def replied(text: str, finish_reason: str = "stop") -> LMResponse:
    return LMResponse(text, finish_reason, Usage(5, 3), "m", "id")


def wire(value: Any) -> str:
    return orjson.dumps(value).decode()


def allowed(request: LMRequest, reply: Any) -> bool:
    return bool(Draft202012Validator(emulate(request).response_schema).is_valid(reply))


# --- the request ---------------------------------------------------------------------------------------------


def test_a_request_without_tools_needs_no_emulation() -> None:
    assert not is_needed(replace(ASK, tools=()))
    assert is_needed(ASK)
    assert is_needed(LMRequest((Message("tool", (ToolResultPart("c", "now", "12:00"),)),)))


def test_nothing_is_left_that_the_server_would_pass_over() -> None:
    asked = emulate(replace(ASK, tool_choice="required", parallel_tool_calls=True))
    assert (asked.tools, asked.tool_choice, asked.parallel_tool_calls) == ((), "auto", None)


@pytest.mark.parametrize(
    ("choice", "answer", "weather", "now"),
    [("auto", True, True, True), ("required", False, True, True), ("weather", False, True, False)],
)
def test_the_schema_leaves_the_choice_that_the_caller_left(
    choice: str, answer: bool, weather: bool, now: bool
) -> None:
    request = replace(ASK, tool_choice=choice)
    assert allowed(request, {"answer": "Sunny."}) is answer
    assert allowed(request, {"calls": [PARIS]}) is weather
    assert allowed(request, {"calls": [{"name": "now", "arguments": {}}]}) is now
    assert not allowed(request, {"calls": []})
    assert not allowed(request, {"calls": [{"name": "other", "arguments": {}}]})
    assert not allowed(request, {"calls": [{"name": "weather", "arguments": {"city": "Paris"}}]})


@pytest.mark.parametrize(("parallel", "several"), [(True, True), (False, False), (None, False)])
def test_several_calls_at_a_time_are_asked_for(parallel: bool | None, several: bool) -> None:
    assert allowed(replace(ASK, parallel_tool_calls=parallel), {"calls": [PARIS, PARIS]}) is several


def test_without_leave_to_call_the_request_is_the_callers_own() -> None:
    request = replace(ASK, tool_choice="none", response_schema={"type": "object"})
    asked = emulate(request)
    assert (asked.messages, asked.response_schema) == (request.messages, request.response_schema)


def test_an_answer_follows_the_callers_schema() -> None:
    schema = {
        "type": "object",
        "properties": {"sky": {"$ref": "#/$defs/Sky"}},
        "$defs": {"Sky": {"enum": ["blue"]}},
    }
    request = replace(ASK, response_schema=schema)
    assert allowed(request, {"answer": {"sky": "blue"}})
    assert not allowed(request, {"answer": {"sky": "green"}})
    assert not allowed(request, {"answer": "blue"})


@pytest.mark.parametrize(("tools", "choice"), [((WEATHER,), "wether"), ((), "required")])
def test_a_tool_that_is_not_there_is_refused(tools: tuple[ToolDefinition, ...], choice: str) -> None:
    with pytest.raises(LMRequestRejected, match=r"there is no such tool\n  Name one of the request's tools"):
        emulate(replace(ASK, tools=tools, tool_choice=choice))


def test_the_tools_are_described_in_the_systems_turn() -> None:
    asked = emulate(replace(ASK, messages=(Message("system", "Be brief.", cache=True), *ASK.messages)))
    system, user = asked.messages
    assert system.text.startswith(
        "Be brief.\n\nYou can call these tools:\n- weather: Tells the weather in a city."
    )
    assert wire(CITY) in system.text
    assert system.cache
    assert user == ASK.messages[0]
    assert emulate(ASK).messages[0].role == "system"


def test_calls_and_results_become_words() -> None:
    picture = MediaPart("image", "image/png", b"png")
    call = ToolCallPart("c1", "weather", wire(PARIS["arguments"]))
    broken = ToolCallPart("c2", "now", "{")
    asked = emulate(
        LMRequest(
            (
                *ASK.messages,
                Message("assistant", (ReasoningPart("Hm."), TextPart("I look."), call, broken)),
                Message("tool", (ToolResultPart("c1", "weather", "clear"), picture)),
                Message("tool", (ToolResultPart("c2", "now", "no clock", failed=True),)),
                Message("user", "And tomorrow?"),
                Message("user", "Well?"),
            )
        )
    )
    said = f"I look.\n\n{wire({'calls': [PARIS, {'name': 'now', 'arguments': '{'}]})}"
    assert asked.messages == (
        *ASK.messages,
        Message("assistant", said),
        Message(
            "user",
            (
                TextPart("weather gave:\nclear"),
                picture,
                TextPart("now failed:\nno clock"),
                TextPart("And tomorrow?"),
                TextPart("Well?"),
            ),
        ),
    )


# --- the reply -----------------------------------------------------------------------------------------------


def test_calls_are_read_back() -> None:
    called = Message("assistant", (ToolCallPart("call_0", "now", "{}"),))
    request = replace(ASK, messages=(*ASK.messages, called))
    both = {"calls": [PARIS, {"name": "now", "arguments": {}}]}
    reply = restore(request, replied(wire(both)), PEER)
    assert reply.tool_calls == (
        ToolCallPart("call_1", "weather", '{"city":"Paris","unit":"C"}'),
        ToolCallPart("call_2", "now", "{}"),
    )
    assert (reply.finish_reason, reply.emulated, reply.usage) == ("tool_calls", ("tools",), Usage(5, 3))


def test_an_answer_is_read_back() -> None:
    reply = restore(ASK, replied('{"answer": "Sunny \\"as ever\\"."}'), PEER)
    assert (reply.content, reply.finish_reason, reply.emulated) == ('Sunny "as ever".', "stop", ("tools",))


def test_an_answer_in_the_callers_schema_keeps_every_digit_and_a_fence_is_taken_off() -> None:
    request = replace(ASK, response_schema={"type": "object"})
    reply = restore(
        request, replied('```json\n{"answer": {"n": 123456789012345678901234567890, "x": 1.10}}\n```'), PEER
    )
    assert reply.text == '{"n": 123456789012345678901234567890, "x": 1.10}'


def test_thoughts_stay_and_every_choice_is_read() -> None:
    content = (ReasoningPart("Hm."), TextPart(wire({"answer": "Sunny."})))
    response = replace(replied(""), content=content, others=(Choice(wire({"calls": [PARIS]}), "stop"),))
    reply = restore(replace(ASK, n=2), response, PEER)
    assert (reply.reasoning, reply.text) == ("Hm.", "Sunny.")
    assert reply.others[0].finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ('{"answer": "Sunny and w', "Sunny and w"),
        ('{"ans', ""),
        ("", ""),
        (wire({"calls": [PARIS]})[:-9], ""),
        ('{"calls": [', ""),
    ],
)
def test_a_reply_that_was_cut_is_as_much_as_can_be_used(text: str, left: str) -> None:
    reply = restore(ASK, replied(text, "length"), PEER)
    assert (reply.content, reply.finish_reason) == (left, "length")
    stopped = restore(replace(ASK, stop=("arm",)), replied(text), PEER)
    assert (stopped.content, stopped.finish_reason) == (left, "stop")


@pytest.mark.parametrize(
    "text",
    [
        "Sunny.",
        "[]",
        "{}",
        "null",
        '{"answer": {"sky": 1}}',
        '{"calls": []}',
        '{"calls": [{"name": "other", "arguments": {}}]}',
        '{"calls": [{"name": "weather", "arguments": []}]}',
        '{"calls": {}}',
        '{"answer": "Sunny and w',
    ],
)
def test_what_cannot_be_read_back_is_malformed(text: str) -> None:
    with pytest.raises(LMReplyMalformed, match=r"^local: its reply "):
        restore(ASK, replied(text), PEER)


@pytest.mark.parametrize("reason", ["refusal", "content_filter"])
def test_a_refusal_is_passed_on(reason: str) -> None:
    assert restore(ASK, replied("No.", reason), PEER) == replace(replied("No.", reason), emulated=("tools",))


def test_a_stream_gives_its_answer_or_calls_at_the_end() -> None:
    assert passed_on([TextDelta('{"calls'), ReasoningDelta("Hm.")]) == [ReasoningDelta("Hm.")]
    calls = restore(replace(ASK, parallel_tool_calls=True), replied(wire({"calls": [PARIS, PARIS]})), PEER)
    assert held_back(calls) == [
        ToolCallDelta(0, "call_0", "weather", '{"city":"Paris","unit":"C"}'),
        ToolCallDelta(1, "call_1", "weather", '{"city":"Paris","unit":"C"}'),
    ]
    assert held_back(restore(ASK, replied('{"answer": "Sunny."}'), PEER)) == [TextDelta("Sunny.")]
    assert held_back(restore(ASK, replied("", "length"), PEER)) == []


# --- who emulates --------------------------------------------------------------------------------------------


def test_emulation_takes_a_server_that_holds_replies_to_a_schema() -> None:
    assert gaps(openai_chat, QUIRKS) == ()
    assert QUIRKS.emulates_tools
    for loose in (replace(QUIRKS, constrains="json_object"), replace(QUIRKS, constrains=None)):
        assert gaps(openai_chat, loose) == ("tools",)
        assert not loose.emulates_tools
    assert gaps(openai_chat, Quirks(lacks=("tools", "n"), emulates=("tools",))) == ("n",)


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    settings = LocalModelSettings(threads=1)
    process = LocalServerProcess(settings)
    url = await process.start(timeout=60)
    endpoint = Endpoint(
        endpoint_settings(settings, lambda: url), clock=SystemClock(), hooks=Hooks(), rng=Random(1)
    )
    yield endpoint
    await endpoint.close()
    await process.stop(timeout=10)


@pytest.mark.local_model
async def test_the_packaged_model_calls_tools(endpoint: Endpoint) -> None:
    hard = {
        "type": "object",
        "properties": {
            "n": {"type": "integer", "minimum": 10**17},  # its server would end at this
            "mail": {"type": "string", "pattern": "@", "format": "email"},
            "any": {},
            "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
        },
    }
    request = replace(ASK, temperature=0.0, max_tokens=60, seed=1)
    for choice in ("auto", "required", "weather", "now"):
        asked = replace(request, tool_choice=choice)
        reply = await endpoint.complete(asked)
        assert reply.emulated == ("tools",)
        assert reply.finish_reason == "tool_calls" or choice == "auto"
        for call in reply.tool_calls:
            assert choice in ("auto", "required", call.name)
            assert call.name == "now" or Draft202012Validator(CITY).is_valid(call.parsed())
    odd = ToolDefinition("odd", "Takes what is hard to take.", hard)
    hardest = replace(request, tools=(odd,), tool_choice="odd", max_tokens=5)  # what counts is that it is taken
    assert (await endpoint.complete(hardest)).finish_reason == "length"


@pytest.mark.local_model
async def test_the_packaged_model_goes_on_after_a_result_and_streams(endpoint: Endpoint) -> None:
    call = ToolCallPart("c1", "weather", wire(PARIS["arguments"]))
    turns = (Message("assistant", (call,)), Message("tool", (ToolResultPart("c1", "weather", "clear"),)))
    request = replace(ASK, messages=(*ASK.messages, *turns), temperature=0.0, max_tokens=150, seed=1)
    async with endpoint.stream(request) as deltas:
        *before, end = [delta async for delta in deltas]
    assert isinstance(end, End)
    assert end.response.emulated == ("tools",)
    assert end.response.tool_calls or end.response.text
    assert [delta for delta in before if not isinstance(delta, UsageDelta)] == held_back(end.response)
