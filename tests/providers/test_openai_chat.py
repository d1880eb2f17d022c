from contextlib import suppress
from types import MappingProxyType
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis.strategies import binary, dictionaries, floats, lists, none, recursive, sampled_from, text

from repertory.errors import (
    LMReplyMalformed,
    LMServerError,
)
from repertory.providers.failures import Peer
from repertory.providers.messages import LMRequest, LMResponse, Message, Usage
from repertory.providers.openai_chat import decode, encode
from repertory.providers.wire import Quirks
from tests.endpoint import completion

PEER = Peer("qa")
PLAIN = Quirks()
ASK = LMRequest((Message("system", "Be brief."), Message("user", "Tag?")))


def sent(request: LMRequest, quirks: Quirks = PLAIN) -> dict[str, Any]:
    body: dict[str, Any] = orjson.loads(encode(request, "m-1", quirks))
    return body


def test_a_plain_request_says_model_and_messages_and_nothing_else() -> None:
    assert sent(ASK) == {
        "model": "m-1",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Tag?"}],
    }


def test_sampling_is_sent_where_it_is_given() -> None:
    body = sent(LMRequest(ASK.messages, temperature=0.0, max_tokens=9, seed=0, stop=("\n", "END")))
    assert (body["temperature"], body["max_tokens"], body["seed"], body["stop"]) == (0.0, 9, 0, ["\n", "END"])


def test_a_schema_becomes_a_strict_response_format_where_it_is_supported() -> None:
    schema = MappingProxyType({"type": "object", "properties": MappingProxyType({"tag": {"type": "string"}})})
    request = LMRequest(ASK.messages, response_schema=schema, schema_name="Tagging")
    assert sent(request)["response_format"] == {
        "type": "json_schema",
        "json_schema": {
            "name": "Tagging",
            "strict": True,
            "schema": {"type": "object", "properties": {"tag": {"type": "string"}}},
        },
    }
    assert "response_format" not in sent(request, Quirks(constrains=None))


def test_a_completion_is_read_whole() -> None:
    reply = decode(orjson.dumps(completion("sports", "length")), PEER)
    assert reply == LMResponse("sports", "length", Usage(11, 7, 3), "scripted-1", "chatcmpl-1")


def test_usage_adds_up() -> None:
    assert Usage(1, 2, 3) + Usage(10, 20, 30) == Usage(11, 22, 33)


def test_null_content_is_an_empty_reply_and_a_refusal_is_its_words() -> None:
    assert decode(orjson.dumps(completion(None)), PEER).text == ""
    refused = decode(orjson.dumps(completion(None, refusal="I cannot help with that.")), PEER)
    assert (refused.text, refused.finish_reason) == ("I cannot help with that.", "refusal")


def test_what_a_server_left_out_is_not_invented() -> None:
    reply = decode(b'{"choices":[{"message":{"content":"x"}}],"usage":{"prompt_tokens":"many"}}', PEER)
    assert reply == LMResponse("x", "unknown", Usage(), "", "")


@pytest.mark.parametrize("nonsense", ["-1", "true", "1.5", str(2**53 + 1), "1e300", "99999999999999999999999"])
def test_a_count_that_cannot_be_one_is_0(nonsense: str) -> None:
    reply = decode(
        b'{"choices":[{"message":{"content":"x"}}],"usage":{"prompt_tokens":%b,"completion_tokens":%d,'
        b'"prompt_tokens_details":{"cached_tokens":%b}}}' % (nonsense.encode(), 2**53, nonsense.encode()),
        PEER,
    )
    assert reply.usage == Usage(0, 2**53, 0)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"<html>Bad gateway</html>", "not a JSON object; it starts with '<html>Bad gateway</html>'"),
        (b"", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b"{}", "choices is missing or empty"),
        (b'{"choices":[]}', "choices is missing or empty"),
        (b'{"choices":[{"text":"x"}]}', r"choices\[0\]\.message is missing"),
        (b'{"choices":[{"message":{"content":7}}]}', r"choices\[0\]\.message\.content is int, not a string"),
    ],
)
def test_a_malformed_reply_is_named(body: bytes, complaint: str) -> None:
    with pytest.raises(LMReplyMalformed, match=complaint) as raised:
        decode(body, PEER)
    assert raised.value.endpoint == "qa"


def test_an_error_in_a_200_is_a_server_error() -> None:
    with pytest.raises(LMServerError, match="qa: answered with an error: overloaded"):
        decode(b'{"error":{"message":"overloaded"}}', PEER)


JSON = recursive(
    none() | floats(allow_nan=False) | text(max_size=5),
    lambda inner: (
        lists(inner, max_size=3)
        | dictionaries(
            sampled_from(["choices", "message", "content", "usage", "error", "finish_reason", "refusal"]), inner
        )
    ),
)


@given(binary(max_size=50) | JSON.map(orjson.dumps))
def test_any_body_is_a_reply_or_an_lm_error(body: bytes) -> None:
    with suppress(LMReplyMalformed, LMServerError):  # anything else fails the test
        assert isinstance(decode(body, PEER), LMResponse)
