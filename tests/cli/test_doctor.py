"""`repertory doctor`: what it says of the store."""

import sqlite3
from contextlib import closing
from pathlib import Path

from repertory.cli.exit_codes import ExitCode
from repertory.store import Store
from tests.cli.command import workplace


def tables(sqlite_file: Path) -> set[str]:
    with closing(sqlite3.connect(sqlite_file)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}


async def test_the_configured_store_is_opened(tmp_path: Path) -> None:
    async with workplace(tmp_path) as place:
        (tmp_path / "config.toml").write_text('store = "kept/store.db"')
        ended = await place.call("doctor", "config.toml")
    assert ended.status == ExitCode.OK, ended.stdout
    assert "✓ store: 'kept/store.db' can be written" in ended.stdout
    assert ended.stdout.count("store: ") == 1
    assert "runs" in tables(tmp_path / "kept" / "store.db")


async def test_a_configured_store_that_cannot_be_written_is_told_with_the_remedy(tmp_path: Path) -> None:
    async with workplace(tmp_path) as place:
        await (await Store.open(tmp_path / "store.db")).close()
        (tmp_path / "config.toml").write_text('store = "sqlite+aiosqlite:///file:store.db?mode=ro&uri=true"')
        ended = await place.call("doctor", "config.toml")
    assert ended.status == ExitCode.USAGE
    assert "✗ store: cannot use 'sqlite+aiosqlite:///" in ended.stdout
    assert "attempt to write a readonly database" in ended.stdout
    assert "must be writable for this user" in ended.stdout


async def test_a_configuration_without_a_journal_needs_no_store(tmp_path: Path) -> None:
    async with workplace(tmp_path) as place:
        (tmp_path / "config.toml").write_text('store = "store.db"\njournal = false')
        ended = await place.call("doctor", "config.toml")
    assert ended.status == ExitCode.OK, ended.stdout
    assert "store: " not in ended.stdout
    assert not (tmp_path / "store.db").exists()


async def test_without_a_configuration_any_store_does(tmp_path: Path) -> None:
    async with workplace(tmp_path) as place:
        ended = await place.call("doctor")
    assert ended.status == ExitCode.OK, ended.stdout
    assert "✓ store: SQLite can be written" in ended.stdout
    assert not (tmp_path / ".repertory").exists()
