"""Opening a store, and what is said when that cannot be."""

import asyncio
import builtins
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from repertory.errors import ConfigError, StoreError
from repertory.store import StateTable, Store
from repertory.store.tables import actor_states, run_events
from tests.store.conftest import assert_gone
from tests.store.postgres import PostgresServer


async def test_a_store_is_created_with_the_directories_it_needs(tmp_path: Path) -> None:
    location = tmp_path / "deep" / "er" / "repertory.db"
    store = await Store.open(location)
    await StateTable(store).save("a", 0, 1, "{}")
    await store.close()
    assert names(location.parent) >= {location.name}


async def test_a_store_keeps_what_it_held(location: str) -> None:
    for revision in range(5):
        store = await Store.open(location)
        assert await StateTable(store).save("a", revision, 1, f'"{revision}"') == revision + 1
        await store.close()
    store = await Store.open(location)
    stored = await StateTable(store).load("a")
    assert stored is not None
    assert (stored.revision, stored.data) == (5, '"4"')
    await store.close()


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


@pytest.mark.parametrize("name", ["what?.db", "50%25.db", "a#b.db", "two words.db", "käse.db", "a:b@c.db"])
async def test_a_store_is_at_the_very_path_it_was_given(tmp_path: Path, name: str) -> None:
    store = await Store.open(tmp_path / name)
    await store.close()
    assert names(tmp_path) == {name}


async def test_a_store_may_be_named_by_a_url(sqlite_file: Path) -> None:
    store = await Store.open(f"sqlite+aiosqlite:///{sqlite_file}")
    await store.close()
    assert names(sqlite_file.parent) >= {sqlite_file.name}


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+asyncpg", "postgres"])
async def test_a_postgresql_store_is_named_by_a_url(postgres: PostgresServer, scheme: str) -> None:
    url = postgres.new_database().replace("postgresql", scheme, 1)
    store = await Store.open(url + "&sslmode=disable")  # as libpq calls it
    assert store.dialect == "postgresql"
    await store.close()


async def test_a_directory_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match="cannot create the directory") as caught:
        await Store.open(tmp_path / "file" / "repertory.db")
    assert caught.value.hint == "Name a file in a writable directory."


