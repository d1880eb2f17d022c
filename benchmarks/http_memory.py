"""What a call in flight weighs: resident memory of a process with thousands of them, less what it had before.

    python -m benchmarks.http_memory ours http://127.0.0.1:8000/v1 2000

prints the bytes per call: ``ours`` through an endpoint with all stages, ``raw`` through aiohttp alone. Each call
is a task. The endpoint at the URL must take its time to answer, as all calls are to reach it before one ends.
"""

import asyncio
import gc
import os
import resource
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from benchmarks.http_clients import all_stages, caller, raw_caller, requests_at
from benchmarks.mock_endpoint import Behaviour, mock_endpoint
from benchmarks.timing import Sample

CALLS = 2_000  # as many as the limit of `all_stages` lets be in flight
ANSWERED_AFTER = 60.0  # seconds: long after the memory has been measured
PATIENCE = 50.0  # seconds for all calls to reach the endpoint


async def kb_per_call(scale: int) -> Sample:
    """Resident memory of a call in flight, each client in a fresh process."""
    weights = {}
    for client in ("raw", "ours"):
        with mock_endpoint(Behaviour(delay=ANSWERED_AFTER)) as url:
            weights[client] = await asyncio.to_thread(_weigh, client, url, CALLS // scale) / 1000
    return {
        "kb_per_call_in_flight": weights["ours"],
        "kb_per_call_in_flight.raw": weights["raw"],
        "kb_per_call_in_flight.beyond_raw": weights["ours"] - weights["raw"],
    }


def _weigh(client: str, url: str, calls: int) -> float:
    command = [sys.executable, "-m", "benchmarks.http_memory", client, url, str(calls)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


async def _bytes_per_call(client: str, url: str, calls: int) -> float:
    stack = AsyncExitStack()  # never closed: the process ends with its calls in flight
    call = await raw_caller(url, stack) if client == "raw" else caller(await all_stages(url), stack)
    first = asyncio.ensure_future(call())  # brings with it what all have in common
    await _arrived(url, 1)
    before = _resident()
    others = [asyncio.ensure_future(call()) for _ in range(calls - 1)]
    await _arrived(url, calls)
    weight = (_resident() - before) / len(others)
    if first.done() or any(other.done() for other in others):
        raise RuntimeError("a call has ended that was to be in flight")
    return weight


async def _arrived(url: str, calls: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while await requests_at(url) < calls:  # noqa: ASYNC110  # it is another process that is waited for
            await asyncio.sleep(0.1)


def _resident() -> int:
    """Bytes of this process that are in memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def main() -> None:
    """Measure and print."""
    client, url, calls = sys.argv[1:]
    with asyncio.Runner() as runner:
        print(runner.run(_bytes_per_call(client, url, int(calls))), flush=True)
        os._exit(0)  # to wait for the answers takes a minute and tells nothing


if __name__ == "__main__":
    main()
