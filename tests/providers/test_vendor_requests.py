"""The same logical request through a vendor's own SDK and through us: the bodies are equal, field by field."""

import re
from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import replace
from random import Random
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from pydantic import SecretStr

from repertory.clock import SystemClock
from repertory.errors import LMError
from repertory.events import Hooks
from repertory.providers import anthropic_messages, google_generate, openai_chat, openai_responses
from repertory.providers.endpoint import Endpoint
from repertory.providers.messages import (
    LMRequest,
    MediaPart,
    Message,
    ReasoningPart,
    TextPart,
    Thinking,
    ToolCallPart,
    ToolDefinition,
    ToolResultPart,
)
from repertory.providers.settings import EndpointSettings
from repertory.providers.wire import WireProtocol
from tests.endpoint import Raw, ScriptedEndpoint, Seen

PNG = b"\x89PNG..."
CODED = b64encode(PNG).decode()
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = ToolDefinition("weather", "Tells the weather.", SCHEMA)
ASK = LMRequest((Message("system", "Be brief."), Message("user", "Weather in Paris?")))
TOOLS = replace(ASK, tools=(WEATHER,), tool_choice="required", max_tokens=100, temperature=0.5, top_p=0.9)
CALLED = LMRequest(
    (
        Message("user", (TextPart("What is this?"), MediaPart("image", "image/png", PNG))),
        Message(
            "assistant",
            (ReasoningPart("Let me see.", "sig", id="rs_1"), ToolCallPart("c1", "weather", '{"city":"Paris"}')),
        ),
        Message("tool", (ToolResultPart("c1", "weather", '{"sky":"clear"}'),)),
        Message("user", "And now?"),
    ),
    tools=(WEATHER,),
    max_tokens=100,
)
STRUCTURED = replace(ASK, response_schema=SCHEMA, schema_name="Place", max_tokens=100, stop=())

Send = Callable[[str], Awaitable[object]]


async def captured(send: Send) -> Seen:
    """The request that ``send``, given a URL, makes first; the answer is no reply, which is not the point."""
    async with ScriptedEndpoint(lambda _: Raw(b'{"error":{"message":"captured"}}', status=400)) as server:
        with pytest.raises((LMError, openai.APIError, anthropic.APIError, genai.errors.APIError)):
            await send(server.url)
        return server.requests[0]


def ours(protocol: WireProtocol, request: LMRequest, *, root: str = "") -> Send:
    async def send(url: str) -> object:
        settings = EndpointSettings(
            "qa", "m-1", url.removesuffix("/v1") + root, api_key=SecretStr("key"), protocol=protocol, attempts=1
        )
        lm = Endpoint(settings, clock=SystemClock(), hooks=Hooks(), rng=Random(1))
        try:
            return await lm.complete(request)
        finally:
            await lm.close()

    return send


async def equal(
    protocol: WireProtocol, request: LMRequest, theirs: Send, *headers: str, root: str = "/v1"
) -> None:
    """Body, path and the named headers are the same."""
    mine, vendors = await captured(ours(protocol, request, root=root)), await captured(theirs)
    assert mine.body == _as_published(vendors.body)
    assert mine.path == vendors.path
    assert [mine.headers[name] for name in headers] == [vendors.headers[name] for name in headers]


def _as_published(body: Any) -> Any:
    """The body with its names as the reference has them: Google's SDK leaves some in snake case, and sends empty
    options; its API reads both (https://protobuf.dev/programming-guides/json)."""
    if not isinstance(body, dict) or "contents" not in body:
        return body
    return {name: value for name, value in _camel(body).items() if value != {}}


def _camel(value: Any) -> Any:
    if isinstance(value, list):
        return list(map(_camel, value))
    if not isinstance(value, dict):
        return value
    return {re.sub("_([a-z])", lambda m: m[1].upper(), name): _camel(each) for name, each in value.items()}


# --- OpenAI --------------------------------------------------------------------------------------------------


def chat(**fields: Any) -> Send:
    async def send(url: str) -> object:
        async with openai.AsyncOpenAI(base_url=url, api_key="key", max_retries=0) as client:
            return await client.chat.completions.create(model="m-1", **fields)

    return send


def responses(**fields: Any) -> Send:
    async def send(url: str) -> object:
        async with openai.AsyncOpenAI(base_url=url, api_key="key", max_retries=0) as client:
            return await client.responses.create(
                model="m-1", store=False, include=["reasoning.encrypted_content"], **fields
            )

    return send


