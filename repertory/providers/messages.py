"""What is asked of a language model and what comes back, independent of any wire protocol."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import orjson

if TYPE_CHECKING:  # it is told of usages, which are here
    from repertory.providers.witness import Witness

Role: TypeAlias = Literal["system", "developer", "user", "assistant", "tool"]

SchemaDialect: TypeAlias = Literal["openai_strict", "anthropic", "google", "json_schema", "llama_cpp"]
"""Which subset of JSON Schema an endpoint constrains replies with."""

Effort: TypeAlias = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]

Priority: TypeAlias = Literal["interactive", "normal", "batch"]

CacheUse: TypeAlias = Literal["use", "refresh", "bypass"]


@dataclass(frozen=True, slots=True)
class TextPart:
    """Words of a turn."""

    text: str


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
class ToolCallPart:
    """A tool that the model wants called.

    Attributes:
        id: What its result refers to.
        name: The tool's name.
        arguments: JSON text of an object, as the model wrote it; may be malformed, see ``parsed``.
        signature: The provider's own mark, which it wants back with the call; "" if it gave none.
    """

    id: str
    name: str
    arguments: str
    signature: str = field(default="", repr=False)

    def parsed(self) -> dict[str, Any] | None:
        """The arguments; None if they are not a JSON object."""
        try:
            value = orjson.loads(self.arguments or "{}")
        except orjson.JSONDecodeError:
            return None
        return value if isinstance(value, dict) else None


@dataclass(frozen=True, slots=True)
class ToolResultPart:
    """What a called tool gave.

    Attributes:
        call_id: The ``id`` of the call.
        name: The tool's name.
        content: The result as text, JSON if it has structure.
        failed: Whether the tool failed and ``content`` says how.
    """

    call_id: str
    name: str
    content: str
    failed: bool = False


@dataclass(frozen=True, slots=True)
class ReasoningPart:
    """What the model thought before it answered.

    Attributes:
        text: The thought or a summary of it; "" where the provider keeps it to itself.
        signature: The provider's proof or encrypted form, which it wants back unchanged in later turns.
        redacted: Whether ``signature`` is all there is.
        id: The provider's id of the thought; "" if it gave none.
    """

    text: str
    signature: str = field(default="", repr=False)
    redacted: bool = False
    id: str = ""


Part: TypeAlias = TextPart | MediaPart | ToolCallPart | ToolResultPart | ReasoningPart
Content: TypeAlias = str | tuple[Part, ...]


def text_of(content: Content) -> str:
    """The words in ``content``, joined."""
    if isinstance(content, str):
        return content
    return "".join([part.text for part in content if isinstance(part, TextPart)])


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    Attributes:
        role: Who speaks. The results of tools are turns of the role ``tool``; pictures and documents that a tool
            gave stand beside its result.
        content: The text, or typed parts in order.
        cache: Whether the provider should keep the conversation up to and with this turn for later calls, where it
            must be told (Anthropic); others do so unasked.
    """

    role: Role
    content: Content
    cache: bool = False

    @property
    def text(self) -> str:
        """The words of the turn."""
        return text_of(self.content)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The content as parts."""
        content = self.content
        return ((TextPart(content),) if content else ()) if isinstance(content, str) else content


@dataclass(frozen=True, slots=True)
class ToolDefinition:
    """A tool the model may call.

    Attributes:
        name: Letters, digits, ``_`` and ``-``, at most 64.
        description: When and how to use it.
        parameters: JSON Schema of its arguments, an object's.
        strict: Whether the endpoint shall hold the arguments to the schema, where it can.
    """

    name: str
    description: str
    parameters: Mapping[str, object]
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Thinking:
    """How much a reasoning model should think.

    Attributes:
        effort: In the provider's steps; None leaves it to ``tokens``.
        tokens: Most tokens of thought, where the provider takes a number; None leaves it to ``effort``.
    """

    effort: Effort | None = None
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms a model is asked: what the stages of an endpoint and a route go by, and the model never sees.

    Attributes:
        caller: On whose behalf: callers take turns where an endpoint has a queue.
        priority: Which calls come first there.
        sticky: Requests with the same text go to the same endpoint of a route as long as that is well; "" leaves
            it to the route.
        accounts: The budgets that pay for the call, all of them or none.
        cache: Whether an answer given before will do: ``use`` one, ``refresh`` it, or ``bypass`` the cache.
        rollout: Sets requests apart that are otherwise the same, so that the cache answers each by itself.
        allow_stale: Whether an answer that is too old will do where no endpoint gives a new one.
    """

    caller: str = ""
    priority: Priority = "normal"
    sticky: str = ""
    accounts: tuple[str, ...] = ()
    cache: CacheUse = "use"
    rollout: str = ""
    allow_stale: bool = False


