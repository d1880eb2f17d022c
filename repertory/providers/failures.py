"""What a provider's answer means when it is not a reply: the same for every protocol.

OpenAI, Anthropic and Google all put the words into ``{"error": {"message": ...}}``.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import orjson
from pydantic import SecretStr

from repertory.errors import (
    LMAuthError,
    LMConnectionError,
    LMError,
    LMModelUnknown,
    LMRateLimited,
    LMReplyMalformed,
    LMRequestRejected,
    LMServerError,
    LMTimeout,
)

EXCERPT = 500  # characters of the peer's own words that an error quotes at most
RATE_LIMITS = frozenset({"rate_limit_error", "RESOURCE_EXHAUSTED", "rate_limit_exceeded", "429"})
REFUSALS = frozenset(
    {"authentication_error", "permission_error", "billing_error", "UNAUTHENTICATED", "PERMISSION_DENIED"}
    | {"invalid_api_key", "401", "402", "403"}
)
UNKNOWN_MODELS = frozenset({"not_found_error", "NOT_FOUND", "model_not_found", "404"})
REJECTIONS = frozenset({"INVALID_ARGUMENT", "400", "413", "422"})
FAULTY_INPUT = ("invalid_", "unsupported_", "image_")  # how the codes of OpenAI's Responses begin
LONGEST_HINT = 86_400.0  # seconds; a peer that asks for more than a day is taken to mean a day


@dataclass(frozen=True, slots=True)
class Peer:
    """Who answers, for errors.

    Attributes:
        name: The endpoint's name.
        secret: Its API key, struck out wherever an error quotes the peer.
        key_env: The environment variable the key comes from, named in remedies.
        others: Further secrets that it is told, struck out likewise.
    """

    name: str = "endpoint"
    secret: SecretStr | None = None
    key_env: str = ""
    others: tuple[SecretStr, ...] = ()

    def quote(self, text: str, limit: int = EXCERPT) -> str:
        """The peer's words, fit for an error."""
        # The key is struck out before the text is cut, or a cut in mid-key would leave half of it readable.
        if self.secret is not None:
            text = text.replace(self.secret.get_secret_value(), "[secret]")
        for other in self.others:
            text = text.replace(other.get_secret_value(), "[secret]")
        text = text.strip()
        return text if len(text) <= limit else f"{text[:limit]}..."

    def broken_off(self) -> LMConnectionError:
        """The error that its stream ended before the reply did."""
        return LMConnectionError(f"{self.name}: its stream ended before the reply", endpoint=self.name)

    def malformed(self, what: str) -> LMReplyMalformed:
        """The error that its answer does not follow its protocol."""
        return LMReplyMalformed(f"{self.name}: {what}", endpoint=self.name)


def read_object(body: bytes, peer: Peer) -> dict[str, Any]:
    """Return the JSON object in ``body``, the body of a 2xx answer.

    Raises:
        LMReplyMalformed: It holds none.
        LMError: It is an error although the status was not.
    """
    value = parsed(body)
    if not isinstance(value, dict):
        start = peer.quote(body.decode(errors="replace"), 80)
        raise peer.malformed(f"its answer is not a JSON object; it starts with {start!r}")
    if value.get("error"):
        raise stated_error(value, body, peer)
    return value


def stated_error(answer: Mapping[str, Any], body: bytes, peer: Peer) -> LMError:
    """The error in an answer, or an event of a stream, whose status was 2xx.

    Anthropic names the class by ``type``, Google by ``status``, OpenAI by ``code`` beside a ``type`` that says
    less, some gateways by a number in ``code``.
    """
    said = f"{peer.name}: answered with an error: {_words(answer, body, peer)}"
    error = answer.get("error")
    named = [str(error.get(name) or "") for name in ("type", "status", "code")] if isinstance(error, dict) else []
    if any(name in RATE_LIMITS for name in named):
        return LMRateLimited(said, endpoint=peer.name)
    if any(name in UNKNOWN_MODELS for name in named):
        return LMModelUnknown(said, endpoint=peer.name)
    if any(name in REFUSALS for name in named):
        return LMAuthError(said, endpoint=peer.name)
    if any(name in REJECTIONS or name.startswith(FAULTY_INPUT) for name in named):
        return LMRequestRejected(said, endpoint=peer.name)
    return LMServerError(said, endpoint=peer.name)


def error_from(status: int, headers: Mapping[str, str], body: bytes, *, now: float, peer: Peer) -> LMError:
    """Return the error that an answer with a status other than 2xx stands for.

    Args:
        status: HTTP status.
        headers: The answer's headers: names in lower case, or a mapping that ignores case.
        body: The answer's body.
        now: Seconds since the Unix epoch, against which a ``Retry-After`` date is read.
        peer: Who answered.
    """
    answer = parsed(body)
    said = _words(answer, body, peer)
    message = f"{peer.name}: answered {status}{f': {said}' if said else ''}"
    wait = retry_after(headers, now)
    if wait is None:
        wait = _google_delay(answer)
    if status in (401, 402, 403):
        return LMAuthError(message, endpoint=peer.name, hint=_remedy(status, peer.key_env), retry_after=wait)
    if status == 408:
        return LMTimeout(message, endpoint=peer.name, retry_after=wait)
    if status == 409:
        return LMServerError(message, endpoint=peer.name, retry_after=wait)
    if status == 429:
        return LMRateLimited(message, endpoint=peer.name, retry_after=wait)
    if status >= 500 and status != 501:  # which says that it cannot do this at all
        return LMServerError(message, endpoint=peer.name, retry_after=wait)
    if status == 404:
        where = "Check the endpoint's base_url (it usually ends in /v1) and the model's name."
        return LMModelUnknown(message, endpoint=peer.name, hint=where)
    hint = None
    if status < 400:
        target = peer.quote(headers.get("location", "not said"))
        hint = f"Redirects are not followed. Set base_url to where it moved: {target}"
    return LMRequestRejected(message, endpoint=peer.name, hint=hint)


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


def parsed(body: bytes) -> object:
    """The JSON in ``body``; None if it has none. The parser's error is dropped, as it holds the whole body."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _google_delay(answer: object) -> float | None:
    """Google's hint: ``error.details[].retryDelay`` such as ``"3.5s"`` (google.rpc.RetryInfo)."""
    match answer:
        case {"error": {"details": list(details)}}:
            delays = [each.get("retryDelay") for each in details if isinstance(each, dict)]
        case _:
            return None
    for delay in delays:
        if isinstance(delay, str) and (seconds := _number(delay.removesuffix("s"))) is not None:
            return min(seconds, LONGEST_HINT)
    return None


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _words(answer: object, body: bytes, peer: Peer) -> str:
    """What the peer says went wrong: its error message if the body has one, else the body's beginning."""
    match answer:
        case {"error": {"message": str(message)}} | {"error": str(message)} | {"message": str(message)}:
            return peer.quote(message)
        case _:
            return peer.quote(body.decode(errors="replace"))


def _remedy(status: int, key_env: str) -> str:
    where = f"the environment variable {key_env}" if key_env else "the endpoint's api_key"
    if status == 401:
        return f"Set {where} to a valid API key."
    if status == 402:
        return f"The account behind {where} has no credit left: top it up or use another key."
    return f"The key in {where} may not do this: check its permissions, the model's name and the account."