TURNS = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Weather in Paris?"}]
FUNCTION = {"name": "weather", "description": "Tells the weather.", "parameters": SCHEMA}


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (ASK, {"messages": TURNS}),
        (
            TOOLS,
            {
                "messages": TURNS,
                "tools": [{"type": "function", "function": FUNCTION}],
                "tool_choice": "required",
                "max_tokens": 100,
                "temperature": 0.5,
                "top_p": 0.9,
            },
        ),
        (
            replace(ASK, n=2, top_logprobs=3, seed=7, stop=("END",), thinking=Thinking("low")),
            {
                "messages": TURNS,
                "n": 2,
                "logprobs": True,
                "top_logprobs": 3,
                "seed": 7,
                "stop": ["END"],
                "reasoning_effort": "low",
            },
        ),
        (
            # Chat Completions takes no thoughts back.
            CALLED,
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "text", "text": "What is this?"},
                            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{CODED}"}},
                        ],
                    },
                    {
                        "role": "assistant",
                        "content": None,
                        "tool_calls": [
                            {
                                "id": "c1",
                                "type": "function",
                                "function": {"name": "weather", "arguments": '{"city":"Paris"}'},
                            }
                        ],
                    },
                    {"role": "tool", "tool_call_id": "c1", "content": '{"sky":"clear"}'},
                    {"role": "user", "content": "And now?"},
                ],
                "tools": [{"type": "function", "function": FUNCTION}],
                "tool_choice": "auto",
                "max_tokens": 100,
            },
        ),
        (
            STRUCTURED,
            {
                "messages": TURNS,
                "max_tokens": 100,
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "Place", "strict": True, "schema": SCHEMA},
                },
            },
        ),
    ],
)
async def test_openai_chat(request_: LMRequest, fields: dict[str, Any]) -> None:
    await equal(openai_chat, request_, chat(**fields), "authorization")


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (ASK, {"input": TURNS}),
        (
            TOOLS,
            {
                "input": TURNS,
                "tools": [{"type": "function", **FUNCTION, "strict": False}],
                "tool_choice": "required",
                "max_output_tokens": 100,
                "temperature": 0.5,
                "top_p": 0.9,
            },
        ),
        (
            CALLED,
            {
                "input": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "input_text", "text": "What is this?"},
                            {
                                "type": "input_image",
                                "image_url": f"data:image/png;base64,{CODED}",
                                "detail": "auto",
                            },
                        ],
                    },
                    {
                        "type": "reasoning",
                        "id": "rs_1",
                        "summary": [{"type": "summary_text", "text": "Let me see."}],
                        "encrypted_content": "sig",
                    },
                    {
                        "type": "function_call",
                        "call_id": "c1",
                        "name": "weather",
                        "arguments": '{"city":"Paris"}',
                    },
                    {"type": "function_call_output", "call_id": "c1", "output": '{"sky":"clear"}'},
                    {"role": "user", "content": "And now?"},
                ],
                "tools": [{"type": "function", **FUNCTION, "strict": False}],
                "tool_choice": "auto",
                "max_output_tokens": 100,
            },
        ),
        (
            STRUCTURED,
            {
                "input": TURNS,
                "max_output_tokens": 100,
                "text": {"format": {"type": "json_schema", "name": "Place", "strict": True, "schema": SCHEMA}},
            },
        ),
    ],
)
async def test_openai_responses(request_: LMRequest, fields: dict[str, Any]) -> None:
    await equal(openai_responses, request_, responses(**fields), "authorization")


# --- Anthropic -----------------------------------------------------------------------------------------------


def messages(**fields: Any) -> Send:
    async def send(url: str) -> object:
        root = url.removesuffix("/v1")
        async with anthropic.AsyncAnthropic(base_url=root, api_key="key", max_retries=0) as client:
            return await client.messages.create(model="m-1", **fields)

    return send


