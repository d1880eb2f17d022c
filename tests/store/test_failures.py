"""What the errors of a store say: which store, what happened, and what to do about it."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select, text

from repertory.errors import ConfigError, StoreError
from repertory.store import StateTable, Store
from repertory.store.tables import actor_states
from tests.store.postgres import PostgresServer


async def error_of(write: asyncio.Future[int] | asyncio.Future[None]) -> StoreError:
    with pytest.raises(StoreError) as caught:
        await write
    return caught.value


@contextmanager
def held(sqlite_file: Path) -> Iterator[None]:
    """As while another process is in the middle of a write."""
    with closing(sqlite3.connect(sqlite_file, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        yield


async def test_every_error_names_the_store(store: Store, location: str) -> None:
    name = location.partition("?")[0]
    await store.write(text("DROP TABLE actor_states"), {})
    write = await error_of(StateTable(store).save("a", 0, 1, "{}"))
    with pytest.raises(StoreError) as read:
        await store.read(select(actor_states))
    await store.close()
    with pytest.raises(StoreError) as late:
        StateTable(store).save("a", 0, 1, "{}")
    for error in (write, read.value, late.value):
        assert name in error.message
    assert [write.hint, read.value.hint] == [None, None]  # neither the disk nor the file is at fault


async def test_an_error_does_not_show_the_password(postgres: PostgresServer) -> None:
    url = postgres.new_database().replace("postgres@", "postgres:secret@")
    store = await Store.open(url)
    error = await error_of(store.write(text("no SQL at all"), {}))
    assert "postgres:***@" in error.message
    assert "secret" not in f"{error} {error!r}"
    await store.close()


async def test_a_full_disk_fails_what_finds_no_room_and_hurts_nothing_else(
    sqlite_store: Store, sqlite_file: Path
) -> None:
    states = StateTable(sqlite_store)
    await states.save("kept", 0, 1, '"kept"')
    await sqlite_store.write(text("PRAGMA max_page_count = 1"), {})  # as full as it now is
    saves = [states.save("large", 0, 1, "x" * 100_000), states.save("kept", 1, 1, '"new"')]
    large, small = await asyncio.gather(*saves, return_exceptions=True)
    assert isinstance(large, StoreError)
    assert f"store '{sqlite_file}': a transaction failed: database or disk is full" in large.message
    assert f"Free space on the disk of '{sqlite_file}'" in str(large.hint)
    assert "nothing acknowledged is lost, and later writes work again" in str(large.hint)
    assert small == 2
    await sqlite_store.write(text("PRAGMA max_page_count = 1000000"), {})
    assert await states.save("large", 0, 1, "x" * 100_000) == 1


async def test_a_file_held_by_another_process_is_told_as_such(impatient_store: Store, sqlite_file: Path) -> None:
    states = StateTable(impatient_store)
    with held(sqlite_file):
        error = await error_of(states.save("a", 0, 1, "{}"))
        with pytest.raises(ConfigError, match="database is locked") as caught:
            await Store.open(sqlite_file)
    for hint in (error.hint, caught.value.hint):
        assert hint == f"Another process holds '{sqlite_file}': end it, or wait until it has done its work."
    assert await states.save("a", 0, 1, "{}") == 1


async def test_a_file_that_may_not_be_written_is_told_as_such(sqlite_store: Store, sqlite_file: Path) -> None:
    await sqlite_store.write(text("PRAGMA query_only = ON"), {})
    error = await error_of(StateTable(sqlite_store).save("a", 0, 1, "{}"))
    assert "attempt to write a readonly database" in error.message
    assert (
        error.hint == f"'{sqlite_file}' must be a file, and it and its directory must be writable for this user."
    )


def size_of(sqlite_file: Path) -> int:
    return sqlite_file.stat().st_size


def overwrite_all_but_the_first(size: int, sqlite_file: Path) -> None:
    with sqlite_file.open("r+b") as file:
        file.seek(size)
        file.write(b"\xff" * (size_of(sqlite_file) - size))


async def test_a_damaged_file_is_to_be_kept(sqlite_file: Path) -> None:
    await (await Store.open(sqlite_file)).close()
    schema = size_of(sqlite_file)
    store = await Store.open(sqlite_file)
    await asyncio.gather(*(StateTable(store).save(f"a{n}", 0, 1, "x" * 500) for n in range(100)))
    await store.close()
    overwrite_all_but_the_first(schema, sqlite_file)
    store = await Store.open(sqlite_file)
    with pytest.raises(StoreError, match="database disk image is malformed") as write:
        await StateTable(store).load("a1")
    with pytest.raises(StoreError, match="database disk image is malformed") as read:
        await store.read(select(actor_states))
    for hint in (write.value.hint, read.value.hint):
        assert f"Keep '{sqlite_file}' as it is; restore a backup" in str(hint)
        assert "sqlite3's .recover" in str(hint)
    await store.close()


async def test_a_postgresql_database_that_takes_no_writes_is_told_as_such(postgres: PostgresServer) -> None:
    store = await Store.open(postgres.new_database())
    await store.write(text("SET default_transaction_read_only = on"), {})
    error = await error_of(StateTable(store).save("a", 0, 1, "{}"))
    assert "read-only transaction" in error.message
    assert error.hint == "Name a server and a database that take writes: a standby takes none."
    await store.close()
