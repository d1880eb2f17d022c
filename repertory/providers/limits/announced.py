"""What a provider's headers say about how much of its limits is left.

Sources: https://platform.openai.com/docs/guides/rate-limits ("Rate limits in headers") and
https://docs.anthropic.com/en/api/rate-limits ("Response headers"). Many other providers use OpenAI's names.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

# A time as OpenAI writes it, which is how Go prints durations: 20ms, 1s, 6m0s, 1h2m3.5s.
_DURATION = re.compile(
    r"(?:(\d{1,9})h)?(?:(\d{1,9})m(?!s))?(?:(\d{1,9}(?:\.\d{1,9})?)s)?(?:(\d{1,9}(?:\.\d{1,9})?)ms)?", re.ASCII
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


@dataclass(frozen=True, slots=True)
class _Names:
    """What the headers of one limit are called."""

    remaining: str
    limit: str
    reset: str


def _openai(what: str) -> _Names:
    return _Names(f"x-ratelimit-remaining-{what}", f"x-ratelimit-limit-{what}", f"x-ratelimit-reset-{what}")


def _anthropic(what: str) -> _Names:
    start = f"anthropic-ratelimit-{what}"
    return _Names(f"{start}-remaining", f"{start}-limit", f"{start}-reset")


OPENAI = (_openai("requests"), _openai("tokens"))
ANTHROPIC = (
    *(_anthropic("requests"), _anthropic("tokens")),
    *(_anthropic("input-tokens"), _anthropic("output-tokens")),
)


def announced_in(headers: Mapping[str, str], now: float) -> Announced | None:
    """Return what the headers of an answer announce; None if nothing. What is malformed is as if not there.

    Args:
        headers: Names in lower case, or a mapping that ignores case.
        now: Seconds since the Unix epoch.
    """
    # Most answers announce nothing: that must be seen by looking for few names.
    if OPENAI[0].remaining in headers or OPENAI[1].remaining in headers:
        return Announced(*[_allowance(headers, names, _duration(headers.get(names.reset))) for names in OPENAI])
    if ANTHROPIC[0].remaining in headers or ANTHROPIC[1].remaining in headers:
        return Announced(
            *[_allowance(headers, names, _until(headers.get(names.reset), now)) for names in ANTHROPIC]
        )
    return None


def _allowance(headers: Mapping[str, str], names: _Names, resets_in: float | None) -> Allowance | None:
    remaining = _count(headers.get(names.remaining))
    return Allowance(remaining, _count(headers.get(names.limit)), resets_in) if remaining is not None else None


def _count(text: str | None) -> int | None:
    return int(text) if text is not None and _NUMBER.fullmatch(text) else None


def _duration(text: str | None) -> float | None:
    if not text:
        return None
    found = _DURATION.fullmatch(f"{text}s" if text[-1].isdigit() else text)  # a bare number is seconds
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