SAID = [{"role": "user", "content": "Weather in Paris?"}]
CLAUDE_TOOL = {"name": "weather", "description": "Tells the weather.", "input_schema": SCHEMA}


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (ASK, {"system": "Be brief.", "messages": SAID, "max_tokens": 4096}),
        (
            replace(TOOLS, parallel_tool_calls=False),
            {
                "system": "Be brief.",
                "messages": SAID,
                "tools": [CLAUDE_TOOL],
                "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
                "max_tokens": 100,
                # The current models of the vendor may refuse these two; that is theirs to say.
                "extra_body": {"temperature": 0.5, "top_p": 0.9},
            },
        ),
        (
            CALLED,
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "text", "text": "What is this?"},
                            {
                                "type": "image",
                                "source": {"type": "base64", "media_type": "image/png", "data": CODED},
                            },
                        ],
                    },
                    {
                        "role": "assistant",
                        "content": [
                            {"type": "thinking", "thinking": "Let me see.", "signature": "sig"},
                            {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Paris"}},
                        ],
                    },
                    {
                        "role": "user",
                        "content": [
                            {"type": "tool_result", "tool_use_id": "c1", "content": '{"sky":"clear"}'},
                            {"type": "text", "text": "And now?"},
                        ],
                    },
                ],
                "tools": [CLAUDE_TOOL],
                "tool_choice": {"type": "auto"},
                "max_tokens": 100,
            },
        ),
        (
            STRUCTURED,
            {
                "system": "Be brief.",
                "messages": SAID,
                "max_tokens": 100,
                "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
            },
        ),
        (
            LMRequest(
                (Message("system", "Long.", cache=True), Message("user", "Weather in Paris?", cache=True)),
                max_tokens=2000,
                stop=("END",),
                thinking=Thinking(tokens=1024),
            ),
            {
                "system": [{"type": "text", "text": "Long.", "cache_control": {"type": "ephemeral"}}],
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "text", "text": "Weather in Paris?", "cache_control": {"type": "ephemeral"}}
                        ],
                    }
                ],
                "max_tokens": 2000,
                "stop_sequences": ["END"],
                "thinking": {"type": "enabled", "budget_tokens": 1024},
            },
        ),
    ],
)
async def test_anthropic(request_: LMRequest, fields: dict[str, Any]) -> None:
    # The key differs on purpose: the SDK sends a bearer token, the reference's examples and we ``x-api-key``.
    await equal(anthropic_messages, request_, messages(**fields), "anthropic-version")


# --- Google --------------------------------------------------------------------------------------------------


def gemini(contents: Any, **config: Any) -> Send:
    async def send(url: str) -> object:
        options = genai.types.HttpOptions(base_url=url.removesuffix("/v1"))
        client = genai.Client(api_key="key", http_options=options)
        try:
            return await client.aio.models.generate_content(
                model="m-1", contents=contents, config=genai.types.GenerateContentConfig(**config)
            )
        finally:
            await client.aio.aclose()

    return send


QUESTION = [{"role": "user", "parts": [{"text": "Weather in Paris?"}]}]
DECLARED = genai.types.FunctionDeclaration(
    name="weather", description="Tells the weather.", parameters_json_schema=SCHEMA
)


@pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")  # the SDK's own
@pytest.mark.parametrize(
    ("request_", "contents", "config"),
    [
        (LMRequest((Message("user", "Weather in Paris?"),)), QUESTION, {}),
        (
            replace(TOOLS, messages=ASK.messages[1:], seed=7, stop=("END",)),
            QUESTION,
            {
                "tools": [{"function_declarations": [DECLARED]}],
                "tool_config": {"function_calling_config": {"mode": "ANY"}},
                "max_output_tokens": 100,
                "temperature": 0.5,
                "top_p": 0.9,
                "seed": 7,
                "stop_sequences": ["END"],
            },
        ),
        (
            replace(
                CALLED,
                messages=(
                    CALLED.messages[0],
                    Message("assistant", (ToolCallPart("c1", "weather", '{"city":"Paris"}', signature="c2ln"),)),
                    *CALLED.messages[2:],
                ),
            ),
            [
                {
                    "role": "user",
                    "parts": [
                        {"text": "What is this?"},
                        {"inline_data": {"mime_type": "image/png", "data": PNG}},
                    ],
                },
                {
                    "role": "model",
                    "parts": [
                        {
                            "function_call": {"id": "c1", "name": "weather", "args": {"city": "Paris"}},
                            "thought_signature": b"sig",
                        }
                    ],
                },
                {
                    "role": "user",
                    "parts": [
                        {"function_response": {"id": "c1", "name": "weather", "response": {"sky": "clear"}}},
                        {"text": "And now?"},
                    ],
                },
            ],
            {
                "tools": [{"function_declarations": [DECLARED]}],
                "tool_config": {"function_calling_config": {"mode": "AUTO"}},
                "max_output_tokens": 100,
            },
        ),
        (
            replace(STRUCTURED, messages=ASK.messages[1:], thinking=Thinking(tokens=64)),
            QUESTION,
            {
                "max_output_tokens": 100,
                "response_mime_type": "application/json",
                "response_json_schema": SCHEMA,
                "thinking_config": {"include_thoughts": True, "thinking_budget": 64},
            },
        ),
    ],
)
async def test_google(request_: LMRequest, contents: Any, config: dict[str, Any]) -> None:
    await equal(google_generate, request_, gemini(contents, **config), "x-goog-api-key")
