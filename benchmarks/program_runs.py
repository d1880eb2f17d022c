"""Runs of many steps: side by side, one after the other on disk, and so many that memory shows what stays."""

import asyncio
import gc
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import repertory as rp
from benchmarks.program_calls import ARTICLE, SIGNATURE, InMemoryLM
from benchmarks.timing import Sample, calls_in_flight
from repertory.cli.main import YOUNG_OBJECTS
from repertory.providers.messages import LMRequest, LMResponse

BRANCHES = 8
BRANCH_SECONDS = 0.2
STEPS = 1_000
PREDICTIONS = 200_000
WARM_UP = 20_000


class SlowLM(InMemoryLM):
    """Takes a while."""

    async def complete(self, request: LMRequest) -> LMResponse:
        await asyncio.sleep(BRANCH_SECONDS)
        return await super().complete(request)


class FanOut(rp.Module):
    """Independent questions."""

    def __init__(self, branches: int) -> None:
        self.branches = [rp.Predict(SIGNATURE) for _ in range(branches)]

    async def forward(self, article: str) -> rp.Prediction:
        topics = [branch(article=article) for branch in self.branches]
        return rp.Prediction(topics=[(await topic).topic for topic in topics])


class Chain(rp.Module):
    """Questions each of which needs the answer to the one before."""

    def __init__(self, steps: int) -> None:
        self.ask = rp.Predict("number: int, earlier -> topic")
        self.steps = steps

    async def forward(self, article: str) -> rp.Prediction:
        topic: Any = article
        for number in range(self.steps):
            topic = (await self.ask(number=number, earlier=topic)).topic
        return rp.Prediction(topic=topic)


async def fanout(scale: int) -> Sample:
    """How much faster eight steps side by side are than one after the other, as one step's time tells."""
    async with rp.Runtime(lm=SlowLM(), store=None) as runtime:  # type: ignore[arg-type]  # it is never streamed
        one = await runtime.start(FanOut(1), name="one")
        eight = await runtime.start(FanOut(BRANCHES), name="eight")
        await one(article=ARTICLE)
        begun = perf_counter()
        await one(article=ARTICLE)
        alone = perf_counter() - begun
        begun = perf_counter()
        await eight(article=ARTICLE)
        together = perf_counter() - begun
    return {"fanout_speedup": BRANCHES * alone / together, "fanout_speedup.one_ms": alone * 1000}


def _runtime(directory: str) -> rp.Runtime:
    return rp.Runtime(lm=InMemoryLM(), store=Path(directory) / "store.db")  # type: ignore[arg-type]  # it is never streamed


async def run_of_many_steps(scale: int) -> Sample:
    """What a durable run adds to each of 1,000 steps that need each other, whose model costs nothing."""
    steps = STEPS // scale
    with tempfile.TemporaryDirectory() as directory:
        async with _runtime(directory) as runtime:
            chain = await runtime.start(Chain(steps), name="chain")
            await (await runtime.submit(chain, {"article": "warm"})).result()
            begun, cpu = perf_counter(), process_time()
            await (await runtime.submit(chain, {"article": ARTICLE})).result()
            wall, cpu = perf_counter() - begun, process_time() - cpu
    return {
        "run_1000_steps_overhead_ms": wall / steps * 1000,
        "run_1000_steps_overhead_ms.cpu": cpu / steps * 1000,
    }


async def soak(scale: int) -> Sample:
    """Growth of a process's resident memory over many predictions, after a warm-up."""
    command = [sys.executable, "-m", "benchmarks.program_runs", str(PREDICTIONS // scale), str(WARM_UP // scale)]
    done = await asyncio.to_thread(subprocess.run, command, check=True, stdout=subprocess.PIPE, text=True)
    return {"soak_rss_growth_mb": float(done.stdout)}


async def _grow(predictions: int, warm_up: int) -> float:
    with tempfile.TemporaryDirectory() as directory:
        async with _runtime(directory) as runtime:
            predict = await runtime.start(rp.Predict(SIGNATURE), name="topic")

            async def call() -> None:
                await predict(article=ARTICLE)

            gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])  # as in the daemon
            await calls_in_flight(call, warm_up, 100)
            before = _resident()
            await calls_in_flight(call, predictions, 100)
            return (_resident() - before) / 1e6


def _resident() -> int:
    gc.collect()
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    print(asyncio.run(_grow(int(sys.argv[1]), int(sys.argv[2]))))
