"""Predictions per second through actors and the provider pipeline, beside a raw aiohttp client.

    python -m benchmarks.predict --json

Method: a mock endpoint answers at once from a process of its own. In each round the raw client and Repertory
make the same number of calls one after the other, with 1, 100 and 1,000 in flight; a ratio is Repertory's rate
over the raw client's rate of the same round, and the median over all rounds is reported with the lowest and
the highest. ``ratio_*`` is without the journal, ``journaled_ratio_*`` with it (SQLite, every run on disk before
it is answered). The raw client posts the very bytes that Repertory posts and reads the reply, no more.
"""

import argparse
import asyncio
import json
import os
import platform
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp

import repertory as rp
from benchmarks.mock_endpoint import mock_endpoint
from benchmarks.timing import Call, calls_in_flight
from repertory.modules import JSONAdapter
from repertory.providers import openai_chat
from repertory.providers.messages import LMRequest
from repertory.providers.wire import Quirks
from repertory.runtime.config import make_config

IN_FLIGHT = (1, 100, 1000)
SIGNATURE = "article -> topic: Literal['business', 'entertainment', 'politics', 'sports', 'tech']"
ARTICLE = "How to smash a home computer An executive who froze his broken hard disk thinking"


async def measure(call: Call, calls: int, in_flight: int) -> tuple[float, float]:
    """Make ``calls`` calls, ``in_flight`` at a time; return calls per second and CPU milliseconds per call."""
    spent = await calls_in_flight(call, calls, in_flight)
    return calls / spent.wall, spent.cpu / calls * 1000


async def raw_client(url: str, stack: AsyncExitStack) -> Call:
    """A call that posts the same bytes as Repertory and reads the reply."""
    session = await stack.enter_async_context(
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=120))
    )
    predict = rp.Predict(SIGNATURE)
    messages = JSONAdapter().format(predict.compiled, (), {"article": ARTICLE})
    request = LMRequest(messages, response_schema=predict.compiled.output_schema)
    body = openai_chat.encode(request, "mock", Quirks())
    headers = {"Content-Type": "application/json"}

    async def call() -> None:
        async with session.post(f"{url}/chat/completions", data=body, headers=headers) as response:
            await response.read()

    return call


async def repertory_client(url: str, stack: AsyncExitStack, store: Path | None) -> Call:
    """A call of a `Predict` on a runtime."""
    model = {"model": "openai/mock", "base_url": url, "api_key_env": ""}
    config = make_config("benchmark", {"lm": {"default": model}})
    runtime = await stack.enter_async_context(rp.Runtime(config, store=store))
    predict = await runtime.start(rp.Predict(SIGNATURE), name="topic", replicas=4, concurrency=512)

    async def call() -> None:
        prediction = await predict(article=ARTICLE)
        assert prediction.topic == "tech"

    return call


async def run(url: str, calls: int, rounds: int) -> dict[str, Any]:
    """All measurements, interleaved."""
    figures: dict[str, list[float]] = {}

    def note(key: str, value: float) -> None:
        figures.setdefault(key, []).append(value)

    async with AsyncExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        raw = await raw_client(url, stack)
        plain = await repertory_client(url, stack, None)
        journaled = await repertory_client(url, stack, Path(directory) / "store.db")
        for in_flight in IN_FLIGHT:
            some = calls // 10 if in_flight == 1 else calls
            for client in (raw, plain, journaled):
                await measure(client, in_flight * 2, in_flight)  # opens the connections
            for _ in range(rounds):
                raw_rate, raw_cpu = await measure(raw, some, in_flight)
                plain_rate, plain_cpu = await measure(plain, some, in_flight)
                journaled_rate, journaled_cpu = await measure(journaled, some, in_flight)
                note(f"ratio_{in_flight}", plain_rate / raw_rate)
                note(f"journaled_ratio_{in_flight}", journaled_rate / raw_rate)
                note(f"raw_per_s_{in_flight}", raw_rate)
                note(f"predictions_per_s_{in_flight}", plain_rate)
                note(f"raw_cpu_ms_{in_flight}", raw_cpu)
                note(f"cpu_ms_{in_flight}", plain_cpu)
                note(f"journaled_cpu_ms_{in_flight}", journaled_cpu)
    return {
        key: {"median": round(median(values), 4), "min": round(min(values), 4), "max": round(max(values), 4)}
        for key, values in figures.items()
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    parser.add_argument("--calls", type=int, default=3000, help="calls per measurement (a tenth with 1 in flight)")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    with mock_endpoint() as url:
        spread = asyncio.run(run(url, arguments.calls, arguments.rounds))
    if not arguments.json:
        for key, values in spread.items():
            print(f"{key:28} {values['median']:>10.3f}   ({values['min']:.3f} to {values['max']:.3f})")
        return
    result = {
        **{key: values["median"] for key, values in spread.items()},
        "spread": spread,
        "method": {"calls": arguments.calls, "rounds": arguments.rounds, "statistic": "median"},
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "loop": "asyncio"},
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
