"""Embeddings: what is asked as the vendors' SDKs ask it, what is read, and who offers them."""

from array import array
from base64 import b64encode
from typing import Any

import openai
import orjson
import pytest
from google import genai
from hypothesis import given
from hypothesis.strategies import binary, integers, lists, text

from repertory.errors import LMReplyMalformed, LMRequestRejected
from repertory.providers import google_embeddings, openai_embeddings
from repertory.providers.catalog import PROVIDERS
from repertory.providers.embeddings import (
    EmbeddingProtocol,
    EmbedRequest,
    EmbedResponse,
    batches,
    joined,
    offered,
)
from repertory.providers.failures import Peer, error_from
from repertory.providers.local import LocalModelSettings, LocalServerProcess
from repertory.providers.messages import Terms, Usage
from repertory.providers.transport import HttpTransport
from tests.endpoint import Raw, ScriptedEndpoint

PEER = Peer("qa")
ASK = EmbedRequest(("Paris", "Rome"), dimensions=2)
OPENAI: dict[str, Any] = {
    "object": "list",
    "data": [
        {"object": "embedding", "index": 1, "embedding": [0.5, 1]},
        {"object": "embedding", "index": 0, "embedding": [-0.25, 0.0]},
    ],
    "model": "e-1",
    "usage": {"prompt_tokens": 4, "total_tokens": 4},
}
GOOGLE: dict[str, Any] = {
    "embeddings": [{"values": [-0.25, 0.0]}, {"values": [0.5, 1]}],
    "usageMetadata": {"promptTokenCount": 4},
}
VECTORS = ((-0.25, 0.0), (0.5, 1.0))


async def test_openais_sdk_asks_the_same() -> None:
    async with ScriptedEndpoint([Raw(orjson.dumps(OPENAI))]) as server:
        async with openai.AsyncOpenAI(base_url=server.url, api_key="key", max_retries=0) as client:
            theirs = await client.embeddings.create(
                model="e-1", input=list(ASK.texts), dimensions=2, encoding_format="float"
            )
        seen = server.requests[0]
    assert orjson.loads(openai_embeddings.encode(ASK, "e-1")) == seen.body
    assert f"/v1{openai_embeddings.path('e-1')}" == seen.path
    reply = openai_embeddings.decode(orjson.dumps(OPENAI), PEER, 2)
    assert {each.index: tuple(each.embedding) for each in theirs.data} == dict(enumerate(reply.vectors))


@pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")  # the SDK's own
async def test_googles_sdk_asks_the_same() -> None:
    async with ScriptedEndpoint([Raw(orjson.dumps(GOOGLE))]) as server:
        options = genai.types.HttpOptions(base_url=server.url.removesuffix("/v1"), api_version="v1")
        client = genai.Client(api_key="key", http_options=options)
        theirs = await client.aio.models.embed_content(
            model="e-1", contents=list(ASK.texts), config={"output_dimensionality": 2}
        )
        await client.aio.aclose()
        seen = server.requests[0]
    # The SDK names the role of a text as well, which has no meaning here: ``Content`` is optional in it.
    for each in seen.body["requests"]:
        each["content"].pop("role", None)
    assert orjson.loads(google_embeddings.encode(ASK, "e-1")) == seen.body
    assert f"/v1{google_embeddings.path('e-1')}" == seen.path
    reply = google_embeddings.decode(orjson.dumps(GOOGLE), PEER, 2)
    assert [tuple(each.values or ()) for each in theirs.embeddings or ()] == list(reply.vectors)


@pytest.mark.parametrize(
    ("protocol", "answer", "model"), [(openai_embeddings, OPENAI, "e-1"), (google_embeddings, GOOGLE, "")]
)
def test_the_vectors_come_in_the_order_of_the_texts(
    protocol: EmbeddingProtocol, answer: dict[str, Any], model: str
) -> None:
    assert protocol.decode(orjson.dumps(answer), PEER, 2) == EmbedResponse(VECTORS, Usage(4), model)


def test_base64_is_read_where_a_server_insists_on_it() -> None:
    coded = [b64encode(array("f", vector).tobytes()).decode() for vector in VECTORS]
    answer = {"data": [{"index": number, "embedding": each} for number, each in enumerate(coded)]}
    assert openai_embeddings.decode(orjson.dumps(answer), PEER, 2).vectors == VECTORS


