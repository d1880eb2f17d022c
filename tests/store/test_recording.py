"""How many statements it takes to record what happened in runs."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from repertory.clock import SystemClock
from repertory.errors import RunTakenOver, StoreError
from repertory.store import Store
from repertory.store.content_table import ContentTable
from repertory.store.run_piece import RunPiece
from repertory.store.run_rows import NewEvent, NewRun, RunEnd
from repertory.store.run_table import RunTable
from tests.store.conftest import busy, listen


def new(id: str) -> NewRun:
    return NewRun(id, "qa", id, "f", "c", "{}", "me", False, None, None, None, None, 1.5, said='{"a":1}')


def event(id: str, number: int) -> NewEvent:
    return NewEvent(id, number, "step", f'{{"n":{number}}}', float(number))


def end(id: str) -> RunEnd:
    return RunEnd(id, "ok", '{"a":1}', None, None, 10, 2, 1, 7, 0.25, 2.5)


@pytest.fixture
def table(sqlite_store: Store) -> RunTable:
    return RunTable(sqlite_store, "me", ContentTable(sqlite_store, SystemClock()))


@pytest.fixture
def told(sqlite_store: Store) -> list[str]:
    """The statements that change something, as they are executed."""
    told: list[str] = []

    def hear(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if not statement.startswith("SELECT"):
            told.append(" ".join(statement.split()[:3]))

    listen(sqlite_store, "before_cursor_execute", hear)
    return told


async def test_entries_of_many_runs_take_one_statement(
    sqlite_store: Store, table: RunTable, told: list[str]
) -> None:
    async with busy(sqlite_store):
        pieces = [table.record(RunPiece([new(id), event(id, 2)])) for id in "abc"]
        pieces += [table.record(RunPiece([event(id, 3), end(id)])) for id in "abc"]
    assert [await piece for piece in pieces] == [True] * 6
    assert told == ["INSERT INTO recorded"]
    events = await table.events("b", 0, 9)
    assert [(each.id, each.kind, each.data, each.at) for each in events] == [
        (1, "accepted", '{"a":1}', 1.5),
        (2, "step", '{"n":2}', 2.0),
        (3, "step", '{"n":3}', 3.0),
    ]
    run = (await table.find("c"))["c"]
    assert (run.status, run.outputs, run.nano_cost, run.seconds) == ("ok", '{"a":1}', 7, 0.25)


async def test_where_one_is_not_new_nothing_of_that_statement_stays_and_each_has_its_outcome(
    sqlite_store: Store, table: RunTable, told: list[str]
) -> None:
    await table.record(RunPiece([new("a"), event("a", 2)]))
    async with busy(sqlite_store):
        pieces = [table.record(RunPiece([new(id)])) for id in "ab"]
        pieces.append(table.record(RunPiece([event("a", 3), end("a")])))
    assert [await piece for piece in pieces] == [False, True, True]
    assert told[:2] == ["INSERT INTO recorded"] * 2
    assert [each.id for each in await table.events("a", 0, 9)] == [1, 2, 3]
    assert [each.id for each in await table.events("b", 0, 9)] == [1]


async def test_an_event_whose_number_is_taken_is_refused_and_those_beside_it_are_not(
    sqlite_store: Store, table: RunTable
) -> None:
    await table.record(RunPiece([new("a"), event("a", 2)]))
    await table.record(RunPiece([new("b")]))
    async with busy(sqlite_store):
        taken, fine = (table.record(RunPiece([event(id, 2)])) for id in "ab")
    assert await fine
    with pytest.raises(StoreError, match="UNIQUE"):
        await taken
    async with busy(sqlite_store):
        ended, late = table.record(RunPiece([end("b")])), table.record(RunPiece([event("c", 2)]))
    assert await ended
    with pytest.raises(RunTakenOver):
        await late


async def test_the_database_knows_nothing_of_how_it_was_done(
    sqlite_store: Store, table: RunTable, sqlite_file: Path
) -> None:
    await table.record(RunPiece([new("a")]))
    with closing(sqlite3.connect(sqlite_file)) as connection:
        kinds = connection.execute("SELECT DISTINCT type FROM sqlite_schema").fetchall()
        triggers = connection.execute(
            "SELECT name FROM sqlite_schema WHERE type IN ('trigger', 'view')"
        ).fetchall()
    assert kinds
    assert triggers == []


async def test_on_a_full_disk_a_run_is_recorded_no_further_and_others_are(
    sqlite_store: Store, table: RunTable
) -> None:
    await table.record(RunPiece([new("a")]))
    await table.record(RunPiece([new("b")]))
    await sqlite_store.write(text("PRAGMA max_page_count = 1"), {})  # as full as it now is
    async with busy(sqlite_store):
        large = table.record(RunPiece([event("a", 2)._replace(data="x" * 200_000)]))
        after = table.record(RunPiece([event("a", 3)], before=large))
        small = table.record(RunPiece([event("b", 2)]))
    assert await small
    with pytest.raises(StoreError, match="database or disk is full") as first:
        await large
    with pytest.raises(StoreError) as second:
        await after
    assert second.value is first.value
    await sqlite_store.write(text("PRAGMA max_page_count = 1000000"), {})
    assert await table.record(RunPiece([event("a", 2), end("a")]))
    assert [[each.id for each in await table.events(id, 0, 9)] for id in "ab"] == [[1, 2], [1, 2]]


async def test_a_caller_that_is_cancelled_undoes_nothing(sqlite_store: Store, table: RunTable) -> None:
    async with busy(sqlite_store):
        piece = table.record(RunPiece([new("a")]))
        waiting = asyncio.ensure_future(piece)
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
    assert waiting.cancelled()
    assert await piece
    assert [each.id for each in await table.events("a", 0, 9)] == [1]
