"""What a provider's headers say about how much of its limits is left.

Sources: https://platform.openai.com/docs/guides/rate-limits ("Rate limits in headers") and
https://docs.anthropic.com/en/api/rate-limits ("Response headers"). Many other providers use OpenAI's names.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

# A time as OpenAI writes it, which is how Go prints durations: 20ms, 1s, 6m0s, 1h2m3.5s. A bare number is seconds.
_DURATION = re.compile(
    r"(?:(\d{1,9})h)?(?:(\d{1,9})m(?!s))?(?:(\d{1,9}(?:\.\d{1,9})?)s?)?(?:(\d{1,9}(?:\.\d{1,9})?)ms)?", re.ASCII
)
_NUMBER = re.compile(r"\d{1,18}", re.ASCII)
LONGEST = 30 * 86_400.0  # seconds; what is said to take longer is not a time from now


@dataclass(frozen=True, slots=True)
class Allowance:
    """How one limit stands.

    Attributes:
        remaining: What is left of it.
        limit: What it is; None if that was not said.
        resets_in: Seconds until all of it is there again; None if that was not said.
    """

    remaining: int
    limit: int | None = None
    resets_in: float | None = None


@dataclass(frozen=True, slots=True)
class Announced:
    """How the limits stand that an answer told of; None where it did not tell."""

    requests: Allowance | None = None
    tokens: Allowance | None = None
    input_tokens: Allowance | None = None
    output_tokens: Allowance | None = None


def announced_in(headers: Mapping[str, str], now: float) -> Announced | None:
    """Return what the headers of an answer announce; None if nothing. What is malformed is as if not there.

    Args:
        headers: Names in lower case, or a mapping that ignores case.
        now: Seconds since the Unix epoch.
    """
    if "x-ratelimit-remaining-requests" in headers or "x-ratelimit-remaining-tokens" in headers:
        said = Announced(_openai(headers, "requests"), _openai(headers, "tokens"))
    elif "anthropic-ratelimit-requests-remaining" in headers or "anthropic-ratelimit-tokens-remaining" in headers:
        said = Announced(
            _anthropic(headers, "requests", now),
            _anthropic(headers, "tokens", now),
            _anthropic(headers, "input-tokens", now),
            _anthropic(headers, "output-tokens", now),
        )
    else:
        return None
    return said if said != NOTHING else None


NOTHING = Announced()


def _openai(headers: Mapping[str, str], what: str) -> Allowance | None:
    remaining = _count(headers.get(f"x-ratelimit-remaining-{what}"))
    if remaining is None:
        return None
    limit = _count(headers.get(f"x-ratelimit-limit-{what}"))
    return Allowance(remaining, limit, _duration(headers.get(f"x-ratelimit-reset-{what}")))


def _anthropic(headers: Mapping[str, str], what: str, now: float) -> Allowance | None:
    remaining = _count(headers.get(f"anthropic-ratelimit-{what}-remaining"))
    if remaining is None:
        return None
    limit = _count(headers.get(f"anthropic-ratelimit-{what}-limit"))
    return Allowance(remaining, limit, _until(headers.get(f"anthropic-ratelimit-{what}-reset"), now))


def _count(text: str | None) -> int | None:
    return int(text) if text is not None and _NUMBER.fullmatch(text) else None


def _duration(text: str | None) -> float | None:
    found = _DURATION.fullmatch(text) if text else None
    if found is None:
        return None
    hours, minutes, seconds, milliseconds = (float(number or 0) for number in found.groups())
    length = hours * 3600 + minutes * 60 + seconds + milliseconds / 1000
    return length if length <= LONGEST else None


def _until(text: str | None, now: float) -> float | None:
    """Seconds until the time in ``text``, RFC 3339; 0 if it has passed."""
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    if time.tzinfo is None:  # RFC 3339 wants an offset, and without one it could be any of 24 hours
        return None
    length = time.timestamp() - now
    return max(0.0, length) if length <= LONGEST else None
