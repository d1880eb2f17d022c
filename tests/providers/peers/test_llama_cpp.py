"""Our adapters against the packaged llama.cpp server, which speaks three protocols beside its own."""

import json
from collections.abc import Mapping
from dataclasses import replace
from random import Random
from types import MappingProxyType

import pytest

from repertory.clock import SystemClock
from repertory.errors import LMRequestRejected
from repertory.events import Hooks
from repertory.providers import anthropic_2023, anthropic_messages, openai_chat, openai_responses
from repertory.providers.endpoint import Endpoint
from repertory.providers.messages import Delta, End, LMRequest, LMResponse, Message, TextDelta, UsageDelta
from repertory.providers.settings import EndpointSettings
from repertory.providers.transport import HttpTransport
from repertory.providers.wire import Quirks, WireProtocol

pytestmark = [pytest.mark.local_model, pytest.mark.asyncio(loop_scope="session")]

PROTOCOLS: Mapping[str, WireProtocol] = MappingProxyType(
    {
        "chat": openai_chat,
        "responses": openai_responses,
        "anthropic": anthropic_messages,
        "anthropic-2023": anthropic_2023,
    }
)
each_protocol = pytest.mark.parametrize("name", PROTOCOLS)

COUNT = LMRequest((Message("user", "Count from one to ten."),), max_tokens=6, temperature=0.0)
TOPIC = LMRequest(
    (Message("system", "You name topics."), Message("user", "The striker scored twice. Which topic?")),
    response_schema={
        "type": "object",
        "properties": {"topic": {"enum": ["sports", "business"]}},
        "required": ["topic"],
        "additionalProperties": False,
    },
    temperature=0.0,
    max_tokens=30,
)


def endpoint(url: str, name: str) -> Endpoint:
    settings = EndpointSettings(
        name, "local", f"{url}/v1", protocol=PROTOCOLS[name], quirks=Quirks(has_developer=False), attempts=1
    )
    return Endpoint(settings, clock=SystemClock(), hooks=Hooks(), rng=Random(1))


async def complete(url: str, name: str, request: LMRequest) -> LMResponse:
    lm = endpoint(url, name)
    try:
        return await lm.complete(request)
    finally:
        await lm.close()


async def stream(url: str, name: str, request: LMRequest) -> list[Delta]:
    lm = endpoint(url, name)
    try:
        async with lm.stream(request) as deltas:
            return [delta async for delta in deltas]
    finally:
        await lm.close()


@each_protocol
async def test_a_reply_is_read_and_counted(llama_url: str, name: str) -> None:
    reply = await complete(llama_url, name, COUNT)
    assert reply.text
    assert reply.usage.output_tokens == 6
    assert reply.usage.input_tokens > reply.usage.cached_tokens
    assert reply.model.endswith(".gguf")
    assert reply.id


@each_protocol
async def test_a_stream_says_what_its_reply_says(llama_url: str, name: str) -> None:
    reply = await complete(llama_url, name, COUNT)
    deltas = await stream(llama_url, name, COUNT)
    pieces = [delta.text for delta in deltas if isinstance(delta, TextDelta)]
    assert len(pieces) > 1
    end = deltas[-1]
    assert isinstance(end, End)
    assert "".join(pieces) == end.response.text == reply.text
    assert end.response.finish_reason == reply.finish_reason
    assert end.response.usage.input_tokens == reply.usage.input_tokens
    assert end.response.usage.output_tokens == 6
    last = [delta for delta in deltas if isinstance(delta, UsageDelta)][-1]
    assert last.usage == end.response.usage


@each_protocol
async def test_a_reply_cut_at_max_tokens_says_so_but_by_responses(llama_url: str, name: str) -> None:
    # Its Responses calls every reply completed, the cut ones too; only the count shows it.
    reply = await complete(llama_url, name, COUNT)
    assert reply.finish_reason == ("stop" if name == "responses" else "length")


