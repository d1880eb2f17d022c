"""A reply as JSON, to be kept and read again: every part of it, media as base64 (RFC 4648)."""

import math
from base64 import b64decode, b64encode
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, TypeAlias

import orjson

from repertory.providers.json_bytes import json_bytes
from repertory.providers.messages import (
    Choice,
    Content,
    LMResponse,
    MediaPart,
    Part,
    ReasoningPart,
    TextPart,
    TokenLogprob,
    ToolCallPart,
    ToolResultPart,
    Usage,
)

VERSION = 1  # of the form below; texts of another one are not read

Source: TypeAlias = Literal["model", "cache", "stale"]

Form: TypeAlias = dict[str, Any]
"""A JSON object, before it is written or after it was read."""


def to_json(response: LMResponse) -> bytes:
    """Return ``response`` as a JSON text.

    Raises:
        TypeError: It holds text that is not valid Unicode, which no reply from a wire does.
    """
    usage = response.usage
    form: Form = {
        "v": VERSION,
        "content": _content(response.content),
        "finish_reason": response.finish_reason,
        "usage": (
            usage.input_tokens,
            usage.output_tokens,
            usage.cached_tokens,
            usage.cache_write_tokens,
            usage.reasoning_tokens,
        ),
        "model": response.model,
        "id": response.id,
        "source": response.source,
    }
    if response.logprobs:
        form["logprobs"] = list(map(_logprob, response.logprobs))
    if response.others:
        form["others"] = [
            (_content(other.content), other.finish_reason, list(map(_logprob, other.logprobs)))
            for other in response.others
        ]
    if response.cost is not None:
        form["cost"] = str(response.cost)
    if response.emulated:
        form["emulated"] = response.emulated
    return json_bytes(form)


def from_json(text: bytes, source: Source | None = None) -> LMResponse | None:
    """Return the reply that ``to_json`` wrote as ``text``; None if it is damaged or of another version.

    Args:
        text: JSON.
        source: Where the reply comes from this time: it costs nothing then. None leaves both as they were.
    """
    try:
        form = orjson.loads(text)
        if form["v"] != VERSION:
            return None
        cost = form.get("cost") if source is None else "0"
        return LMResponse(
            _read_content(form["content"]),
            _str(form["finish_reason"]),
            _read_usage(form["usage"]),
            _str(form["model"]),
            _str(form["id"]),
            tuple(map(_read_logprob, _list(form.get("logprobs", [])))),
            tuple(map(_read_choice, _list(form.get("others", [])))),
            None if cost is None else Decimal(_str(cost)),
            source or _source(form["source"]),
            tuple(map(_str, _list(form.get("emulated", [])))),
        )
    # What damage comes to: no JSON or base64 (ValueError), a field that is missing, of another type, too many.
    except (ValueError, LookupError, TypeError, InvalidOperation):
        return None


def _content(content: Content) -> str | list[Form]:
    return content if isinstance(content, str) else list(map(_part, content))


def _part(part: Part) -> Form:
    match part:
        case TextPart(text):
            return {"text": text}
        case MediaPart(kind, mime, data, url, name):
            encoded = None if data is None else b64encode(data).decode()
            return {"media": kind, "mime": mime, "data": encoded, "url": url, "name": name}
        case ToolCallPart(id, name, arguments, signature):
            return {"call": id, "name": name, "arguments": arguments, "signature": signature}
        case ToolResultPart(call_id, name, content, failed):
            return {"result": call_id, "name": name, "content": content, "failed": failed}
        case ReasoningPart(text, signature, redacted, id):
            return {"reasoning": text, "signature": signature, "redacted": redacted, "id": id}


def _logprob(token: TokenLogprob) -> tuple[object, ...]:
    return token.token, _number(token.logprob), [(each, _number(value)) for each, value in token.top]


def _number(value: float) -> float | str:
    # JSON has no infinity, and a token may be that unlikely.
    return value if math.isfinite(value) else repr(value)


def _read_content(value: object) -> Content:
    return value if isinstance(value, str) else tuple(map(_read_part, _list(value)))


def _read_part(form: Form) -> Part:
    match form:
        case {"text": str(text)}:
            return TextPart(text)
        case {"media": "image" | "audio" | "file" as kind, "mime": mime, "data": data, "url": url, "name": name}:
            raw = None if data is None else b64decode(_str(data), validate=True)
            return MediaPart(kind, _str(mime), raw, None if url is None else _str(url), _str(name))
        case {"call": str(id), "name": str(name), "arguments": str(arguments), "signature": str(signature)}:
            return ToolCallPart(id, name, arguments, signature)
        case {"result": str(call_id), "name": str(name), "content": str(content), "failed": bool(failed)}:
            return ToolResultPart(call_id, name, content, failed)
        case {"reasoning": str(text), "signature": str(signature), "redacted": bool(redacted), "id": str(id)}:
            return ReasoningPart(text, signature, redacted, id)
        case _:
            raise ValueError("not a part")


def _read_usage(value: object) -> Usage:
    read, written, cached, kept, thought = map(_count, _list(value))
    return Usage(read, written, cached, kept, thought)


def _read_choice(value: object) -> Choice:
    content, finish_reason, logprobs = _list(value)
    return Choice(_read_content(content), _str(finish_reason), tuple(map(_read_logprob, _list(logprobs))))


def _read_logprob(value: object) -> TokenLogprob:
    token, logprob, top = _list(value)
    return TokenLogprob(_str(token), _read_number(logprob), tuple(map(_read_pair, _list(top))))


def _read_pair(value: object) -> tuple[str, float]:
    token, logprob = _list(value)
    return _str(token), _read_number(logprob)


def _read_number(value: object) -> float:
    if isinstance(value, str):
        return float(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    raise TypeError


def _source(value: object) -> Source:
    match value:
        case "model" | "cache" | "stale" as source:
            return source
    raise ValueError("not a source")


def _str(value: object) -> str:
    if isinstance(value, str):
        return value
    raise TypeError


def _list(value: object) -> list[Any]:
    if isinstance(value, list):
        return value
    raise TypeError


def _count(value: object) -> int:
    if type(value) is int:  # a bool is an int too
        return value
    raise TypeError
