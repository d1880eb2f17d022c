"""OpenAI Chat Completions on the wire: requests to bytes, bytes to replies, failures to errors.

Source: https://platform.openai.com/docs/api-reference/chat. Pure functions; vLLM, Ollama, llama.cpp and most
gateways speak the same format.
"""

import math
from base64 import b64encode
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from types import MappingProxyType

import orjson
from pydantic import SecretStr

from repertory.errors import (
    LMAuthError,
    LMError,
    LMRateLimited,
    LMReplyMalformed,
    LMRequestRejected,
    LMServerError,
    LMTimeout,
)
from repertory.providers.messages import LMRequest, LMResponse, MediaPart, Message, Usage

PATH = "/chat/completions"
MOST_TOKENS = 2**53  # a count above is nonsense, and no float or JSON reader would keep it exactly
AUDIO_FORMATS = MappingProxyType(
    {"audio/wav": "wav", "audio/x-wav": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3"}
)
EXCERPT = 500  # characters of the peer's own words that an error quotes at most
LONGEST_HINT = 86_400.0  # seconds; a peer that asks for more than a day is taken to mean a day


def encode(request: LMRequest, model: str, *, constrains: bool) -> bytes:
    """Return the body that asks ``model`` for a reply to ``request``.

    Args:
        request: What is asked.
        model: The model's name on the wire.
        constrains: Whether the endpoint follows a response schema; if not, none is sent.

    Raises:
        LMRequestRejected: It holds media that this protocol cannot carry.
    """
    body: dict[str, object] = {
        "model": model,
        "messages": [{"role": turn.role, "content": _content(turn)} for turn in request.messages],
    }
    if request.response_schema is not None and constrains:
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": request.schema_name, "strict": True, "schema": request.response_schema},
        }
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.max_tokens is not None:
        body["max_tokens"] = request.max_tokens
    if request.seed is not None:
        body["seed"] = request.seed
    if request.stop:
        body["stop"] = request.stop
    # Schemas may be any Mapping; orjson itself knows only dict.
    return orjson.dumps(body, default=dict)


def decode(body: bytes, *, endpoint: str = "", secret: SecretStr | None = None) -> LMResponse:
    """Return the reply in ``body``, the body of a 2xx answer.

    Args:
        body: What the endpoint sent.
        endpoint: Its name, for errors.
        secret: The API key, struck out wherever an error quotes the endpoint.

    Raises:
        LMServerError: The body is an error although the status was not.
        LMReplyMalformed: The body is not a chat completion; the message says what is missing.
    """
    reply = _parsed(body)
    if not isinstance(reply, dict):
        start = _quote(body.decode(errors="replace"), secret, 80)
        raise _malformed(endpoint, f"its answer is not a JSON object; it starts with {start!r}")
    if reply.get("error"):
        raise LMServerError(
            f"{endpoint or 'endpoint'}: answered with an error: {_server_message(reply, body, secret)}",
            endpoint=endpoint,
        )
    match reply.get("choices"):
        case [{"message": dict(message), **choice}, *_]:
            text, finish_reason = _text(message, choice.get("finish_reason"), endpoint)
        case [_, *_]:
            raise _malformed(endpoint, "choices[0].message is missing")
        case _:
            raise _malformed(endpoint, "choices is missing or empty")
    return LMResponse(
        text, finish_reason, _usage(reply.get("usage")), str(reply.get("model") or ""), str(reply.get("id") or "")
    )