TERMS = Terms()
"""Nobody in particular asks, and nobody pays."""


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
        top_p: Share of probability that is sampled from; None leaves it to the endpoint.
        tools: What the model may call.
        tool_choice: ``auto``, ``none``, ``required`` (some tool), or the name of the tool it must call.
        parallel_tool_calls: Whether it may call several at a time; None leaves it to the endpoint.
        n: How many replies are wanted; all after the first are in ``LMResponse.others``.
        top_logprobs: How many likely tokens to tell the log-probabilities of at each place; 0 tells only the
            chosen one's, None none.
        thinking: How much to think before the answer; None leaves it to the endpoint.
        extra: Fields of the provider's own, laid over the body as they are.
        terms: On whose behalf it is asked, who pays, and whether an old answer will do.
        witness: Who is told of every attempt before it is sent; None: nobody. It is no part of what is asked.
    """

    messages: tuple[Message, ...]
    response_schema: Mapping[str, object] | None = None
    schema_name: str = "reply"
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    deadline: float | None = None
    top_p: float | None = None
    tools: tuple[ToolDefinition, ...] = ()
    tool_choice: str = "auto"
    parallel_tool_calls: bool | None = None
    n: int = 1
    top_logprobs: int | None = None
    thinking: Thinking | None = None
    extra: Mapping[str, object] = field(default_factory=dict)
    terms: Terms = TERMS
    witness: "Witness | None" = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens a call was counted for.

    Attributes:
        input_tokens: All tokens read, those from and into the provider's cache included.
        output_tokens: All tokens written, thoughts included.
        cached_tokens: Of the input, those read from the provider's cache.
        cache_write_tokens: Of the input, those written to it, where that has a price of its own.
        reasoning_tokens: Of the output, those of thoughts.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )


NO_USAGE: Final = Usage()


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One token of a reply, its natural log-probability, and the likeliest tokens at its place."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several replies to the same request; see ``LMResponse`` for the fields."""

    content: Content
    finish_reason: str
    logprobs: tuple[TokenLogprob, ...] = ()

    @property
    def text(self) -> str:
        """What the model said."""
        return text_of(self.content)


@dataclass(frozen=True, slots=True)
class LMResponse:
    """A model's reply.

    Args:
        content: What the model said, or typed parts where there is more than words; for a refusal, its words.
        finish_reason: Why it ended: ``"stop"``, ``"length"`` (cut at ``max_tokens``), ``"tool_calls"``,
            ``"refusal"`` (the model's), ``"content_filter"`` (the provider's), or the endpoint's own word;
            ``"unknown"`` if it gave none.
        usage: Tokens counted by the endpoint; zeros if it counted none.
        model: The model that answered, as the endpoint names it.
        id: The endpoint's id of this reply, for its support desk; "" if it gave none.
        logprobs: One entry a token, if they were asked for.
        others: The further replies, where more than one was asked for.
        cost: Dollars it was billed; None where nobody knows the price.
        source: Where it comes from: the model itself, the cache, or the cache though it is too old.
        emulated: What the endpoint cannot do by itself and was done around it, such as ``tools``.
    """

    content: Content
    finish_reason: str
    usage: Usage
    model: str
    id: str
    logprobs: tuple[TokenLogprob, ...] = ()
    others: tuple[Choice, ...] = ()
    cost: Decimal | None = None
    source: Literal["model", "cache", "stale"] = "model"
    emulated: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What the model said, without its thoughts."""
        return text_of(self.content)

    @property
    def tool_calls(self) -> tuple[ToolCallPart, ...]:
        """The tools it wants called, in order."""
        content = self.content
        return () if isinstance(content, str) else tuple(p for p in content if isinstance(p, ToolCallPart))

    @property
    def reasoning(self) -> str:
        """What it thought, as far as the provider tells."""
        content = self.content
        return "" if isinstance(content, str) else "".join(p.text for p in content if isinstance(p, ReasoningPart))

    @property
    def message(self) -> Message:
        """The reply as a turn, to go on from: thoughts, words and calls in the order they came."""
        return Message("assistant", self.content)

    def priced(self, cost: Decimal) -> "LMResponse":
        """The same reply with what it cost."""
        # Written out: `dataclasses.replace` takes three times as long, and this is on every paid call's path.
        return LMResponse(
            *(self.content, self.finish_reason, self.usage, self.model, self.id, self.logprobs, self.others),
            cost=cost,
            source=self.source,
            emulated=self.emulated,
        )


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More words of the reply."""

    text: str
    choice: int = 0


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """More of the model's thoughts."""

    text: str
    choice: int = 0


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """More of a call: ``arguments`` continue the JSON text of call number ``index``.

    ``id`` and ``name`` stand in the first delta of a call and are "" in later ones.
    """

    index: int
    id: str
    name: str
    arguments: str
    choice: int = 0


@dataclass(frozen=True, slots=True)
class UsageDelta:
    """Tokens counted so far; the last one counts."""

    usage: Usage


@dataclass(frozen=True, slots=True)
class End:
    """The reply is whole."""

    response: LMResponse


Delta: TypeAlias = TextDelta | ReasoningDelta | ToolCallDelta | UsageDelta | End
