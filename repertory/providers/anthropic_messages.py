"""Anthropic's Messages API on the wire.

Source: https://platform.claude.com/docs/en/api/messages, .../api/versioning and .../build-with-claude/streaming.
"""

from base64 import b64encode
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

import orjson
from pydantic import SecretStr

from repertory.errors import LMRequestRejected
from repertory.providers.assembly import Assembly, content_of
from repertory.providers.embeddings import EmbeddingProtocol
from repertory.providers.failures import Peer, parsed, read_object, stated_error
from repertory.providers.json_bytes import json_bytes
from repertory.providers.messages import (
    Delta,
    Effort,
    LMRequest,
    LMResponse,
    MediaPart,
    Message,
    Part,
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
from repertory.providers.probe import names_in
from repertory.providers.sse import ServerEvent
from repertory.providers.stored import StoredReplies
from repertory.providers.wire import Quirks, cannot_carry, count, known_effort

VERSION = "2026-10-21"
CACHED = MappingProxyType({"type": "ephemeral"})
TOOL_CHOICES = MappingProxyType({"auto": "auto", "none": "none", "required": "any"})
FINISH_REASONS = MappingProxyType(
    {
        "end_turn": "stop",
        "stop_sequence": "stop",
        "max_tokens": "length",
        "model_context_window_exceeded": "length",
        "tool_use": "tool_calls",
        "refusal": "refusal",
    }
)
EFFORTS: Final[tuple[Effort, ...]] = ("low", "medium", "high", "xhigh", "max")
LACKS: tuple[str, ...] = ("seed", "n", "top_logprobs")
EMBEDDINGS: EmbeddingProtocol | None = None  # https://platform.claude.com/docs/en/build-with-claude/embeddings
STORED: StoredReplies | None = None
# Its API heeds none, so that a header would promise what is not kept:
# https://github.com/anthropics/anthropic-sdk-typescript/pull/1144
IDEMPOTENCY_HEADER: str | None = None
PROBE_PATH = "/models?limit=1000"


def headers(key: SecretStr | None) -> dict[str, SecretStr]:
    """The key and the version of the protocol; see ``WireProtocol``, as for the next ones."""
    version = {"anthropic-version": SecretStr(VERSION)}
    return version if key is None else {"x-api-key": key, **version}


def path(model: str, *, stream: bool) -> str:
    """Always the same; the base URL ends in ``/v1``."""
    return "/messages"


def offers(body: bytes, peer: Peer) -> tuple[str, ...]:
    """The models in the answer to ``PROBE_PATH``."""
    return names_in(body, "data", "id", peer)


def encode(request: LMRequest, model: str, quirks: Quirks, *, stream: bool = False) -> bytes:
    """Return the body that asks ``model`` for a reply."""
    body: dict[str, object] = {
        "model": model,
        "max_tokens": quirks.default_max_tokens if request.max_tokens is None else request.max_tokens,
        "messages": _conversation(request.messages),
    }
    if system := _system(request.messages):
        body["system"] = system
    for name in ("temperature", "top_p"):
        if (value := getattr(request, name)) is not None:
            body[name] = value
    if request.stop:
        body["stop_sequences"] = request.stop
    if request.tools:
        body["tools"] = list(map(_tool, request.tools))
        body["tool_choice"] = _tool_choice(request)
    output: dict[str, object] = {}
    if (thinking := request.thinking) is not None:
        if thinking.effort == "none":
            body["thinking"] = {"type": "disabled"}
        elif thinking.tokens is not None:
            body["thinking"] = {"type": "enabled", "budget_tokens": thinking.tokens}
        if thinking.effort not in (None, "none"):
            output["effort"] = known_effort(thinking, EFFORTS, "Anthropic's protocol")
    if request.response_schema is not None and quirks.constrains:
        output["format"] = {"type": "json_schema", "schema": request.response_schema}
    if output:
        body["output_config"] = output
    if stream:
        body["stream"] = True
    body.update(request.extra)
    return json_bytes(body)


def decode(body: bytes, peer: Peer) -> LMResponse:
    """Return the reply in the body of a 2xx answer."""
    reply = read_object(body, peer)
    blocks = reply.get("content")
    if not isinstance(blocks, list):
        raise peer.malformed("content is missing or not a list")
    parts = tuple(part for number, block in enumerate(blocks) for part in _part(number, block, peer))
    return LMResponse(
        content_of(parts) or _explanation(reply),
        _finish_reason(reply.get("stop_reason")),
        _usage(reply.get("usage")),
        str(reply.get("model") or ""),
        str(reply.get("id") or ""),
    )


def decode_stream(peer: Peer) -> "MessagesStream":
    """Return a decoder of one streamed reply."""
    return MessagesStream(peer)


class MessagesStream:
    """Reads ``message_start``, ``content_block_*``, ``message_delta`` and ``message_stop`` events.

    Events of other kinds are passed over, as the protocol asks for.
    """

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._assembly = Assembly()
        self._calls: dict[int, int] = {}  # number of the block -> number of the call
        self._counts: dict[str, Any] = {}
        self._finish_reason: object = None
        self._explanation = ""
        self._model = ""
        self.id = ""
        self.ended = False

    def feed(self, event: ServerEvent) -> list[Delta]:
        """Return what the event brings."""
        data = parsed(event.data)
        if not isinstance(data, dict):
            raise self._peer.malformed("an event of its stream is not a JSON object")
        match data:
            case {"type": "content_block_delta", "delta": dict(delta)}:
                return self._continue(count(data.get("index")), delta)
            case {"type": "content_block_start", "content_block": dict(block)}:
                return self._begin(count(data.get("index")), block)
            case {"type": "message_start", "message": dict(message)}:
                self._model, self.id = str(message.get("model") or ""), str(message.get("id") or "")
                return self._count(message.get("usage"))
            case {"type": "message_delta", "delta": dict(delta)}:
                self._finish_reason = delta.get("stop_reason") or self._finish_reason
                self._explanation = _explanation(delta) or self._explanation
                return self._count(data.get("usage"))
            case {"type": "message_stop"}:
                self.ended = True
            case {"type": "error"} | {"error": dict()}:
                raise stated_error(data, event.data, self._peer)
        return []

    def finish(self) -> LMResponse:
        """Return the whole reply."""
        if not self.ended and self._finish_reason is None:
            raise self._peer.broken_off()
        return LMResponse(
            self._assembly.content() or self._explanation,
            _finish_reason(self._finish_reason),
            _usage(self._counts),
            self._model,
            self.id,
        )

    def _begin(self, index: int, block: Mapping[str, Any]) -> list[Delta]:
        match block:
            case {"type": "tool_use", "id": str(id), "name": str(name)}:
                call = self._calls[index] = len(self._calls)
                # The input stands here whole only where it does not come in pieces.
                arguments = orjson.dumps(block["input"]).decode() if block.get("input") else ""
                self._assembly.call(call, id, name, arguments)
                return [ToolCallDelta(call, id, name, arguments)]
            case {"type": "redacted_thinking", "data": str(data)}:
                self._assembly.redacted(data)
            case {"type": "text", "text": str(text)} if text:
                self._assembly.text(text)
                return [TextDelta(text)]
        return []

    def _continue(self, index: int, delta: Mapping[str, Any]) -> list[Delta]:
        match delta:
            case {"type": "text_delta", "text": str(text)}:
                self._assembly.text(text)
                return [TextDelta(text)]
            case {"type": "thinking_delta", "thinking": str(thought)}:
                self._assembly.thought(thought)
                return [ReasoningDelta(thought)]
            case {"type": "signature_delta", "signature": str(signature)}:
                self._assembly.thought("", signature=signature)
            case {"type": "input_json_delta", "partial_json": str(piece)}:
                call = self._calls.get(index)
                if call is None:
                    raise self._peer.malformed(f"its stream continues a call at block {index} that never began")
                self._assembly.call(call, "", "", piece)
                return [ToolCallDelta(call, "", "", piece)]
        return []

    def _count(self, usage: object) -> list[Delta]:
        if not isinstance(usage, dict):
            return []
        # Counts are totals so far; those that a later event leaves out or nulls stay.
        self._counts.update({name: value for name, value in usage.items() if value is not None})
        return [UsageDelta(_usage(self._counts))]


def _system(messages: tuple[Message, ...]) -> str | list[dict[str, object]]:
    """The instructions, wherever they stand: text, or blocks where one of them is marked for the cache."""
    turns = [each for each in messages if each.role in ("system", "developer")]
    if not any(each.cache for each in turns):
        return "\n\n".join(each.text for each in turns)
    return [block for each in turns for block in _marked([{"type": "text", "text": each.text}], each.cache)]


def _conversation(messages: tuple[Message, ...]) -> list[dict[str, object]]:
    """The turns; those that follow each other in the same role are one, results of tools being the user's."""
    turns: list[tuple[str, list[dict[str, object]]]] = []
    for message in messages:
        if message.role in ("system", "developer"):
            continue
        role = "assistant" if message.role == "assistant" else "user"
        if not turns or turns[-1][0] != role:
            turns.append((role, []))
        turns[-1][1].extend(_marked(list(map(_block, message.parts)), message.cache))
    return [{"role": role, "content": _compact(_results_first(blocks))} for role, blocks in turns]


def _results_first(blocks: list[dict[str, object]]) -> list[dict[str, object]]:
    """Results stand before what else is in their turn, or the turn is refused."""
    # https://platform.claude.com/docs/en/agents-and-tools/tool-use/handle-tool-calls
    return blocks if len(blocks) == 1 else sorted(blocks, key=lambda block: block["type"] != "tool_result")


def _compact(blocks: list[dict[str, object]]) -> object:
    """A lone text without a mark as a string."""
    match blocks:
        case [{"type": "text", "text": text, **marks}] if not marks:
            return text
    return blocks


def _marked(blocks: list[dict[str, object]], cache: bool) -> list[dict[str, object]]:
    if cache and blocks:
        blocks[-1] = {**blocks[-1], "cache_control": CACHED}
    return blocks


def _block(part: Part) -> dict[str, object]:
    match part:
        case TextPart(text):
            return {"type": "text", "text": text}
        case ToolCallPart():
            if (arguments := part.parsed()) is None:
                raise LMRequestRejected(
                    f"messages: the call {part.id!r} of {part.name} has arguments that are not a JSON object",
                    hint="Anthropic takes only objects back: mend the arguments, or leave the call out.",
                )
            return {"type": "tool_use", "id": part.id, "name": part.name, "input": arguments}
        case ToolResultPart(call_id, _, content, failed):
            block: dict[str, object] = {"type": "tool_result", "tool_use_id": call_id, "content": content}
            return {**block, "is_error": True} if failed else block
        case ReasoningPart(redacted=True):
            return {"type": "redacted_thinking", "data": part.signature}
        case ReasoningPart():
            return {"type": "thinking", "thinking": part.text, "signature": part.signature}
        case MediaPart():
            return _media(part)


def _media(part: MediaPart) -> dict[str, object]:
    # https://docs.anthropic.com/en/docs/build-with-claude/vision and .../pdf-support
    kind = "image" if part.kind == "image" else "document"
    source: dict[str, object]
    match part:
        case MediaPart(kind="image" | "file", url=str(url)):
            source = {"type": "url", "url": url}
        case MediaPart(kind="file", data=bytes(data)) if part.mime.startswith("text/"):
            source = {"type": "text", "media_type": "text/plain", "data": data.decode(errors="replace")}
        case MediaPart(kind="image", data=bytes(data)):
            source = {"type": "base64", "media_type": part.mime, "data": b64encode(data).decode()}
        case MediaPart(kind="file", mime="application/pdf", data=bytes(data)):
            source = {"type": "base64", "media_type": part.mime, "data": b64encode(data).decode()}
        case _:
            raise cannot_carry("Anthropic's protocol", part, "documents as PDF or text; no audio")
    block: dict[str, object] = {"type": kind, "source": source}
    return {**block, "title": part.name} if kind == "document" and part.name else block


def _tool(tool: ToolDefinition) -> dict[str, object]:
    wire: dict[str, object] = {
        "name": tool.name,
        "description": tool.description,
        "input_schema": tool.parameters,
    }
    return {**wire, "strict": True} if tool.strict else wire


def _tool_choice(request: LMRequest) -> dict[str, object]:
    choice = request.tool_choice
    kind = TOOL_CHOICES.get(choice)
    wire: dict[str, object] = {"type": kind} if kind else {"type": "tool", "name": choice}
    if request.parallel_tool_calls is not None and kind != "none":
        wire["disable_parallel_tool_use"] = not request.parallel_tool_calls
    return wire


def _part(number: int, block: Any, peer: Peer) -> Iterator[Part]:
    match block:
        case {"type": "text", "text": str(text)}:
            yield TextPart(text)
        case {"type": "tool_use", "id": str(id), "name": str(name)}:
            yield ToolCallPart(id, name, orjson.dumps(block.get("input") or {}).decode())
        case {"type": "thinking", "thinking": str(thought)}:
            yield ReasoningPart(thought, str(block.get("signature") or ""))
        case {"type": "redacted_thinking", "data": str(data)}:
            yield ReasoningPart("", data, redacted=True)
        case {"type": "text" | "tool_use" | "thinking" | "redacted_thinking" as kind}:
            raise peer.malformed(f"content[{number}] is no whole block of type {kind}")
        case {"type": str()}:
            pass  # a kind of block that came later; the protocol asks to pass over these
        case _:
            raise peer.malformed(f"content[{number}] is not a block")


def _finish_reason(reason: object) -> str:
    return FINISH_REASONS.get(reason, reason) if isinstance(reason, str) else "unknown"


def _explanation(reply: Mapping[str, Any]) -> str:
    """Why the provider stopped the model, where it says so in words; they stand for a refusal that has none."""
    match reply.get("stop_details"):
        case {"type": "refusal", "explanation": str(explanation)}:
            return explanation
    return ""


def _usage(usage: object) -> Usage:
    if not isinstance(usage, dict):
        return Usage()
    read, written = count(usage.get("cache_read_input_tokens")), count(usage.get("cache_creation_input_tokens"))
    details = usage.get("output_tokens_details")
    return Usage(
        count(usage.get("input_tokens")) + read + written,  # what is sent here leaves out the cache's share
        count(usage.get("output_tokens")),
        read,
        written,
        count(details.get("thinking_tokens")) if isinstance(details, dict) else 0,
    )
