"""OpenAI Chat Completions on the wire; vLLM, Ollama, llama.cpp and most gateways speak it too.

Source: https://platform.openai.com/docs/api-reference/chat.
"""

from collections.abc import Mapping
from typing import Any

import orjson
from pydantic import SecretStr

from repertory.errors import LMRequestRejected
from repertory.providers import openai_embeddings
from repertory.providers.assembly import Assembly, content_of
from repertory.providers.embeddings import EmbeddingProtocol
from repertory.providers.failures import Peer, parsed, read_object, stated_error
from repertory.providers.json_bytes import json_bytes
from repertory.providers.logprobs import openai_logprobs
from repertory.providers.messages import (
    Choice,
    Content,
    Delta,
    LMRequest,
    LMResponse,
    Part,
    ReasoningDelta,
    ReasoningPart,
    TextDelta,
    TextPart,
    Thinking,
    TokenLogprob,
    ToolCallDelta,
    ToolCallPart,
    ToolDefinition,
    Usage,
    UsageDelta,
)
from repertory.providers.openai_turns import conversation
from repertory.providers.probe import names_in
from repertory.providers.sse import ServerEvent
from repertory.providers.stored import StoredReplies
from repertory.providers.wire import Quirks, count, items

PATH = "/chat/completions"
PLAIN_CHOICES = ("auto", "none", "required")
OPTIONS = ("temperature", "top_p", "seed", "stop")  # named alike on both sides
LACKS: tuple[str, ...] = ()
EMBEDDINGS: EmbeddingProtocol | None = openai_embeddings
STORED: StoredReplies | None = None
PROBE_PATH = "/models"
# OpenAI documents none for model calls, and its SDK (`_base_client.py`) makes a key but names no header for it. It
# is sent all the same, and nothing is built on it: what stands before a server with this protocol may go by it.
# https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header
IDEMPOTENCY_HEADER: str | None = "Idempotency-Key"


def headers(key: SecretStr | None) -> dict[str, SecretStr]:
    """The key as a bearer token; see ``WireProtocol``, as for the next ones."""
    return {} if key is None else {"Authorization": SecretStr(f"Bearer {key.get_secret_value()}")}


def path(model: str, *, stream: bool) -> str:
    """Always the same."""
    return PATH


def offers(body: bytes, peer: Peer) -> tuple[str, ...]:
    """The models in the answer to ``PROBE_PATH``."""
    return names_in(body, "data", "id", peer)


def encode(request: LMRequest, model: str, quirks: Quirks, *, stream: bool = False) -> bytes:
    """Return the body that asks ``model`` for a reply."""
    body: dict[str, object] = {
        "model": model,
        "messages": list(conversation(request.messages, quirks)),
    }
    if request.response_schema is not None and quirks.constrains:
        body["response_format"] = _response_format(request, quirks)
    for name in OPTIONS:
        if (value := getattr(request, name)) is not None and value != ():
            body[name] = value
    if request.max_tokens is not None:
        body[quirks.max_tokens_field] = request.max_tokens
    if request.tools:
        body["tools"] = list(map(_tool, request.tools))
        body["tool_choice"] = tool_choice(request.tool_choice)
        if request.parallel_tool_calls is not None:  # refused where there are no tools
            body["parallel_tool_calls"] = request.parallel_tool_calls
    if request.n != 1:
        body["n"] = request.n
    if request.top_logprobs is not None:
        body["logprobs"] = True
        body["top_logprobs"] = request.top_logprobs
    if request.thinking is not None:
        body["reasoning_effort"] = effort(request.thinking)
    if stream:
        body["stream"] = True
        if quirks.stream_usage:
            body["stream_options"] = {"include_usage": True}
    body.update(request.extra)
    return json_bytes(body)


