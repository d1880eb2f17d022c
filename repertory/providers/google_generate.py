"""Google's generateContent (Gemini) on the wire.

Source: https://ai.google.dev/api/generate-content.
"""

from base64 import b64encode
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote

import orjson
from pydantic import SecretStr

from repertory.providers import google_embeddings, google_models
from repertory.providers.assembly import Assembly
from repertory.providers.embeddings import EmbeddingProtocol
from repertory.providers.failures import Peer, parsed, read_object, stated_error
from repertory.providers.json_bytes import json_bytes
from repertory.providers.logprobs import google_logprobs
from repertory.providers.messages import (
    Choice,
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
    Thinking,
    TokenLogprob,
    ToolCallDelta,
    ToolCallPart,
    ToolDefinition,
    ToolResultPart,
    Usage,
    UsageDelta,
)
from repertory.providers.sse import ServerEvent
from repertory.providers.stored import StoredReplies
from repertory.providers.wire import Quirks, cannot_carry, count, items, known_effort

TOOL_CHOICES = MappingProxyType({"auto": "AUTO", "none": "NONE", "required": "ANY"})
FILTERED = frozenset(
    {
        *("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR", "ESCALATION"),
        *("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"),
    }
)
OPTIONS = MappingProxyType(  # of ours, and what they are called here
    {
        "temperature": "temperature",
        "top_p": "topP",
        "max_tokens": "maxOutputTokens",
        "seed": "seed",
    }
)
EFFORTS: Final[tuple[Effort, ...]] = ("minimal", "low", "medium", "high", "xhigh")
LACKS: tuple[str, ...] = ("parallel_tool_calls",)
EMBEDDINGS: EmbeddingProtocol | None = google_embeddings
STORED: StoredReplies | None = None
IDEMPOTENCY_HEADER: str | None = None
PROBE_PATH = google_models.PROBE_PATH

offers = google_models.offers


def headers(key: SecretStr | None) -> dict[str, SecretStr]:
    """The key; see ``WireProtocol``, as for the next ones."""
    return {} if key is None else {"x-goog-api-key": key}


def path(model: str, *, stream: bool) -> str:
    """The model is part of it; the base URL ends in ``/v1``."""
    name = quote(google_models.resource(model))
    return f"/{name}:streamGenerateContent?alt=sse" if stream else f"/{name}:generateContent"


def encode(request: LMRequest, model: str, quirks: Quirks, *, stream: bool = False) -> bytes:
    """Return the body that asks for a reply."""
    body: dict[str, object] = {"contents": _conversation(request.messages)}
    system = [each.text for each in request.messages if each.role in ("system", "developer")]
    if system:
        body["systemInstruction"] = {"parts": [{"text": text} for text in system]}
    if options := _options(request, quirks):
        body["generationConfig"] = options
    if request.tools:
        body["tools"] = [{"functionDeclarations": list(map(_tool, request.tools))}]
        body["toolConfig"] = {"functionCallingConfig": _tool_choice(request.tool_choice)}
    body.update(request.extra)
    return json_bytes(body)


def decode(body: bytes, peer: Peer) -> LMResponse:
    """Return the reply in the body of a 2xx answer; a prompt that was blocked is a reply without words."""
    stream = GenerateStream(peer)
    stream.take(read_object(body, peer))
    return stream.whole()


def decode_stream(peer: Peer) -> "GenerateStream":
    """Return a decoder of one streamed reply."""
    return GenerateStream(peer)


