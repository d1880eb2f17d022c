"""The daemon as a process of its own, stopped by real signals."""

import asyncio
import signal
from pathlib import Path

import aiohttp
import pytest

from tests.endpoint import Hang, Hold, Reply, ScriptedEndpoint
from tests.server.child import KEY, daemon
from tests.server.service import PATIENCE, SPAM


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_requests_under_way_finish(tmp_path: Path, number: signal.Signals) -> None:
    held = asyncio.Event()
    async with (
        ScriptedEndpoint([Hold(held, Reply(SPAM))]) as endpoint,
        daemon(tmp_path, endpoint.url, drain_timeout=3600) as child,
    ):
        asking = asyncio.create_task(child.predict())
        await endpoint.arrived.acquire()
        child.process.send_signal(number)
        await child.logged("draining")
        with pytest.raises(aiohttp.ClientConnectorError):
            await child.predict()
        held.set()
        status, answer = await asking
        assert (status, answer["outputs"]) == (200, {"label": "spam"})
        assert await child.exit_code() == 0
        assert child.log[-1]["event"] == "daemon_stopped"
        assert child.log[-1]["drained"] is True
        assert KEY not in str(child.log)


async def test_what_is_not_done_at_the_drain_deadline_is_answered_503(tmp_path: Path) -> None:
    async with ScriptedEndpoint([Hang()]) as endpoint, daemon(tmp_path, endpoint.url, 0.01) as child:
        asking = asyncio.create_task(child.predict())
        await endpoint.arrived.acquire()
        child.process.send_signal(signal.SIGTERM)
        status, problem = await asking
        assert (status, problem["code"]) == (503, "runtime_closed")
        assert await child.exit_code() == 0
        assert child.log[-1]["drained"] is False


async def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    async with ScriptedEndpoint([Hang()]) as endpoint, daemon(tmp_path, endpoint.url, 3600) as child:
        asking = asyncio.create_task(child.predict())
        await endpoint.arrived.acquire()
        child.process.send_signal(signal.SIGTERM)
        await child.logged("draining")
        child.process.send_signal(signal.SIGINT)
        assert (await asking)[0] == 503
        assert await child.exit_code() == 128 + signal.SIGINT


STUBBORN = """
import asyncio, time
from repertory.modules import Module, Predict, Prediction

class Stubborn(Module):
    def __init__(self):
        self.ask = Predict("text -> label")

    async def forward(self, text: str) -> Prediction:
        WORK

judge = Stubborn()
"""


@pytest.mark.parametrize(
    ("work", "stuck", "left"),
    [
        (
            """while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                pass""",
            1,
            "run {run_id} of mail (_answered)",
        ),
        (
            "await asyncio.to_thread(time.sleep, 3600)",
            0,
            "work in threads (BaseEventLoop.shutdown_default_executor)",
        ),
    ],
    ids=["task", "thread"],
)
async def test_what_withstands_its_end_keeps_neither_the_client_nor_the_process(
    tmp_path: Path, work: str, stuck: int, left: str
) -> None:
    program = STUBBORN.replace("WORK", work)
    async with daemon(tmp_path, "http://127.0.0.1:9", 3600, program=program, request_timeout=0.2) as child:
        async with asyncio.timeout(PATIENCE):
            status, problem = await child.predict()
        assert (status, problem["code"]) == (504, "deadline_exceeded")
        child.process.send_signal(signal.SIGTERM)
        assert await child.exit_code() == 0
    runs = [line["run_id"] for line in child.log if line["event"] == "run_stuck"]
    assert len(runs) == stuck
    assert [line["event"] for line in child.log[-2:]] == ["daemon_stopped", "tasks_left"]
    assert child.log[-2]["drained"] is True
    assert child.log[-1]["tasks"] == [left.format(run_id=(runs or [""])[0])]
