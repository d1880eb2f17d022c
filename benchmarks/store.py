"""What a write to the store costs: alone, and with those of others in one transaction.

    python -m benchmarks.store --json

Method: a store in a SQLite file of a temporary directory, every transaction on disk before it is answered
(``synchronous=FULL``). Each round measures all works one after the other, and beside them the same rows written to
the same tables by Python's sqlite3 alone, in the same thread and without asyncio. CPU is process time, that of all
threads. The figures are medians over the rounds, with the lowest and the highest beside them.

``lone_*``: an event of a run, awaited before the next one is written, as a run of sequential steps does.
``grouped_*``: runs, 100 at a time; each is accepted, has three events and an end, and awaits three times what it
has written: per run. ``read_*``: a run looked up by its id. ``bare_*``: by sqlite3; 100 runs a transaction where
they are grouped. ``*_added_ms``: what the store takes beyond sqlite3, which waits for the same disk, in the same
round. ``*_ratio``: CPU of the store over that of sqlite3. The exit status is 1 unless ``lone_added_ms`` is under
1.0.
"""

import argparse
import asyncio
import gc
import json
import os
import platform
import sqlite3
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

from repertory.clock import SystemClock
from repertory.store import Store
from repertory.store.content_table import ContentTable
from repertory.store.run_piece import RunPiece
from repertory.store.run_rows import NewEvent, NewRun, RunEnd
from repertory.store.run_table import RunTable

MUST = 1.0  # milliseconds that ``lone_added_ms`` must stay under
IN_FLIGHT = 100
OWNER = "benchmark"
STEP = json.dumps({"asked": "a" * 64, "outputs": {"topic": "tech"}, "usage": [10, 2], "seconds": 0.0123})

Work = Callable[[int], Awaitable[None]]


def new_run(id: str) -> NewRun:
    """A run as it is accepted."""
    return NewRun(id, "topic", id, "f" * 64, "c" * 64, STEP, OWNER, False, None, None, None, None, 1764270000.5)


def step(id: str, number: int) -> NewEvent:
    """Something that happened in it."""
    return NewEvent(id, number, "step", STEP, 1764270000.5)


def end(id: str) -> RunEnd:
    """How it ended."""
    return RunEnd(id, "ok", '{"topic":"tech"}', None, None, 10, 2, 1, 0, 0.01, 1764270001.5)


