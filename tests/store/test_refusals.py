"""What is no store, no longer one, or not yet one, is refused, and stays as it was."""

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text, update

from repertory.errors import ConfigError, StoreError, StoreTooNew
from repertory.store import Store
from repertory.store.tables import SCHEMA_VERSION, store_info
from tests.store.conftest import assert_gone
from tests.store.postgres import PostgresServer
from tests.store.released import restore_file


async def refusal_of(location: Path | str) -> ConfigError:
    """What is said of a store that cannot be opened: once that is so, nothing is left of the attempt."""
    before = set(threading.enumerate())
    with pytest.raises(ConfigError) as caught:
        await Store.open(location)
    assert_gone(set(threading.enumerate()) - before)
    assert str(location) in caught.value.message
    return caught.value


# --- of a newer version --------------------------------------------------------------------------------------


async def test_a_store_written_by_a_newer_version_is_refused_and_stays_as_it_was(location: str) -> None:
    store = await Store.open(location)
    await store.write(update(store_info).values(schema_version=SCHEMA_VERSION + 1), {})
    await store.write(text("DROP TABLE run_events"), {})
    before = set(threading.enumerate())
    versions = f"has schema version {SCHEMA_VERSION + 1}, this Repertory knows {SCHEMA_VERSION}"
    with pytest.raises(StoreTooNew, match=versions) as caught:
        await Store.open(location)
    assert caught.value.hint == "Upgrade Repertory, or choose another store."
    assert_gone(set(threading.enumerate()) - before)
    with pytest.raises(StoreError, match="run_events"):
        await store.read(text("SELECT * FROM run_events"))
    await store.close()


# --- of something else ---------------------------------------------------------------------------------------


async def test_a_database_of_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE runs (a)")
        other.commit()
    refusal = await refusal_of(path)
    assert "is a database of something else (it has the table 'runs')" in refusal.message
    assert refusal.hint == "Name another file; this one is left as it is."
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("runs",)]


async def test_a_postgresql_database_of_something_else_is_left_alone(postgres: PostgresServer) -> None:
    url = postgres.new_database()
    database = url.split("/")[3].split("?")[0]
    postgres.execute("CREATE TABLE invoices (a int)", database=database)
    with pytest.raises(ConfigError, match=r"is a database of something else.*'invoices'") as caught:
        await Store.open(url)
    assert "another database" in str(caught.value.hint)
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
    assert postgres.execute(tables, database=database) == "1"


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TABLE store_info (shop TEXT)", "INSERT INTO store_info VALUES ('corner')"],
        ["CREATE TABLE store_info (only_row INTEGER, schema_version INTEGER)"],
        ["CREATE TABLE store_info (schema_version INTEGER)", "INSERT INTO store_info VALUES (0)"],
        ["CREATE TABLE store_info (schema_version INTEGER)", "INSERT INTO store_info VALUES (NULL)"],
        ["CREATE TABLE store_info (schema_version INTEGER)", "INSERT INTO store_info VALUES (3), (4)"],
    ],
    ids=["of something else", "empty", "impossible", "unknown", "ambiguous"],
)
async def test_a_store_that_does_not_say_its_version_is_refused(sqlite_file: Path, statements: list[str]) -> None:
    with closing(sqlite3.connect(sqlite_file)) as other:
        for statement in statements:
            other.execute(statement)
        other.commit()
        before = list(other.iterdump())
    refusal = await refusal_of(sqlite_file)
    assert "does not say which schema version it has (in its table 'store_info')" in refusal.message
    assert "restore a backup; if not, name another file" in str(refusal.hint)
    with closing(sqlite3.connect(sqlite_file)) as other:
        assert list(other.iterdump()) == before


# --- damaged -------------------------------------------------------------------------------------------------


def a_diary(file: Path) -> None:
    file.write_text("Dear diary, " * 1000)


def overwritten_at_the_start(file: Path) -> None:
    damage(file, 0, b"\0" * 100)


def overwritten_in_the_schema(file: Path) -> None:
    damage(file, 100, b"\xff" * 3000)


def cut_off_in_the_midst(file: Path) -> None:
    truncate(file, file.stat().st_size // 2)


def cut_off_after_the_first_page(file: Path) -> None:
    truncate(file, 4096)


def cut_off_in_the_first_page(file: Path) -> None:
    truncate(file, 700)


def damage(file: Path, at: int, garbage: bytes) -> None:
    with file.open("r+b") as opened:
        opened.seek(at)
        opened.write(garbage)


def truncate(file: Path, size: int) -> None:
    with file.open("r+b") as opened:
        opened.truncate(size)


@pytest.fixture(
    params=[
        (a_diary, "file is not a database"),
        (overwritten_at_the_start, "file is not a database"),
        (overwritten_in_the_schema, "malformed"),
        (cut_off_in_the_midst, "malformed"),
        (cut_off_after_the_first_page, "malformed"),
        (cut_off_in_the_first_page, "malformed"),
    ],
    ids=lambda param: param[0].__name__,
)
def damaged(request: pytest.FixtureRequest, sqlite_file: Path) -> tuple[Path, str, bytes]:
    """A file that was a store, what is said of it, and what is in it now."""
    spoil: Callable[[Path], None] = request.param[0]
    restore_file("3", sqlite_file)
    spoil(sqlite_file)
    return sqlite_file, request.param[1], content(sqlite_file)


async def test_a_file_that_is_no_store_any_more_is_a_clear_error(damaged: tuple[Path, str, bytes]) -> None:
    file, says, before = damaged
    refusal = await refusal_of(file)
    assert says in refusal.message
    assert f"Keep '{file}' as it is" in str(refusal.hint)
    assert "restore a backup, or save what can be read with sqlite3's .recover" in str(refusal.hint)
    assert content(file) == before


def content(file: Path) -> bytes:
    return file.read_bytes()


async def test_damage_found_by_an_upgrade_leaves_the_old_version(sqlite_file: Path) -> None:
    restore_file("3", sqlite_file)
    damage(sqlite_file, page_of(sqlite_file, "steps") * 4096, b"\xff" * 4096)
    refusal = await refusal_of(sqlite_file)
    assert "malformed" in refusal.message
    assert f"Keep '{sqlite_file}' as it is; restore a backup" in str(refusal.hint)
    with closing(sqlite3.connect(sqlite_file)) as opened:
        assert opened.execute("SELECT schema_version FROM store_info").fetchall() == [(3,)]
        assert opened.execute("SELECT count(*) FROM runs").fetchall() == [(4,)]


def page_of(file: Path, table: str) -> int:
    """The number of a table's first page, from 0."""
    with closing(sqlite3.connect(file)) as opened:
        ((page,),) = opened.execute("SELECT rootpage - 1 FROM sqlite_master WHERE name = ?", (table,)).fetchall()
    assert isinstance(page, int)
    return page


async def test_an_old_store_that_may_only_be_read_is_not_upgraded(sqlite_file: Path) -> None:
    restore_file("3", sqlite_file)
    with pytest.raises(ConfigError, match="readonly database"):
        await Store.open(f"sqlite+aiosqlite:///file:{sqlite_file}?mode=ro&uri=true")
    with closing(sqlite3.connect(sqlite_file)) as opened:
        assert opened.execute("SELECT schema_version FROM store_info").fetchall() == [(3,)]
