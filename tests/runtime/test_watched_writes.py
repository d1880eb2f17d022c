"""Whether the journal can be written, in either kind of database, one of whose tables is taken away."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest
from sqlalchemy import func, select

from repertory.errors import StoreError
from repertory.runtime.journal import Journal
from repertory.runtime.watched_writes import INTERVAL
from repertory.store import Store
from repertory.store.location import engine_at
from repertory.store.owners import Owners
from repertory.store.run_piece import RunPiece
from repertory.store.run_rows import NewRun
from repertory.store.tables import runs
from repertory.testing import FakeClock
from tests.store.conftest import location, postgres, sqlite_file

__all__ = ["location", "postgres", "sqlite_file"]

TAKE_AWAY, BRING_BACK = "ALTER TABLE runs RENAME TO away", "ALTER TABLE away RENAME TO runs"


async def accept(journal: Journal) -> None:
    run = NewRun("id", "qa", "k", "print", "code", "{}", "owner", False, None, None, None, None, 0.0)
    await journal.writes.watch(journal.table.record(RunPiece([run])))


class Place(NamedTuple):
    journal: Journal
    store: Store
    clock: FakeClock
    location: str

    async def accept(self) -> None:
        await accept(self.journal)

    async def alter(self, statement: str) -> None:
        engine = engine_at(self.location)
        async with engine.begin() as connection:
            await connection.exec_driver_sql(statement)
        await engine.dispose()

    async def fail(self) -> None:
        """A failed write, whose cause lasts."""
        await self.alter(TAKE_AWAY)
        with pytest.raises(StoreError):
            await self.accept()


@pytest.fixture
async def place(location: str) -> AsyncIterator[Place]:
    store, clock = await Store.open(location), FakeClock()
    owners = await Owners.open(store, clock)
    yield Place(Journal(store, clock, owners), store, clock, location)
    await owners.close()
    await store.close()


async def test_a_failed_write_is_noted_in_one_line_until_one_succeeds(place: Place) -> None:
    await place.fail()
    failure = place.journal.writes.failure
    assert failure is not None
    assert ": a transaction failed: " in failure
    assert "runs" in failure
    assert "\n" not in failure
    await place.alter(BRING_BACK)
    await place.accept()
    assert place.journal.writes.failure is None


async def test_a_probe_tells_that_it_is_well_again_and_leaves_nothing_behind(place: Place) -> None:
    await place.fail()
    await place.alter(BRING_BACK)
    await place.journal.writes.probe()
    assert place.journal.writes.failure is None
    assert (await place.store.read(select(func.count()).select_from(runs)))[0][0] == 0


async def test_probes_are_not_made_more_often_than_once_in_an_interval(place: Place) -> None:
    await place.fail()
    await place.journal.writes.probe()
    await place.alter(BRING_BACK)
    place.clock.advance(INTERVAL * 0.99)
    await place.journal.writes.probe()
    assert place.journal.writes.failure is not None
    place.clock.advance(INTERVAL * 0.01)
    await place.journal.writes.probe()
    assert place.journal.writes.failure is None


async def test_a_store_that_takes_no_writes_is_a_failure_too(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "s.db")
    owners = await Owners.open(store, FakeClock())
    journal = Journal(store, FakeClock(), owners)
    await owners.close()
    await store.close()
    for _ in range(2):
        with pytest.raises(StoreError):
            await accept(journal)
        await journal.writes.probe()
        assert str(journal.writes.failure).endswith("is closed")
