"""Log-probabilities of tokens on the wire; an entry that makes no sense is left out, the reply is still good."""

from collections.abc import Iterator

from repertory.providers.messages import TokenLogprob
from repertory.providers.wire import items


def openai_logprobs(entries: object) -> Iterator[TokenLogprob]:
    """OpenAI's: each entry with the likeliest tokens inside."""
    for entry in items(entries):
        if (pair := _pair(entry, "logprob")) is not None:
            top = entry.get("top_logprobs") if isinstance(entry, dict) else None
            yield TokenLogprob(*pair, _pairs(top, "logprob"))


def google_logprobs(result: object) -> Iterator[TokenLogprob]:
    """Google's: the chosen tokens and the likeliest ones in two lists of the same length."""
    if not isinstance(result, dict):
        return
    tops = items(result.get("topCandidates"))
    for number, entry in enumerate(items(result.get("chosenCandidates"))):
        if (pair := _pair(entry, "logProbability")) is not None:
            top = tops[number] if number < len(tops) else None
            likely = top.get("candidates") if isinstance(top, dict) else None
            yield TokenLogprob(*pair, _pairs(likely, "logProbability"))


def _pairs(entries: object, key: str) -> tuple[tuple[str, float], ...]:
    return tuple(pair for entry in items(entries) if (pair := _pair(entry, key)) is not None)


def _pair(entry: object, key: str) -> tuple[str, float] | None:
    if not isinstance(entry, dict):
        return None
    token, value = entry.get("token"), entry.get(key)
    return (token, value) if isinstance(token, str) and isinstance(value, int | float) else None
