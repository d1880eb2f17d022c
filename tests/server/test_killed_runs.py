"""Submitted runs outlive the daemon: whatever ends it, the next one goes on where it stopped."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.endpoint import Hang, Hold, Reply, ScriptedEndpoint, Seen, Step
from tests.server.child import Child, daemon
from tests.server.service import PATIENCE

RUNS = 3
TWO = """
import repertory as rp

class Two(rp.Module):
    def __init__(self):
        self.first = rp.Predict("text -> middle")
        self.second = rp.Predict("middle -> answer")

    async def forward(self, text: str) -> rp.Prediction:
        middle = await self.first(text=text)
        return await self.second(middle=middle.middle)

judge = Two()
"""


async def ask(child: Child, method: str, path: str, **options: Any) -> dict[str, Any]:
    async with child.client.request(method, path, **options) as response:
        answer: dict[str, Any] = await response.json(content_type=None)
        assert response.status in (200, 202), answer
        return answer


async def submit(child: Child, key: str) -> dict[str, Any]:
    path = "/v1/programs/mail/runs"
    return await ask(child, "POST", path, json={"text": key}, headers={"Idempotency-Key": key})


async def outcome(child: Child, id: str, after: int = 0) -> dict[str, Any]:
    done = False
    async with asyncio.timeout(PATIENCE):
        while not done:
            page = await ask(child, "GET", f"/v1/runs/{id}/events?after={after}&wait=10")
            after, done = page["last"], page["ended"]
    return await ask(child, "GET", f"/v1/runs/{id}")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_runs_go_on_in_the_next_daemon_and_ask_for_no_recorded_step(
    tmp_path: Path, number: signal.Signals
) -> None:
    """The endpoint's own log tells: all that was asked twice is what nobody had an answer to."""
    answering = asyncio.Event()

    def script(seen: Seen) -> Step:
        label, _, text = seen.last_message.partition(": ")
        if label == "text":
            return Reply(f'{{"middle": "m{text}"}}')
        return Hold(answering, Reply(f'{{"answer": "a{text}"}}'))

    keys = [f"run-{number}" for number in range(RUNS)]
    async with ScriptedEndpoint(script) as endpoint:
        async with daemon(tmp_path, endpoint.url, 0, program=TWO) as child:
            ids = [(await submit(child, key))["id"] for key in keys]
            async with asyncio.timeout(PATIENCE):
                for _ in range(2 * RUNS):
                    await endpoint.arrived.acquire()
            child.process.send_signal(number)
            assert await child.exit_code() == (-number if number == signal.SIGKILL else 0)
        first_life = len(endpoint.requests)
        answering.set()
        async with daemon(tmp_path, endpoint.url, 3600, program=TWO) as child:
            ends = [await outcome(child, id) for id in ids]
            again = [await submit(child, key) for key in keys]
    assert [(end["status"], end["outputs"]) for end in ends] == [("ok", {"answer": f"am{key}"}) for key in keys]
    assert [end["lm_calls"] for end in ends] == [2] * RUNS
    assert {end["uncertain_calls"] for end in ends} == {1}, "the calls that were under way are listed"
    assert again == ends
    labels = [seen.last_message.partition(": ")[0] for seen in endpoint.requests[first_life:]]
    assert labels == ["middle"] * RUNS


async def test_a_daemon_told_to_stop_finishes_the_calls_of_its_runs_and_leaves_the_rest(tmp_path: Path) -> None:
    answering = asyncio.Event()

    def script(seen: Seen) -> Step:
        label, _, text = seen.last_message.partition(": ")
        if label == "text":
            return Hold(answering, Reply(f'{{"middle": "m{text}"}}'))
        return Reply(f'{{"answer": "a{text}"}}')

    async with ScriptedEndpoint(script) as endpoint:
        async with daemon(tmp_path, endpoint.url, 3600, program=TWO) as child:
            id = (await submit(child, "run"))["id"]
            async with asyncio.timeout(PATIENCE):
                await endpoint.arrived.acquire()
            child.process.terminate()
            await child.logged("draining")
            answering.set()
            assert await child.exit_code() == 0
            assert child.log[-1]["drained"] is True
        assert [seen.last_message for seen in endpoint.requests] == ["text: run"]
        async with daemon(tmp_path, endpoint.url, 3600, program=TWO) as child:
            end = await outcome(child, id)
    assert (end["status"], end["outputs"], end["uncertain_calls"]) == ("ok", {"answer": "amrun"}, 0)
    assert [seen.last_message for seen in endpoint.requests] == ["text: run", "middle: mrun"]


