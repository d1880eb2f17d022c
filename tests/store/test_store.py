"""Opening a store, and what is said when that cannot be."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select

from repertory.errors import ConfigError, StoreError, StoreTooNew
from repertory.store import StateTable, Store
from repertory.store.tables import SCHEMA_VERSION, actor_states


async def test_a_store_is_created_with_the_directories_it_needs(tmp_path: Path) -> None:
    location = tmp_path / "deep" / "er" / "repertory.db"
    store = await Store.open(location)
    await StateTable(store).save("a", 0, 1, "{}")
    await store.close()
    assert names(location.parent) >= {location.name}


async def test_a_store_keeps_what_it_held(location: Path) -> None:
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


def assert_gone(threads: set[threading.Thread]) -> None:
    """A thread left behind would hold the file, and could keep the process from ending."""
    for thread in threads - {threading.current_thread()}:
        thread.join(timeout=30)
        assert not thread.is_alive()


@pytest.mark.parametrize("name", ["what?.db", "50%25.db", "a#b.db", "two words.db", "käse.db", "a:b@c.db"])
async def test_a_store_is_at_the_very_path_it_was_given(tmp_path: Path, name: str) -> None:
    store = await Store.open(tmp_path / name)
    await store.close()
    assert names(tmp_path) == {name}


async def test_a_store_may_be_named_by_a_url(location: Path) -> None:
    store = await Store.open(f"sqlite+aiosqlite:///{location}")
    await store.close()
    assert names(location.parent) >= {location.name}


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
    assert "writable directory" in str(caught.value.hint)
    assert_gone(set(threading.enumerate()) - before)


@pytest.fixture
def diary(location: Path) -> Iterator[Path]:
    text = "Dear diary, " * 1000
    location.write_text(text)
    yield location
    assert location.read_text() == text


async def test_a_file_that_is_not_a_database_is_a_clear_error_and_stays_as_it_was(diary: Path) -> None:
    before = set(threading.enumerate())
    with pytest.raises(ConfigError, match="file is not a database") as caught:
        await Store.open(diary)
    assert str(diary) in str(caught.value)
    assert "delete the file if it is not a Repertory store" in str(caught.value.hint)
    assert_gone(set(threading.enumerate()) - before)


async def test_a_store_written_by_a_newer_version_is_refused_and_stays_as_it_was(location: Path) -> None:
    store = await Store.open(location)
    await store.close()
    connection = sqlite3.connect(location)
    connection.execute("UPDATE store_info SET schema_version = ?", (SCHEMA_VERSION + 1,))
    connection.execute("DROP TABLE steps")
    connection.commit()
    before = set(threading.enumerate())
    with pytest.raises(StoreTooNew, match=f"has schema version {SCHEMA_VERSION + 1}, ") as caught:
        await Store.open(location)
    assert caught.value.hint == "Upgrade Repertory, or choose another store."
    assert_gone(set(threading.enumerate()) - before)
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    connection.close()
    assert "steps" not in tables


@pytest.mark.parametrize(
    ("location", "says"),
    [("postgresql://host/db", "'postgresql' is not supported"), ("no driver://x", "is not a database URL")],
)
async def test_a_url_of_another_database_is_a_clear_error(location: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        await Store.open(location)
    assert "path, such as repertory.db" in str(caught.value.hint)


async def test_a_new_store_may_be_opened_by_several_at_once(location: Path) -> None:
    stores = await asyncio.gather(*(Store.open(location) for _ in range(8)))
    outcomes = await asyncio.gather(
        *(StateTable(store).save(f"a{number}", 0, 1, "{}") for number, store in enumerate(stores))
    )
    assert outcomes == [1] * 8
    await asyncio.gather(*(store.close() for store in stores))


async def test_a_read_that_fails_is_a_store_error(store: Store, location: Path) -> None:
    connection = sqlite3.connect(location)
    connection.execute("DROP TABLE actor_states")
    connection.commit()
    connection.close()
    with pytest.raises(StoreError, match="a read failed: no such table"):
        await store.read(select(actor_states))


async def test_a_read_sees_what_was_written_before_it(store: Store) -> None:
    for number in range(50):
        await StateTable(store).save(f"a{number}", 0, 1, "{}")
        assert len(await store.read(select(actor_states))) == number + 1


async def test_a_database_of_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE runs (a)")
        other.commit()
    with pytest.raises(ConfigError, match="is a database of something else"):
        await Store.open(path)
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("runs",)]
