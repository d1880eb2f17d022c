"""Who is told to be alive, and who dead: real processes, killed, suspended and held up."""

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select, text

from repertory.clock import SystemClock
from repertory.errors import ConfigError, StoreError
from repertory.store import Owners, Store
from repertory.store.tables import owners
from repertory.testing import FakeClock
from tests.store.postgres import PostgresServer

LONG = 3600.0  # a lease that does not end while a test lasts
SHORT = 0.2

OWNING = """
import asyncio, sys
from repertory.clock import SystemClock
from repertory.store import Owners, Store

async def main():
    store = await Store.open(sys.argv[1])
    owner = await Owners.open(store, SystemClock(), lease=float(sys.argv[2]))
    print(owner.id, flush=True)
    sys.stdin.readline()  # holds up its event loop
    await owner.close()
    await store.close()

asyncio.run(main())
"""


@contextmanager
def owning_process(location: str, lease: float = LONG) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that is an owner, and its id."""
    command = [sys.executable, "-c", OWNING, location, str(lease)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what another process does, and which none tells of."""
    async with asyncio.timeout(30):
        while True:
            if await holds():
                return
            await asyncio.sleep(0.02)


async def until_gone(owner: Owners, id: str) -> None:
    async def is_gone() -> bool:
        return await owner.gone([id]) == {id}

    await until(is_gone)


