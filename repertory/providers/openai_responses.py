"""OpenAI's Responses API on the wire; every call carries its conversation, whether or not the provider keeps it.

Source: https://platform.openai.com/docs/api-reference/responses and .../responses-streaming.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from repertory.providers import openai_chat, openai_stored
from repertory.providers.failures import Peer, parsed, read_object, stated_error
from repertory.providers.json_bytes import json_bytes
from repertory.providers.messages import (
    Delta,
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
    UsageDelta,
)
from repertory.providers.openai_output import response_of
from repertory.providers.openai_turns import data_uri
from repertory.providers.sse import ServerEvent
from repertory.providers.stored import StoredReplies
from repertory.providers.wire import Quirks, cannot_carry, count

ENDINGS = frozenset({"response.completed", "response.incomplete", "response.failed"})
BEGINNINGS = frozenset({"response.created", "response.queued", "response.in_progress"})
LACKS: tuple[str, ...] = ("seed", "n", "stop")

EMBEDDINGS = openai_chat.EMBEDDINGS
STORED: StoredReplies | None = openai_stored
PROBE_PATH = openai_chat.PROBE_PATH
IDEMPOTENCY_HEADER = openai_chat.IDEMPOTENCY_HEADER

headers = openai_chat.headers
offers = openai_chat.offers


def path(model: str, *, stream: bool) -> str:
    """Always the same."""
    return "/responses"


def encode(request: LMRequest, model: str, quirks: Quirks, *, stream: bool = False) -> bytes:
    """Return the body that asks ``model`` for a reply."""
    body: dict[str, object] = {
        "model": model,
        "input": [item for message in request.messages for item in _items(message, quirks)],
        "store": False,
        # Without storage a thought can only be taken up again if it comes along, encrypted.
        "include": ["reasoning.encrypted_content"],
    }
    for name in ("temperature", "top_p"):
        if (value := getattr(request, name)) is not None:
            body[name] = value
    if request.max_tokens is not None:
        body["max_output_tokens"] = request.max_tokens
    if request.response_schema is not None and quirks.constrains:
        schema = {"type": "json_schema", "name": request.schema_name, "strict": True}
        body["text"] = {"format": {**schema, "schema": request.response_schema}}
    if request.tools:
        body["tools"] = list(map(_tool, request.tools))
        if request.parallel_tool_calls is not None:  # refused where there are no tools
            body["parallel_tool_calls"] = request.parallel_tool_calls
        choice = request.tool_choice
        body["tool_choice"] = (
            choice if choice in openai_chat.PLAIN_CHOICES else {"type": "function", "name": choice}
        )
    if request.top_logprobs is not None:
        body["top_logprobs"] = request.top_logprobs
        body["include"] = ["reasoning.encrypted_content", "message.output_text.logprobs"]
    if request.thinking is not None:
        body["reasoning"] = {"summary": "auto", "effort": openai_chat.effort(request.thinking)}
    if stream:
        body["stream"] = True
    body.update(request.extra)
    return json_bytes(body)


def decode(body: bytes, peer: Peer) -> LMResponse:
    """Return the reply in the body of a 2xx answer."""
    return response_of(read_object(body, peer), peer)


def decode_stream(peer: Peer) -> "ResponsesStream":
    """Return a decoder of one streamed reply."""
    return ResponsesStream(peer)


class ResponsesStream:
    """Reads the ``response.*`` events; the last one brings the whole reply, which is what counts."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._calls: dict[int, int] = {}  # output_index -> number of the call
        self._response: LMResponse | None = None
        self.id = ""

    @property
    def ended(self) -> bool:
        """Whether the whole reply has come."""
        return self._response is not None

    def feed(self, event: ServerEvent) -> list[Delta]:
        """Return what the event brings."""
        if event.data.strip() == b"[DONE]":
            return []
        data = parsed(event.data)
        if not isinstance(data, dict):
            raise self._peer.malformed("an event of its stream is not a JSON object")
        match data:
            case {"type": "response.output_text.delta" | "response.refusal.delta", "delta": str(text)}:
                return [TextDelta(text)]
            case {
                "type": "response.reasoning_summary_text.delta" | "response.reasoning_text.delta",
                "delta": str(text),
            }:
                return [ReasoningDelta(text)]
            case {"type": "response.output_item.added", "item": {"type": "function_call", **item}}:
                index = self._calls.setdefault(count(data.get("output_index")), len(self._calls))
                return [ToolCallDelta(index, str(item.get("call_id") or ""), str(item.get("name") or ""), "")]
            case {"type": "response.function_call_arguments.delta", "delta": str(piece)}:
                index = self._calls.setdefault(count(data.get("output_index")), len(self._calls))
                return [ToolCallDelta(index, "", "", piece)]
            case {"type": str(kind), "response": dict(response)} if kind in ENDINGS:
                return self._end(response, event.data)
            case {"type": str(kind), "response": {"id": str(id)}} if kind in BEGINNINGS:
                self.id = id
            case {"type": "error", **said}:
                raise stated_error({"error": said.get("error") or said}, event.data, self._peer)
            case {"error": dict() | str()}:
                raise stated_error(data, event.data, self._peer)
        return []

    def finish(self) -> LMResponse:
        """Return the whole reply."""
        if self._response is None:
            raise self._peer.broken_off()
        return self._response

    def _end(self, response: Mapping[str, Any], data: bytes) -> list[Delta]:
        if response.get("error"):
            raise stated_error(response, data, self._peer)
        self._response = response_of(response, self._peer)
        self.id = self._response.id
        return [UsageDelta(self._response.usage)]


