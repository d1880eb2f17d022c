"""Group commit."""

import asyncio
import gc
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, text

from repertory.errors import StoreError
from repertory.store import Store
from repertory.store.tables import actor_states, runs
from repertory.store.transactions import Connection
from tests.store.conftest import assert_gone, busy, listen

INSERT = insert(actor_states)


def row(path: str, **values: object) -> dict[str, object]:
    return {"path": path, "revision": 1, "schema_version": 1, "data": "{}", **values}


async def seen(witness: Store) -> set[str]:
    """What another connection sees."""
    return {path for (path,) in await witness.read(select(actor_states.c.path))}


def on_disk(location: Path) -> set[str]:
    """What another connection sees in a SQLite file."""
    connection = sqlite3.connect(location)
    try:
        return {path for (path,) in connection.execute("SELECT path FROM actor_states")}
    finally:
        connection.close()


def count_commits(store: Store) -> list[object]:
    commits: list[object] = []
    listen(store, "commit", commits.append)
    return commits


async def test_a_write_is_heard_of_only_when_another_connection_sees_it(store: Store, witness: Store) -> None:
    for number in range(20):
        await store.write(INSERT, row(f"a{number}"))
        assert f"a{number}" in await seen(witness)


async def test_writes_that_come_together_are_committed_together(store: Store, witness: Store) -> None:
    await store.write(INSERT, row("first"))
    commits = count_commits(store)
    async with busy(store):
        writes = [store.write(INSERT, row(f"a{number}")) for number in range(500)]
    await asyncio.gather(*writes)
    assert len(commits) == 1  # that of what held the writer changed nothing
    assert len(await seen(witness)) == 501


async def test_writes_that_come_during_a_commit_go_into_the_next_one(store: Store, witness: Store) -> None:
    commits = count_commits(store)

    async def write(number: int) -> None:
        for repeat in range(10):
            await store.write(INSERT, row(f"a{number}-{repeat}"))

    await asyncio.gather(*(write(number) for number in range(20)))
    assert len(await seen(witness)) == 200
    assert len(commits) <= 100


async def test_a_bad_write_does_not_fail_its_neighbours(store: Store, witness: Store) -> None:
    await store.write(INSERT, row("taken"))
    writes = [store.write(INSERT, row(path)) for path in ("a", "taken", "b")]
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert [isinstance(outcome, StoreError) for outcome in outcomes] == [False, True, False]
    assert "a transaction failed: " in str(outcomes[1])
    assert "unique constraint" in str(outcomes[1]).lower()
    assert await seen(witness) == {"taken", "a", "b"}


@pytest.mark.parametrize(
    "values",
    [
        {"data": "\ud800"},
        {"revision": 2**70},
        {"data": object()},
        {"data": None},
        {"data": "x\0y" * 10, "revision": []},
    ],
    ids=["lone surrogate", "too large", "no SQL type", "null", "list"],
)
async def test_a_value_that_the_driver_refuses_fails_its_write_and_no_other(
    store: Store, witness: Store, values: Mapping[str, Any]
) -> None:
    outcomes = await asyncio.gather(
        store.write(INSERT, row("a")),
        store.write(INSERT, row("bad", **values)),
        store.write(INSERT, row("b")),
        return_exceptions=True,
    )
    assert [isinstance(outcome, StoreError) for outcome in outcomes] == [False, True, False]
    await store.write(INSERT, row("later"))
    assert await seen(witness) == {"a", "b", "later"}


async def test_a_statement_that_cannot_be_run_fails_its_write_and_no_other(store: Store, witness: Store) -> None:
    outcomes = await asyncio.gather(
        store.write(text("INSERT INTO no_such_table VALUES (:x)"), {"x": 1}),
        store.write(text("no SQL at all"), {}),
        store.write(INSERT, row("a")),
        return_exceptions=True,
    )
    assert [isinstance(outcome, StoreError) for outcome in outcomes] == [True, True, False]
    assert await seen(witness) == {"a"}


async def test_writes_of_one_statement_with_different_columns_keep_each_its_own(store: Store) -> None:
    new = {
        "program": "qa",
        "key": "k",
        "fingerprint": "f",
        "inputs": "{}",
        "status": "accepted",
        "accepted_at": 0.0,
    }
    statement = insert(runs)
    given: list[dict[str, object]] = [{}, {"input_tokens": 5}, {"lm_calls": 7}, {}]
    await asyncio.gather(
        *(store.write(statement, {"id": str(n), **new, **columns}) for n, columns in enumerate(given))
    )
    columns = select(runs.c.input_tokens, runs.c.lm_calls).order_by(runs.c.id)
    assert [tuple(row) for row in await store.read(columns)] == [(0, 0), (5, 0), (0, 7), (0, 0)]


