"""Every way to fail, as the client sees it."""

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from repertory.errors import (
    ActorDown,
    BudgetExceeded,
    CircuitOpen,
    ConfigError,
    DeadlineExceeded,
    EndpointOverloaded,
    LMAuthError,
    LMConnectionError,
    LMRateLimited,
    LMReplyMalformed,
    LMRequestRejected,
    LMServerError,
    LMTimeout,
    MailboxFull,
    Overloaded,
    PriceUnknown,
    RepertoryError,
    RuntimeClosed,
)
from repertory.modules import Module, Predict, Prediction
from repertory.server.events import BadHttp, JournalFailed, RequestCrashed
from repertory.testing import ScriptedLM
from tests.server.service import PATIENCE, PREDICT, SPAM, Service, mail, serving


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (DeadlineExceeded("late"), 504),
        (LMTimeout("slow"), 504),
        (CircuitOpen("open"), 503),
        (LMConnectionError("no route"), 503),
        (EndpointOverloaded("a crowd"), 503),
        (BudgetExceeded("spent", account="global"), 402),
        (PriceUnknown("of what?"), 500),
        (LMRateLimited("slower"), 503),
        (Overloaded("short of memory"), 503),
        (MailboxFull("full"), 503),
        (ActorDown("gone"), 503),
        (RuntimeClosed("closing"), 503),
        (LMAuthError("who?"), 502),
        (LMServerError("500"), 502),
        (LMRequestRejected("too long"), 502),
        (LMReplyMalformed("not JSON"), 502),
    ],
    ids=lambda value: value.code if isinstance(value, RepertoryError) else str(value),
)
async def test_an_expected_failure_has_its_status_code_and_words(error: RepertoryError, status: int) -> None:
    error.hint = "Do this."
    async with serving(ScriptedLM(lambda _: error)) as service:
        got, headers, problem = await service.predict()
        assert not service.recorder.of(RequestCrashed)
    assert got == problem["status"] == status
    assert headers["Content-Type"] == "application/problem+json"
    assert problem["type"] == f"urn:repertory:problem:{error.code}"
    assert (problem["code"], problem["detail"], problem["hint"]) == (error.code, error.message, "Do this.")
    assert problem["title"]
    assert ("Retry-After" in headers) == (status == 503)


async def test_retry_after_is_what_the_failing_side_said_in_whole_seconds() -> None:
    async with serving(ScriptedLM([CircuitOpen("open", retry_after=2.2), LMRateLimited("slower")])) as service:
        assert (await service.predict())[1]["Retry-After"] == "3"
        assert (await service.predict())[1]["Retry-After"] == "1"


async def test_an_unusable_reply_names_the_output() -> None:
    async with serving(ScriptedLM(lambda _: '{"label": "eggs"}')) as service:
        status, _, problem = await service.predict()
    assert (status, problem["code"], problem["field"]) == (502, "reply_unparsable", "label")


@pytest.mark.parametrize(
    ("inputs", "field"),
    [({}, "text"), ({"text": 7}, "text"), ({"text": "a", "txt": "b"}, "txt"), ([1], ""), ("text", ""), (7, "")],
    ids=str,
)
async def test_unfit_inputs_name_the_field(inputs: object, field: str) -> None:
    lm = ScriptedLM([SPAM])
    async with serving(lm) as service:
        status, _, problem = await service.predict(inputs)
    assert (status, problem["code"], problem["field"]) == (422, "input_invalid", field)
    assert not lm.requests


async def test_a_journal_that_cannot_be_written_is_a_known_problem(tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    async with serving(ScriptedLM([SPAM]), store=store) as service:
        with closing(sqlite3.connect(store)) as connection:
            connection.execute(
                "CREATE TRIGGER full BEFORE INSERT ON runs BEGIN SELECT RAISE(ABORT, 'disk full'); END"
            )
        status, headers, problem = await service.predict()
        assert (status, problem["code"]) == (503, "store_error")
        assert problem["title"] == "The journal cannot be written"
        assert headers["Retry-After"] == "1"
        assert "disk full" not in str(problem)
        (told,) = service.recorder.of(JournalFailed)
        assert told.request_id == headers["X-Request-Id"]
        assert told.request_id in problem["detail"]
        assert "disk full" in told.reason
        assert not service.recorder.of(RequestCrashed)


class Forgetful(Module):
    """Calls its predictor without what it needs."""

    def __init__(self) -> None:
        self.judge = mail()

    async def forward(self, text: str) -> Prediction:
        return await self.judge()


@pytest.mark.parametrize(
    "secret",
    [ValueError("sk-secret"), ConfigError("sk-secret")],
    ids=lambda error: type(error).__name__,
)
async def test_what_nobody_foresaw_is_logged_and_not_told(secret: Exception) -> None:
    async with serving(ScriptedLM([secret, SPAM])) as service:
        status, headers, problem = await service.predict()
        assert (status, problem["code"]) == (500, "internal_error")
        assert "secret" not in str(problem)
        crash = await service.recorder.first(RequestCrashed)
        assert secret in (crash.cause, crash.cause.__cause__)
        assert crash.request_id == headers["X-Request-Id"]
        assert crash.request_id in problem["detail"]
        assert (await service.predict())[0] == 200


async def test_inputs_the_program_itself_gets_wrong_are_not_the_clients_fault() -> None:
    async with serving(ScriptedLM([]), program=Forgetful()) as service:
        status, _, problem = await service.predict()
    assert (status, problem["code"]) == (500, "internal_error")


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"text": NaN}', b"[" * 5000], ids=repr)
async def test_a_body_that_is_not_json_is_refused(body: bytes) -> None:
    async with serving(ScriptedLM([SPAM])) as service:
        status, _, problem = await post(service, body)
    assert (status, problem["code"]) == (400, "json_invalid")


