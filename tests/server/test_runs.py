"""Submitted runs over HTTP."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repertory.errors import LMServerError
from repertory.testing import ScriptedLM
from tests.server.service import PATIENCE, SPAM, Service, serving

RUNS = "/v1/programs/mail/runs"


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


async def ended(service: Service, id: str) -> dict[str, Any]:
    """The state of a run once it has its outcome."""
    async with asyncio.timeout(PATIENCE):
        after, done = 0, False
        while not done:
            _, page = await get(service, f"/v1/runs/{id}/events", after=after, wait=5)
            after, done = page["last"], page["ended"]
    _, run = await get(service, f"/v1/runs/{id}")
    return run


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


async def test_what_a_run_failed_with_is_told(tmp_path: Path) -> None:
    async with serving(ScriptedLM([LMServerError("500")]), store=tmp_path / "s.db") as service:
        _, _, run = await post(service)
        run = await ended(service, run["id"])
    assert (run["status"], run["error"]["code"], run["outputs"]) == ("failed", "lm_server_error", None)