def decode(body: bytes, peer: Peer) -> LMResponse:
    """Return the reply in the body of a 2xx answer."""
    reply = read_object(body, peer)
    choices = reply.get("choices")
    if not isinstance(choices, list) or not choices:
        raise peer.malformed("choices is missing or empty")
    first, *others = [_choice(number, each, peer) for number, each in enumerate(choices)]
    return LMResponse(
        first.content,
        first.finish_reason,
        _usage(reply.get("usage")),
        str(reply.get("model") or ""),
        str(reply.get("id") or ""),
        first.logprobs,
        tuple(others),
    )


def decode_stream(peer: Peer) -> "ChatStream":
    """Return a decoder of one streamed reply."""
    return ChatStream(peer)


class ChatStream:
    """Reads ``chat.completion.chunk`` events; ``[DONE]`` ends them, but a reply that says how it ended will do."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._choices: dict[int, _StreamedChoice] = {}
        self._usage = Usage()
        self._model = ""
        self.id = ""
        self.ended = False

    def feed(self, event: ServerEvent) -> list[Delta]:
        """Return what the event brings."""
        if event.data.strip() == b"[DONE]":
            self.ended = True
            return []
        chunk = parsed(event.data)
        if not isinstance(chunk, dict):
            raise self._peer.malformed("an event of its stream is not a JSON object")
        if chunk.get("error"):
            raise stated_error(chunk, event.data, self._peer)
        self._model = self._model or str(chunk.get("model") or "")
        self.id = self.id or str(chunk.get("id") or "")
        choices = chunk.get("choices") or []
        if not isinstance(choices, list):
            raise self._peer.malformed("choices of an event of its stream is not a list")
        deltas: list[Delta] = []
        for choice in choices:
            if not isinstance(choice, dict):
                raise self._peer.malformed("a choice in its stream is not an object")
            self._streamed(choice).read(choice, deltas)
        if isinstance(usage := chunk.get("usage"), dict):
            self._usage = _usage(usage)
            deltas.append(UsageDelta(self._usage))
        return deltas

    def finish(self) -> LMResponse:
        """Return the whole reply."""
        choices = [self._choices[number].choice() for number in sorted(self._choices)]
        unfinished = any(not each.finish_reason for each in self._choices.values())
        if not choices or (unfinished and not self.ended):
            raise self._peer.broken_off()
        first, *others = choices
        return LMResponse(
            first.content,
            first.finish_reason,
            self._usage,
            self._model,
            self.id,
            first.logprobs,
            tuple(others),
        )

    def _streamed(self, choice: Mapping[str, Any]) -> "_StreamedChoice":
        number = choice.get("index")
        number = number if type(number) is int else 0
        streamed = self._choices.get(number)
        if streamed is None:
            streamed = self._choices[number] = _StreamedChoice(number)
        return streamed


class _StreamedChoice:
    """One of the replies that a stream carries."""

    def __init__(self, number: int) -> None:
        self.assembly = Assembly()
        self.finish_reason = ""
        self.logprobs: list[TokenLogprob] = []
        self._number = number
        self._refused = False

    def read(self, choice: Mapping[str, Any], deltas: list[Delta]) -> None:
        if choice.get("logprobs"):
            self.logprobs.extend(openai_logprobs(_listed(choice["logprobs"])))
        if isinstance(reason := choice.get("finish_reason"), str):
            self.finish_reason = reason
        delta, number = choice.get("delta"), self._number
        if not isinstance(delta, dict):
            return
        text = delta.get("content")
        if text and isinstance(text, str):
            self.assembly.text(text)
            deltas.append(TextDelta(text, number))
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if thought and isinstance(thought, str):
            self.assembly.thought(thought)
            deltas.append(ReasoningDelta(thought, number))
        refusal = delta.get("refusal")
        if refusal and isinstance(refusal, str):
            self._refused = True
            self.assembly.text(refusal)
            deltas.append(TextDelta(refusal, number))
        if calls := delta.get("tool_calls"):
            for call in items(calls):
                self._read_call(call, number, deltas)

    def choice(self) -> Choice:
        reason = "refusal" if self._refused else _finish_reason(self.finish_reason)
        return Choice(self.assembly.content(), reason, tuple(self.logprobs))

    def _read_call(self, call: object, number: int, deltas: list[Delta]) -> None:
        if not isinstance(call, dict):
            return
        index = call.get("index")
        # Some servers leave the number out and send whole calls.
        index = index if type(index) is int else self.assembly.calls
        function = call.get("function")
        function = function if isinstance(function, dict) else {}
        id, name = str(call.get("id") or ""), str(function.get("name") or "")
        arguments = _arguments(function.get("arguments"))
        self.assembly.call(index, id, name, arguments)
        deltas.append(ToolCallDelta(index, id, name, arguments, number))


def effort(thinking: Thinking) -> str:
    """How much to think, as OpenAI's protocols have it.

    Raises:
        LMRequestRejected: It is said in tokens alone.
    """
    if thinking.effort is None:
        raise LMRequestRejected(
            f"thinking = {thinking}: OpenAI's protocols take no number of tokens",
            hint='Say it in steps: Thinking(effort="low").',
        )
    return thinking.effort


def tool_choice(choice: str) -> object:
    """``LMRequest.tool_choice`` as Chat Completions has it."""
    return choice if choice in PLAIN_CHOICES else {"type": "function", "function": {"name": choice}}


def _response_format(request: LMRequest, quirks: Quirks) -> dict[str, object]:
    if quirks.constrains == "json_object":
        return {"type": "json_object"}
    schema = {"name": request.schema_name, "strict": True, "schema": request.response_schema}
    return {"type": "json_schema", "json_schema": schema}


def _tool(tool: ToolDefinition) -> dict[str, object]:
    function: dict[str, object] = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
    }
    if tool.strict:
        function["strict"] = True
    return {"type": "function", "function": function}


def _choice(number: int, choice: object, peer: Peer) -> Choice:
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise peer.malformed(f"choices[{number}].message is missing")
    logprobs = tuple(openai_logprobs(_listed(choice.get("logprobs"))))
    refusal = message.get("refusal")
    if isinstance(refusal, str) and refusal:
        return Choice(refusal, "refusal", logprobs)
    return Choice(_reply(message, number, peer), _finish_reason(choice.get("finish_reason")), logprobs)


def _reply(message: Mapping[str, Any], number: int, peer: Peer) -> Content:
    content = message.get("content")
    if content is not None and not isinstance(content, str):
        raise peer.malformed(f"choices[{number}].message.content is {type(content).__name__}, not a string")
    thought = message.get("reasoning_content") or message.get("reasoning")
    calls = message.get("tool_calls")
    if not thought and not calls:
        return content or ""
    parts: list[Part] = [ReasoningPart(thought)] if isinstance(thought, str) else []
    if content:
        parts.append(TextPart(content))
    for call in items(calls):
        match call:
            case {"function": {"name": str(name), **function}}:
                parts.append(ToolCallPart(str(call.get("id") or ""), name, _arguments(function.get("arguments"))))
            case _:
                raise peer.malformed(
                    f"choices[{number}].message.tool_calls has an entry without a function's name"
                )
    return content_of(tuple(parts))


def _arguments(value: object) -> str:
    """JSON text; some servers send the object itself."""
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _finish_reason(reason: object) -> str:
    if not isinstance(reason, str) or not reason:
        return "unknown"
    return "tool_calls" if reason == "function_call" else reason


def _listed(logprobs: object) -> object:
    return logprobs.get("content") or logprobs.get("refusal") if isinstance(logprobs, dict) else None


def _usage(usage: object) -> Usage:
    if not isinstance(usage, dict):
        return Usage()
    read = usage.get("prompt_tokens_details")
    written = usage.get("completion_tokens_details")
    return Usage(
        count(usage.get("prompt_tokens")),
        count(usage.get("completion_tokens")),
        count(read.get("cached_tokens")) if isinstance(read, dict) else 0,
        count(read.get("cache_write_tokens")) if isinstance(read, dict) else 0,
        reasoning_tokens=count(written.get("reasoning_tokens")) if isinstance(written, dict) else 0,
    )
