"""Our Anthropic and Google adapters against litellm's proxy, which speaks their formats and asks in OpenAI's."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import SecretStr

from repertory.errors import LMAuthError, LMError, LMModelUnknown, LMRateLimited, LMRequestRejected, LMServerError
from repertory.providers.endpoint import Endpoint
from repertory.providers.messages import (
    Delta,
    End,
    LMRequest,
    LMResponse,
    MediaPart,
    Message,
    ReasoningDelta,
    ReasoningPart,
    TextDelta,
    TextPart,
    Thinking,
    ToolCallDelta,
    ToolCallPart,
    ToolDefinition,
    ToolResultPart,
    Usage,
)
from tests.endpoint import Raw, Reply, Status, Step, Streamed, chunk, completion
from tests.providers.peers.litellm import RESPONSES, ROOTS, UPSTREAM_KEY, Proxy
from tests.providers.test_replies import RESPONSE, RESPONSE_REPLY, RESPONSE_STREAM, sse

pytestmark = pytest.mark.asyncio(loop_scope="session")
each_peer = pytest.mark.parametrize("peer", ["anthropic-2023", "google"])

PARIS, ROME = '{"city":"Paris"}', '{"city":"Rome"}'
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = ToolDefinition("weather", "Tells the weather.", SCHEMA)
TURNS = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Weather in Paris?"}]
ASK = LMRequest((Message("system", "Be brief."), Message("user", "Weather in Paris?")), max_tokens=100)
WITH_TOOLS = LMRequest(ASK.messages, max_tokens=100, tools=(WEATHER,))

COUNTS = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
COUNTED = b"data: " + json.dumps({"choices": [], "usage": COUNTS}).encode() + b"\n\n"
DONE = b"data: [DONE]\n\n"


def called(index: int, arguments: str, **named: str) -> dict[str, Any]:
    """A tool call, or a piece of one, as Chat Completions has it."""
    call: dict[str, Any] = {"index": index, "type": "function", "function": {"arguments": arguments}}
    if named:
        call["id"] = named["id"]
        call["function"]["name"] = named["name"]
    return call


CALLS = [called(0, PARIS, id="c1", name="weather"), called(1, ROME, id="c2", name="weather")]
CALLING = Raw(json.dumps(completion("I look.", "tool_calls", tool_calls=CALLS)).encode())


async def complete(proxy: Proxy, peer: str, request: LMRequest, *steps: Step, **options: Any) -> LMResponse:
    proxy.script(*steps)
    lm = proxy.endpoint(peer, **options)
    try:
        return await lm.complete(request)
    finally:
        await lm.close()


async def stream(proxy: Proxy, peer: str, request: LMRequest, *pieces: bytes, **options: Any) -> list[Delta]:
    proxy.script(Streamed(pieces))
    lm = proxy.endpoint(peer, **options)
    try:
        async with lm.stream(request) as deltas:
            return [delta async for delta in deltas]
    finally:
        await lm.close()


async def begin(lm: Endpoint, request: LMRequest) -> None:
    async with lm.stream(request):
        pass


def whole(deltas: list[Delta]) -> LMResponse:
    end = deltas[-1]
    assert isinstance(end, End)
    return end.response


def asked(proxy: Proxy) -> Mapping[str, Any]:
    """What the upstream was asked, once."""
    (seen,) = proxy.upstream.requests
    assert seen.path == "/v1/chat/completions"
    assert seen.headers["authorization"] == f"Bearer {UPSTREAM_KEY}"
    return seen.body


# --- words ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("peer", ROOTS)
async def test_a_question_is_understood_and_its_answer_read(proxy: Proxy, peer: str) -> None:
    reply = await complete(proxy, peer, ASK, Reply("Sunny"))
    assert (reply.text, reply.finish_reason) == ("Sunny", "stop")
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (11, 7)
    assert asked(proxy)["messages"] == TURNS
    assert asked(proxy)["max_tokens"] == 100


@pytest.mark.parametrize("peer", ROOTS)
async def test_a_stream_is_read_piece_by_piece(proxy: Proxy, peer: str) -> None:
    pieces = (chunk(role="assistant"), chunk(content="Sun"), chunk(content="ny"), chunk("stop"), COUNTED, DONE)
    deltas = await stream(proxy, peer, ASK, *pieces)
    assert [delta for delta in deltas if isinstance(delta, TextDelta)] == [TextDelta("Sun"), TextDelta("ny")]
    assert (whole(deltas).text, whole(deltas).finish_reason) == ("Sunny", "stop")
    assert whole(deltas).usage == Usage(9, 2)
    assert asked(proxy)["stream"] is True


async def test_anthropics_share_of_the_cache_is_told(proxy: Proxy) -> None:
    reply = await complete(proxy, "anthropic-2023", ASK, Reply("Sunny"))
    assert reply.usage == Usage(11, 7, cached_tokens=3)  # of all that was read, as the upstream counts too


@each_peer
async def test_options_arrive(proxy: Proxy, peer: str) -> None:
    request = LMRequest(ASK.messages, max_tokens=100, temperature=0.5, top_p=0.9, stop=("END",))
    await complete(proxy, peer, request, Reply("Sunny"))
    sent = asked(proxy)
    assert (sent["temperature"], sent["top_p"], sent["stop"]) == (0.5, 0.9, ["END"])


@each_peer
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_reply_that_was_cut_says_so(proxy: Proxy, peer: str, *, streamed: bool) -> None:
    if streamed:
        reply = whole(await stream(proxy, peer, ASK, chunk(content="Sun"), chunk("length"), COUNTED, DONE))
    else:
        reply = await complete(proxy, peer, ASK, Reply("Sun", "length"))
    assert (reply.text, reply.finish_reason) == ("Sun", "length")


async def test_a_reply_that_was_filtered_says_so(proxy: Proxy) -> None:
    assert (await complete(proxy, "google", ASK, Reply("", "content_filter"))).finish_reason == "content_filter"
    # Anthropic's format has no other word for it.
    assert (await complete(proxy, "anthropic-2023", ASK, Reply("", "content_filter"))).finish_reason == "refusal"


@each_peer
async def test_a_schema_arrives(proxy: Proxy, peer: str) -> None:
    request = LMRequest(ASK.messages, max_tokens=100, response_schema=SCHEMA)
    assert (await complete(proxy, peer, request, Reply(PARIS))).text == PARIS
    wanted = asked(proxy)["response_format"]
    assert wanted["type"] == "json_schema"
    assert wanted["json_schema"]["schema"].items() >= SCHEMA.items()


async def test_a_picture_arrives_in_anthropics_format(proxy: Proxy) -> None:
    shown = Message("user", (TextPart("What is this?"), MediaPart("image", "image/png", b"\x89PNG")))
    await complete(proxy, "anthropic-2023", LMRequest((shown,), max_tokens=100), Reply("A picture"))
    assert asked(proxy)["messages"][0]["content"] == [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}},
    ]


# --- thoughts ------------------------------------------------------------------------------------------------


async def test_thoughts_are_read_whole_and_in_pieces(proxy: Proxy) -> None:
    thought = Raw(json.dumps(completion("Sunny", reasoning_content="I should")).encode())
    reply = await complete(proxy, "anthropic-2023", ASK, thought)
    assert reply.content == (ReasoningPart("I should"), TextPart("Sunny"))
    pieces = (chunk(reasoning_content="I sh"), chunk(reasoning_content="ould"), chunk(content="Sunny"))
    deltas = await stream(proxy, "anthropic-2023", ASK, *pieces, chunk("stop"), COUNTED, DONE)
    assert [delta.text for delta in deltas if isinstance(delta, ReasoningDelta)] == ["I sh", "ould"]
    assert whole(deltas).content == (ReasoningPart("I should"), TextPart("Sunny"))


async def test_how_much_to_think_arrives(proxy: Proxy) -> None:
    request = LMRequest(ASK.messages, max_tokens=4000, thinking=Thinking(tokens=2000))
    await complete(proxy, "anthropic-2023", request, Reply("Sunny"))
    assert asked(proxy)["reasoning_effort"] == "low"


# --- tools ---------------------------------------------------------------------------------------------------


@each_peer
@pytest.mark.parametrize(
    ("choice", "anthropic", "google"),
    [
        ("auto", "auto", "auto"),
        ("required", "required", "required"),
        # Where there is one tool, the proxy reads Google's list of allowed names as any of them.
        ("weather", {"type": "function", "function": {"name": "weather"}}, "required"),
    ],
)
async def test_tools_arrive_and_parallel_calls_come_back(
    proxy: Proxy, peer: str, choice: str, anthropic: object, google: object
) -> None:
    request = LMRequest(ASK.messages, max_tokens=100, tools=(WEATHER,), tool_choice=choice)
    reply = await complete(proxy, peer, request, CALLING)
    assert reply.finish_reason == "tool_calls"
    assert reply.text == "I look."
    assert [(call.name, call.parsed()) for call in reply.tool_calls] == [
        ("weather", {"city": "Paris"}),
        ("weather", {"city": "Rome"}),
    ]
    assert len({call.id for call in reply.tool_calls}) == 2
    (tool,) = asked(proxy)["tools"]
    assert tool["function"] == {"name": "weather", "description": "Tells the weather.", "parameters": SCHEMA}
    assert asked(proxy)["tool_choice"] == (google if peer == "google" else anthropic)


@each_peer
async def test_streamed_calls_are_read_in_pieces(proxy: Proxy, peer: str) -> None:
    pieces = [
        called(0, "", id="c1", name="weather"),
        called(0, '{"city":'),
        called(0, '"Paris"}'),
        called(1, ROME, id="c2", name="weather"),
    ]
    chunks = [chunk(tool_calls=[piece]) for piece in pieces]
    deltas = await stream(
        proxy, peer, WITH_TOOLS, chunk(content="I look."), *chunks, chunk("tool_calls"), COUNTED, DONE
    )
    reply = whole(deltas)
    assert reply.finish_reason == "tool_calls"
    assert [(call.name, call.parsed()) for call in reply.tool_calls] == [
        ("weather", {"city": "Paris"}),
        ("weather", {"city": "Rome"}),
    ]
    told = [delta for delta in deltas if isinstance(delta, ToolCallDelta)]
    for number, call in enumerate(reply.tool_calls):
        assert "".join(delta.arguments for delta in told if delta.index == number) == call.arguments
        assert next(delta.id for delta in told if delta.index == number) == call.id


@each_peer
async def test_a_conversation_goes_on_from_its_calls(proxy: Proxy, peer: str) -> None:
    first = await complete(proxy, peer, WITH_TOOLS, CALLING)
    paris, rome = first.tool_calls
    results = (
        ToolResultPart(paris.id, paris.name, '{"sky":"clear"}'),
        ToolResultPart(rome.id, rome.name, '{"sky":"cloudy"}'),
    )
    turns = (*ASK.messages, first.message, Message("tool", results))
    reply = await complete(proxy, peer, LMRequest(turns, max_tokens=100, tools=(WEATHER,)), Reply("Go to Paris"))
    assert reply.text == "Go to Paris"
    system, user, assistant, *told = asked(proxy)["messages"]
    assert [system, user] == TURNS
    assert assistant["content"] == "I look."
    made = [json.loads(call["function"]["arguments"]) for call in assistant["tool_calls"]]
    assert made == [{"city": "Paris"}, {"city": "Rome"}]
    assert [turn["role"] for turn in told] == ["tool", "tool"]
    assert [json.loads(turn["content"]) for turn in told] == [{"sky": "clear"}, {"sky": "cloudy"}]
    assert [turn["tool_call_id"] for turn in told] == [call["id"] for call in assistant["tool_calls"]]


# --- by way of another of OpenAI's formats -------------------------------------------------------------------


async def test_anthropics_format_by_way_of_responses(proxy: Proxy) -> None:
    body = json.dumps({**RESPONSE, "created_at": 1, "parallel_tool_calls": True, "tools": []}).encode()
    reply = await complete(proxy, "anthropic-2023", WITH_TOOLS, Raw(body), model=RESPONSES)
    (seen,) = proxy.upstream.requests
    assert seen.path == "/v1/responses"
    assert reply.text == RESPONSE_REPLY.text
    assert reply.tool_calls == (ToolCallPart("c1", "weather", PARIS),)
    assert reply.finish_reason == "tool_calls"


async def test_a_stream_in_anthropics_format_by_way_of_responses(proxy: Proxy) -> None:
    deltas = await stream(proxy, "anthropic-2023", WITH_TOOLS, sse(*RESPONSE_STREAM), model=RESPONSES)
    assert "".join(delta.text for delta in deltas if isinstance(delta, TextDelta)) == "I look."
    assert [(call.name, call.parsed()) for call in whole(deltas).tool_calls] == [("weather", {"city": "Paris"})]


async def test_an_answer_that_the_proxy_cannot_read_is_a_server_error_although_its_status_is_200(
    proxy: Proxy,
) -> None:
    with pytest.raises(LMServerError, match="answered with an error"):
        await complete(proxy, "anthropic-2023", ASK, Reply("not as Responses has it"), model=RESPONSES)


# --- failures ------------------------------------------------------------------------------------------------


@each_peer
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, LMRequestRejected),
        (401, LMAuthError),
        (404, LMModelUnknown),
        (429, LMRateLimited),
        (500, LMServerError),
        (503, LMServerError),
    ],
)
async def test_a_failure_of_the_upstream_has_its_class(
    proxy: Proxy, peer: str, status: int, kind: type[LMError], *, streamed: bool
) -> None:
    proxy.script(Status(status, "scripted failure"))
    lm = proxy.endpoint(peer)
    with pytest.raises(kind, match="scripted failure") as failure:
        await (begin(lm, ASK) if streamed else lm.complete(ASK))
    await lm.close()
    assert type(failure.value) is kind
    assert len(proxy.upstream.requests) == 1


@each_peer
async def test_an_unknown_model_is_a_rejected_request(proxy: Proxy, peer: str) -> None:
    with pytest.raises(LMRequestRejected, match="Invalid model name"):
        await complete(proxy, peer, ASK, model="no-such-model")
    assert proxy.upstream.requests == []


@each_peer
async def test_a_wrong_key_is_refused_and_not_quoted(proxy: Proxy, peer: str) -> None:
    wrong = SecretStr("sk-canary-of-the-proxy")
    # Without a database it cannot look a key up, and calls that a bad request.
    with pytest.raises(LMRequestRejected, match="No connected db") as refused:
        await complete(proxy, peer, ASK, key=wrong)
    assert wrong.get_secret_value() not in str(refused.value)
    assert proxy.upstream.requests == []


@each_peer
async def test_a_failure_in_mid_stream_ends_it_after_what_came_before(proxy: Proxy, peer: str) -> None:
    overloaded = b'data: {"error":{"message":"overloaded","type":"server_error","code":500}}\n\n'
    begun = asyncio.Event()
    proxy.script(Streamed((chunk(content="Sun"), overloaded), until=begun))
    lm = proxy.endpoint(peer)
    said: list[str] = []

    async def read() -> None:
        async with lm.stream(ASK) as deltas:
            async for delta in deltas:
                if isinstance(delta, TextDelta):
                    said.append(delta.text)
                    begun.set()

    with pytest.raises(LMServerError, match="overloaded"):
        await read()
    await lm.close()
    assert said == ["Sun"]
    assert len(proxy.upstream.requests) == 1
