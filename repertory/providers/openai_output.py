"""An OpenAI response object, read as a reply.

Source: https://platform.openai.com/docs/api-reference/responses/object.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from repertory.providers.assembly import content_of
from repertory.providers.failures import Peer
from repertory.providers.logprobs import openai_logprobs
from repertory.providers.messages import (
    LMResponse,
    Part,
    ReasoningPart,
    TextPart,
    TokenLogprob,
    ToolCallPart,
    Usage,
)
from repertory.providers.wire import count, items

CUTS = MappingProxyType({"max_output_tokens": "length", "content_filter": "content_filter"})


def response_of(reply: Mapping[str, Any], peer: Peer) -> LMResponse:
    """Return the reply that is in a response object. Raises LMReplyMalformed if there is none."""
    output = reply.get("output")
    if not isinstance(output, list):
        raise peer.malformed("output is missing or not a list")
    parts: list[Part] = []
    logprobs: list[TokenLogprob] = []
    refused = False
    for number, item in enumerate(output):
        match item:
            case {"type": "message", "content": list(contents)}:
                for content in contents:
                    match content:
                        case {"type": "output_text", "text": str(text)}:
                            parts.append(TextPart(text))
                            logprobs += openai_logprobs(content.get("logprobs"))
                        case {"type": "refusal", "refusal": str(text)}:
                            parts.append(TextPart(text))
                            refused = True
            case {"type": "function_call", "call_id": str(id), "name": str(name)}:
                parts.append(ToolCallPart(id, name, str(item.get("arguments") or "")))
            case {"type": "reasoning", **thought}:
                parts.append(_thought(thought))
            case {"type": "message" | "function_call" as kind}:
                raise peer.malformed(f"output[{number}] is no whole item of type {kind}")
    return LMResponse(
        content_of(tuple(parts)),
        "refusal" if refused else _finish_reason(reply, parts),
        _usage(reply.get("usage")),
        str(reply.get("model") or ""),
        str(reply.get("id") or ""),
        tuple(logprobs),
    )


def _thought(thought: Mapping[Any, Any]) -> ReasoningPart:
    pieces = [*items(thought.get("summary")), *items(thought.get("content"))]
    text = "\n\n".join(str(each.get("text") or "") for each in pieces if isinstance(each, dict))
    signature = str(thought.get("encrypted_content") or "")
    return ReasoningPart(text, signature, redacted=not text, id=str(thought.get("id") or ""))


def _finish_reason(reply: Mapping[str, Any], parts: list[Part]) -> str:
    match reply:
        case {"status": "incomplete", "incomplete_details": {"reason": str(reason)}}:
            return CUTS.get(reason, reason)
        case {"status": "completed"}:
            return "tool_calls" if any(isinstance(part, ToolCallPart) for part in parts) else "stop"
        case {"status": str(status)}:
            return status
    return "unknown"


def _usage(usage: object) -> Usage:
    if not isinstance(usage, dict):
        return Usage()
    read, written = usage.get("input_tokens_details"), usage.get("output_tokens_details")
    return Usage(
        count(usage.get("input_tokens")),
        count(usage.get("output_tokens")),
        count(read.get("cached_tokens")) if isinstance(read, dict) else 0,
        count(read.get("cache_write_tokens")) if isinstance(read, dict) else 0,
        reasoning_tokens=count(written.get("reasoning_tokens")) if isinstance(written, dict) else 0,
    )
