"""Submitted runs over HTTP."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import repertory as rp
from repertory.errors import LMServerError
from repertory.providers.messages import LMRequest
from repertory.server.cutoff import Cutoff
from repertory.server.events import RequestCrashed
from repertory.testing import ScriptedLM
from tests.endpoint import Hang, ScriptedEndpoint
from tests.server.service import PATIENCE, SPAM, Service, endpoint_config, serving

RUNS = "/v1/programs/mail/runs"


class Approved(rp.Module):
    """Two steps, and between them a word from outside."""

    def __init__(self) -> None:
        self.judge = rp.Predict("text -> label")
        self.again = rp.Predict("text, word -> label")

    async def forward(self, text: str) -> rp.Prediction:
        first = await self.judge(text=text)
        word = await rp.wait_for_signal("go")
        second = await self.again(text=text, word=str(word))
        return rp.Prediction(label=second.label, first=first.label, word=word)


async def post(
    service: Service, path: str = RUNS, body: object = None, headers: Mapping[str, str] | None = None
) -> tuple[int, Mapping[str, str], dict[str, Any]]:
    body = {"text": "Win!"} if body is None else body
    async with service.client.post(path, json=body, headers=headers) as response:
        return response.status, response.headers, await response.json(content_type=None)


async def get(service: Service, path: str, **query: object) -> tuple[int, dict[str, Any]]:
    params = {name: str(value) for name, value in query.items()}
    async with service.client.get(path, params=params) as response:
        return response.status, await response.json(content_type=None)


async def events_of(service: Service, id: str, kind: str, *, after: int = 0) -> list[dict[str, Any]]:
    """The events of a run up to the first of this kind, asked for page by page."""
    events: list[dict[str, Any]] = []
    async with asyncio.timeout(PATIENCE):
        while not any(event["kind"] == kind for event in events):
            _, page = await get(service, f"/v1/runs/{id}/events", after=after, wait=5, limit=2)
            events += page["events"]
            after = page["last"]
    return events


async def ended(service: Service, id: str, *, after: int = 0) -> dict[str, Any]:
    """The state of a run once it has its outcome."""
    await events_of(service, id, "done", after=after)
    return (await get(service, f"/v1/runs/{id}"))[1]


async def test_a_run_is_accepted_and_asked_for_until_it_has_its_outcome(tmp_path: Path) -> None:
    async with serving(ScriptedLM([SPAM]), store=tmp_path / "s.db") as service:
        status, headers, run = await post(service, headers={"Idempotency-Key": "a"})
        assert (status, headers["Location"]) == (202, f"/v1/runs/{run['id']}")
        assert (run["program"], run["key"], run["inputs"]) == ("mail", "a", {"text": "Win!"})
        run = await ended(service, run["id"])
    assert (run["status"], run["outputs"], run["lm_calls"]) == ("ok", {"label": "spam"}, 1)
    assert run["usage"]["output_tokens"] == 2
    assert run["finished_at"] >= run["accepted_at"]


async def test_the_same_key_is_the_same_run(tmp_path: Path) -> None:
    lm = ScriptedLM([SPAM])
    async with serving(lm, store=tmp_path / "s.db") as service:
        _, _, first = await post(service, headers={"Idempotency-Key": "a"})
        await ended(service, first["id"])
        status, headers, again = await post(service, headers={"Idempotency-Key": '"a"'})
        assert (status, again["id"], again["outputs"]) == (200, first["id"], {"label": "spam"})
        assert headers["Location"] == f"/v1/runs/{first['id']}"
        status, _, answer = await service.predict(headers={"Idempotency-Key": "a"})
        assert (status, answer["id"], answer["outputs"]) == (200, first["id"], {"label": "spam"})
        status, _, problem = await post(service, body={"text": "Hi"}, headers={"Idempotency-Key": "a"})
        assert (status, problem["code"]) == (409, "key_reused")
        status, _, problem = await service.predict({"text": "Hi"}, headers={"Idempotency-Key": "a"})
        assert (status, problem["code"]) == (409, "key_reused")
    assert len(lm.requests) == 1


async def test_a_prediction_under_a_key_is_paid_for_once(tmp_path: Path) -> None:
    lm = ScriptedLM([SPAM])
    async with serving(lm, store=tmp_path / "s.db") as service:
        answers = [await service.predict(headers={"Idempotency-Key": "a"}) for _ in range(2)]
    assert [(status, answer["outputs"]) for status, _, answer in answers] == [(200, {"label": "spam"})] * 2
    assert answers[0][2]["id"] == answers[1][2]["id"]
    assert len(lm.requests) == 1


async def test_terms_reach_the_model_and_tags_the_run(tmp_path: Path) -> None:
    asked: list[LMRequest] = []

    def answer(request: LMRequest) -> str:
        asked.append(request)
        return SPAM

    headers = {
        "Repertory-Caller": "alice",
        "Repertory-Priority": "batch",
        "Repertory-Tags": "case=a%2Cb, empty=",
        "traceparent": "no trace at all",
    }
    async with serving(ScriptedLM(answer), store=tmp_path / "s.db") as service:
        _, _, run = await post(service, headers=headers)
        await ended(service, run["id"])
        assert run["tags"] == {"case": "a,b", "empty": ""}
        assert (await service.predict(headers=headers))[0] == 200
    assert [(request.terms.caller, request.terms.priority) for request in asked] == [("alice", "batch")] * 2


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Idempotency-Key", ""),
        ("Idempotency-Key", "k" * 201),
        ("Repertory-Caller", "tab\tular"),
        ("Repertory-Priority", "urgent"),
        ("Repertory-Accounts", "nobody"),
        ("Repertory-Accounts", ",".join("abcdefghijklmnopq")),
        ("Repertory-Budget", "euros=1"),
        ("Repertory-Budget", ""),
        ("Repertory-Tags", "flag"),
        ("Repertory-Tags", "=value"),
        ("X-Timeout-Seconds", "soon"),
    ],
)
async def test_a_header_that_cannot_be_used_is_named(tmp_path: Path, header: str, value: str) -> None:
    lm = ScriptedLM([])
    async with serving(lm, store=tmp_path / "s.db") as service:
        for status, _, problem in (
            await post(service, headers={header: value}),
            await service.predict(headers={header: value}),
        ):
            assert (status, problem["code"], problem["field"]) == (400, "header_invalid", header)
            assert problem["hint"]
        assert (await get(service, "/v1/runs"))[1] == {"runs": [], "more": False}
    assert not lm.requests


async def test_inputs_that_do_not_fit_make_no_run(tmp_path: Path) -> None:
    async with serving(ScriptedLM([]), store=tmp_path / "s.db") as service:
        status, _, problem = await post(service, body={"text": 7})
        assert (status, problem["code"], problem["field"]) == (422, "input_invalid", "text")
        assert (await get(service, "/v1/runs"))[1] == {"runs": [], "more": False}
        status, _, problem = await post(service, "/v1/programs/male/runs")
        assert (status, problem["code"]) == (404, "program_unknown")


async def test_without_a_journal_nothing_is_promised() -> None:
    async with serving(ScriptedLM([SPAM])) as service:
        status, _, problem = await post(service)
        assert (status, problem["code"]) == (501, "journal_off")
        status, _, problem = await service.predict(headers={"Idempotency-Key": "a"})
        assert (status, problem["code"]) == (501, "journal_off")
        assert (await get(service, "/v1/runs/a"))[0] == 404
        assert (await service.predict())[0] == 200


async def test_what_a_run_failed_with_is_told_and_tried_again(tmp_path: Path) -> None:
    async with serving(ScriptedLM([LMServerError("500"), SPAM]), store=tmp_path / "s.db") as service:
        _, _, run = await post(service)
        events = await events_of(service, run["id"], "done")
        run = await ended(service, run["id"])
        assert (run["status"], run["error"]["code"], run["outputs"]) == ("failed", "lm_server_error", None)
        assert (await get(service, "/v1/runs", status="failed"))[1]["runs"][0]["id"] == run["id"]
        assert (await post(service, f"/v1/runs/{run['id']}/retry", None))[0] in (200, 202)  # it may have ended
        run = await ended(service, run["id"], after=events[-1]["id"])
        assert (run["status"], run["outputs"]) == ("ok", {"label": "spam"})
        status, _, problem = await post(service, f"/v1/runs/{run['id']}/retry", None)
        assert (status, problem["code"]) == (409, "run_state")


async def test_a_run_waits_for_a_signal_and_shows_its_steps(tmp_path: Path) -> None:
    lm = ScriptedLM(['{"label": "a"}', '{"label": "b"}', '{"label": "c"}'])
    async with serving(lm, program=Approved(), store=tmp_path / "s.db") as service:
        _, _, run = await post(service)
        path = f"/v1/runs/{run['id']}"
        await events_of(service, run["id"], "step")
        assert (await post(service, f"{path}/signals/go", {"yes": True}))[0] == 202
        run = await ended(service, run["id"])
        assert run["outputs"] == {"label": "b", "first": "a", "word": {"yes": True}}
        steps = (await get(service, f"{path}/steps"))[1]
        assert [(step["number"], step["step"], step["outputs"]) for step in steps["steps"]] == [
            (0, "judge", {"label": "a"}),
            (1, "again", {"label": "b"}),
        ]
        assert not steps["more"]
        page = (await get(service, f"{path}/steps", limit=1))[1]
        assert ([step["number"] for step in page["steps"]], page["more"]) == ([0], True)
        page = (await get(service, f"{path}/steps", after=0))[1]
        assert ([step["number"] for step in page["steps"]], page["more"]) == ([1], False)
        status, _, problem = await post(service, f"{path}/signals/go", None)
        assert (status, problem["code"]) == (409, "run_state")

        status, headers, fork = await post(service, f"{path}/fork", {"step": 1, "key": "fork"})
        assert (status, fork["parent"]) == (202, run["id"])
        assert headers["Location"] == f"/v1/runs/{fork['id']}"
        await post(service, f"/v1/runs/{fork['id']}/signals/go", "now")
        fork = await ended(service, fork["id"])
        assert fork["outputs"] == {"label": "c", "first": "a", "word": "now"}
        status, _, problem = await post(service, f"{path}/fork", {"step": 1, "key": "fork"})
        assert (status, problem["code"]) == (409, "key_reused")
    assert len(lm.requests) == 3


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"step": 9}, 409, "run_state"),
        ({"step": -1}, 422, "fork_invalid"),
        ({"steps": 1}, 422, "fork_invalid"),
        ({"inputs": {"text": 7}}, 422, "input_invalid"),
        ({"key": ""}, 422, "fork_invalid"),
    ],
    ids=str,
)
async def test_a_fork_that_cannot_be_made_is_refused(
    tmp_path: Path, body: dict[str, Any], status: int, code: str
) -> None:
    async with serving(ScriptedLM([SPAM]), store=tmp_path / "s.db") as service:
        _, _, run = await post(service)
        await ended(service, run["id"])
        got, _, problem = await post(service, f"/v1/runs/{run['id']}/fork", body)
    assert (got, problem["code"]) == (status, code)


async def test_a_cancelled_run_takes_its_call_to_the_model_along(tmp_path: Path) -> None:
    async with (
        ScriptedEndpoint([Hang()]) as endpoint,
        serving(endpoint_config(endpoint.url), store=tmp_path / "s.db") as service,
    ):
        _, _, run = await post(service)
        async with asyncio.timeout(PATIENCE):
            await endpoint.arrived.acquire()
            assert (await post(service, f"/v1/runs/{run['id']}/cancel", None))[0] == 202
            await endpoint.client_left.wait()
        run = await ended(service, run["id"])
        assert (run["status"], run["error"]["code"]) == ("cancelled", "run_cancelled")
        status, _, problem = await post(service, f"/v1/runs/{run['id']}/cancel", None)
        assert (status, problem["code"]) == (409, "run_state")


async def test_the_deadline_is_the_runs_and_not_the_requests(tmp_path: Path) -> None:
    async with (
        ScriptedEndpoint([Hang()]) as endpoint,
        serving(endpoint_config(endpoint.url), store=tmp_path / "s.db") as service,
    ):
        status, _, run = await post(service, headers={"X-Timeout-Seconds": "0.05"})
        assert status == 202
        run = await ended(service, run["id"])
    assert (run["status"], run["error"]["code"]) == ("failed", "deadline_exceeded")


async def test_nobody_waits_for_the_events_of_a_run_that_has_ended(tmp_path: Path) -> None:
    async with serving(ScriptedLM([SPAM]), store=tmp_path / "s.db") as service:
        _, _, run = await post(service)
        await ended(service, run["id"])
        _, page = await get(service, f"/v1/runs/{run['id']}/events")
        assert page["ended"]
        assert [event["id"] for event in page["events"]] == list(range(1, page["last"] + 1))
        assert (page["events"][0]["kind"], page["events"][-1]["kind"]) == ("accepted", "done")
        _, rest = await get(service, f"/v1/runs/{run['id']}/events", after=page["last"], wait=3600)
        assert rest == {"events": [], "last": page["last"], "ended": True}


async def test_who_waits_for_events_is_let_go_when_the_service_stops(tmp_path: Path) -> None:
    arrived = asyncio.Event()

    class Counted(Cutoff):
        @asynccontextmanager
        async def covering(self) -> AsyncIterator[None]:
            async with super().covering():
                arrived.set()
                yield

    async with serving(
        ScriptedLM([SPAM]), program=Approved(), store=tmp_path / "s.db", requests=Counted()
    ) as service:
        _, _, run = await post(service)
        events = await events_of(service, run["id"], "step")
        arrived.clear()
        wait = get(service, f"/v1/runs/{run['id']}/events", after=events[-1]["id"], wait=3600)
        waiting = asyncio.create_task(wait)
        async with asyncio.timeout(PATIENCE):
            await arrived.wait()
            service.requests.cut()
            status, problem = await waiting
    assert (status, problem["code"]) == (503, "runtime_closed")


async def test_no_run_is_begun_while_the_service_drains(tmp_path: Path) -> None:
    async with serving(ScriptedLM([SPAM]), program=Approved(), store=tmp_path / "s.db") as service:
        _, _, run = await post(service)
        assert await service.runtime.drain(PATIENCE), "a submitted run goes on in the next process"
        status, _, problem = await post(service)
        assert (status, problem["code"]) == (503, "runtime_closed")
        for action in ("retry", "fork"):
            status, _, problem = await post(service, f"/v1/runs/{run['id']}/{action}", {})
            assert (status, problem["code"]) == (503, "runtime_closed")
        assert (await get(service, f"/v1/runs/{run['id']}"))[0] == 200


@pytest.mark.parametrize(
    "path", ["", "/steps", "/events", "/cancel", "/retry", "/signals/go", "/fork"], ids=lambda path: path or "show"
)
async def test_an_unknown_run_is_not_found(tmp_path: Path, path: str) -> None:
    async with serving(ScriptedLM([]), store=tmp_path / "s.db") as service:
        if path in ("", "/steps", "/events"):
            status, problem = await get(service, f"/v1/runs/0123{path}")
        else:
            status, _, problem = await post(service, f"/v1/runs/0123{path}", {})
        assert (status, problem["code"]) == (404, "run_unknown")
        assert not service.recorder.of(RequestCrashed)


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/v1/runs", {"status": "lost"}),
        ("/v1/runs", {"limit": "0"}),
        ("/v1/runs", {"limit": "1_0"}),
        ("/v1/runs/a/events", {"after": "-1"}),
        ("/v1/runs/a/events", {"wait": "long"}),
        ("/v1/runs/a/steps", {"after": "9" * 5000}),
    ],
)
async def test_a_query_that_makes_no_sense_is_refused(tmp_path: Path, path: str, query: dict[str, str]) -> None:
    async with serving(ScriptedLM([]), store=tmp_path / "s.db") as service:
        status, problem = await get(service, path, **query)
    assert (status, problem["code"], problem["field"]) == (400, "query_invalid", next(iter(query)))


async def test_runs_are_listed_by_program_the_latest_first(tmp_path: Path) -> None:
    async with serving(ScriptedLM(lambda _: SPAM), store=tmp_path / "s.db") as service:
        ids = [(await post(service))[2]["id"] for _ in range(3)]
        for id in ids:
            await ended(service, id)
        page = (await get(service, "/v1/runs", program="mail", status="ok", limit=2))[1]
        assert [run["id"] for run in page["runs"]] == ids[:0:-1]
        assert "inputs" not in page["runs"][0]
        assert page["more"]
        rest = (await get(service, "/v1/runs", program="mail", limit=2, before=page["runs"][-1]["id"]))[1]
        assert [run["id"] for run in rest["runs"]] == ids[:1]
        assert not rest["more"]
        assert (await get(service, "/v1/runs", program="post"))[1] == {"runs": [], "more": False}
        status, problem = await get(service, "/v1/runs", before="0123")
        assert (status, problem["code"]) == (404, "run_unknown")


async def test_a_page_of_another_site_cannot_speak_to_runs(tmp_path: Path) -> None:
    """Browsers send forms anywhere; what is announced as JSON only with leave (CORS)."""
    async with serving(ScriptedLM([SPAM]), program=Approved(), store=tmp_path / "s.db") as service:
        _, _, run = await post(service)
        for action in ("cancel", "retry", "signals/go", "fork"):
            async with service.client.post(f"/v1/runs/{run['id']}/{action}", data="{}") as response:
                assert response.status == 415
        async with service.client.post(RUNS, data='{"text": "a"}') as response:
            assert response.status == 415
