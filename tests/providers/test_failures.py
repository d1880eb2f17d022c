"""What answers with a status other than 2xx mean."""

from email.utils import formatdate

import orjson
import pytest
from hypothesis import given
from hypothesis.strategies import just, sampled_from, text
from pydantic import SecretStr

from repertory.errors import (
    LMAuthError,
    LMError,
    LMModelUnknown,
    LMRateLimited,
    LMRequestRejected,
    LMServerError,
    LMTimeout,
)
from repertory.providers.failures import Peer, error_from, retry_after, stated_error

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (307, LMRequestRejected),
        (400, LMRequestRejected),
        (401, LMAuthError),
        (402, LMAuthError),
        (403, LMAuthError),
        (404, LMModelUnknown),
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
    error = error_from(status, {}, b'{"error":{"message":"because"}}', now=NOW, peer=Peer("qa"))
    assert type(error) is kind
    assert error.message == f"qa: answered {status}: because"
    assert error.endpoint == "qa"


def test_refused_credentials_name_the_variable_to_set() -> None:
    error = error_from(401, {}, b"", now=NOW, peer=Peer("qa", key_env="OPENAI_API_KEY"))
    assert str(error) == "qa: answered 401\n  Set the environment variable OPENAI_API_KEY to a valid API key."


def test_the_servers_words_are_bounded_and_the_key_struck_out_even_where_the_bound_cuts_it() -> None:
    words = "x" * 495 + "sk-canary" + "y" * 10_000
    error = error_from(400, {}, words.encode(), now=NOW, peer=Peer("qa", SecretStr("sk-canary")))
    assert len(error.message) < 550
    assert "sk-" not in error.message


def test_a_redirect_names_where_it_leads_with_the_key_struck_out() -> None:
    headers = {"location": "https://elsewhere.example/v1?key=sk-canary&x=" + "y" * 10_000}
    error = error_from(307, headers, b"", now=NOW, peer=Peer("qa", SecretStr("sk-canary")))
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
    assert error_from(429, headers, b"", now=NOW, peer=Peer()).retry_after == seconds


@given(sampled_from(["retry-after", "retry-after-ms"]), text() | just("Mon, 99 Foo 2024 99:99:99 GMT"))
def test_no_hint_is_too_strange_to_read(name: str, hint: str) -> None:
    wait = retry_after({name: hint}, NOW)
    assert wait is None or 0 <= wait <= 86_400


@pytest.mark.parametrize(("delay", "seconds"), [("3.5s", 3.5), ("soon", None), (7, None)])
def test_google_says_in_the_body_when_to_come_back(delay: object, seconds: float | None) -> None:
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}]
    body = orjson.dumps({"error": {"code": 429, "message": "quota", "details": details}})
    assert error_from(429, {}, body, now=NOW, peer=Peer()).retry_after == seconds


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"type": "overloaded_error"}, LMServerError),
        ({"type": "tokens", "code": "rate_limit_exceeded"}, LMRateLimited),
        ({"code": 429, "status": "RESOURCE_EXHAUSTED"}, LMRateLimited),
        ({"code": "429"}, LMRateLimited),
        ({"type": "invalid_request_error", "code": "invalid_api_key"}, LMAuthError),
        ({"code": 403, "status": "PERMISSION_DENIED"}, LMAuthError),
        ({"type": "invalid_request_error", "code": None}, LMRequestRejected),
        ({"code": "invalid_prompt"}, LMRequestRejected),
        ({"code": "image_too_large"}, LMRequestRejected),
        ({"code": ["429"], "type": {}}, LMServerError),
        ("overloaded", LMServerError),
    ],
)
def test_an_error_in_a_good_answer_has_the_class_its_names_say(error: object, kind: type[LMError]) -> None:
    assert type(stated_error({"error": error}, b"{}", Peer("qa"))) is kind