class GenerateStream:
    """Reads partial ``GenerateContentResponse`` objects. Nothing marks the last: it says why it ended."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._candidates: dict[int, _Candidate] = {}
        self._usage = Usage()
        self._blocked = ""
        self._model = ""
        self.id = ""
        self.ended = False

    def feed(self, event: ServerEvent) -> list[Delta]:
        """Return what the event brings."""
        answer = parsed(event.data)
        if not isinstance(answer, dict):
            raise self._peer.malformed("an event of its stream is not a JSON object")
        if answer.get("error"):
            raise stated_error(answer, event.data, self._peer)
        return self.take(answer)

    def take(self, answer: Mapping[str, Any]) -> list[Delta]:
        """Return what a part of the reply brings."""
        self._model = self._model or str(answer.get("modelVersion") or "")
        self.id = self.id or str(answer.get("responseId") or "")
        deltas: list[Delta] = []
        candidates = answer.get("candidates") or []
        if not isinstance(candidates, list):
            raise self._peer.malformed("candidates is not a list")
        for number, candidate in enumerate(candidates):
            if not isinstance(candidate, dict):
                raise self._peer.malformed(f"candidates[{number}] is not an object")
            index = candidate.get("index")
            index = index if type(index) is int else number
            taken = self._candidates.setdefault(index, _Candidate())
            deltas += taken.read(candidate, index, self._peer)
        match answer.get("promptFeedback"):
            case {"blockReason": str(reason)}:
                self._blocked = reason
        if isinstance(usage := answer.get("usageMetadata"), dict):
            self._usage = _usage(usage)
            deltas.append(UsageDelta(self._usage))
        return deltas

    def finish(self) -> LMResponse:
        """Return the whole reply."""
        finished = self._candidates and all(each.finish_reason for each in self._candidates.values())
        if not finished and not self._blocked:
            raise self._peer.broken_off()
        return self.whole()

    def whole(self) -> LMResponse:
        """Return what has come as the reply."""
        choices = [self._candidates[number].choice() for number in sorted(self._candidates)]
        if not choices:
            if not self._blocked:
                raise self._peer.malformed("candidates is missing or empty")
            choices = [Choice("", "content_filter")]
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


class _Candidate:
    """One of the replies."""

    def __init__(self) -> None:
        self.assembly = Assembly()
        self.finish_reason = ""
        self.logprobs: list[TokenLogprob] = []

    def read(self, candidate: Mapping[str, Any], number: int, peer: Peer) -> Iterator[Delta]:
        if isinstance(reason := candidate.get("finishReason"), str):
            self.finish_reason = reason
        self.logprobs += google_logprobs(candidate.get("logprobsResult"))
        content = candidate.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        deltas: list[Delta] = []
        for part in items(parts):
            if not isinstance(part, dict):
                raise peer.malformed("a part of its content is not an object")
            deltas += self._part(part, number)
        return iter(deltas)

    def choice(self) -> Choice:
        reason = self.finish_reason
        if reason in FILTERED:
            finish_reason = "content_filter"
        elif reason == "STOP":
            finish_reason = "tool_calls" if self.assembly.calls else "stop"
        else:
            finish_reason = {"MAX_TOKENS": "length", "": "unknown"}.get(reason, reason)
        return Choice(self.assembly.content(), finish_reason, tuple(self.logprobs))

    def _part(self, part: Mapping[str, Any], number: int) -> Iterator[Delta]:
        signature = str(part.get("thoughtSignature") or "")
        match part:
            case {"functionCall": {"name": str(name), **call}}:
                index = self.assembly.calls
                # Gemini does not always number its calls; their results are told by name then.
                id = str(call.get("id") or f"call_{index}")
                arguments = orjson.dumps(call.get("args") or {}).decode()
                self.assembly.call(index, id, name, arguments, signature=signature)
                yield ToolCallDelta(index, id, name, arguments, number)
            case {"thought": True, "text": str(text)}:
                self.assembly.thought(text)
                yield ReasoningDelta(text, number)
            case {"text": str(text)}:
                if signature:
                    self.assembly.thought("", signature=signature)
                if text:
                    self.assembly.text(text)
                    yield TextDelta(text, number)


def _options(request: LMRequest, quirks: Quirks) -> dict[str, object]:
    options: dict[str, object] = {
        wire: value for name, wire in OPTIONS.items() if (value := getattr(request, name)) is not None
    }
    if request.stop:
        options["stopSequences"] = request.stop
    if request.n != 1:
        options["candidateCount"] = request.n
    if request.top_logprobs is not None:
        options["responseLogprobs"] = True
        if request.top_logprobs:
            options["logprobs"] = request.top_logprobs
    if request.response_schema is not None and quirks.constrains:
        options["responseMimeType"] = "application/json"
        options["responseJsonSchema"] = request.response_schema
    if request.thinking is not None:
        options["thinkingConfig"] = _thinking(request.thinking)
    return options


def _thinking(thinking: Thinking) -> dict[str, object]:
    if thinking.effort == "none":
        return {"thinkingBudget": 0}
    options: dict[str, object] = {"includeThoughts": True}
    if thinking.tokens is not None:
        options["thinkingBudget"] = thinking.tokens
    if thinking.effort is not None:
        options["thinkingLevel"] = known_effort(thinking, EFFORTS, "Google's protocol").upper()
    return options


def _conversation(messages: tuple[Message, ...]) -> list[dict[str, object]]:
    """The turns; those that follow each other in the same role are one, results of tools being the user's."""
    turns: list[tuple[str, list[dict[str, object]]]] = []
    for message in messages:
        if message.role in ("system", "developer"):
            continue
        role = "model" if message.role == "assistant" else "user"
        if not turns or turns[-1][0] != role:
            turns.append((role, []))
        turns[-1][1].extend(_parts(message.parts))
    return [{"role": role, "parts": parts} for role, parts in turns]


def _parts(parts: tuple[Part, ...]) -> Iterator[dict[str, object]]:
    signature = ""  # of a thought, which goes with the part after it
    for part in parts:
        wire: dict[str, object]
        match part:
            case ReasoningPart():
                signature = part.signature
                continue
            case TextPart(text):
                wire = {"text": text}
            case ToolCallPart(id, name):
                wire = {"functionCall": {"id": id, "name": name, "args": part.parsed() or {}}}
                signature = part.signature or signature
            case ToolResultPart(call_id, name, content, failed):
                value = parsed(content.encode())
                response = (
                    value if isinstance(value, dict) and not failed else {"error" if failed else "output": content}
                )
                wire = {"functionResponse": {"id": call_id, "name": name, "response": response}}
            case MediaPart(data=bytes(data)):
                wire = {"inlineData": {"mimeType": part.mime, "data": b64encode(data).decode()}}
            case MediaPart(url=str(url)) if part.mime:
                wire = {"fileData": {"mimeType": part.mime, "fileUri": url}}
            case _:
                raise cannot_carry("Google's protocol", part, "or name the media type beside the URL")
        if signature:
            wire["thoughtSignature"] = signature
            signature = ""
        yield wire


def _tool(tool: ToolDefinition) -> dict[str, object]:
    return {"name": tool.name, "description": tool.description, "parametersJsonSchema": tool.parameters}


def _tool_choice(choice: str) -> dict[str, object]:
    mode = TOOL_CHOICES.get(choice)
    return {"mode": mode} if mode else {"mode": "ANY", "allowedFunctionNames": [choice]}


def _usage(usage: Mapping[str, Any]) -> Usage:
    thoughts = count(usage.get("thoughtsTokenCount"))
    return Usage(
        count(usage.get("promptTokenCount")) + count(usage.get("toolUsePromptTokenCount")),
        count(usage.get("candidatesTokenCount")) + thoughts,
        count(usage.get("cachedContentTokenCount")),
        reasoning_tokens=thoughts,
    )
