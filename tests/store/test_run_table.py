"""Runs in the database."""

import asyncio

import pytest
from sqlalchemy import delete

from repertory.clock import SystemClock
from repertory.errors import RunTakenOver, StoreError
from repertory.store import Store
from repertory.store.content_table import ContentTable
from repertory.store.run_piece import RunPiece
from repertory.store.run_rows import NewEvent, NewRun, RunEnd
from repertory.store.run_table import RunTable
from repertory.store.tables import run_events


def new(id: str, owner: str = "me") -> NewRun:
    return NewRun(id, "qa", id, "f", "c", "{}", owner, True, None, None, None, None, 1.5)


def end(id: str) -> RunEnd:
    return RunEnd(id, "ok", '{"a":1}', None, None, 10, 2, 1, 7, 0.25, 2.5)


def of_another(store: Store) -> RunTable:
    return RunTable(store, "other", ContentTable(store, SystemClock()))


@pytest.fixture
def table(store: Store) -> RunTable:
    return RunTable(store, "me", ContentTable(store, SystemClock()))


async def test_runs_that_come_together_are_new_but_for_those_that_are_there(table: RunTable) -> None:
    assert await asyncio.gather(*(table.record(RunPiece([new(id)])) for id in "bd")) == [True, True]
    assert await asyncio.gather(*(table.record(RunPiece([new(id)])) for id in "abcde")) == [
        True,
        False,
        True,
        False,
        True,
    ]
    assert await table.record(RunPiece([new("a")])) is False
    for id in "abcde":
        events = await table.events(id, 0, 10)
        assert [(event.id, event.kind, event.data, event.at) for event in events] == [(1, "accepted", "{}", 1.5)]


async def test_a_run_that_ended_and_has_no_events_any_more_is_not_new(store: Store, table: RunTable) -> None:
    await asyncio.gather(table.record(RunPiece([new("a")])), table.record(RunPiece([end("a")])))
    await store.write(delete(run_events), {})
    assert await asyncio.gather(*(table.record(RunPiece([new(id)])) for id in "ab")) == [False, True]
    assert await table.events("a", 0, 9) == []


async def test_a_run_of_another_process_is_not_new(store: Store, table: RunTable, witness: Store) -> None:
    assert await of_another(witness).record(RunPiece([new("a", "other")]))
    await store.write(delete(run_events), {})
    assert await asyncio.gather(*(table.record(RunPiece([new(id)])) for id in "ab")) == [False, True]
    assert (await table.find(["a"]))["a"].owner == "other"


async def test_what_is_written_of_a_run_is_read_again(table: RunTable) -> None:
    data = '{"deep":[1,"two",null,"ü \\\\ \'quoted\'"]}'
    await asyncio.gather(
        table.record(RunPiece([new("a")])),
        table.record(RunPiece([NewEvent("a", 2, "call", data, 1764270000.25)])),
        table.record(RunPiece([end("a")])),
    )
    run = (await table.find(["a"]))["a"]
    assert (run.status, run.outputs, run.nano_cost, run.seconds, run.submitted) == ("ok", '{"a":1}', 7, 0.25, True)
    assert (run.accepted_at, run.finished_at, run.terms, run.deadline_at) == (1.5, 2.5, None, None)
    assert await table.events("a", 1, 10) == [NewEvent("a", 2, "call", data, 1764270000.25)]


async def test_what_belongs_to_a_run_of_another_process_is_refused_to_its_writer_alone(
    table: RunTable, witness: Store
) -> None:
    await of_another(witness).record(RunPiece([new("theirs", "other")]))
    outcomes = await asyncio.gather(
        table.record(RunPiece([new("mine")])),
        table.record(RunPiece([NewEvent("theirs", 2, "call", "{}", 1.0)])),
        table.record(RunPiece([NewEvent("mine", 2, "call", "{}", 1.0)])),
        table.record(RunPiece([end("theirs")])),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [bool, RunTakenOver, bool, RunTakenOver]
    assert [event.id for event in await table.events("mine", 0, 9)] == [1, 2]


async def test_nothing_is_written_of_a_run_after_what_could_not_be(table: RunTable) -> None:
    await asyncio.gather(table.record(RunPiece([new("a")])), table.record(RunPiece([new("b")])))
    lost, taken = RunPiece([]), RunPiece([])
    lost.tell(StoreError("the disk is full"))
    taken.tell(RunTakenOver("another process has it"))
    refers = {"0" * 32: b'["whole",1]'}
    outcomes = await asyncio.gather(
        table.record(RunPiece([NewEvent("a", 3, "step", "{}", 1.0)], refers, 1.0, before=lost)),
        table.record(RunPiece([NewEvent("b", 2, "step", "{}", 1.0)], before=None)),
        table.record(RunPiece([end("a")], before=taken)),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [StoreError, bool, RunTakenOver]
    assert [[event.id for event in await table.events(id, 0, 9)] for id in "ab"] == [[1], [1, 2]]
    with pytest.raises(StoreError, match="is missing"):
        await table.contents.load(refers)


async def test_runs_that_wait_come_by_priority_and_then_by_the_time_they_were_accepted(table: RunTable) -> None:
    def waiting(id: str, priority: int, at: float) -> NewRun:
        return new(id)._replace(owner=None, priority=priority, accepted_at=at)

    given = [("a", 2, 1.0), ("b", 1, 3.0), ("c", 0, 4.0), ("d", 1, 2.0)]
    await asyncio.gather(*(table.record(RunPiece([waiting(*each)])) for each in given))
    await table.record(RunPiece([new("mine")]))
    assert [run.id for run in await table.waiting("qa", 3)] == ["c", "d", "b"]
    assert [run.id for run in await table.waiting("other", 3)] == []
    assert await table.owners({"qa"}) == {"me"}
    first = (await table.waiting("qa", 1))[0]
    assert [await table.take_over(first), await table.take_over(first)] == [True, False]
    assert [run.id for run in await table.waiting("qa", 9)] == ["d", "b", "a"]
    await table.let_go(["c", "a", "unknown"])
    await table.release("me")
    assert [run.id for run in await table.waiting("qa", 9)] == ["c", "mine", "d", "b", "a"]
    assert await table.unended(["a", "mine", "unknown"]) == {"a", "mine"}