def _items(message: Message, quirks: Quirks) -> Iterator[dict[str, object]]:
    """The items on the wire: a turn's words and media are one, each call, result and thought one of its own."""
    role = "system" if message.role == "developer" and not quirks.has_developer else message.role
    if role == "tool":  # what a tool gave beside its result; results themselves are no turns here
        role = "user"
    if isinstance(message.content, str):
        yield _turn(role, message.content)
        return
    said: list[dict[str, object]] = []
    for part in message.content:
        if isinstance(part, TextPart | MediaPart):
            said.append(_content(part, role))
            continue
        if said:
            yield _turn(role, said)
            said = []
        yield _item(part)
    if said:
        yield _turn(role, said)


def _turn(role: str, content: str | list[dict[str, object]]) -> dict[str, object]:
    turn: dict[str, object] = {"role": role, "content": content}
    # OpenAI's own server needs it for no turn, llama.cpp's for the model's.
    return {"type": "message", **turn} if role == "assistant" else turn


def _item(part: ToolCallPart | ToolResultPart | ReasoningPart) -> dict[str, object]:
    match part:
        case ToolCallPart(id, name, arguments):
            return {"type": "function_call", "call_id": id, "name": name, "arguments": arguments}
        case ToolResultPart(call_id, _, content):
            return {"type": "function_call_output", "call_id": call_id, "output": content}
        case ReasoningPart(text, signature):
            summary = [{"type": "summary_text", "text": text}] if text else []
            return {"type": "reasoning", "id": part.id, "summary": summary, "encrypted_content": signature}


def _content(part: TextPart | MediaPart, role: str) -> dict[str, object]:
    match part:
        case TextPart(text):
            return {"type": "output_text" if role == "assistant" else "input_text", "text": text}
        case MediaPart(kind="image", url=str(url)):
            return {"type": "input_image", "image_url": url, "detail": "auto"}
        case MediaPart(kind="image", data=bytes(data)):
            return {"type": "input_image", "image_url": data_uri(part.mime, data), "detail": "auto"}
        case MediaPart(kind="file", url=str(url)):
            return {"type": "input_file", "file_url": url}
        case MediaPart(kind="file", data=bytes(data)):
            content = data_uri(part.mime, data)
            return {"type": "input_file", "filename": part.name or "document", "file_data": content}
    # https://developers.openai.com/api/docs/guides/audio-chat-completions: recordings go elsewhere.
    raise cannot_carry("OpenAI's Responses protocol", part, "audio through OpenAI's chat protocol: openai/NAME")


def _tool(tool: ToolDefinition) -> dict[str, object]:
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
        "strict": tool.strict,
    }
