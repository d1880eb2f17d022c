"""Token usage as a value: what calls cost, in whichever words a provider told it."""

from types import MappingProxyType
from typing import Any, Final

from pydantic import Field

from repertory.signatures.coercion_scalars import left_out, shown
from repertory.signatures.type_registry import TYPES
from repertory.signatures.types.structure import Structure

_NAMES: Final = MappingProxyType(
    {
        "prompt_tokens": "input_tokens",
        "completion_tokens": "output_tokens",
        "cache_read_input_tokens": "cached_tokens",
        "promptTokenCount": "input_tokens",
        "candidatesTokenCount": "output_tokens",
        "cachedContentTokenCount": "cached_tokens",
        "thoughtsTokenCount": "reasoning_tokens",
    }
)
"""Their names in the APIs of OpenAI (Chat Completions), Anthropic and Google."""


class TokenUsage(Structure):
    """Tokens that calls were counted for; the input includes the cached ones, the output the reasoning."""

    input_tokens: int = Field(default=0, ge=0)
    output_tokens: int = Field(default=0, ge=0)
    cached_tokens: int = Field(default=0, ge=0)
    reasoning_tokens: int = Field(default=0, ge=0)

    @property
    def total(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: "TokenUsage") -> "TokenUsage":
        return TokenUsage(**{name: getattr(self, name) + getattr(other, name) for name in TokenUsage.model_fields})


def coerce_usage(value: object) -> tuple[object, str]:
    """A provider's own object of counts. Raises ValueError for anything else."""
    if not isinstance(value, dict):
        raise ValueError(f"{shown(value)} is no token usage")
    if value.keys() <= TokenUsage.model_fields.keys():
        return value, ""
    used = {name: known for name in value if (known := _NAMES.get(name, name)) in TokenUsage.model_fields}
    if not used:
        raise ValueError(f"{shown(value)} names no counts of tokens")
    counts: dict[str, Any] = {}
    for name, known in used.items():
        if counts.setdefault(known, value[name]) != value[name]:
            raise ValueError(f"{known} is told twice, as {shown(counts[known])} and as {shown(value[name])}")
    told = [f"a provider's counts, {', '.join(used)}", *left_out(value, used)]
    return counts, "; ".join(told)


TYPES.register("TokenUsage", TokenUsage, coerce=coerce_usage)
