"""What a server says in each protocol: replies, streams and errors around words of the test's choice."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import orjson

from repertory.providers import anthropic_messages, google_generate, openai_chat, openai_responses
from repertory.providers.messages import Usage
from repertory.providers.wire import WireProtocol

Complaint: TypeAlias = Literal["overloaded", "rate limit", "invalid", "key"]

USAGE = Usage(11, 7)
"""What every reply is counted as."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """One protocol as its server speaks it. Pieces of streams are events.

    Attributes:
        protocol: Our side of it.
        id: What all replies are called; see `named`.
        reply: The body of a reply that says the text.
        opening: What comes before the first word.
        word: A word.
        closing: What tells how the reply ended and counts it, where that is not the end itself.
        end: After which nothing follows; empty where nothing says so.
        error: The body of an error answer, which says the text.
        error_event: The same in a stream.
    """

    protocol: WireProtocol
    id: str
    reply: Callable[[str], bytes]
    opening: Callable[[], bytes]
    word: Callable[[str], bytes]
    closing: Callable[[str], bytes]
    end: Callable[[str], bytes]
    error: Callable[[Complaint, str], bytes]
    error_event: Callable[[Complaint, str], bytes]

    def stream(self, *words: str) -> tuple[bytes, ...]:
        """A whole stream, event by event."""
        text = "".join(words)
        return (self.opening(), *map(self.word, words), self.closing(text), self.end(text))

    def named(self, piece: bytes, id: str) -> bytes:
        """A reply, or a piece of a stream, that is called ``id``."""
        return piece.replace(b'"%b"' % self.id.encode(), b'"%b"' % id.encode())


def event(data: object, name: str = "") -> bytes:
    """A server-sent event."""
    return (f"event: {name}\n".encode() if name else b"") + b"data: " + orjson.dumps(data) + b"\n\n"


def typed(**data: Any) -> bytes:
    """A server-sent event that is named as its data's type."""
    return event(data, data["type"])


# --- OpenAI Chat Completions ---------------------------------------------------------------------------------

CHAT_USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
OPENAI_ERRORS: Mapping[Complaint, dict[str, str]] = MappingProxyType(
    {
        "overloaded": {"type": "server_error", "code": "server_error"},
        "rate limit": {"type": "tokens", "code": "rate_limit_exceeded"},
        "invalid": {"type": "invalid_request_error", "code": "invalid_prompt"},
        "key": {"type": "invalid_request_error", "code": "invalid_api_key"},
    }
)


def _chat(text: str) -> bytes:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return orjson.dumps({"id": "c-1", "model": "m", "choices": [choice], "usage": CHAT_USAGE})


def _chat_piece(finish_reason: str | None = None, **delta: str) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return event({"id": "c-1", "model": "m", "choices": [choice]})


def _openai_error(complaint: Complaint, text: str) -> bytes:
    return orjson.dumps({"error": {"message": text, "param": None, **OPENAI_ERRORS[complaint]}})


OPENAI = Dialect(
    openai_chat,
    "c-1",
    reply=_chat,
    opening=lambda: _chat_piece(role="assistant", content=""),
    word=lambda word: _chat_piece(content=word),
    closing=lambda text: _chat_piece("stop") + event({"choices": [], "usage": CHAT_USAGE}),
    end=lambda text: b"data: [DONE]\n\n",
    error=_openai_error,
    error_event=lambda complaint, text: b"data: " + _openai_error(complaint, text) + b"\n\n",
)

# --- OpenAI Responses ----------------------------------------------------------------------------------------


def _response(text: str, status: str = "completed") -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    message = {"type": "message", "id": "m-1", "role": "assistant", "status": status, "content": content}
    usage = {"input_tokens": 11, "output_tokens": 7, "total_tokens": 18}
    done = {"output": [message], "usage": usage} if status == "completed" else {"output": []}
    return {"id": "r-1", "object": "response", "model": "m", "status": status, **done}


RESPONSES = Dialect(
    openai_responses,
    "r-1",
    reply=lambda text: orjson.dumps(_response(text)),
    opening=lambda: typed(type="response.created", response=_response("", "in_progress")),
    word=lambda word: typed(type="response.output_text.delta", output_index=0, delta=word),
    closing=lambda text: typed(type="response.output_text.done", output_index=0, text=text),
    end=lambda text: typed(type="response.completed", response=_response(text)),
    error=_openai_error,
    error_event=lambda complaint, text: typed(
        type="error", code=OPENAI_ERRORS[complaint]["code"], message=text, param=None
    ),
)

# --- Anthropic Messages --------------------------------------------------------------------------------------

ANTHROPIC_ERRORS: Mapping[Complaint, str] = MappingProxyType(
    {
        "overloaded": "overloaded_error",
        "rate limit": "rate_limit_error",
        "invalid": "invalid_request_error",
        "key": "authentication_error",
    }
)


def _message(text: str, **more: Any) -> dict[str, Any]:
    return {
        "id": "msg-1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 11, "output_tokens": 7},
        **more,
    }


def _anthropic_error(complaint: Complaint, text: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": ANTHROPIC_ERRORS[complaint], "message": text}}


ANTHROPIC = Dialect(
    anthropic_messages,
    "msg-1",
    reply=lambda text: orjson.dumps(_message(text)),
    opening=lambda: (
        typed(type="message_start", message=_message("", content=[], stop_reason=None))
        + typed(type="content_block_start", index=0, content_block={"type": "text", "text": ""})
        + typed(type="ping")
    ),
    word=lambda word: typed(type="content_block_delta", index=0, delta={"type": "text_delta", "text": word}),
    closing=lambda text: (
        typed(type="content_block_stop", index=0)
        + typed(type="message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 7})
    ),
    end=lambda text: typed(type="message_stop"),
    error=lambda complaint, text: orjson.dumps(_anthropic_error(complaint, text)),
    error_event=lambda complaint, text: event(_anthropic_error(complaint, text), "error"),
)

# --- Google generateContent ----------------------------------------------------------------------------------

GOOGLE_ERRORS: Mapping[Complaint, dict[str, Any]] = MappingProxyType(
    {
        "overloaded": {"code": 503, "status": "UNAVAILABLE"},
        "rate limit": {"code": 429, "status": "RESOURCE_EXHAUSTED"},
        "invalid": {"code": 400, "status": "INVALID_ARGUMENT"},
        "key": {"code": 401, "status": "UNAUTHENTICATED"},
    }
)


def _generated(text: str, finished: bool) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": [{"text": text}]}, "index": 0}
    whole: dict[str, Any] = {"modelVersion": "m", "responseId": "g-1", "candidates": [candidate]}
    if finished:
        candidate["finishReason"] = "STOP"
        whole["usageMetadata"] = {"promptTokenCount": 11, "candidatesTokenCount": 7, "totalTokenCount": 18}
    return whole


def _google_error(complaint: Complaint, text: str) -> dict[str, Any]:
    return {"error": {"message": text, **GOOGLE_ERRORS[complaint]}}


GOOGLE = Dialect(
    google_generate,
    "g-1",
    reply=lambda text: orjson.dumps(_generated(text, finished=True)),
    opening=lambda: b"",
    word=lambda word: event(_generated(word, finished=False)),
    closing=lambda text: event(_generated("", finished=True)),
    end=lambda text: b"",
    error=lambda complaint, text: orjson.dumps(_google_error(complaint, text)),
    error_event=lambda complaint, text: event(_google_error(complaint, text)),
)

DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {"openai": OPENAI, "responses": RESPONSES, "anthropic": ANTHROPIC, "google": GOOGLE}
)
