"""The same prediction through Repertory, DSPy and LiteLLM, beside a raw aiohttp client.

    pip install 'repertory[bench]'
    python -m benchmarks.peers --json

Method: as `predict_ratio_100` of `benchmarks.programs`: in each round all clients make calls against the same mock
endpoint, one client after the other in one process. DSPy asks a typed `Predict` with its JSON adapter and parses
the reply, as Repertory does; LiteLLM only sends and receives. Caches are off.
"""

import argparse
import asyncio
import json
import os
import tempfile
from contextlib import AsyncExitStack
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Literal

from benchmarks.mock_endpoint import mock_endpoint
from benchmarks.program_calls import ARTICLE, raw_client, repertory_client
from benchmarks.timing import Call, calls_in_flight

IN_FLIGHT = 100
CALLS = {"raw": 4000, "repertory": 2000, "repertory_journaled": 2000, "dspy": 400, "litellm": 400}


def dspy_client(url: str) -> Call:
    """A typed `dspy.Predict`."""
    import dspy

    class NewsTopic(dspy.Signature):  # type: ignore[misc]  # dspy ships no types
        article: str = dspy.InputField()
        topic: Literal["business", "entertainment", "politics", "sports", "tech"] = dspy.OutputField()

    lm = dspy.LM("openai/mock", api_base=url, api_key="none", cache=False)
    predict = dspy.Predict(NewsTopic)

    async def call() -> None:
        with dspy.context(lm=lm, adapter=dspy.JSONAdapter()):
            prediction = await predict.acall(article=ARTICLE)
        assert prediction.topic == "tech"

    return call


def litellm_client(url: str) -> Call:
    """A bare `litellm.acompletion`."""
    import litellm

    messages = [{"role": "user", "content": f"article: {ARTICLE}"}]

    async def call() -> None:
        await litellm.acompletion("openai/mock", api_base=url, api_key="none", messages=messages)

    return call


async def measure(call: Call, calls: int, in_flight: int) -> tuple[float, float]:
    """Make ``calls`` calls, ``in_flight`` at a time; return calls per second and CPU milliseconds per call."""
    spent = await calls_in_flight(call, calls, in_flight)
    return calls / spent.wall, spent.cpu / calls * 1000


async def run(url: str, rounds: int) -> dict[str, Any]:
    """All measurements, interleaved."""
    rates: dict[str, list[float]] = {name: [] for name in CALLS}
    cpu: dict[str, list[float]] = {name: [] for name in CALLS}
    async with AsyncExitStack() as stack:
        store = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "store.db"
        clients = {
            "raw": await raw_client(url, stack),
            "repertory": await repertory_client(url, stack, None),
            "repertory_journaled": await repertory_client(url, stack, store),
            "dspy": dspy_client(url),
            "litellm": litellm_client(url),
        }
        for client in clients.values():
            await measure(client, 2 * IN_FLIGHT, IN_FLIGHT)
        for _ in range(rounds):
            for name, client in clients.items():
                rate, cpu_ms = await measure(client, CALLS[name], IN_FLIGHT)
                rates[name].append(rate)
                cpu[name].append(cpu_ms)
    shares = {
        name: [rate / raw for rate, raw in zip(each, rates["raw"], strict=True)] for name, each in rates.items()
    }
    return {
        name: {
            "share_of_raw": round(median(shares[name]), 3),
            "share_min": round(min(shares[name]), 3),
            "share_max": round(max(shares[name]), 3),
            "per_s": round(median(rates[name])),
            "cpu_ms": round(median(cpu[name]), 3),
        }
        for name in CALLS
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # otherwise it fetches its prices at import
    with mock_endpoint() as url:
        figures = asyncio.run(run(url, arguments.rounds))
    versions = {name: version(name) for name in ("repertory", "dspy", "litellm", "aiohttp")}
    if arguments.json:
        print(json.dumps({**figures, "versions": versions, "rounds": arguments.rounds}, indent=2))
        return
    for name, values in figures.items():
        spread = f"({values['share_min']:.3f} to {values['share_max']:.3f})"
        print(f"{name:22} {values['share_of_raw']:.3f} of raw {spread}  {values['cpu_ms']:.3f} ms CPU a call")


if __name__ == "__main__":
    main()