async def test_a_file_that_cannot_be_opened_is_a_clear_error(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with pytest.raises(ConfigError, match="unable to open database file") as caught:
        await Store.open(tmp_path)  # a directory
    assert str(tmp_path) in str(caught.value)
    assert "must be a file, and it and its directory must be writable" in str(caught.value.hint)
    assert_gone(set(threading.enumerate()) - before)


async def test_a_file_that_may_only_be_read_is_refused(sqlite_file: Path) -> None:
    store = await Store.open(sqlite_file)
    await store.close()
    with pytest.raises(ConfigError, match="attempt to write a readonly database") as caught:
        await Store.open(f"sqlite+aiosqlite:///file:{sqlite_file}?mode=ro&uri=true")
    assert str(sqlite_file) in caught.value.message
    assert "must be writable for this user" in str(caught.value.hint)


async def test_a_postgresql_database_that_may_only_be_read_is_refused(postgres: PostgresServer) -> None:
    url = postgres.new_database()
    store = await Store.open(url)
    await store.close()
    database = url.split("/")[3].split("?")[0]
    postgres.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    with pytest.raises(ConfigError, match="read-only transaction") as caught:
        await Store.open(url)
    assert caught.value.hint == "Name a server and a database that take writes: a standby takes none."


@pytest.mark.parametrize(
    ("location", "says"),
    [
        ("mysql://me:secret@host/db", "'mysql' is not supported"),
        ("no driver://me:secret@x", "is not a database URL"),
        ("postgresql://me:secret@host:port/db", "is not a database URL"),
    ],
)
async def test_a_url_of_another_database_is_a_clear_error(location: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        await Store.open(location)
    assert "path, such as repertory.db" in str(caught.value.hint)
    assert "secret" not in everything_said(caught.value)


def everything_said(error: BaseException) -> str:
    """The texts of an error and of all that led to it."""
    cause = error.__cause__ if error.__suppress_context__ else error.__context__
    return f"{error} {error!r} {everything_said(cause) if cause is not None else ''}"


@pytest.fixture
def nobodys_port() -> Iterator[int]:
    """A port at which connections are refused."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


async def test_a_server_that_is_not_there_is_a_clear_error_without_the_password(nobodys_port: int) -> None:
    url = f"postgresql://me:secret@127.0.0.1:{nobodys_port}/db?password=secret"
    with pytest.raises(ConfigError) as caught:
        await Store.open(url)
    assert f"cannot use 'postgresql://me:***@127.0.0.1:{nobodys_port}/db'" in str(caught.value)
    assert f"('127.0.0.1', {nobodys_port})" in str(caught.value)
    assert "that the server runs" in str(caught.value.hint)
    assert "secret" not in everything_said(caught.value)


async def test_a_database_that_does_not_exist_is_a_clear_error(postgres: PostgresServer) -> None:
    with pytest.raises(ConfigError, match='database "missing" does not exist') as caught:
        await Store.open(postgres.url("missing"))
    assert "database" in str(caught.value.hint)


async def test_a_user_who_may_not_enter_is_a_clear_error_without_the_password(postgres: PostgresServer) -> None:
    url = postgres.new_database().replace("postgres@", "stranger:secret@")
    with pytest.raises(ConfigError, match='role "stranger" does not exist') as caught:
        await Store.open(url)
    assert "secret" not in everything_said(caught.value)


async def test_an_option_that_does_not_exist_is_a_clear_error(postgres: PostgresServer) -> None:
    with pytest.raises(ConfigError, match="colour"):
        await Store.open(postgres.new_database() + "&colour=secret")


async def test_a_missing_driver_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = builtins.__import__

    def without_asyncpg(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "asyncpg":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return whole(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_asyncpg)
    with pytest.raises(ConfigError, match="PostgreSQL needs the package asyncpg") as caught:
        await Store.open("postgresql://me:secret@host/db")
    assert caught.value.hint == "Run: pip install 'repertory[postgres]'"


async def test_a_new_store_may_be_opened_by_several_at_once(location: str) -> None:
    stores = await asyncio.gather(*(Store.open(location) for _ in range(8)))
    outcomes = await asyncio.gather(
        *(StateTable(store).save(f"a{number}", 0, 1, "{}") for number, store in enumerate(stores))
    )
    assert outcomes == [1] * 8
    await asyncio.gather(*(store.close() for store in stores))


OPENING = """
import asyncio, sys
from repertory.store import StateTable, Store

async def main():
    sys.stdin.readline()
    store = await Store.open(sys.argv[1])
    await StateTable(store).save(sys.argv[2], 0, 1, "{}")
    await store.close()

print("ready", flush=True)
asyncio.run(main())
"""


def test_a_new_store_may_be_opened_by_several_processes_at_once(location: str) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPENING, location, f"a{number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    assert [process.stdout.readline() for process in processes if process.stdout is not None] == ["ready\n"] * 4
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0] * 4
    assert asyncio.run(number_of_states(location)) == 4


async def number_of_states(location: str) -> int:
    store = await Store.open(location)
    try:
        return len(await store.read(select(actor_states)))
    finally:
        await store.close()


async def test_a_read_that_fails_is_a_store_error(store: Store) -> None:
    await store.write(text("DROP TABLE actor_states"), {})
    with pytest.raises(StoreError, match=r"a read failed: .*actor_states"):
        await store.read(select(actor_states))


async def test_a_read_sees_what_was_written_before_it(store: Store) -> None:
    for number in range(50):
        await StateTable(store).save(f"a{number}", 0, 1, "{}")
        assert len(await store.read(select(actor_states))) == number + 1


async def test_foreign_keys_are_kept(store: Store) -> None:
    with pytest.raises(StoreError, match=r"(?i)foreign key"):
        await store.write(run_events.insert(), {"run_id": "none", "id": 1, "kind": "k", "data": "{}", "at": 0.0})
