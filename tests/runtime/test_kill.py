"""``kill -9`` of processes that execute runs: nothing is lost or paid for twice without being listed.

What was asked is in the log of a server that bills; what is recorded is read from the store.
"""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.kill_books import Books, compared
from benchmarks.kill_endpoint import Asked
from benchmarks.program_kills import Load, measure
from tests.faulty.billing import WELL, BillingServer, Manner
from tests.faulty.dialects import OPENAI, RESPONSES, Dialect
from tests.faulty.server import Hold, Request, Send
from tests.runtime.killable import PATIENCE, Job, Killable

FIGURES = ("kill_lost", "kill_doubled", "kill_reasked", "kill_unlisted", "bill_difference")
HELD = Manner(play=lambda good: (Hold(),))
BEGUN = Manner(play=lambda good: (Send(good[: len(good) // 2]), Hold()))  # the answer's id has been told


@pytest.mark.parametrize("postgres", [False, True], ids=["sqlite", "postgresql"])
async def test_nothing_is_lost_or_paid_for_unlisted(postgres: bool) -> None:
    """The short form of ``benchmarks.program_kills``."""
    load = Load(runs=24, kills=2, lease=0.5) if postgres else Load(runs=60, kills=5)
    figures = await measure(load, postgres=postgres)
    assert {key: figures[key] for key in FIGURES} == dict.fromkeys(FIGURES, 0)
    assert figures["kills"] == load.kills
    assert figures["uncertain"] > 0  # else nothing was cut off


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
async def test_nothing_is_lost_or_paid_for_unlisted_in_a_thousand_runs(seed: int) -> None:
    figures = await measure(Load(seed=seed))
    assert {key: figures[key] for key in FIGURES} == dict.fromkeys(FIGURES, 0)


class Place:
    """A store, the server that is asked, and processes."""

    def __init__(self, store: str, server: BillingServer, model: str) -> None:
        self.store = store
        self.server = server
        self.processes: list[Killable] = []
        self._job = Job(store, server.url, model)

    @property
    def keys(self) -> list[str]:
        """Of all requests, in order."""
        return [asked.key for asked in self.server.asked]

    def job(self, **fields: Any) -> Job:
        return replace(self._job, **fields)

    async def start(self, job: Job) -> Killable:
        process = await Killable.start(job)
        self.processes.append(process)
        return process

    async def killed(self, requests: int, job: Job, *, named: bool = False) -> None:
        """Start a process, and kill it when the server has been asked so often.

        Args:
            named: Not before it has recorded what the answer under way is called.
        """
        process = await self.start(job)
        await until(lambda: len(self.server.asked) >= requests)
        if named:
            await until(self._is_named)
        await process.kill()

    def ended(self, key: str) -> bool:
        """Whether the run has its outcome."""
        return self._count("runs WHERE key = ? AND status <> 'accepted'", key) > 0

    def _is_named(self) -> bool:
        """Whether it is recorded what the latest answer is called."""
        answer = self.server.asked[-1].id
        return self._count("run_events WHERE kind = 'response' AND data LIKE ?", f"%{answer}%") > 0

    def _count(self, rows: str, value: str) -> int:
        with closing(sqlite3.connect(f"file:{self.store}?mode=ro", uri=True)) as connection:
            return int(connection.execute(f"SELECT count(*) FROM {rows}", (value,)).fetchone()[0])

    async def check_bill(self) -> Books:
        """The server's bill is what is recorded as paid for, and what is listed."""
        books = await Books.read(self.store)
        billed = [Asked(each.key, each.input_tokens, each.output_tokens) for each in self.server.asked]
        assert compared(books, billed) == (0, 0)
        return books


@asynccontextmanager
async def place(
    path: Path,
    words: Callable[[Request], str],
    manner: Callable[[int], Manner] = lambda _: WELL,
    dialect: Dialect = OPENAI,
) -> AsyncIterator[Place]:
    model = "openai-responses/m" if dialect is RESPONSES else "openai/m"
    async with BillingServer(dialect, words, manner) as server:
        at = Place(str(path / "runs.db"), server, model)
        try:
            yield at
        finally:
            for process in at.processes:
                await process.kill()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that another process does."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110  # nobody here is told of it
            await asyncio.sleep(0.005)


def two(request: Request) -> str:
    """Says what `Two` asks."""
    turns = request.body.get("messages") or request.body["input"]
    name, _, value = str(_text(turns[-1]["content"])).partition(": ")
    output = {"text": "middle", "middle": "answer"}[name]
    return json.dumps({output: f"{output[0]}{value}"})


def _text(content: object) -> object:
    return content[0]["text"] if isinstance(content, list) else content


def number(request: Request) -> str:
    """Is wrong at first, and right when it is told so."""
    return json.dumps({"number": "many" if len(request.body["messages"]) == 2 else 3})


async def test_a_reply_is_not_bought_again_when_its_correction_is_cut_off_twice(tmp_path: Path) -> None:
    async with place(tmp_path, number, lambda number: HELD if number in (2, 3) else WELL) as at:
        job = at.job(program="number", runs={"k": "x"})
        await at.killed(2, job)
        await at.killed(3, job)
        last = await at.start(job)
        assert (await last.told()).outputs == {"number": 3}
        await last.end()
        reply, *corrections = at.keys
        assert corrections == [corrections[0]] * 3
        assert reply != corrections[0]
        books = await at.check_bill()
        assert [len(books.doubted[key]) for key in (reply, corrections[0])] == [0, 2]


async def test_an_answer_that_is_kept_is_fetched_and_not_bought_again(tmp_path: Path) -> None:
    async with place(tmp_path, two, lambda number: BEGUN if number == 2 else WELL, RESPONSES) as at:
        await at.killed(2, at.job(runs={"k": "x"}), named=True)
        last = await at.start(at.job(runs={"k": "x"}))
        assert (await last.told()).outputs == {"answer": "amx"}
        await last.end()
        assert at.server.fetched == [at.server.asked[1].id]
        assert len(at.server.asked) == 2
        assert not (await at.check_bill()).doubted


async def test_an_answer_that_is_still_being_made_is_waited_for_by_the_process_after_the_next(
    tmp_path: Path,
) -> None:
    """The second process is killed while it waits for what the first one had begun."""
    unfinished = Manner(play=BEGUN.play, keeps="in_progress")
    async with place(tmp_path, two, lambda number: unfinished if number == 1 else WELL, RESPONSES) as at:
        await at.killed(1, at.job(runs={"k": "x"}), named=True)
        second = await at.start(at.job(runs={"k": "x"}))
        await until(lambda: bool(at.server.fetched))
        await second.kill()
        at.server.finish(at.server.asked[0].id)
        last = await at.start(at.job(runs={"k": "x"}))
        assert (await last.told()).status == "ok"
        await last.end()
        assert len(at.server.asked) == 2
        assert not (await at.check_bill()).doubted


@pytest.mark.parametrize(
    ("policy", "status", "dialect"),
    [("hold", "held", OPENAI), ("fail", "failed", OPENAI), ("hold", "held", RESPONSES)],
    ids=["hold", "fail", "hold-gone"],
)
async def test_a_run_with_a_call_that_is_in_doubt_goes_on_when_it_is_retried(
    tmp_path: Path, policy: str, status: str, dialect: Dialect
) -> None:
    async with place(tmp_path, two, lambda number: BEGUN if number == 2 else WELL, dialect) as at:
        job = at.job(runs={"k": "x"}, uncertain=policy)
        await at.killed(2, job, named=dialect is RESPONSES)
        at.server.forget()
        second = await at.start(job)
        told = await second.told()
        await second.end()
        assert (told.status, told.error, len(at.server.asked)) == (status, "call_uncertain", 2)
        await at.check_bill()
        third = await at.start(at.job(retry=("k",), uncertain=policy))
        assert (await third.told()).outputs == {"answer": "amx"}
        await third.end()
        assert at.keys[1:] == [at.keys[1]] * 2
        assert list((await at.check_bill()).doubted) == at.keys[1:2]


async def test_a_process_takes_over_the_runs_of_one_that_was_killed(tmp_path: Path) -> None:
    async with place(tmp_path, two, lambda number: HELD if number == 3 else WELL) as at:
        other = await at.start(at.job(stay=True, runs={"own": "y"}))
        assert (await other.told()).status == "ok"
        await at.killed(3, at.job(runs={"k": "x"}))
        await until(lambda: at.ended("k"))
        await other.end()
        assert (await at.check_bill()).runs["k"].status == "ok"


async def test_a_key_that_two_processes_submit_at_once_is_one_run(tmp_path: Path) -> None:
    async with place(tmp_path, two) as at:
        runs = {f"k{number}": f"x{number}" for number in range(20)}
        processes = await asyncio.gather(*(at.start(at.job(runs=runs)) for _ in range(2)))
        for process in processes:
            told = [await process.told() for _ in runs]
            assert {each.key: each.outputs for each in told} == {
                key: {"answer": f"am{text}"} for key, text in runs.items()
            }
            await process.end()
        assert len(at.server.asked) == len(set(at.keys)) == 2 * len(runs)
        books = await at.check_bill()
        assert set(books.ends.values()) == {1}
