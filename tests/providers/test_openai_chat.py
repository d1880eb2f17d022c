from contextlib import suppress
from email.utils import formatdate
from types import MappingProxyType
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis.strategies import binary, dictionaries, floats, just, lists, none, recursive, sampled_from, text
from pydantic import SecretStr

from repertory.errors import (
    LMAuthError,
    LMError,
    LMRateLimited,
    LMReplyMalformed,
    LMRequestRejected,
    LMServerError,
    LMTimeout,
)
from repertory.providers.messages import LMRequest, LMResponse, Message, Usage
from repertory.providers.openai_chat import decode, encode, error_from, retry_after
from tests.endpoint import completion

NOW = 1_700_000_000.0
ASK = LMRequest((Message("system", "Be brief."), Message("user", "Tag?")))


def sent(request: LMRequest, *, constrains: bool = True) -> dict[str, Any]:
    body: dict[str, Any] = orjson.loads(encode(request, "m-1", constrains=constrains))
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
    assert "response_format" not in sent(request, constrains=False)


def test_a_completion_is_read_whole() -> None:
    reply = decode(orjson.dumps(completion("sports", "length")))
    assert reply == LMResponse("sports", "length", Usage(11, 7, 3), "scripted-1", "chatcmpl-1")


def test_usage_adds_up() -> None:
    assert Usage(1, 2, 3) + Usage(10, 20, 30) == Usage(11, 22, 33)


def test_null_content_is_an_empty_reply_and_a_refusal_is_its_words() -> None:
    assert decode(orjson.dumps(completion(None))).text == ""
    refused = decode(orjson.dumps(completion(None, refusal="I cannot help with that.")))
    assert (refused.text, refused.finish_reason) == ("I cannot help with that.", "refusal")


def test_what_a_server_left_out_is_not_invented() -> None:
    reply = decode(b'{"choices":[{"message":{"content":"x"}}],"usage":{"prompt_tokens":"many"}}')
    assert reply == LMResponse("x", "unknown", Usage(), "", "")


@pytest.mark.parametrize("nonsense", ["-1", "true", "1.5", str(2**53 + 1), "1e300", "99999999999999999999999"])
def test_a_count_that_cannot_be_one_is_0(nonsense: str) -> None:
    reply = decode(
        b'{"choices":[{"message":{"content":"x"}}],"usage":{"prompt_tokens":%b,"completion_tokens":%d,'
        b'"prompt_tokens_details":{"cached_tokens":%b}}}' % (nonsense.encode(), 2**53, nonsense.encode())
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
        decode(body, endpoint="qa")
    assert raised.value.endpoint == "qa"


def test_an_error_in_a_200_is_a_server_error() -> None:
    with pytest.raises(LMServerError, match="qa: answered with an error: overloaded"):
        decode(b'{"error":{"message":"overloaded"}}', endpoint="qa")


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
        assert isinstance(decode(body), LMResponse)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (307, LMRequestRejected),
        (400, LMRequestRejected),
        (401, LMAuthError),
        (402, LMAuthError),
        (403, LMAuthError),
        (404, LMRequestRejected),
        (408, LMTimeout),
        (413, LMRequestRejected),
        (422, LMRequestRejected),
        (429, LMRateLimited),
        (500, LMServerError),
        (503, LMServerError),
        (529, LMServerError),
    ],
)
def test_each_status_has_its_error(status: int, kind: type[LMError]) -> None:
    error = error_from(status, {}, b'{"error":{"message":"because"}}', now=NOW, endpoint="qa")
    assert type(error) is kind
    assert error.message == f"qa: answered {status}: because"
    assert error.endpoint == "qa"


def test_refused_credentials_name_the_variable_to_set() -> None:
    error = error_from(401, {}, b"", now=NOW, endpoint="qa", key_env="OPENAI_API_KEY")
    assert str(error) == "qa: answered 401\n  Set the environment variable OPENAI_API_KEY to a valid API key."


def test_the_servers_words_are_bounded_and_the_key_struck_out_even_where_the_bound_cuts_it() -> None:
    words = "x" * 495 + "sk-canary" + "y" * 10_000
    error = error_from(400, {}, words.encode(), now=NOW, secret=SecretStr("sk-canary"))
    assert len(error.message) < 550
    assert "sk-" not in error.message


def test_a_redirect_names_where_it_leads_with_the_key_struck_out() -> None:
    headers = {"location": "https://elsewhere.example/v1?key=sk-canary&x=" + "y" * 10_000}
    error = error_from(307, headers, b"", now=NOW, secret=SecretStr("sk-canary"))
    assert "where it moved: https://elsewhere.example/v1?key=[secret]&x=y" in str(error)
    assert "sk-canary" not in str(error)
    assert len(str(error)) < 700


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9),
        ({"retry-after": formatdate(NOW + 30, usegmt=True)}, 30),
        ({"retry-after": formatdate(NOW - 30, usegmt=True)}, 0),
        ({"retry-after": "1e12"}, 86_400),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "later"}, None),
    ],
)
def test_every_way_to_say_when_to_come_back(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == seconds
    assert error_from(429, headers, b"", now=NOW).retry_after == seconds


@given(sampled_from(["retry-after", "retry-after-ms"]), text() | just("Mon, 99 Foo 2024 99:99:99 GMT"))
def test_no_hint_is_too_strange_to_read(name: str, hint: str) -> None:
    wait = retry_after({name: hint}, NOW)
    assert wait is None or 0 <= wait <= 86_400