@pytest.mark.parametrize("name", ["chat", "anthropic", "anthropic-2023"])
async def test_a_stop_string_ends_the_reply(llama_url: str, name: str) -> None:
    long = replace(COUNT, max_tokens=16)
    whole = (await complete(llama_url, name, long)).text
    stop = whole[len(whole) // 2 :][:4]
    cut = await complete(llama_url, name, replace(long, stop=(stop,)))
    assert (cut.text, cut.finish_reason) == (whole[: whole.index(stop)], "stop")
    deltas = await stream(llama_url, name, replace(long, stop=(stop,)))
    assert "".join(delta.text for delta in deltas if isinstance(delta, TextDelta)) == cut.text


@pytest.mark.parametrize("streamed", [False, True])
async def test_chat_holds_its_reply_to_a_schema(llama_url: str, *, streamed: bool) -> None:
    if streamed:
        end = (await stream(llama_url, "chat", TOPIC))[-1]
        assert isinstance(end, End)
        reply = end.response
    else:
        reply = await complete(llama_url, "chat", TOPIC)
    assert json.loads(reply.text)["topic"] in ("sports", "business")


async def test_the_same_seed_says_the_same(llama_url: str) -> None:
    request = LMRequest((Message("user", "Invent a name."),), max_tokens=8, temperature=1.0, seed=7)
    assert (await complete(llama_url, "chat", request)).text == (await complete(llama_url, "chat", request)).text


@pytest.mark.parametrize("streamed", [False, True])
async def test_chat_tells_log_probabilities(llama_url: str, *, streamed: bool) -> None:
    request = replace(COUNT, top_logprobs=2)
    if streamed:
        end = (await stream(llama_url, "chat", request))[-1]
        assert isinstance(end, End)
        reply = end.response
    else:
        reply = await complete(llama_url, "chat", request)
    assert "".join(each.token for each in reply.logprobs) == reply.text
    assert all(each.logprob <= 0 and len(each.top) == 2 for each in reply.logprobs)


@each_protocol
async def test_a_conversation_is_read_to_its_end(llama_url: str, name: str) -> None:
    turns = (
        Message("system", "You repeat."),
        Message("user", "Say: blue."),
        Message("assistant", "Blue."),
        Message("user", "Again."),
    )
    short = await complete(llama_url, name, replace(COUNT, messages=turns[:2]))
    long = await complete(llama_url, name, replace(COUNT, messages=turns))
    assert long.usage.input_tokens > short.usage.input_tokens


@each_protocol
async def test_a_request_that_it_cannot_take_is_rejected(llama_url: str, name: str) -> None:
    with pytest.raises(LMRequestRejected, match="answered 400"):
        await complete(llama_url, name, replace(COUNT, extra={"temperature": {"hot": True}}))


async def test_it_gives_no_embeddings_and_says_so(llama_url: str) -> None:
    transport = HttpTransport(llama_url)
    status, _, body = await transport.post("/v1/embeddings", b'{"model":"local","input":"Hi"}', timeout=30)
    await transport.close()
    assert status == 501
    assert "does not support embeddings" in json.loads(body)["error"]["message"]


async def test_a_prompt_beyond_its_context_is_rejected(llama_url: str) -> None:
    endless = replace(COUNT, messages=(Message("user", "word " * 4000),))
    with pytest.raises(LMRequestRejected, match="exceeds the available context size"):
        await complete(llama_url, "chat", endless)


async def test_a_cancelled_stream_leaves_the_server_free(llama_url: str) -> None:
    """It serves one request at a time here, so that a reply that went on would hold up the next."""
    lm = endpoint(llama_url, "chat")
    async with lm.stream(replace(COUNT, max_tokens=1500, extra={"ignore_eos": True})) as deltas:
        assert isinstance(await anext(deltas), TextDelta)
    assert (await lm.complete(COUNT)).usage.output_tokens == 6
    await lm.close()
