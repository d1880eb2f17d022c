"""OpenAI's embeddings on the wire; vLLM, Ollama, llama.cpp and most gateways speak it too.

Source: https://platform.openai.com/docs/api-reference/embeddings.
"""

from array import array
from base64 import b64decode
from binascii import Error
from sys import byteorder
from typing import Final

from repertory.providers.embeddings import EmbedRequest, EmbedResponse, Vector, checked, vector_of
from repertory.providers.failures import Peer, read_object
from repertory.providers.json_bytes import json_bytes
from repertory.providers.messages import Usage
from repertory.providers.wire import count

MOST_TEXTS: Final = 2048


def path(model: str) -> str:
    """Always the same; see ``EmbeddingProtocol``, as for the next ones."""
    return "/embeddings"


def encode(request: EmbedRequest, model: str) -> bytes:
    """Return the body that asks ``model`` for the vectors."""
    # Not base64, which some servers with this protocol do not know.
    body: dict[str, object] = {"model": model, "input": request.texts, "encoding_format": "float"}
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    return json_bytes(body)


def decode(body: bytes, peer: Peer, texts: int) -> EmbedResponse:
    """Return the vectors in the order of the texts: each says its place."""
    answer = read_object(body, peer)
    entries = answer.get("data")
    if not isinstance(entries, list):
        raise peer.malformed("data is missing or not a list")
    places: dict[int, Vector] = {}
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise peer.malformed(f"data[{number}] is not an object")
        place = entry.get("index")
        places[place if type(place) is int else number] = _vector(entry.get("embedding"), number, peer)
    usage = answer.get("usage")
    return EmbedResponse(
        checked([places[place] for place in sorted(places)], texts, peer),
        Usage(count(usage.get("prompt_tokens"))) if isinstance(usage, dict) else Usage(),
        str(answer.get("model") or ""),
    )


def _vector(value: object, number: int, peer: Peer) -> Vector:
    """Numbers, or base64 of 32-bit floats in little-endian order, as a gateway may send."""
    where = f"data[{number}].embedding"
    if not isinstance(value, str):
        return vector_of(value, where, peer)
    floats = array("f")
    try:
        floats.frombytes(b64decode(value, validate=True))
    except (Error, ValueError):
        raise peer.malformed(f"{where} is neither a list of numbers nor base64 of floats") from None
    if byteorder == "big":
        floats.byteswap()
    return tuple(floats)
