"""A SQLite file that is deleted, moved or replaced while its store is open."""

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from repertory.errors import StoreError
from repertory.store import StateTable, Store


def delete(sqlite_file: Path) -> None:
    for file in sqlite_file.parent.glob(f"{sqlite_file.name}*"):
        file.unlink()


def replace(sqlite_file: Path) -> None:
    """Put a copy in its place, as whoever restores a backup."""
    copy = shutil.copy(sqlite_file, sqlite_file.with_suffix(".copy"))
    os.replace(copy, sqlite_file)


def move_its_directory(sqlite_file: Path) -> None:
    sqlite_file.parent.rename(sqlite_file.parent.with_suffix(".old"))


@pytest.mark.parametrize("lose", [delete, replace, move_its_directory])
async def test_nothing_is_acknowledged_once_the_file_is_lost(tmp_path: Path, lose: Callable[[Path], None]) -> None:
    sqlite_file = tmp_path / "data" / "repertory.db"
    store = await Store.open(sqlite_file)
    states = StateTable(store)
    assert await states.save("a", 0, 1, "{}") == 1
    lose(sqlite_file)
    writes = [states.save("a", 1, 1, "{}"), states.save("b", 0, 1, "{}")]
    for outcome in await asyncio.gather(*writes, return_exceptions=True):
        assert isinstance(outcome, StoreError)
        assert f"store '{sqlite_file}': the file was deleted or replaced" in outcome.message
        assert "Stop this process before you put the file back or restore a backup" in str(outcome.hint)
    with pytest.raises(StoreError, match="deleted or replaced"):
        await states.load("a")
    await store.close()


@pytest.mark.parametrize("lose", [delete, move_its_directory])
async def test_a_file_lost_before_the_first_write_is_not_made_anew(
    tmp_path: Path, lose: Callable[[Path], None]
) -> None:
    sqlite_file = tmp_path / "data" / "repertory.db"
    store = await Store.open(sqlite_file)
    lose(sqlite_file)
    with pytest.raises(StoreError, match="deleted or replaced"):
        await StateTable(store).save("a", 0, 1, "{}")
    assert not sqlite_file.exists()
    await store.close()


async def test_a_file_put_back_in_its_place_is_written_again(sqlite_store: Store, sqlite_file: Path) -> None:
    states = StateTable(sqlite_store)
    assert await states.save("a", 0, 1, "{}") == 1
    away = sqlite_file.with_suffix(".away")
    os.rename(sqlite_file, away)
    with pytest.raises(StoreError, match="deleted or replaced"):
        await states.load("a")
    os.rename(away, sqlite_file)
    assert await states.save("a", 1, 1, "{}") == 2


async def test_a_relative_path_is_that_of_the_directory_in_which_it_was_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = await Store.open("repertory.db")
    monkeypatch.chdir("/")
    assert await StateTable(store).save("a", 0, 1, "{}") == 1
    await store.close()


async def test_a_path_need_not_be_text(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / os.fsdecode(b"caf\xe9.db"))
    assert await StateTable(store).save("a", 0, 1, "{}") == 1
    await store.close()


@pytest.mark.parametrize("location", ["sqlite+aiosqlite://", ":memory:"])
async def test_a_store_in_memory_has_no_file_to_lose(location: str) -> None:
    store = await Store.open(location)
    assert await StateTable(store).save("a", 0, 1, "{}") == 1
    await store.close()
