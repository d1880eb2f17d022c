"""What each protocol's replies and streams are read as, whole, in pieces, and damaged."""

from collections.abc import Mapping
from contextlib import suppress
from copy import deepcopy
from random import Random
from types import MappingProxyType
from typing import Any

import orjson
import pytest
from anthropic.types import Message as ClaudeMessage
from google.genai.types import GenerateContentResponse
from hypothesis import given
from hypothesis.strategies import binary
from openai.types.responses import Response

from repertory.errors import LMConnectionError, LMError, LMRateLimited, LMReplyMalformed
from repertory.providers import anthropic_messages, google_generate, openai_chat, openai_responses
from repertory.providers.failures import Peer
from repertory.providers.messages import (
    Delta,
    LMResponse,
    ReasoningDelta,
    ReasoningPart,
    TextDelta,
    TextPart,
    ToolCallDelta,
    ToolCallPart,
    Usage,
    UsageDelta,
)
from repertory.providers.sse import EventReader, ServerEvent
from repertory.providers.wire import WireProtocol
from tests.endpoint import completion

PEER = Peer("qa")
PROTOCOLS = MappingProxyType(
    {
        "openai": openai_chat,
        "responses": openai_responses,
        "anthropic": anthropic_messages,
        "google": google_generate,
    }
)


def sse(*events: dict[str, Any]) -> bytes:
    return b"".join(
        (f"event: {event['type']}\n" if "type" in event else "").encode()
        + b"data: "
        + orjson.dumps(event)
        + b"\n\n"
        for event in events
    )


def streamed(protocol: WireProtocol, body: bytes, size: int | None = None) -> tuple[list[Delta], LMResponse]:
    reader, decoder = EventReader(PEER), protocol.decode_stream(PEER)
    size = size or len(body)
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    deltas = [delta for piece in pieces for event in reader.feed(piece) for delta in decoder.feed(event)]
    return deltas, decoder.finish()


# --- Anthropic -----------------------------------------------------------------------------------------------

CLAUDE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-1",
    "content": [
        {"type": "thinking", "thinking": "Let me look. é", "signature": "sig"},
        {"type": "redacted_thinking", "data": "hidden"},
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Paris"}},
        {"type": "tool_use", "id": "c2", "name": "now", "input": {}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 5,
        "cache_read_input_tokens": 20,
        "cache_creation_input_tokens": 10,
        "output_tokens": 7,
        "output_tokens_details": {"thinking_tokens": 3},
    },
}
CLAUDE_REPLY = LMResponse(
    (
        ReasoningPart("Let me look. é", "sig"),
        ReasoningPart("", "hidden", redacted=True),
        TextPart("I look."),
        ToolCallPart("c1", "weather", '{"city":"Paris"}'),
        ToolCallPart("c2", "now", "{}"),
    ),
    "tool_calls",
    Usage(35, 7, 20, 10, 3),
    "claude-1",
    "msg_1",
)


def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


CLAUDE_STREAM: tuple[dict[str, Any], ...] = (
    {
        "type": "message_start",
        "message": {**CLAUDE, "content": [], "usage": {**CLAUDE["usage"], "output_tokens": 1}},
    },
    {"type": "ping"},
    *block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": "Let me "},
        {"type": "thinking_delta", "thinking": "look. é"},
        {"type": "signature_delta", "signature": "sig"},
    ),
    *block(1, {"type": "redacted_thinking", "data": "hidden"}),
    *block(2, {"type": "text", "text": ""}, {"type": "text_delta", "text": "I look."}),
    *block(
        3,
        {"type": "tool_use", "id": "c1", "name": "weather", "input": {}},
        {"type": "input_json_delta", "partial_json": ""},
        {"type": "input_json_delta", "partial_json": '{"city":'},
        {"type": "input_json_delta", "partial_json": '"Paris"}'},
    ),
    *block(
        4,
        {"type": "tool_use", "id": "c2", "name": "now", "input": {}},
        {"type": "input_json_delta", "partial_json": "{}"},
    ),
    {"type": "a_kind_that_came_later", "index": 9},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 7}},
    {"type": "message_stop"},
)


def test_the_samples_are_what_the_vendors_sdks_read() -> None:
    assert ClaudeMessage.model_validate(CLAUDE).usage.output_tokens == 7
    assert Response.model_validate({**RESPONSE, "created_at": 1, "parallel_tool_calls": True, "tools": []}).output
    assert GenerateContentResponse.model_validate(GEMINI).candidates


