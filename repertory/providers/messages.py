"""What is asked of a language model and what comes back, independent of any wire protocol."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Role: TypeAlias = Literal["system", "user", "assistant"]

SchemaDialect: TypeAlias = Literal["openai_strict", "anthropic", "google", "json_schema", "llama_cpp"]
"""Which subset of JSON Schema an endpoint constrains replies with."""


@dataclass(frozen=True, slots=True)
class MediaPart:
    """A picture, a recording or a document that goes with a message.

    Attributes:
        kind: What it is.
        mime: Its media type, such as ``image/png``; "" where only the URL is known.
        data: Its bytes; None where it is at ``url``.
        url: Where the provider finds it; None where it is in ``data``.
        name: Its file name, "" if it has none.
    """

    kind: Literal["image", "audio", "file"]
    mime: str = ""
    data: bytes | None = field(default=None, repr=False)
    url: str | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; ``content`` is the text, which the ``media`` follow in order."""

    role: Role
    content: str
    media: tuple[MediaPart, ...] = ()


@dataclass(frozen=True, slots=True)
class LMRequest:
    """One call to a language model.

    Args:
        messages: The conversation, oldest turn first.
        response_schema: JSON Schema that the reply must follow, in the dialect of the endpoint
            (``LM.schema_dialect``); endpoints that cannot constrain their output ignore it.
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
