"""`repertory doctor`: what it says of the store."""

import sqlite3
from contextlib import closing
from pathlib import Path

from repertory.cli.exit_codes import ExitCode
from repertory.store import Store
from tests.cli.command import workplace
from tests.endpoint import Raw, ScriptedEndpoint


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


async def test_a_language_model_is_asked_whether_it_is_there_and_has_the_model(tmp_path: Path) -> None:
    models = Raw(b'{"data": [{"id": "gpt-4.1-mini"}]}')
    async with ScriptedEndpoint(lambda _: models) as server, workplace(tmp_path) as place:
        (tmp_path / "config.toml").write_text(
            f"""
            journal = false
            [lm]
            well = {{ model = "compatible/gpt-4.1-mini", base_url = "{server.url}" }}
            misspelt = {{ model = "compatible/gpt-41-mini", base_url = "{server.url}" }}
            away = {{ model = "compatible/m", base_url = "http://127.0.0.1:9/v1" }}
            """
        )
        ended = await place.call("doctor", "config.toml")
    assert ended.status == ExitCode.USAGE
    assert "✓ lm.well: compatible/gpt-4.1-mini: answers at" in ended.stdout
    assert "✗ lm.misspelt: " in ended.stdout
    assert "Did you mean 'gpt-4.1-mini'?" in ended.stdout
    assert "✗ lm.away: " in ended.stdout