def test_anthropics_reply() -> None:
    assert anthropic_messages.decode(orjson.dumps(CLAUDE), PEER) == CLAUDE_REPLY


@pytest.mark.parametrize("size", [None, 1, 2, 5, 64])
def test_anthropics_stream(size: int | None) -> None:
    deltas, reply = streamed(anthropic_messages, sse(*CLAUDE_STREAM), size)
    assert reply == CLAUDE_REPLY
    assert [delta for delta in deltas if not isinstance(delta, UsageDelta)] == [
        *(ReasoningDelta("Let me "), ReasoningDelta("look. é"), TextDelta("I look.")),
        *(ToolCallDelta(0, "c1", "weather", ""), ToolCallDelta(0, "", "", "")),
        *(ToolCallDelta(0, "", "", '{"city":'), ToolCallDelta(0, "", "", '"Paris"}')),
        *(ToolCallDelta(1, "c2", "now", ""), ToolCallDelta(1, "", "", "{}")),
    ]
    assert [delta.usage.output_tokens for delta in deltas if isinstance(delta, UsageDelta)] == [1, 7]


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("refusal", "refusal"),
        ("pause_turn", "pause_turn"),
        (None, "unknown"),
    ],
)
def test_why_anthropics_reply_ended(said: str | None, meant: str) -> None:
    assert anthropic_messages.decode(orjson.dumps({**CLAUDE, "stop_reason": said}), PEER).finish_reason == meant


