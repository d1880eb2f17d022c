"""What is asked of an embedding model and what comes back, independent of any wire protocol; and who offers it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from repertory.errors import LMRequestRejected
from repertory.providers.failures import Peer
from repertory.providers.messages import TERMS, Terms, Usage
from repertory.providers.witness import Witness

Vector = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class EmbedRequest:
    """Texts to be turned into vectors. The fields that ``LMRequest`` has too mean the same.

    Attributes:
        texts: At least one, none of them empty.
        dimensions: How long the vectors shall be, for models that can shorten them; None is their own length.
    """

    texts: tuple[str, ...]
    dimensions: int | None = None
    deadline: float | None = None
    terms: Terms = TERMS
    witness: Witness | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.texts:
            raise LMRequestRejected("texts is empty", hint="Give at least one text to embed.")
        if "" in self.texts:
            raise LMRequestRejected(
                f"texts[{self.texts.index('')}] is empty", hint="Leave it out: an empty text has no embedding."
            )
        if self.dimensions is not None and self.dimensions < 1:
            raise LMRequestRejected(
                f"dimensions = {self.dimensions}: expected a number above 0",
                hint="Leave it out for the model's own length.",
            )


@dataclass(frozen=True, slots=True)
class EmbedResponse:
    """The vectors, one for each text, in the order of the texts.

    Attributes:
        usage: Tokens counted by the endpoint; zeros if it counted none.
        model: The model that answered, as the endpoint names it; "" if it does not.
    """

    vectors: tuple[Vector, ...] = field(repr=False)
    usage: Usage
    model: str


class EmbeddingProtocol(Protocol):
    """What a module has that speaks of embeddings on the wire.

    Attributes:
        MOST_TEXTS: Most texts that one request may carry.
    """

    MOST_TEXTS: int

    def path(self, model: str) -> str:
        """What is appended to the base URL."""
        ...

    def encode(self, request: EmbedRequest, model: str) -> bytes:
        """Return the body that asks ``model`` for the vectors."""
        ...

    def decode(self, body: bytes, peer: Peer, texts: int) -> EmbedResponse:
        """Return the vectors of ``texts`` texts, from the body of a 2xx answer.

        Raises:
            LMReplyMalformed: They are not there, or not as many, or not of one length.
            LMError: It is an error although the status was not.
        """
        ...


def offered(protocol: EmbeddingProtocol | None, endpoint: str) -> EmbeddingProtocol:
    """Return what the endpoint offers.

    Raises:
        LMRequestRejected: Nothing; the hint says who does.
    """
    if protocol is None:
        raise LMRequestRejected(
            f"{endpoint}: the endpoint offers no embeddings",
            endpoint=endpoint,
            hint="Take an embedding model of another provider, such as openai/text-embedding-3-small or "
            "google/gemini-embedding-001, or a server with OpenAI's protocol that holds one.",
        )
    return protocol


def batches(request: EmbedRequest, most: int) -> list[EmbedRequest]:
    """The request as several with at most ``most`` texts each, in order."""
    texts = request.texts
    if len(texts) <= most:
        return [request]
    return [replace(request, texts=texts[start : start + most]) for start in range(0, len(texts), most)]


def joined(responses: Sequence[EmbedResponse]) -> EmbedResponse:
    """The answers to ``batches`` as one."""
    vectors = tuple(vector for response in responses for vector in response.vectors)
    return EmbedResponse(vectors, sum((each.usage for each in responses), Usage()), responses[0].model)


def checked(vectors: Sequence[Vector], texts: int, peer: Peer) -> tuple[Vector, ...]:
    """The vectors, if they can be those of ``texts`` texts; else raises LMReplyMalformed."""
    if len(vectors) != texts:
        raise peer.malformed(f"its answer has {len(vectors)} vectors for {texts} texts")
    lengths = {len(vector) for vector in vectors}
    if len(lengths) != 1 or 0 in lengths:
        raise peer.malformed(f"its vectors have the lengths {sorted(lengths)}")
    return tuple(vectors)


def vector_of(value: object, where: str, peer: Peer) -> Vector:
    """A vector that came as a list of numbers; ``where`` names it in the error."""
    # By type, as a bool is an int too.
    if not isinstance(value, list) or not all(type(number) in (float, int) for number in value):
        raise peer.malformed(f"{where} is not a list of numbers")
    return tuple(map(float, value))
