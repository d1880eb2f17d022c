"""Other clients beside raw aiohttp and beside an endpoint with all stages, each in a process of its own."""

import asyncio
import json
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from statistics import median
from typing import Any, TypeAlias

from benchmarks.figures import rounded
from benchmarks.http_clients import all_stages, caller, raw_caller
from benchmarks.mock_endpoint import Behaviour, mock_endpoint
from benchmarks.timing import Spent, calls_in_flight

PEERS = ("litellm", "openai", "dspy")
CALLS_100 = 400  # of each peer in a round, with 100 in flight
CALLS_1000 = 2_000
HERE_TIMES = 5  # times as many of the clients in this process, which are fast
SLOW = 5.0  # seconds until a slow endpoint answers
SLOW_CALLS = 400
MOST_ROUNDS = 3  # the peers take their time
PATIENCE = 600.0  # seconds for one measurement


Measure: TypeAlias = Callable[[int, int], Awaitable[Spent]]
"""Makes so many calls, so many at a time."""


class Peer:
    """A client in a process of its own: `benchmarks.http_peer`."""

    def __init__(self, name: str, process: Process) -> None:
        self._name = name
        self._process = process

    @classmethod
    async def start(cls, name: str, python: str, url: str, stack: AsyncExitStack) -> "Peer":
        """Start it with an interpreter in whose environment it is installed; ``stack`` ends it."""
        process = await asyncio.create_subprocess_exec(
            *(python, "-W", "ignore", "-m", "benchmarks.http_peer", name, url), stdin=PIPE, stdout=PIPE
        )
        peer = cls(name, process)
        stack.push_async_callback(peer._stop)
        return peer

    async def version(self) -> str:
        """Of the client; comes when it is ready."""
        return str((await self._line())["version"])

    async def measure(self, calls: int, in_flight: int) -> Spent:
        """What ``calls`` calls take it."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"%d %d\n" % (calls, in_flight))
        return Spent(**await self._line())

    async def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._name} ended; if it is not installed: --peer-python {self._name}=PATH")
        said: dict[str, Any] = json.loads(line)
        return said

    async def _stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


async def beside_peers(pythons: Mapping[str, str], rounds: int, scale: int) -> dict[str, dict[str, Any]]:
    """By client, aiohttp and Repertory too: shares of aiohttp's rate, CPU time a call, seconds for 400 slow calls.

    Args:
        pythons: The interpreter of each peer that is to be measured.
        rounds: At most; no more than three are taken.
        scale: What the number of calls is divided by.
    """
    rounds = min(rounds, MOST_ROUNDS)
    results: dict[str, dict[str, Any]] = {name: {} for name in ("raw", "repertory", *pythons)}
    with mock_endpoint() as url:
        async with AsyncExitStack() as stack:
            clients = await _clients(url, pythons, results, stack)
            taken = await _rounds(clients, CALLS_100 // scale, 100, rounds)
    for name, each in taken.items():
        results[name]["lm_ratio_100"] = _shares(taken["raw"], each)
        results[name]["cpu_ms_per_call"] = rounded(median(spent.cpu for spent in each) * 1e3)
    with mock_endpoint(Behaviour(delay=0.05)) as url:
        async with AsyncExitStack() as stack:
            clients = await _clients(url, pythons, results, stack)
            taken = await _rounds(clients, max(CALLS_1000 // scale, 1_000), 1_000, rounds)
    for name, each in taken.items():
        results[name]["lm_ratio_1000_50ms"] = _shares(taken["raw"], each)
    with mock_endpoint(Behaviour(delay=SLOW)) as url:
        async with AsyncExitStack() as stack:
            for name, measure in (await _clients(url, pythons, results, stack)).items():
                results[name]["calls_400_at_5s"] = rounded((await measure(SLOW_CALLS, SLOW_CALLS)).wall)
    return results


async def _clients(
    url: str, pythons: Mapping[str, str], results: dict[str, dict[str, Any]], stack: AsyncExitStack
) -> dict[str, Measure]:
    """All clients of the endpoint at ``url``, ready; notes their versions in ``results``."""
    clients: dict[str, Measure] = {
        "raw": partial(calls_in_flight, await raw_caller(url, stack)),
        "repertory": partial(calls_in_flight, caller(await all_stages(url), stack)),
    }
    for name, python in pythons.items():
        peer = await Peer.start(name, python, url, stack)
        results[name]["version"] = await peer.version()
        clients[name] = peer.measure
    return clients


async def _rounds(
    clients: Mapping[str, Measure], calls: int, in_flight: int, rounds: int
) -> dict[str, list[Spent]]:
    """Seconds a call, by client and round; the clients take turns."""
    taken: dict[str, list[Spent]] = {name: [] for name in clients}
    for measure in clients.values():
        await measure(in_flight, in_flight)  # opens the connections
    for _ in range(rounds):
        for name, measure in clients.items():
            some = calls * HERE_TIMES if name in ("raw", "repertory") else calls
            spent = await measure(some, in_flight)
            taken[name].append(Spent(spent.wall / some, spent.cpu / some))
    return taken


def _shares(raw: Sequence[Spent], each: Sequence[Spent]) -> dict[str, float]:
    shares = [theirs.wall / ours.wall for theirs, ours in zip(raw, each, strict=True)]
    return {"value": rounded(median(shares)), "min": rounded(min(shares)), "max": rounded(max(shares))}