def test_an_error_in_anthropics_stream_has_its_class() -> None:
    error = {"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}}
    with pytest.raises(LMRateLimited, match="qa: answered with an error: slow down"):
        streamed(anthropic_messages, sse(CLAUDE_STREAM[0], error))


def test_a_refusal_without_words_has_those_of_its_reason() -> None:
    stop = {"stop_reason": "refusal", "stop_details": {"type": "refusal", "explanation": "Not this."}}
    refused = anthropic_messages.decode(orjson.dumps({**CLAUDE, "content": [], **stop}), PEER)
    assert (refused.text, refused.finish_reason) == ("Not this.", "refusal")
    events = (CLAUDE_STREAM[0], {"type": "message_delta", "delta": stop}, {"type": "message_stop"})
    _, whole = streamed(anthropic_messages, sse(*events))
    assert (whole.text, whole.finish_reason) == ("Not this.", "refusal")


# --- OpenAI Responses ----------------------------------------------------------------------------------------

RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "model": "o-1",
    "status": "completed",
    "tool_choice": "auto",
    "output": [
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "Look first."}],
            "encrypted_content": "enc",
        },
        {
            "type": "message",
            "id": "m_1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "I look.", "annotations": []}],
        },
        {
            "type": "function_call",
            "id": "f_1",
            "call_id": "c1",
            "name": "weather",
            "arguments": '{"city":"Paris"}',
        },
    ],
    "usage": {
        "input_tokens": 30,
        "input_tokens_details": {"cached_tokens": 20, "cache_write_tokens": 2},
        "output_tokens": 9,
        "output_tokens_details": {"reasoning_tokens": 4},
        "total_tokens": 39,
    },
}
RESPONSE_REPLY = LMResponse(
    (
        ReasoningPart("Look first.", "enc", id="rs_1"),
        TextPart("I look."),
        ToolCallPart("c1", "weather", '{"city":"Paris"}'),
    ),
    "tool_calls",
    Usage(30, 9, 20, 2, 4),
    "o-1",
    "resp_1",
)
RESPONSE_STREAM: tuple[dict[str, Any], ...] = (
    {"type": "response.created", "response": {**RESPONSE, "status": "in_progress", "output": []}},
    {"type": "response.reasoning_summary_text.delta", "output_index": 0, "delta": "Look first."},
    {"type": "response.output_text.delta", "output_index": 1, "delta": "I "},
    {"type": "response.output_text.delta", "output_index": 1, "delta": "look."},
    {
        "type": "response.output_item.added",
        "output_index": 2,
        "item": {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": ""},
    },
    {"type": "response.function_call_arguments.delta", "output_index": 2, "delta": '{"city":"Paris"}'},
    {"type": "response.completed", "response": RESPONSE},
)


def test_the_reply_of_responses() -> None:
    assert openai_responses.decode(orjson.dumps(RESPONSE), PEER) == RESPONSE_REPLY


@pytest.mark.parametrize("size", [None, 1, 3, 64])
def test_the_stream_of_responses(size: int | None) -> None:
    deltas, reply = streamed(openai_responses, sse(*RESPONSE_STREAM), size)
    assert reply == RESPONSE_REPLY
    assert deltas == [
        *(ReasoningDelta("Look first."), TextDelta("I "), TextDelta("look.")),
        *(ToolCallDelta(0, "c1", "weather", ""), ToolCallDelta(0, "", "", '{"city":"Paris"}')),
        UsageDelta(RESPONSE_REPLY.usage),
    ]


def test_why_a_reply_of_responses_ended() -> None:
    cut = {**RESPONSE, "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    assert openai_responses.decode(orjson.dumps(cut), PEER).finish_reason == "length"
    refusal = {"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}
    refused = openai_responses.decode(orjson.dumps({**RESPONSE, "output": [refusal]}), PEER)
    assert (refused.text, refused.finish_reason) == ("No.", "refusal")
    failed = {"type": "response.failed", "response": {**RESPONSE, "error": {"message": "boom"}}}
    with pytest.raises(LMError, match="boom"):
        streamed(openai_responses, sse(failed))


def test_what_chat_tells_of_a_refusal_and_of_the_cache() -> None:
    refused = completion(None, refusal="No.")
    refused["choices"][0]["logprobs"] = {"content": None, "refusal": [LOGPROB]}
    refused["usage"]["prompt_tokens_details"]["cache_write_tokens"] = 5
    reply = openai_chat.decode(orjson.dumps(refused), PEER)
    assert (reply.text, reply.finish_reason) == ("No.", "refusal")
    assert [each.token for each in reply.logprobs] == ["a"]
    assert (reply.usage.cached_tokens, reply.usage.cache_write_tokens) == (3, 5)


# --- Google --------------------------------------------------------------------------------------------------


def candidate(*parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"content": {"role": "model", "parts": list(parts)}, "index": 0, **more}


GEMINI_USAGE = {
    "promptTokenCount": 30,
    "cachedContentTokenCount": 20,
    "candidatesTokenCount": 5,
    "thoughtsTokenCount": 4,
    "totalTokenCount": 39,
}
GEMINI_PARTS: tuple[dict[str, Any], ...] = (
    {"text": "Look first.", "thought": True},
    {"text": "I look."},
    {"functionCall": {"name": "weather", "args": {"city": "Paris"}}, "thoughtSignature": "c2ln"},
)
GEMINI = {
    "candidates": [candidate(*GEMINI_PARTS, finishReason="STOP")],
    "usageMetadata": GEMINI_USAGE,
    "modelVersion": "gemini-1",
    "responseId": "r1",
}
GEMINI_REPLY = LMResponse(
    (
        ReasoningPart("Look first."),
        TextPart("I look."),
        ToolCallPart("call_0", "weather", '{"city":"Paris"}', signature="c2ln"),
    ),
    "tool_calls",
    Usage(30, 9, 20, reasoning_tokens=4),
    "gemini-1",
    "r1",
)


def test_googles_reply() -> None:
    assert google_generate.decode(orjson.dumps(GEMINI), PEER) == GEMINI_REPLY


@pytest.mark.parametrize("size", [None, 1, 3, 64])
def test_googles_stream(size: int | None) -> None:
    named = {"modelVersion": "gemini-1", "responseId": "r1"}
    pieces = [{"candidates": [candidate(part)], **named} for part in GEMINI_PARTS]
    deltas, reply = streamed(google_generate, sse(*pieces[:-1], {**GEMINI, "candidates": [LAST]}), size)
    assert reply == GEMINI_REPLY
    assert deltas[:3] == [
        *(ReasoningDelta("Look first."), TextDelta("I look.")),
        ToolCallDelta(0, "call_0", "weather", '{"city":"Paris"}'),
    ]


LAST = candidate(GEMINI_PARTS[-1], finishReason="STOP")


def test_a_prompt_that_google_blocks_and_a_reply_it_stops_say_so() -> None:
    blocked = google_generate.decode(b'{"promptFeedback":{"blockReason":"SAFETY"}}', PEER)
    assert (blocked.text, blocked.finish_reason) == ("", "content_filter")
    for reason in ("SAFETY", "IMAGE_RECITATION", "ESCALATION"):
        stopped = orjson.dumps({"candidates": [candidate({"text": "Half"}, finishReason=reason)]})
        assert google_generate.decode(stopped, PEER).finish_reason == "content_filter"
    with pytest.raises(LMReplyMalformed, match="qa: candidates is missing or empty"):
        google_generate.decode(b"{}", PEER)


# --- all of them ---------------------------------------------------------------------------------------------

STREAMS = MappingProxyType(
    {
        "responses": sse(*RESPONSE_STREAM),
        "anthropic": sse(*CLAUDE_STREAM),
        "google": sse({"candidates": [candidate({"text": "I"})]}, {"candidates": [LAST]}),
    }
)


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_that_breaks_off_is_never_a_whole_reply(name: str) -> None:
    last = STREAMS[name].rindex(b"data: ", 0, -80)
    with pytest.raises(LMConnectionError, match="qa: its stream ended before the reply"):
        streamed(PROTOCOLS[name], STREAMS[name][:last] if name != "anthropic" else sse(*CLAUDE_STREAM[:-2]))


JUNK: tuple[Any, ...] = (None, True, 0, -1, 1.5, "", "x", [], {}, [None], [[]], {"a": 1}, [{}], 10**18, ["x"])
LOGPROB = {"token": "a", "logprob": -0.1, "top_logprobs": [{"token": "b", "logprob": -2.0}]}
CALL = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}}
CHAT = completion("hi", reasoning_content="hm", tool_calls=[CALL])
CHAT["choices"][0]["logprobs"] = {"content": [LOGPROB]}
CHUNK = {"content": "x", "reasoning": "y", "refusal": "z", "tool_calls": [CALL]}
GOOGLE_LOGPROB = {"token": "a", "logProbability": -0.1}
GUESSES = {"chosenCandidates": [GOOGLE_LOGPROB], "topCandidates": [{"candidates": [GOOGLE_LOGPROB]}]}
REPLIES: Mapping[str, dict[str, Any]] = MappingProxyType(
    {
        "openai": CHAT,
        "responses": RESPONSE,
        "anthropic": CLAUDE,
        "google": {
            "candidates": [candidate(*GEMINI_PARTS, logprobsResult=GUESSES)],
            "usageMetadata": GEMINI_USAGE,
        },
    }
)
EVENTS: Mapping[str, list[dict[str, Any]]] = MappingProxyType(
    {
        "openai": [
            {
                "choices": [{"index": 0, "delta": CHUNK, "logprobs": {"content": [LOGPROB]}}],
                "usage": CHAT["usage"],
            },
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        ],
        "responses": list(RESPONSE_STREAM),
        "anthropic": list(CLAUDE_STREAM),
        "google": [REPLIES["google"]],
    }
)


def damaged(value: Any, rng: Random) -> Any:
    """``value`` with up to three of its places emptied, or filled with what does not belong there."""
    value = deepcopy(value)
    for _ in range(rng.randint(1, 3)):
        places: list[tuple[Any, Any]] = []
        inside = [value]
        while inside:
            each = inside.pop()
            keys = list(each) if isinstance(each, dict) else list(range(len(each)))
            places += [(each, key) for key in keys]
            inside += [each[key] for key in keys if isinstance(each[key], dict | list)]
        if places:
            holder, key = rng.choice(places)
            holder[key] = deepcopy(rng.choice(JUNK))
    return value


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_damaged_reply_is_a_reply_or_an_lm_error(name: str) -> None:
    rng = Random(7)
    for _ in range(500):
        with suppress(LMError):  # anything else fails the test
            body = orjson.dumps(damaged(REPLIES[name], rng))
            assert isinstance(PROTOCOLS[name].decode(body, PEER), LMResponse)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_damaged_stream_is_a_reply_or_an_lm_error(name: str) -> None:
    rng = Random(7)
    for _ in range(500):
        decoder = PROTOCOLS[name].decode_stream(PEER)
        with suppress(LMError):
            for event in damaged(EVENTS[name], rng):
                decoder.feed(ServerEvent("", orjson.dumps(event)))
            assert isinstance(decoder.finish(), LMResponse)


@pytest.mark.parametrize("name", PROTOCOLS)
@given(body=binary(max_size=20))
def test_bytes_that_are_no_reply_are_named(name: str, body: bytes) -> None:
    with pytest.raises(LMReplyMalformed, match="qa: "):
        PROTOCOLS[name].decode(body, PEER)