@pytest.mark.parametrize(
    ("protocol", "answer", "told"),
    [
        (openai_embeddings, {}, "data is missing"),
        (openai_embeddings, {"data": [1]}, r"data\[0\] is not an object"),
        (openai_embeddings, {"data": [{"embedding": [True]}]}, r"data\[0\].embedding is not a list of numbers"),
        (openai_embeddings, {"data": [{"embedding": "x"}]}, "nor base64 of floats"),
        (openai_embeddings, {"data": OPENAI["data"][:1]}, "1 vectors for 2 texts"),
        (openai_embeddings, {"data": [OPENAI["data"][0]] * 2}, "1 vectors for 2 texts"),
        (google_embeddings, {}, "embeddings is missing"),
        (google_embeddings, {"embeddings": [None]}, r"embeddings\[0\].values is not a list"),
        (google_embeddings, {"embeddings": [{"values": [1]}, {"values": [1, 2]}]}, r"the lengths \[1, 2\]"),
        (google_embeddings, {"embeddings": [{"values": []}, {"values": []}]}, r"the lengths \[0\]"),
    ],
)
def test_an_answer_without_the_vectors_is_malformed(
    protocol: EmbeddingProtocol, answer: dict[str, Any], told: str
) -> None:
    with pytest.raises(LMReplyMalformed, match=f"^qa: .*{told}"):
        protocol.decode(orjson.dumps(answer), PEER, 2)


@pytest.mark.parametrize("protocol", [openai_embeddings, google_embeddings])
@given(body=binary(max_size=20))
def test_bytes_that_are_no_answer_are_named(protocol: EmbeddingProtocol, body: bytes) -> None:
    with pytest.raises(LMReplyMalformed, match="qa: "):
        protocol.decode(body, PEER, 1)


@given(texts=lists(text(min_size=1), min_size=1, max_size=20), most=integers(1, 8))
def test_batches_hold_every_text_in_order(texts: list[str], most: int) -> None:
    parts = batches(EmbedRequest(tuple(texts), terms=Terms(caller="c")), most)
    assert [each for part in parts for each in part.texts] == texts
    assert all(len(part.texts) <= most and part.terms.caller == "c" for part in parts)
    answers = [EmbedResponse(tuple((float(len(each)),) for each in part.texts), Usage(1), "m") for part in parts]
    assert joined(answers) == EmbedResponse(tuple((float(len(each)),) for each in texts), Usage(len(parts)), "m")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"texts": ()}, r"texts is empty\n  Give"),
        ({"texts": ("a", "")}, r"texts\[1\] is empty\n  Leave"),
        ({"texts": ("a",), "dimensions": 0}, r"dimensions = 0: expected a number above 0\n  Leave"),
    ],
)
def test_what_cannot_be_embedded_is_refused_before_the_call(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(LMRequestRejected, match=told):
        EmbedRequest(**fields)


def test_who_offers_embeddings_is_known_before_the_call() -> None:
    with pytest.raises(LMRequestRejected, match=r"^claude: .* offers no embeddings\n  Take .* openai/"):
        offered(PROVIDERS["anthropic"].protocol.EMBEDDINGS, "claude")
    without = [name for name, row in PROVIDERS.items() if row.protocol.EMBEDDINGS is None]
    assert without == ["anthropic", "anthropic-2023-06-01"]
    assert offered(google_embeddings, "g") is google_embeddings


def test_a_server_that_cannot_do_it_is_not_asked_again() -> None:
    body = b'{"error":{"message":"This server does not support embeddings."}}'
    error = error_from(501, {}, body, now=0, peer=PEER)
    assert isinstance(error, LMRequestRejected)
    assert not error.retryable


@pytest.mark.local_model
async def test_the_packaged_model_embeds_if_started_for_it() -> None:
    process = LocalServerProcess(LocalModelSettings(threads=1, embeddings=True))
    transport = HttpTransport(f"{await process.start(timeout=60)}/v1")
    try:
        request = EmbedRequest(("The team won.", "The bank cut its rates.", "The team won."))
        status, _, body = await transport.post(
            "/embeddings", openai_embeddings.encode(request, "local"), timeout=60
        )
        assert status == 200
        reply = openai_embeddings.decode(body, PEER, 3)
        assert reply.usage.input_tokens > 0
        first, other, again = reply.vectors
        assert abs(sum(a * b for a, b in zip(first, again, strict=True)) - 1) < 1e-3  # of unit length
        assert sum(a * b for a, b in zip(first, other, strict=True)) < 0.999
    finally:
        await transport.close()
        await process.stop(timeout=10)
