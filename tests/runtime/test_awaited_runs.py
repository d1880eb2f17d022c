"""Waiting for runs that are executed elsewhere, or not yet."""

import asyncio
from collections.abc import Collection

import pytest

from repertory.errors import RuntimeClosed, StoreError
from repertory.runtime import awaited_runs as subject
from repertory.runtime.awaited_runs import INTERVAL, AwaitedRuns
from repertory.store import ContentTable, Store
from repertory.store.run_table import RunTable
from repertory.testing import FakeClock
from tests.store.conftest import sqlite_file, sqlite_store

__all__ = ["sqlite_file", "sqlite_store"]


class Table(RunTable):
    """Tells which runs have no outcome, and what it was asked."""

    def __init__(self, store: Store, clock: FakeClock) -> None:
        super().__init__(store, "me", ContentTable(store, clock))
        self.open: set[str] = set()
        self.questions: list[list[str]] = []
        self.failure: StoreError | None = None

    async def unended(self, ids: Collection[str]) -> set[str]:
        self.questions.append([*ids])
        if self.failure is not None:
            raise self.failure
        return self.open & {*ids}


class Place:
    def __init__(self, store: Store) -> None:
        self.clock = FakeClock()
        self.table = Table(store, self.clock)
        self.awaited = AwaitedRuns()
        self.watch = asyncio.create_task(self.awaited.watch(self.table, self.clock))

    async def wait_for(self, *runs: str) -> list["asyncio.Task[None]"]:
        waiting = [asyncio.create_task(self.awaited.news(run)) for run in runs]
        await asyncio.sleep(0)
        return waiting

    async def look(self) -> None:
        """Have them looked for once; somebody must wait on after that."""
        await self.clock.until_asleep()
        self.clock.advance(INTERVAL)
        await self.clock.until_asleep()

    async def close(self) -> None:
        self.awaited.close(RuntimeClosed("the runtime was closed"))
        self.watch.cancel()
        await asyncio.wait({self.watch})


@pytest.fixture
async def place(sqlite_store: Store) -> Place:
    return Place(sqlite_store)


async def test_one_question_is_asked_for_all_who_wait(place: Place) -> None:
    place.table.open = {"a", "b"}
    waiting = await place.wait_for("a", "a", "b", "c")
    await place.look()
    assert place.table.questions == [["a", "b", "c"]]
    assert [each.done() for each in waiting] == [False, False, False, True]
    place.awaited.tell("a")  # it is begun here
    await asyncio.gather(*waiting[:2])
    await place.look()
    assert place.table.questions[1:] == [["b"]]
    place.table.open.clear()
    place.clock.advance(INTERVAL)
    await waiting[2]
    await place.close()


async def test_where_there_are_too_many_for_one_question_they_take_turns(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "LOOKED_AT", 2)
    place.table.open = {"a", "b", "c"}
    waiting = await place.wait_for("a", "b", "c")
    await place.look()
    await place.look()
    assert place.table.questions == [["a", "b"], ["c", "a"]]
    for each in waiting:
        each.cancel()
    await asyncio.wait(waiting)
    await place.close()


async def test_whoever_waits_is_told_that_the_store_fails_and_that_the_runtime_closes(place: Place) -> None:
    place.table.failure = StoreError("away")
    (waiting,) = await place.wait_for("a")
    await place.clock.until_asleep()
    place.clock.advance(INTERVAL)
    with pytest.raises(StoreError, match="away"):
        await waiting
    (waiting,) = await place.wait_for("a")
    await place.close()
    with pytest.raises(RuntimeClosed):
        await waiting
    with pytest.raises(RuntimeClosed):
        await place.awaited.news("a")
