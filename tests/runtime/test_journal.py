"""The journal in either kind of database."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from repertory.clock import SystemClock
from repertory.errors import InputError, RunTakenOver
from repertory.providers.messages import Usage
from repertory.runtime.history import StepKey
from repertory.runtime.journal import Journal, run_end
from repertory.runtime.run_ids import run_id
from repertory.runtime.run_log import RunEvent, RunLog, read_log
from repertory.store import Store
from repertory.store.owners import Owners
from repertory.store.run_rows import NewRun
from tests.store.conftest import location, postgres, sqlite_file

__all__ = ["location", "postgres", "sqlite_file"]


@pytest.fixture
async def store(location: str) -> AsyncIterator[Store]:
    store = await Store.open(location)
    yield store
    await store.close()


@pytest.fixture
async def journal(store: Store) -> AsyncIterator[Journal]:
    owners = await Owners.open(store, SystemClock())
    yield Journal(store, SystemClock(), owners)
    await owners.close()


@pytest.fixture
async def another(store: Store) -> AsyncIterator[Journal]:
    """The journal as another process has it."""
    owners = await Owners.open(store, SystemClock())
    yield Journal(store, SystemClock(), owners)
    await owners.close()


def new_run(journal: Journal, key: str, inputs: str = "{}") -> NewRun:
    about = ("qa", key, "print", "code", inputs, journal.owner, True, None, None, None, None, 1000.5)
    return NewRun(run_id("qa", key), *about)


async def accepted(journal: Journal, key: str) -> RunLog:
    log = journal.accept(new_run(journal, key))
    assert await log.written()
    return log


def step(answer: str, occurrence: int = 0) -> dict[str, object]:
    return {
        "step": "qa",
        "asked": "hash",
        "occurrence": occurrence,
        "outputs": {"answer": answer},
        "usage": [5, 7],
    }


async def test_a_run_is_found_again_under_its_key(journal: Journal) -> None:
    for number in range(3):
        await accepted(journal, f"k{number}")
    assert not await journal.accept(new_run(journal, "k1", '{"n":99}')).written()
    found = await journal.find("qa", ["k0", "k1", "k9"])
    assert sorted(found) == ["k0", "k1"]
    assert (found["k1"].fingerprint, found["k1"].inputs, found["k1"].status) == ("print", "{}", "accepted")


async def test_of_two_processes_that_accept_a_run_at_once_one_has_it(journal: Journal, another: Journal) -> None:
    attempts = [each.accept(new_run(each, "k")).written() for each in (journal, another)]
    assert sorted(await asyncio.gather(*attempts)) == [False, True]


async def test_events_are_numbered_without_a_gap_and_read_in_order(journal: Journal) -> None:
    log = await accepted(journal, "k")
    for number in range(600):
        log.append("delta", {"text": str(number)})
    log.append("done", {"status": "ok"})
    await log.written()
    events = [event async for event in read_log(log.run, journal.table, None, after=0)]
    assert [event.id for event in events] == list(range(1, 603))
    assert [event.data["text"] for event in events[1:-1]] == list(map(str, range(600)))
    assert (events[0].kind, events[-1].kind) == ("accepted", "done")


async def test_history_has_the_outcomes_by_step(journal: Journal) -> None:
    log = await accepted(journal, "k")
    log.append("step", step("first"))
    log.append("step", step("second", 1))
    await log.written()
    steps = (await journal.history(log.run)).steps
    assert {key: recorded.outputs for key, recorded in steps.items()} == {
        StepKey("qa", "hash", 0): {"answer": "first"},
        StepKey("qa", "hash", 1): {"answer": "second"},
    }


async def test_who_lost_a_run_cannot_write_into_it_any_more(journal: Journal, another: Journal) -> None:
    """Whatever comes in the same transaction for other runs is written all the same."""
    log, other = await accepted(journal, "k"), await accepted(journal, "other")
    assert await another.take_over((await another.find("qa", ["k"]))["k"])
    log.append("step", step("stale"))
    other.append("step", step("fine"))
    stale, fine = await asyncio.gather(log.written(), other.written(), return_exceptions=True)
    assert isinstance(stale, RunTakenOver)
    assert fine is True
    assert (await journal.history(log.run)).steps == {}
    mine = another.log(log.run, await another.history(log.run))
    mine.append("step", step("new owner's"))
    await mine.written()
    assert len((await journal.history(log.run)).steps) == 1


async def test_a_run_is_taken_over_once(journal: Journal, another: Journal) -> None:
    await accepted(journal, "k")
    recorded = (await journal.find("qa", ["k"]))["k"]
    assert [await another.take_over(recorded), await another.take_over(recorded)] == [True, False]


async def test_a_failed_run_may_end_well_and_one_that_ended_well_stays_so(journal: Journal) -> None:
    log = await accepted(journal, "k")
    error = InputError("question", "is missing")
    await journal.end(log, run_end(log.run, "failed", Usage(1, 2), 1, 0, 0.25, 7.0, error=error))
    failed = (await journal.find("qa", ["k"]))["k"]
    assert (failed.status, failed.outputs, failed.seconds) == ("failed", None, 0.25)
    assert await journal.take_over(failed)
    well = run_end(log.run, "ok", Usage(5, 7), 1, 40, 1.5, 8.0, outputs='{"answer":"ü"}')
    await journal.end(log, well)
    with pytest.raises(RunTakenOver):
        await journal.end(log, well._replace(status="failed"))
    done = (await journal.find("qa", ["k"]))["k"]
    assert (done.status, done.outputs, done.output_tokens, done.nano_cost) == ("ok", '{"answer":"ü"}', 7, 40)


async def test_an_error_may_say_anything(journal: Journal) -> None:
    log = await accepted(journal, "k")
    error = InputError("question", "is \0 and \ud800")
    await journal.end(log, run_end(log.run, "failed", Usage(1, 2), 1, 0, 0.25, 7.0, error=error))
    assert (await journal.find("qa", ["k"]))["k"].status == "failed"


async def test_a_reader_that_comes_early_gets_each_event_as_it_comes(journal: Journal) -> None:
    log = await accepted(journal, "k")
    read: list[RunEvent] = []
    news = asyncio.Condition()

    async def reader() -> None:
        async for event in read_log(log.run, journal.table, log):
            async with news:
                read.append(event)
                news.notify_all()

    async with asyncio.TaskGroup() as group:
        group.create_task(reader())
        for number in range(2, 5):
            log.append("delta", {"text": str(number)})
            async with asyncio.timeout(30), news:
                await news.wait_for(lambda number=number: len(read) == number)  # type: ignore[misc]  # its default
        log.append("done", {"status": "ok"})
    assert [event.id for event in read] == [1, 2, 3, 4, 5]


async def test_pieces_that_come_while_one_is_written_become_one(journal: Journal) -> None:
    log = await accepted(journal, "k")
    for piece in ("a", "b", "c", "d"):
        log.append_delta(StepKey("qa", "hash", 0), piece)
    log.append("done", {"status": "ok"})
    await log.written()
    events = [event async for event in read_log(log.run, journal.table, None)]
    assert [event.data["text"] for event in events if event.kind == "delta"] == ["a", "bcd"]


async def test_a_reader_of_a_log_in_memory_is_told_what_it_missed() -> None:
    log = RunLog("r", SystemClock(), None)
    for number in range(3000):
        log.append("delta", {"text": str(number)})
    log.append("done", {"status": "ok"})
    events = [event async for event in read_log("r", None, log, after=5)]
    assert events[0].kind == "gap"
    assert (events[0].data["from"], events[0].data["to"]) == (6, events[1].id - 1)
    assert [event.id for event in events[1:]] == list(range(events[1].id, 3002))
