"""What a runtime is at, as data and as metrics."""

import asyncio
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest

import repertory as rp
from repertory.runtime.activity import ActivityMetrics, ProgramActivity, activity_of
from repertory.runtime.runtime import Runtime
from repertory.testing import ScriptedLM


async def test_runs_under_way_are_counted_by_program_and_by_who_waits(tmp_path: Path) -> None:
    asked, answering = asyncio.Semaphore(0), asyncio.Event()

    class Slow(rp.Predict):
        async def complete(self, *args: object, **options: object) -> rp.Prediction:
            asked.release()
            await answering.wait()
            return rp.Prediction(label="a")

    registry = CollectorRegistry()
    runtime = Runtime(lm=ScriptedLM([]), store=tmp_path / "s.db")
    registry.register(ActivityMetrics(runtime))
    assert b"repertory_runs_under_way{" not in generate_latest(registry)
    async with runtime:
        slow = await runtime.start(Slow("text -> label"), name="slow")
        await runtime.start(rp.Predict("text -> label"), name="idle")
        calls = [asyncio.create_task(slow(text=str(number))) for number in range(2)]
        handle = await runtime.submit("slow", {"text": "submitted"})
        for _ in range(3):
            await asked.acquire()
        assert activity_of(runtime) == [ProgramActivity("idle", 0, 0, 0), ProgramActivity("slow", 2, 1, 0)]
        metrics = generate_latest(registry).decode()
        assert 'repertory_runs_under_way{program="slow",state="called"} 2.0' in metrics
        assert 'repertory_runs_under_way{program="slow",state="submitted"} 1.0' in metrics
        assert 'repertory_steps{state="under_way"} 3.0' in metrics
        answering.set()
        await asyncio.gather(*calls, handle.result())
        assert [each.called for each in activity_of(runtime)] == [0, 0]
