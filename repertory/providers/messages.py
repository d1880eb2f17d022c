"""What is asked of a language model and what comes back, independent of any wire protocol."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

Role: TypeAlias = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class LMRequest:
    """One call to a language model.

    Args:
        messages: The conversation, oldest turn first.
        response_schema: JSON Schema that the reply must follow; endpoints that cannot constrain their output
            ignore it (``LM.supports_schema``).
        schema_name: What the schema is called on the wire: letters, digits, ``_`` and ``-``.
        temperature: Sampling temperature; None leaves it to the endpoint, as for the next three.
        max_tokens: Most tokens the reply may have.
        seed: Asks the endpoint for repeatable sampling.
        stop: Strings at which the reply ends.
        deadline: The point on ``Clock.monotonic()`` at which the caller stops waiting; None leaves it to the
            endpoint: as long as all its attempts may take together.
    """

    messages: tuple[Message, ...]
    response_schema: Mapping[str, object] | None = None
    schema_name: str = "reply"
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens a call was counted for. ``cached_tokens`` are those of the input read from the provider's cache."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
        )


@dataclass(frozen=True, slots=True)
class LMResponse:
    """A model's reply.

    Args:
        text: What the model said; for a refusal, its words of refusal.
        finish_reason: Why it ended: ``"stop"``, ``"length"`` (cut at ``max_tokens``), ``"refusal"``, or the
            endpoint's own word; ``"unknown"`` if it gave none.
        usage: Tokens counted by the endpoint; zeros if it counted none.
        model: The model that answered, as the endpoint names it.
        id: The endpoint's id of this reply, for its support desk; "" if it gave none.
    """

    text: str
    finish_reason: str
    usage: Usage
    model: str
    id: str