def error_from(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: float,
    endpoint: str = "",
    key_env: str = "",
    secret: SecretStr | None = None,
) -> LMError:
    """Return the error that an answer with a status other than 2xx stands for.

    Args:
        status: HTTP status.
        headers: The answer's headers: names in lower case, or a mapping that ignores case.
        body: The answer's body.
        now: Seconds since the Unix epoch, against which a ``Retry-After`` date is read.
        endpoint: The endpoint's name.
        key_env: The environment variable its API key comes from, named in the remedy.
        secret: The API key, struck out wherever the error quotes the endpoint.
    """
    said = _said(body, secret)
    message = f"{endpoint or 'endpoint'}: answered {status}{f': {said}' if said else ''}"
    wait = retry_after(headers, now)
    if status in (401, 402, 403):
        return LMAuthError(message, endpoint=endpoint, hint=_remedy(status, key_env), retry_after=wait)
    if status == 408:
        return LMTimeout(message, endpoint=endpoint, retry_after=wait)
    if status == 429:
        return LMRateLimited(message, endpoint=endpoint, retry_after=wait)
    if status >= 500:
        return LMServerError(message, endpoint=endpoint, retry_after=wait)
    hint = None
    if status == 404:
        hint = "Check the endpoint's base_url (it usually ends in /v1) and the model's name."
    elif status < 400:
        target = _quote(headers.get("location", "not said"), secret, EXCERPT)
        hint = f"Redirects are not followed. Set base_url to where it moved: {target}"
    return LMRequestRejected(message, endpoint=endpoint, hint=hint)


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds the peer asks to wait, or None if it does not say so intelligibly.

    Reads ``retry-after-ms`` (OpenAI), then ``Retry-After`` in seconds or as an HTTP date (RFC 9110, 10.2.3).
    """
    if (milliseconds := headers.get("retry-after-ms")) is not None:
        wait = _number(milliseconds)
        if wait is not None:
            return min(wait / 1000, LONGEST_HINT)
    hint = headers.get("retry-after")
    if hint is None:
        return None
    wait = _number(hint)
    if wait is None:
        try:
            wait = max(0.0, parsedate_to_datetime(hint).timestamp() - now)
        except (ValueError, OverflowError):
            return None
    return min(wait, LONGEST_HINT)


def _content(turn: Message) -> str | list[dict[str, object]]:
    if not turn.media:
        return turn.content
    return [{"type": "text", "text": turn.content}, *map(_media, turn.media)]


def _media(part: MediaPart) -> dict[str, object]:
    # https://platform.openai.com/docs/api-reference/chat/create: image_url, input_audio and file parts.
    match part:
        case MediaPart(kind="image", url=str(url)):
            return {"type": "image_url", "image_url": {"url": url}}
        case MediaPart(kind="image", data=bytes(data)):
            return {"type": "image_url", "image_url": {"url": _data_uri(part.mime, data)}}
        case MediaPart(kind="audio", data=bytes(data)) if part.mime in AUDIO_FORMATS:
            recording = {"data": b64encode(data).decode(), "format": AUDIO_FORMATS[part.mime]}
            return {"type": "input_audio", "input_audio": recording}
        case MediaPart(kind="file", data=bytes(data)):
            name = part.name or "document"
            return {"type": "file", "file": {"filename": name, "file_data": _data_uri(part.mime, data)}}
    what = f"{part.kind} by URL" if part.data is None else f"{part.kind} of type {part.mime}"
    raise LMRequestRejected(
        f"OpenAI's chat protocol cannot carry {'an' if what[0] in 'aeiou' else 'a'} {what}",
        hint=f"Give the bytes themselves; audio as one of: {', '.join(AUDIO_FORMATS)}.",
    )


def _data_uri(mime: str, data: bytes) -> str:
    return f"data:{mime};base64,{b64encode(data).decode()}"


def _parsed(body: bytes) -> object:
    """The JSON in ``body``; None if it has none. The parser's error is dropped, as it holds the whole body."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _text(message: dict[str, object], finish_reason: object, endpoint: str) -> tuple[str, str]:
    refusal = message.get("refusal")
    if isinstance(refusal, str) and refusal:
        return refusal, "refusal"
    content = message.get("content")
    if content is not None and not isinstance(content, str):
        raise _malformed(endpoint, f"choices[0].message.content is {type(content).__name__}, not a string")
    return content or "", finish_reason if isinstance(finish_reason, str) else "unknown"


def _usage(usage: object) -> Usage:
    if not isinstance(usage, dict):
        return Usage()
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    # A good reply is not thrown away over a bad count: what cannot be one counts as 0.
    return Usage(_count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")), _count(cached))


def _count(value: object) -> int:
    # By type, as a bool is an int too.
    return value if type(value) is int and 0 <= value <= MOST_TOKENS else 0


def _said(body: bytes, secret: SecretStr | None) -> str:
    """What the peer says went wrong: its error message if the body has one, else the body's beginning."""
    return _server_message(_parsed(body), body, secret)


def _server_message(answer: object, body: bytes, secret: SecretStr | None) -> str:
    match answer:
        case {"error": {"message": str(message)}} | {"error": str(message)} | {"message": str(message)}:
            return _quote(message, secret, EXCERPT)
        case _:
            return _quote(body.decode(errors="replace"), secret, EXCERPT)


def _quote(text: str, secret: SecretStr | None, limit: int) -> str:
    # The key is struck out before the text is cut, or a cut in mid-key would leave half of it readable.
    if secret is not None:
        text = text.replace(secret.get_secret_value(), "[secret]")
    text = text.strip()
    return text if len(text) <= limit else f"{text[:limit]}..."


def _remedy(status: int, key_env: str) -> str:
    where = f"the environment variable {key_env}" if key_env else "the endpoint's api_key"
    if status == 401:
        return f"Set {where} to a valid API key."
    if status == 402:
        return f"The account behind {where} has no credit left: top it up or use another key."
    return f"The key in {where} may not do this: check its permissions, the model's name and the account."


def _malformed(endpoint: str, what: str) -> LMReplyMalformed:
    return LMReplyMalformed(f"{endpoint or 'endpoint'}: {what}", endpoint=endpoint)
