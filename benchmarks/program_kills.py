"""What is lost, doubled or paid for without being told where a process is killed again and again.

    python -m benchmarks.program_kills --json [--kills 500] [--postgres]

Method: a process submits runs of five steps (`kill_load`) and waits for them (`kill_worker`). It is killed with
SIGKILL at random moments, some of them while it starts or takes up what the one before had begun, and another one
takes its place, until every run has its outcome. What was asked is in the log of the endpoint (`kill_endpoint`);
what was on disk at each kill is read from a copy of the store before the next process starts.

kill_lost        runs that have not ended well, with the right outputs and a log without a gap
kill_doubled     runs or steps with two outcomes, answers that are counted twice
kill_reasked     requests for what was recorded when a process was killed
kill_unlisted    requests on the bill that the ledger neither counts as paid nor lists as uncertain
bill_difference  nano-dollars between the bill and our ledger, uncertain calls at what was billed for them
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from benchmarks.figures import machine
from benchmarks.kill_books import Audit, Books
from benchmarks.kill_endpoint import KillEndpoint, kill_endpoint
from benchmarks.kill_load import STEPS, calls
from benchmarks.timing import Sample
from tests.store.postgres import running_server

EARLY = 0.25  # of the kills: at a point in time, be it before anything has been asked
EARLY_SECONDS = 1.5
LATER_SECONDS = 0.02  # at most, after a number of calls has been reached


@dataclass(frozen=True, slots=True)
class Load:
    """How much is done, and how often that is cut short.

    Attributes:
        lease: Seconds after which the runs of a dead process are taken over, where that has to be waited for.
    """

    runs: int = 1000
    kills: int = 50
    seed: int = 6
    lease: float = 1.0

    @property
    def concurrency(self) -> int:
        """Calls of each predictor under way: a life makes so many more than were planned before it is killed."""
        return max(1, min(16, calls(self.runs) // (self.kills + 1) // STEPS))


class Killing:
    """One process after the other, each but the last killed."""

    def __init__(self, load: Load, location: str, endpoint: KillEndpoint) -> None:
        self.kills = 0
        self.audit = Audit()
        self._load = load
        self._location = location
        self._endpoint = endpoint
        self._rng = Random(load.seed)

    async def run(self) -> None:
        """Have all runs come to their outcome, be it before so many processes have been killed as were to be."""
        while True:
            process = await self._start()
            try:
                if self.kills < self._load.kills:
                    await self._until_it_is_time(process)
                else:
                    await process.wait()
                if process.returncode is not None:
                    assert process.returncode == 0, f"a worker ended with status {process.returncode}"
                    return
            finally:
                await _end(process)
            self.kills += 1
            await self._endpoint.quiet()
            self.audit.after_kill(await self.books(), self._endpoint.asked)

    async def books(self) -> Books:
        """What is on disk."""
        return await Books.read(self._location) if "://" in self._location else await Books.copied(self._location)

    async def _until_it_is_time(self, process: asyncio.subprocess.Process) -> None:
        """Wait for the next moment to kill at: the kills are spread over all calls that are to be made."""
        rng, endpoint, kills_left = self._rng, self._endpoint, self._load.kills - self.kills
        calls_left = calls(self._load.runs) - len(endpoint.keys)
        until = len(endpoint.keys) + 1 + round(rng.uniform(0, 1.8) * calls_left / (kills_left + 1))
        timeout = rng.uniform(0, EARLY_SECONDS) if rng.random() < EARLY else None
        waits = {asyncio.ensure_future(wait) for wait in (process.wait(), endpoint.reached(until))}
        try:
            await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(rng.uniform(0, LATER_SECONDS))
        finally:
            for wait in waits:
                wait.cancel()

    async def _start(self) -> asyncio.subprocess.Process:
        load = self._load
        arguments = (self._location, self._endpoint.url, str(load.runs), str(load.concurrency), str(load.lease))
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.kill_worker", *arguments), env=environment
        )


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
        await process.wait()


@contextmanager
def location(postgres: bool) -> Iterator[str]:
    """Where a new store may be."""
    with ExitStack() as stack:
        if postgres:
            yield stack.enter_context(running_server()).new_database()
        else:
            yield str(Path(stack.enter_context(tempfile.TemporaryDirectory())) / "kills.db")


async def measure(load: Load, *, postgres: bool = False) -> dict[str, float]:
    """Run it all and return the figures."""
    began = time.monotonic()
    with location(postgres) as store:
        async with kill_endpoint(load.seed) as endpoint:
            killing = Killing(load, store, endpoint)
            await killing.run()
            await endpoint.quiet()
            books = await killing.books()
            figures = killing.audit.figures(books, endpoint.asked, load.runs)
            asked = [one for one in endpoint.asked if one.nano]
            return {
                **figures,
                "runs": load.runs,
                "kills": killing.kills,
                "requests": len(endpoint.asked),
                "bought_again": len(asked) - calls(load.runs),
                "uncertain": sum(map(len, books.doubted.values())),
                "billed_cents": round(sum(one.nano for one in asked) / 10**7, 4),
                "seconds": round(time.monotonic() - began, 1),
            }


async def sample(scale: int) -> Sample:
    """One round for `benchmarks.programs`; what was done stands beside the first figure."""
    whole = Load()
    figures = await measure(Load(runs=whole.runs // scale, kills=whole.kills // scale))
    keys = [key for key in figures if key.startswith(("kill_", "bill_"))]
    return {key if key in keys else f"kill_lost.{key}": value for key, value in figures.items()}


def main() -> None:
    """Measure and print; fail if a figure is not 0."""
    whole = Load()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    parser.add_argument("--runs", type=int, default=whole.runs)
    parser.add_argument("--kills", type=int, default=whole.kills)
    parser.add_argument("--seed", type=int, default=whole.seed)
    parser.add_argument("--postgres", action="store_true", help="a PostgreSQL server instead of a SQLite file")
    arguments = parser.parse_args()
    load = Load(arguments.runs, arguments.kills, arguments.seed)
    figures = asyncio.run(measure(load, postgres=arguments.postgres))
    if arguments.json:
        print(json.dumps({**figures, "machine": machine()}, indent=2))
    else:
        for key, value in figures.items():
            print(f"{key:16} {value}")
    sys.exit(any(value for key, value in figures.items() if key.startswith(("kill_", "bill_"))))


if __name__ == "__main__":
    main()
