"""What a wire protocol is: pure functions in a module of its own, which this contract describes.

A module that has these functions is a protocol; nothing is registered. What differs between servers that speak the
same protocol is data: ``Quirks``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pydantic import SecretStr

from repertory.errors import LMRequestRejected
from repertory.providers.embeddings import EmbeddingProtocol
from repertory.providers.failures import Peer
from repertory.providers.messages import Delta, Effort, LMRequest, LMResponse, MediaPart, Thinking
from repertory.providers.sse import ServerEvent
from repertory.providers.stored import StoredReplies

MOST_TOKENS = 2**53  # a count above is nonsense, and no float or JSON reader would keep it exactly


@dataclass(frozen=True, slots=True)
class Quirks:
    """How a server departs from the protocol it speaks.

    Attributes:
        max_tokens_field: What Chat Completions calls the bound of the reply: OpenAI's own reasoning models refuse
            ``max_tokens``, other servers do not know ``max_completion_tokens``.
        has_developer: Whether it knows the role ``developer``; if not, those turns are sent as ``system``.
        constrains: How a reply is held to a JSON schema; None if it is not.
        stream_usage: Whether it must be asked to count tokens at the end of a stream, and knows the question.
        lacks: Fields of ``LMRequest`` that it would pass over or refuse, beyond those of its protocol.
        emulates: Fields of ``LMRequest`` that it cannot heed and that are done around it, as long as it holds
            replies to a schema: see ``emulation``.
        embeds: Whether it has the embeddings of its protocol.
        stores: Whether it keeps answers where its protocol has that; a server that makes nothing of the question
            does not, nor does an account that the vendor keeps no data of.
        lists_models: Whether the models it lists are those that it can be asked for by name.
        default_max_tokens: Sent where the caller sets no bound and the protocol wants one (Anthropic).
    """

    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    has_developer: bool = True
    constrains: Literal["json_schema", "json_object"] | None = "json_schema"
    stream_usage: bool = True
    lacks: tuple[str, ...] = ()
    emulates: tuple[str, ...] = ()
    embeds: bool = True
    stores: bool = True
    lists_models: bool = True
    default_max_tokens: int = 4096

    @property
    def emulates_tools(self) -> bool:
        """Whether calls of tools are to be emulated."""
        return "tools" in self.emulates and self.constrains == "json_schema"


class StreamDecoder(Protocol):
    """Turns the events of one streamed reply into deltas."""

    @property
    def id(self) -> str:
        """The peer's id of the reply; "" until it has told it."""
        ...

    @property
    def ended(self) -> bool:
        """Whether the peer has said that nothing follows."""
        ...

    def feed(self, event: ServerEvent) -> list[Delta]:
        """Return what the event brings; never an ``End``.

        Raises:
            LMReplyMalformed: The event does not follow the protocol.
            LMError: The event says that the call failed.
        """
        ...

    def finish(self) -> LMResponse:
        """Return the whole reply, once the events are over.

        Raises:
            LMConnectionError: They were over before the reply was.
        """
        ...


class WireProtocol(Protocol):
    """What a protocol's module holds.

    Attributes:
        LACKS: Fields of ``LMRequest`` that the protocol has no place for.
        EMBEDDINGS: How its vendor has embeddings on the wire; None if there are none.
        STORED: How its vendor keeps answers that can be fetched again; None if it does not.
        IDEMPOTENCY_HEADER: The header that takes the idempotency key of a call; None if there is none.
        PROBE_PATH: What is appended to the base URL for a GET that costs nothing and shows that the key is good.
    """

    LACKS: tuple[str, ...]
    EMBEDDINGS: EmbeddingProtocol | None
    STORED: StoredReplies | None
    IDEMPOTENCY_HEADER: str | None
    PROBE_PATH: str

    def headers(self, key: SecretStr | None) -> dict[str, SecretStr]:
        """The headers that carry the key and the protocol's version."""
        ...

    def path(self, model: str, *, stream: bool) -> str:
        """What is appended to the base URL."""
        ...

    def offers(self, body: bytes, peer: Peer) -> tuple[str, ...]:
        """The names of the models in the body of a 2xx answer to ``PROBE_PATH``.

        Raises as ``decode``.
        """
        ...

    def encode(self, request: LMRequest, model: str, quirks: Quirks, *, stream: bool = False) -> bytes:
        """Return the body that asks ``model`` for a reply to ``request``.

        Raises:
            LMRequestRejected: It holds something that this protocol cannot carry.
        """
        ...

    def decode(self, body: bytes, peer: Peer) -> LMResponse:
        """Return the reply in ``body``, the body of a 2xx answer.

        Raises:
            LMReplyMalformed: It holds none; the message says what is missing.
            LMError: It is an error although the status was not.
        """
        ...

    def decode_stream(self, peer: Peer) -> StreamDecoder:
        """Return a decoder of one streamed reply."""
        ...


def items(value: object) -> list[Any]:
    """The entries of a list that came over the wire; none if it is not one."""
    return value if isinstance(value, list) else []


def count(value: object) -> int:
    """A number of tokens. A good reply is not thrown away over a bad count: what cannot be one is 0."""
    # By type, as a bool is an int too.
    return value if type(value) is int and 0 <= value <= MOST_TOKENS else 0


def known_effort(thinking: Thinking, known: Sequence[Effort], protocol: str) -> Effort:
    """The effort, if the protocol knows it; its vendor's own refusal would come only after the call."""
    if thinking.effort is None or thinking.effort not in known:
        raise LMRequestRejected(
            f"thinking = {thinking}: {protocol} knows no effort {thinking.effort!r}",
            hint=f"Take one of: none, {', '.join(known)}.",
        )
    return thinking.effort


def cannot_carry(protocol: str, part: MediaPart, otherwise: str) -> LMRequestRejected:
    """The error that ``protocol`` has no place for ``part``."""
    what = f"{part.kind} by URL" if part.data is None else f"{part.kind} of type {part.mime}"
    return LMRequestRejected(
        f"{protocol} cannot carry {'an' if what[0] in 'aeiou' else 'a'} {what}",
        hint=f"Give the bytes themselves; {otherwise}.",
    )