class Doubling:
    """An operation that keeps what it is given, and gives back twice that."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []

    async def __call__(self, connection: Connection, items: Sequence[int], /) -> list[int | StoreError]:
        self.groups.append(list(items))
        await connection.execute(INSERT, [row(f"a{item}") for item in items])
        return [StoreError("thirteen") if item == 13 else 2 * item for item in items]


async def test_an_operation_has_all_its_items_at_once_in_order_and_each_caller_its_outcome(
    store: Store, witness: Store
) -> None:
    doubling, other = Doubling(), Doubling()
    async with busy(store):
        writes = [store.submit(doubling if item % 2 else other, item) for item in range(20)]
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["thirteen" if n == 13 else str(2 * n) for n in range(20)]
    assert doubling.groups == [list(range(1, 20, 2))]
    assert other.groups == [list(range(0, 20, 2))]
    assert await seen(witness) == {f"a{item}" for item in range(20)}  # an outcome undoes nothing


async def test_a_group_in_which_one_fails_is_committed_in_halves_that_keep_the_order(
    store: Store, witness: Store
) -> None:
    await store.write(INSERT, row("a5"))
    doubling = Doubling()
    async with busy(store):
        writes = [store.submit(doubling, item) for item in range(8)]
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert [outcome for outcome in outcomes if not isinstance(outcome, StoreError)] == [0, 2, 4, 6, 8, 12, 14]
    assert isinstance(outcomes[5], StoreError)
    assert doubling.groups == [[*range(8)], [0, 1, 2, 3], [4, 5, 6, 7], [4, 5], [4], [5], [6, 7]]
    assert await seen(witness) == {f"a{item}" for item in range(8)}


async def test_a_group_fails_as_one_where_none_of_it_can_be_the_cause(store: Store, witness: Store) -> None:
    refuse = {"sqlite": "PRAGMA query_only = ON", "postgresql": "SET default_transaction_read_only = on"}
    await store.write(text(refuse[store.dialect]), {})
    doubling = Doubling()
    async with busy(store):
        writes = [store.submit(doubling, item) for item in range(8)]
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert [isinstance(outcome, StoreError) for outcome in outcomes] == [True] * 8
    assert doubling.groups == [[*range(8)]]
    assert await seen(witness) == set()


async def test_a_group_waits_but_once_for_another_process(impatient_store: Store, sqlite_file: Path) -> None:
    doubling = Doubling()
    with closing(sqlite3.connect(sqlite_file, isolation_level=None)) as locker:
        async with busy(impatient_store):
            writes = [impatient_store.submit(doubling, item) for item in range(8)]
            locker.execute("BEGIN IMMEDIATE")
        outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert [isinstance(outcome, StoreError) for outcome in outcomes] == [True] * 8
    assert doubling.groups == [[*range(8)]]
    assert await impatient_store.submit(doubling, 8) == 16
    assert on_disk(sqlite_file) == {"a8"}


class Noted:
    """An operation that notes its name when it is executed."""

    def __init__(self, place: str, executed: list[str]) -> None:
        self.place = place
        self._executed = executed

    async def __call__(self, connection: Connection, items: Sequence[None], /) -> list[None]:
        self._executed.append(self.place)
        return [None] * len(items)


async def noted(connection: Connection, items: Sequence[list[str]], /) -> list[None]:
    items[0].append("noted")
    return [None] * len(items)


@pytest.mark.parametrize("turned", [False, True])
async def test_the_operations_of_a_group_come_in_one_order_however_they_are_submitted(
    store: Store, turned: bool
) -> None:
    executed: list[str] = []
    writes: list[Callable[[], asyncio.Future[None]]] = [
        lambda: store.submit(Noted("a", executed), None),
        lambda: store.submit(noted, executed),  # by its name, which begins with "tests."
        lambda: store.submit(Noted("z", executed), None),
    ]
    async with busy(store):
        submitted = [write() for write in (reversed(writes) if turned else writes)]
    await asyncio.gather(*submitted)
    assert executed == ["a", "noted", "z"]


@pytest.mark.parametrize("turned", [False, True])
async def test_statements_come_by_kind_and_table_however_they_are_submitted(
    store: Store, witness: Store, turned: bool
) -> None:
    told: list[str] = []

    def tell(_c: object, _cursor: object, statement: str, *_rest: object) -> None:
        told.append(" ".join(statement.split()[:3]))

    listen(store, "before_cursor_execute", tell)
    run = {**dict.fromkeys(("program", "key", "fingerprint", "inputs", "status"), ""), "accepted_at": 0.0}
    writes: list[Callable[[], asyncio.Future[None]]] = [
        lambda: store.write(insert(runs), {"id": "r", **run}),
        lambda: store.write(delete(actor_states), {}),
        lambda: store.write(INSERT, row("a")),
    ]
    async with busy(store):
        submitted = [write() for write in (reversed(writes) if turned else writes)]
    await asyncio.gather(*submitted)
    assert told == ["DELETE FROM actor_states", "INSERT INTO actor_states", "INSERT INTO runs"]


async def test_a_group_for_a_sqlite_file_is_executed_in_a_thread_of_the_writers_own(sqlite_store: Store) -> None:
    async def where(connection: Connection, items: Sequence[None], /) -> list[threading.Thread]:
        await connection.execute(INSERT, row("a"))
        return [threading.current_thread()]

    thread = await sqlite_store.submit(where, None)
    assert thread is not threading.current_thread()
    await sqlite_store.close()
    assert_gone({thread})


async def test_an_operation_that_waits_in_that_thread_fails_clearly_and_no_other(
    sqlite_store: Store, sqlite_file: Path
) -> None:
    async def dawdle(connection: Connection, items: Sequence[None], /) -> list[None]:
        await connection.execute(INSERT, row("undone"))
        await asyncio.sleep(0)
        return [None]

    outcomes = await asyncio.gather(
        sqlite_store.write(INSERT, row("a")),
        sqlite_store.submit(dawdle, None),
        sqlite_store.write(INSERT, row("b")),
        return_exceptions=True,
    )
    assert [isinstance(outcome, StoreError) for outcome in outcomes] == [False, True, False]
    assert "sleep waits for what only an event loop could give it" in str(outcomes[1])
    assert on_disk(sqlite_file) == {"a", "b"}


async def test_close_commits_what_is_pending(store: Store, witness: Store) -> None:
    writes = [store.write(INSERT, row(f"a{number}")) for number in range(100)]
    await store.close()
    assert all(write.done() and write.exception() is None for write in writes)
    assert len(await seen(witness)) == 100


async def test_a_write_after_close_is_refused(store: Store, witness: Store) -> None:
    await store.close()
    with pytest.raises(StoreError, match=r"the store .* is closed"):
        store.write(INSERT, row("late"))
    assert await seen(witness) == set()


async def test_a_store_may_be_closed_twice(store: Store) -> None:
    await store.close()
    await store.close()


async def test_a_caller_cancelled_while_it_waits_neither_undoes_its_write_nor_breaks_the_writer(
    store: Store, witness: Store
) -> None:
    async def write(path: str) -> None:
        await store.write(INSERT, row(path))

    waiting = [asyncio.create_task(write(f"a{number}")) for number in range(10)]
    await asyncio.sleep(0)
    for task in waiting[::2]:
        task.cancel()
    await asyncio.wait(waiting)
    assert [task.cancelled() for task in waiting] == [True, False] * 5
    await write("later")
    assert await seen(witness) == {"later", *(f"a{number}" for number in range(10))}


async def test_a_cancelled_callers_failed_write_is_no_ones_unretrieved_error(store: Store) -> None:
    complaints: list[Mapping[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    await store.write(INSERT, row("taken"))
    failing = store.write(INSERT, row("taken"))
    failing.cancel()
    await store.write(INSERT, row("later"))
    del failing
    gc.collect()
    assert complaints == []


async def test_a_write_waits_for_another_process_to_finish_its_own(sqlite_store: Store, sqlite_file: Path) -> None:
    await sqlite_store.write(INSERT, row("first"))
    locker = sqlite3.connect(sqlite_file, isolation_level=None)
    locker.execute("BEGIN IMMEDIATE")
    writing = sqlite_store.write(INSERT, row("a"))
    for _ in range(10):
        await asyncio.sleep(0)
    assert on_disk(sqlite_file) == {"first"}
    locker.execute("COMMIT")
    locker.close()
    await writing
    assert on_disk(sqlite_file) == {"first", "a"}


async def test_a_lost_table_fails_the_write_and_not_the_writer(sqlite_store: Store, sqlite_file: Path) -> None:
    connection = sqlite3.connect(sqlite_file)
    connection.execute("ALTER TABLE actor_states RENAME TO hidden")
    connection.commit()
    with pytest.raises(StoreError, match="no such table"):
        await sqlite_store.write(INSERT, row("a"))
    connection.execute("ALTER TABLE hidden RENAME TO actor_states")
    connection.commit()
    connection.close()
    await sqlite_store.write(INSERT, row("b"))
    assert on_disk(sqlite_file) == {"b"}
