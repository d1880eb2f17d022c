"""Google's batchEmbedContents (Gemini) on the wire.

Source: https://ai.google.dev/api/embeddings.
"""

from typing import Final
from urllib.parse import quote

from repertory.providers.embeddings import EmbedRequest, EmbedResponse, checked, vector_of
from repertory.providers.failures import Peer, read_object
from repertory.providers.google_models import resource
from repertory.providers.json_bytes import json_bytes
from repertory.providers.messages import Usage
from repertory.providers.wire import count

MOST_TEXTS: Final = 100


def path(model: str) -> str:
    """The model is part of it; see ``EmbeddingProtocol``, as for the next ones."""
    return f"/{quote(resource(model))}:batchEmbedContents"


def encode(request: EmbedRequest, model: str) -> bytes:
    """Return the body that asks for the vectors: each text is a request, with the model's name again."""
    shared: dict[str, object] = {"model": resource(model)}
    if request.dimensions is not None:
        shared["outputDimensionality"] = request.dimensions
    return json_bytes({"requests": [{"content": {"parts": [{"text": text}]}, **shared} for text in request.texts]})


def decode(body: bytes, peer: Peer, texts: int) -> EmbedResponse:
    """Return the vectors, which come in the order of the texts."""
    answer = read_object(body, peer)
    entries = answer.get("embeddings")
    if not isinstance(entries, list):
        raise peer.malformed("embeddings is missing or not a list")
    vectors = [
        vector_of(entry.get("values") if isinstance(entry, dict) else None, f"embeddings[{number}].values", peer)
        for number, entry in enumerate(entries)
    ]
    usage = answer.get("usageMetadata")
    return EmbedResponse(
        checked(vectors, texts, peer),
        Usage(count(usage.get("promptTokenCount"))) if isinstance(usage, dict) else Usage(),
        "",
    )