@pytest.mark.parametrize(("depth", "expected"), [(200, 200), (300, 422)])
async def test_inputs_nested_deeper_than_can_be_kept_name_the_field(
    depth: int, expected: int, tmp_path: Path
) -> None:
    program = Predict("data: dict -> label: Literal['spam', 'ham']")
    body = b'{"data": {"a": %b}}' % (b"[" * depth + b"]" * depth)
    async with serving(ScriptedLM([SPAM]), program=program, store=tmp_path / "store.db") as service:
        status, _, answer = await post(service, body)
        assert not service.recorder.of(RequestCrashed)
    assert status == expected
    if status == 422:
        assert (answer["code"], answer["field"]) == ("input_invalid", "data")


async def test_a_body_that_cannot_be_unpacked_is_refused() -> None:
    async with serving(ScriptedLM([SPAM])) as service:
        status, _, problem = await post(service, b"not gzip at all", **{"Content-Encoding": "gzip"})
        assert not service.recorder.of(RequestCrashed)
    assert (status, problem["code"]) == (400, "json_invalid")


async def test_chunks_that_do_not_add_up_are_refused() -> None:
    async with serving(ScriptedLM([SPAM])) as service:
        reader, writer = await asyncio.open_connection(service.host, service.port)
        head = f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Transfer-Encoding: chunked\r\n\r\nzz\r\nnonsense".encode())
        async with asyncio.timeout(PATIENCE):
            assert (await reader.readline()).split()[1] == b"400"
        writer.close()
        await writer.wait_closed()
        assert not service.recorder.of(RequestCrashed)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded"])
async def test_a_body_must_be_announced_as_json(kind: str) -> None:
    async with serving(ScriptedLM([SPAM])) as service:
        status, _, problem = await post(service, b'{"text": "a"}', **{"Content-Type": kind})
    assert (status, problem["code"]) == (415, "content_type_unsupported")
    assert kind in problem["detail"]


async def test_a_body_may_have_the_largest_size_and_no_more() -> None:
    body = b'{"text": "Win!"}'
    async with serving(ScriptedLM([SPAM]), max_body_bytes=len(body)) as service:
        assert (await post(service, body))[0] == 200
        status, _, problem = await post(service, body + b" ")
    assert (status, problem["code"]) == (413, "body_too_large")
    assert str(len(body)) in problem["detail"]


async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    async with serving(ScriptedLM([SPAM]), request_timeout=0.01) as service:
        reader, writer = await asyncio.open_connection(service.host, service.port)
        head = f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: 100\r\n\r\n".encode())
        async with asyncio.timeout(PATIENCE):
            answer = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"Connection: close" in answer


async def test_an_unknown_program_lists_the_known_ones() -> None:
    async with serving(ScriptedLM([])) as service:
        status, _, problem = await service.predict(path="/v1/programs/male/predict")
    assert (status, problem["code"]) == (404, "program_unknown")
    assert "male" in problem["detail"]
    assert "mail" in problem["hint"]


async def test_an_unknown_path_and_a_wrong_method_are_problems_too() -> None:
    async with serving(ScriptedLM([])) as service:
        async with service.client.get("/nowhere") as response:
            assert (response.status, (await response.json(content_type=None))["code"]) == (404, "not_found")
        async with service.client.get(PREDICT) as response:
            assert (response.status, response.headers["Allow"]) == (405, "POST")
            assert response.content_type == "application/problem+json"
            assert (await response.json(content_type=None))["code"] == "method_not_allowed"


@pytest.mark.parametrize(
    "request_head",
    [
        "GET / HTTP/1.1\r\nno colon here",
        "G@T / HTTP/1.1\r\nHost: localhost",
        "GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost",
        f"GET /{'x' * 10_000} HTTP/1.1\r\nHost: localhost",
    ],
    ids=["header", "method", "hosts", "long"],
)
async def test_what_is_not_http_is_a_problem(request_head: str) -> None:
    async with serving(ScriptedLM([])) as service:
        head, _, body = (await exchange(service, request_head)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 400")
    assert b"Content-Type: application/problem+json" in head
    assert b"Server: repertory\r\n" in head
    problem = json.loads(body)
    assert (problem["status"], problem["code"]) == (400, "http_invalid")
    assert problem["detail"]
    assert "bytearray" not in problem["detail"]


async def test_what_is_not_http_is_told_to_the_hooks() -> None:
    async with serving(ScriptedLM([])) as service:
        await exchange(service, "GET / HTTP/1.1\r\nno colon here")
        await service.recorder.first(BadHttp)


async def exchange(service: Service, request_head: str) -> bytes:
    """All the service says before it closes the connection."""
    reader, writer = await asyncio.open_connection(service.host, service.port)
    writer.write(f"{request_head}\r\n\r\n".encode())
    async with asyncio.timeout(PATIENCE):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def post(service: Service, body: bytes, **headers: str) -> tuple[int, Any, dict[str, Any]]:
    sent = {"Content-Type": "application/json"} | headers
    async with service.client.post(PREDICT, data=body, headers=sent) as response:
        return response.status, response.headers, await response.json(content_type=None)