def killed(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait(timeout=30)


@pytest.fixture
async def owner(store: Store) -> AsyncIterator[Owners]:
    owner = await Owners.open(store, SystemClock(), lease=SHORT)
    yield owner
    await owner.close()


async def test_owners_of_one_process_are_apart_and_alive_until_they_close(store: Store, witness: Store) -> None:
    first = await Owners.open(store, SystemClock(), lease=LONG)
    second = await Owners.open(witness, SystemClock(), lease=LONG)
    third = await Owners.open(store, SystemClock(), lease=LONG)
    ids = {first.id, second.id, third.id}
    assert len(ids) == 3
    assert [await each.gone(ids) for each in (first, second, third)] == [set(), set(), set()]
    await second.close()
    assert await first.gone(ids) == await third.gone(ids) == {second.id}
    await third.close()
    await third.close()
    assert await first.gone(ids) == {second.id, third.id}
    await first.close()


async def test_an_id_nobody_has_is_gone(owner: Owners) -> None:
    assert await owner.gone(["0" * 32, owner.id]) == {"0" * 32}
    assert await owner.gone([]) == set()


async def test_a_killed_process_is_gone_and_its_neighbour_is_not(location: str, owner: Owners) -> None:
    with owning_process(location, SHORT) as (victim, victims_id), owning_process(location) as (_, neighbours_id):
        assert await owner.gone([victims_id, neighbours_id]) == set()
        killed(victim)
        await until_gone(owner, victims_id)
        assert await owner.gone([victims_id, neighbours_id]) == {victims_id}


async def test_a_process_that_left_is_gone_at_once(location: str, owner: Owners) -> None:
    with owning_process(location) as (process, id):
        assert await owner.gone([id]) == set()
        process.communicate("leave\n", timeout=30)
        assert process.returncode == 0
        assert await owner.gone([id]) == {id}


async def test_a_process_that_is_held_up_is_not_gone_however_long(
    location: str, owner: Owners, store: Store
) -> None:
    with owning_process(location, SHORT) as (process, id):
        os.kill(process.pid, signal.SIGSTOP)
        await end_lease(store, id)
        assert await owner.gone([id]) == set()
        killed(process)
        await until_gone(owner, id)


async def end_lease(store: Store, id: str) -> None:
    """As if much time had passed; where there is but one machine there are no leases."""
    await store.write(owners.update().where(owners.c.id == id).values(expires_at=0.0), {})


async def test_a_lease_that_cannot_be_one_is_refused(store: Store) -> None:
    with pytest.raises(ConfigError, match=r"owners: lease = 0: expected a number of seconds above 0"):
        await Owners.open(store, SystemClock(), lease=0)


# --- on one machine ------------------------------------------------------------------------------------------


async def test_a_killed_process_on_this_machine_is_gone_at_once(sqlite_file: Path, sqlite_store: Store) -> None:
    owner = await Owners.open(sqlite_store, SystemClock())
    with owning_process(str(sqlite_file)) as (process, id):
        killed(process)
        assert await owner.gone([id]) == {id}
    await owner.close()


async def test_files_are_beside_the_database_and_go_with_their_owners(
    sqlite_file: Path, sqlite_store: Store
) -> None:
    directory = sqlite_file.with_name("repertory.db.owners")
    with owning_process(str(sqlite_file)) as (process, dead):
        killed(process)
    (directory / "of something else").touch()
    assert names(directory) == {dead, "of something else"}
    owner = await Owners.open(sqlite_store, SystemClock())
    assert names(directory) == {owner.id, "of something else"}
    await owner.close()
    assert names(directory) == {"of something else"}


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


async def test_an_owner_whose_file_is_taken_for_a_dead_ones_before_it_is_locked_makes_another(
    sqlite_file: Path, sqlite_store: Store, witness_of_file: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = sqlite_file.with_name("repertory.db.owners")
    lock = fcntl.flock

    def removed_first(descriptor: int, operation: int) -> None:
        monkeypatch.undo()
        (new,) = directory.iterdir()
        new.unlink()
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", removed_first)
    owner = await Owners.open(sqlite_store, SystemClock())
    assert names(directory) == {owner.id}
    other = await Owners.open(witness_of_file, SystemClock())
    assert await other.gone([owner.id]) == set()
    await owner.close()
    await other.close()


@pytest.fixture
async def witness_of_file(sqlite_store: Store, sqlite_file: Path) -> AsyncIterator[Store]:
    witness = await Store.open(sqlite_file)
    yield witness
    await witness.close()


async def test_a_directory_that_cannot_be_used_is_a_clear_error(sqlite_file: Path, sqlite_store: Store) -> None:
    sqlite_file.with_name("repertory.db.owners").write_text("in the way")
    with pytest.raises(StoreError, match=r"cannot lock '.*repertory\.db\.owners/[0-9a-f]{32}'") as caught:
        await Owners.open(sqlite_store, SystemClock())
    assert caught.value.hint == "The directory of a store must be writable, on a disk of this machine."


async def test_a_store_in_memory_has_one_owner() -> None:
    store = await Store.open("sqlite+aiosqlite://")
    owner = await Owners.open(store, SystemClock())
    assert await owner.gone([owner.id, "0" * 32]) == {"0" * 32}
    await owner.close()
    await store.close()


# --- on several machines -------------------------------------------------------------------------------------


@pytest.fixture
async def shared(postgres: PostgresServer) -> AsyncIterator[Store]:
    store = await Store.open(postgres.new_database())
    yield store
    await store.close()


async def test_a_lease_protects_whose_session_broke_until_it_has_another(shared: Store) -> None:
    clock = FakeClock()
    patient, hasty = [await Owners.open(shared, clock, lease=lease) for lease in (LONG, SHORT)]
    (broken,) = await sessions_of(shared, patient)

    async def has_none() -> bool:
        return not await sessions_of(shared, patient)

    async def has_another() -> bool:
        clock.advance(LONG / 3)
        return bool(await sessions_of(shared, patient))

    await shared.write(text("SELECT pg_terminate_backend(:pid)"), {"pid": broken})
    await until(has_none)
    assert await hasty.gone([patient.id]) == set()
    await until(has_another)
    await end_lease(shared, patient.id)
    assert await hasty.gone([patient.id]) == set()
    await patient.close()
    assert await hasty.gone([patient.id]) == {patient.id}
    await hasty.close()


async def sessions_of(store: Store, owner: Owners) -> set[int]:
    """The processes of the server that hold an owner's lock."""
    low = int(owner.id[8:16], 16)
    return {pid for (pid,) in await store.read(text(f"SELECT pid FROM pg_locks WHERE objid = {low} AND granted"))}


async def test_leases_that_ended_while_the_server_was_away_count_anew_from_its_start(shared: Store) -> None:
    patient, hasty = [await Owners.open(shared, SystemClock(), lease=lease) for lease in (LONG, SHORT)]
    await shared.write(owners.insert(), {"id": "0" * 32, "expires_at": 1.0})
    assert await patient.gone(["0" * 32]) == set()
    assert await hasty.gone(["0" * 32]) == {"0" * 32}
    await patient.close()
    await hasty.close()


async def test_rows_of_those_long_dead_are_removed(shared: Store) -> None:
    for digit, age in {"1": 100_000, "2": 3600}.items():
        await shared.write(owners.insert(), {"id": digit * 32, "expires_at": time.time() - age})
    owner = await Owners.open(shared, SystemClock())
    assert {id for (id,) in await shared.read(select(owners.c.id))} == {"2" * 32, owner.id}
    await owner.close()
    assert {id for (id,) in await shared.read(select(owners.c.id))} == {"2" * 32}


async def test_a_closed_owner_leaves_no_lock_to_whoever_uses_its_connection_next(shared: Store) -> None:
    owner = await Owners.open(shared, SystemClock())
    assert len(await sessions_of(shared, owner)) == 1
    await owner.close()
    assert await sessions_of(shared, owner) == set()


async def test_a_store_that_cannot_be_written_is_a_clear_error(shared: Store) -> None:
    await shared.write(text("DROP TABLE owners"), {})
    with pytest.raises(StoreError, match=r"store 'postgresql://.*owners"):
        await Owners.open(shared, SystemClock())