class Journal:
    """The works, done by the store."""

    def __init__(self, store: Store, ids: Iterator[str]) -> None:
        self._table = RunTable(store, OWNER, ContentTable(store, SystemClock()))
        self._ids = ids

    async def lone(self, times: int) -> None:
        """Events of one run, one after the other."""
        id = next(self._ids)
        await self._table.record(RunPiece([new_run(id)]))
        for number in range(2, times + 1):
            await self._table.record(RunPiece([step(id, number)]))

    async def grouped(self, times: int) -> None:
        """Whole runs, many at a time."""
        await asyncio.gather(*(self._runs(times // IN_FLIGHT) for _ in range(IN_FLIGHT)))

    async def read(self, times: int) -> None:
        """Runs looked up, one after the other."""
        for _ in range(times):
            await self._table.find(["1" * 32])

    async def _runs(self, times: int) -> None:
        record = self._table.record
        for _ in range(times):
            id = next(self._ids)
            await record(RunPiece([new_run(id), step(id, 2)]))
            await record(RunPiece([step(id, 3), step(id, 4), end(id)]))


class Bare:
    """The same rows, written by sqlite3 alone."""

    def __init__(self, file: Path, ids: Iterator[str]) -> None:
        self._connection = sqlite3.connect(file)
        self._connection.execute("PRAGMA synchronous=FULL")
        self._ids = ids

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    async def lone(self, times: int) -> None:
        """As `Journal.lone`."""
        id = next(self._ids)
        self._accept(id)
        self._connection.commit()
        for number in range(2, times + 1):
            self._append(step(id, number))
            self._connection.commit()

    async def grouped(self, times: int) -> None:
        """As `Journal.grouped`."""
        for _ in range(times // IN_FLIGHT):
            ids = [next(self._ids) for _ in range(IN_FLIGHT)]
            for id in ids:
                self._accept(id)
            self._connection.commit()
            for id in ids:
                self._append(step(id, 2))
            self._connection.commit()
            for id in ids:
                self._append(step(id, 3))
                self._append(step(id, 4))
                self._end(end(id))
            self._connection.commit()

    async def read(self, times: int) -> None:
        """As `Journal.read`."""
        for _ in range(times):
            self._connection.execute("SELECT * FROM runs WHERE id = ?", ("1" * 32,)).fetchall()

    def _accept(self, id: str) -> None:
        self._connection.execute(
            "INSERT INTO runs (id, program, key, fingerprint, code, inputs, owner, submitted, terms, deadline_at,"
            " parent, tags, accepted_at, status, input_tokens, output_tokens, lm_calls)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'accepted', 0, 0, 0)",
            new_run(id)[: len(NewRun._fields) - 2],
        )
        self._append(NewEvent(id, 1, "accepted", "{}", 1764270000.5))

    def _append(self, event: NewEvent) -> None:
        self._connection.execute(
            "INSERT INTO run_events (run_id, id, kind, data, at) VALUES (?, ?, ?, ?, ?)", event
        )

    def _end(self, ended: RunEnd) -> None:
        id, *values = ended
        self._connection.execute(
            "UPDATE runs SET status = ?, outputs = ?, error_code = ?, error_message = ?, input_tokens = ?,"
            " output_tokens = ?, lm_calls = ?, nano_cost = ?, seconds = ?, finished_at = ? WHERE id = ?",
            (*values, id),
        )


async def spent(work: Work, times: int) -> tuple[float, float]:
    """Milliseconds and CPU microseconds that one of ``times`` takes."""
    gc.collect()  # nobody pays for the garbage of whoever came before
    begun, cpu = perf_counter(), process_time()
    await work(times)
    return (perf_counter() - begun) / times * 1e3, (process_time() - cpu) / times * 1e6


async def measure(directory: Path, times: int, rounds: int) -> dict[str, list[float]]:
    """All figures of all rounds."""
    figures: dict[str, list[float]] = {}
    ids = (
        f"{number * 0x9E3779B97F4A7C15 % 2**128:032x}" for number in count(1)
    )  # all over the index, as hashes are
    for file in (directory / "bare.db", directory / "store.db"):
        await (await Store.open(file)).close()
    store = await Store.open(directory / "store.db")
    try:
        with closing(Bare(directory / "bare.db", ids)) as bare:
            journal = Journal(store, ids)
            works = {"lone": (journal.lone, bare.lone), "grouped": (journal.grouped, bare.grouped)}
            works["read"] = (journal.read, bare.read)
            for work in (work for pair in works.values() for work in pair):
                await work(IN_FLIGHT)  # opens connections, compiles statements
            for _ in range(rounds):
                for name, (ours, theirs) in works.items():
                    (ms, cpu), (bare_ms, bare_cpu) = await spent(ours, times), await spent(theirs, times)
                    here = {f"{name}_ms": ms, f"{name}_cpu_us": cpu, f"{name}_ratio": cpu / bare_cpu}
                    here[f"{name}_added_ms"] = ms - bare_ms
                    here |= {f"bare_{name}_ms": bare_ms, f"bare_{name}_cpu_us": bare_cpu}
                    for figure, value in here.items():
                        figures.setdefault(figure, []).append(value)
    finally:
        await store.close()
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    parser.add_argument("--times", type=int, default=1000, help="transactions, runs or reads per measurement")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        figures = asyncio.run(measure(Path(directory), arguments.times, arguments.rounds))
    medians = {name: round(median(values), 3) for name, values in figures.items()}
    if arguments.json:
        result = {
            **medians,
            "spread": {name: [round(min(each), 3), round(max(each), 3)] for name, each in figures.items()},
            "method": {"times": arguments.times, "rounds": arguments.rounds, "statistic": "median"},
            "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "loop": "asyncio"},
        }
        print(json.dumps(result, indent=2))
    else:
        for name, value in medians.items():
            print(f"{name:20} {value:>9.3f}   ({min(figures[name]):.3f} to {max(figures[name]):.3f})")
    sys.exit(medians["lone_added_ms"] >= MUST)


if __name__ == "__main__":
    main()
