"""Reads, many at a time."""

import asyncio
import threading
from pathlib import Path

import pytest
from sqlalchemy import event, select, text

from repertory.errors import StoreError
from repertory.store import StateTable, Store
from repertory.store.location import direct_engine, engine_at
from repertory.store.reads import READERS, ThreadReads
from repertory.store.tables import actor_states
from tests.store.conftest import assert_gone, listen


def readers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "store-reader"}


async def test_reads_that_come_together_have_each_their_own_rows(store: Store) -> None:
    results = await asyncio.gather(*(store.read(text(f"SELECT {number}")) for number in range(100)))
    assert [tuple(rows[0]) for rows in results] == [(number,) for number in range(100)]


async def test_reads_one_after_the_other_take_one_thread_and_many_at_a_time_a_few(sqlite_store: Store) -> None:
    others = readers()
    for _ in range(5):
        await sqlite_store.read(select(actor_states))
    assert len(readers() - others) == 1
    await asyncio.gather(*(sqlite_store.read(select(actor_states)) for _ in range(50)))
    threads = readers() - others
    assert 1 < len(threads) <= READERS
    await sqlite_store.close()
    assert_gone(threads)


async def test_a_read_goes_on_while_another_one_takes_long(sqlite_store: Store) -> None:
    entered, told = threading.Event(), threading.Event()

    def wait(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "'slow'" in statement:
            entered.set()
            told.wait(timeout=30)

    listen(sqlite_store, "before_cursor_execute", wait)
    slow = asyncio.create_task(sqlite_store.read(text("SELECT 'slow'")))
    assert await asyncio.to_thread(entered.wait, 30)
    assert len(await sqlite_store.read(text("SELECT 'quick'"))) == 1
    await StateTable(sqlite_store).save("a", 0, 1, "{}")
    assert not slow.done()
    told.set()
    assert [tuple(row) for row in await slow] == [("slow",)]


async def test_after_a_read_that_failed_or_was_cancelled_others_work(sqlite_store: Store) -> None:
    with pytest.raises(StoreError, match="a read failed"):
        await sqlite_store.read(text("SELECT * FROM no_such_table"))
    cancelled = [asyncio.create_task(sqlite_store.read(select(actor_states))) for _ in range(20)]
    await asyncio.sleep(0)
    for task in cancelled:
        task.cancel()
    await asyncio.wait(cancelled)
    assert list(await sqlite_store.read(select(actor_states))) == []


async def test_what_reads_leave_is_let_go_of(sqlite_store: Store) -> None:
    """A transaction left open would keep the write-ahead log from being taken into the file."""
    states = StateTable(sqlite_store)
    await states.save("a", 0, 1, "{}")
    await asyncio.gather(*(sqlite_store.read(select(actor_states)) for _ in range(20)))
    await states.save("a", 1, 1, "{}")
    (busy,) = {row[0] for row in await sqlite_store.read(text("PRAGMA wal_checkpoint(TRUNCATE)"))}
    assert busy == 0


async def test_closing_waits_for_reads_under_way(sqlite_store: Store, sqlite_file: Path) -> None:
    engine = engine_at(sqlite_file)
    direct = direct_engine(engine)
    entered, told = threading.Event(), threading.Event()

    def wait(*_: object) -> None:
        entered.set()
        told.wait(timeout=30)

    event.listen(direct, "before_cursor_execute", wait)
    reads, others = ThreadReads(direct), readers()
    reading = asyncio.create_task(reads.rows(text("SELECT 1")))
    assert await asyncio.to_thread(entered.wait, 30)
    threads = readers() - others
    closing = asyncio.create_task(reads.close())
    await asyncio.sleep(0)
    told.set()
    await closing
    assert [tuple(row) for row in await reading] == [(1,)]
    assert_gone(threads)
    await engine.dispose()