async def test_a_run_is_held_where_the_configuration_says_so_until_somebody_decides(tmp_path: Path) -> None:
    held = 'uncertain = "hold"\n'
    answering = asyncio.Event()
    async with ScriptedEndpoint(lambda _: Hold(answering, Reply('{"label": "spam"}'))) as endpoint:
        async with daemon(tmp_path, endpoint.url, 3600, settings=held) as child:
            id = (await submit(child, "a"))["id"]
            await endpoint.arrived.acquire()
            child.process.kill()
            await child.exit_code()
        answering.set()
        async with daemon(tmp_path, endpoint.url, 3600, settings=held) as child:
            run = await outcome(child, id)
            assert (run["status"], run["error"]["code"], run["uncertain_calls"]) == ("held", "call_uncertain", 1)
            assert len(endpoint.requests) == 1
            last = (await ask(child, "GET", f"/v1/runs/{id}/events"))["last"]
            await ask(child, "POST", f"/v1/runs/{id}/retry", json={})
            run = await outcome(child, id, after=last)
            assert (run["status"], run["outputs"]) == ("ok", {"label": "spam"})
    assert len(endpoint.requests) == 2


async def test_a_run_whose_code_has_changed_fails_and_is_tried_again_where_that_is_allowed(tmp_path: Path) -> None:
    answering = asyncio.Event()

    def script(seen: Seen) -> Step:
        first = seen.last_message.startswith("text: ")
        return Reply('{"middle": "m"}') if first else Hold(answering, Reply('{"answer": "a"}'))

    async with ScriptedEndpoint(script) as endpoint:
        async with daemon(tmp_path, endpoint.url, 3600, program=TWO) as child:
            id = (await submit(child, "a"))["id"]
            for _ in range(2):
                await endpoint.arrived.acquire()
            child.process.kill()
            await child.exit_code()
        answering.set()
        changed = TWO.replace("middle=middle.middle", "middle=str(middle.middle)")
        async with daemon(tmp_path, endpoint.url, 3600, program=changed) as child:
            run = await outcome(child, id)
            assert (run["status"], run["error"]["code"]) == ("failed", "program_changed")
            last = (await ask(child, "GET", f"/v1/runs/{id}/events"))["last"]
            async with child.client.post(f"/v1/runs/{id}/retry", json={}) as refused:
                assert (refused.status, (await refused.json())["code"]) == (409, "program_changed")
            assert (await ask(child, "GET", f"/v1/runs/{id}"))["status"] == "failed"
        settings = 'changed = "continue"\n'
        async with daemon(tmp_path, endpoint.url, 3600, program=changed, settings=settings) as child:
            await ask(child, "POST", f"/v1/runs/{id}/retry", json={})
            run = await outcome(child, id, after=last + 1)
    assert (run["status"], run["outputs"]) == ("ok", {"answer": "a"})
    assert [seen.last_message.partition(": ")[0] for seen in endpoint.requests] == ["text", "middle", "middle"]


async def test_a_run_whose_inputs_fit_no_more_fails_and_keeps_no_daemon_from_starting(tmp_path: Path) -> None:
    narrower = """
import repertory as rp
judge = rp.Predict("text: int -> label")
"""
    async with ScriptedEndpoint([Hang()]) as endpoint:
        async with daemon(tmp_path, endpoint.url, 3600) as child:
            id = (await submit(child, "a"))["id"]
            await endpoint.arrived.acquire()
            child.process.kill()
            await child.exit_code()
        settings = 'changed = "continue"\n'
        async with daemon(tmp_path, endpoint.url, 3600, program=narrower, settings=settings) as child:
            run = await outcome(child, id)
    assert (run["status"], run["error"]["code"]) == ("failed", "program_changed")
    assert "takes no more" in run["error"]["message"]
