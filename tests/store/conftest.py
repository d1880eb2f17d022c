"""Stores of both kinds, each test's its own."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import event

from repertory.store import Store
from repertory.store.reads import ThreadReads
from repertory.store.transactions import Connection, ThreadTransactions
from tests.store.postgres import PostgresServer, running_server
from tests.store.released import RELEASED, restore_database, restore_file


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with running_server() as server:
        yield server


@pytest.fixture
def sqlite_file(tmp_path: Path) -> Path:
    return tmp_path / "repertory.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def location(request: pytest.FixtureRequest) -> str:
    """Where a new store may be made."""
    return new_location(request.param, request)


def new_location(kind: str, request: pytest.FixtureRequest) -> str:
    if kind == "sqlite":
        return str(request.getfixturevalue("sqlite_file"))
    server: PostgresServer = request.getfixturevalue("postgres")
    url = server.new_database()
    request.addfinalizer(lambda: server.drop(url))
    return url


def listen(store: Store, happening: str, hear: Callable[..., object]) -> None:
    """Have ``hear`` called whenever SQLAlchemy does ``happening``, whether for a read or for a write."""
    event.listen(store._engine.sync_engine, happening, hear)
    if isinstance(transactions := store._writer._transactions, ThreadTransactions):
        event.listen(transactions._engine, happening, hear)
    if isinstance(reads := store._reads, ThreadReads):
        event.listen(reads._engine, happening, hear)


@asynccontextmanager
async def busy(store: Store) -> AsyncIterator[None]:
    """Keep the writer at a transaction meanwhile: all that is submitted within goes into the next one."""
    begun, over = threading.Event(), threading.Event()

    async def hold(connection: Connection, items: Sequence[None], /) -> list[None]:
        begun.set()
        assert over.wait(30) if store.file is not None else await asyncio.to_thread(over.wait, 30)
        return [None]

    held = store.submit(hold, None)
    await asyncio.to_thread(begun.wait, 30)
    try:
        yield
    finally:
        over.set()
        await held


def assert_gone(threads: set[threading.Thread]) -> None:
    """A thread left behind would hold the file, and could keep the process from ending."""
    for thread in threads - {threading.current_thread()}:
        thread.join(timeout=30)
        assert not thread.is_alive()


@pytest.fixture
async def store(location: str) -> AsyncIterator[Store]:
    store = await Store.open(location)
    yield store
    await store.close()


@pytest.fixture
async def witness(store: Store, location: str) -> AsyncIterator[Store]:
    """Another process's view of the same store."""
    witness = await Store.open(location)
    yield witness
    await witness.close()


@pytest.fixture
async def sqlite_store(sqlite_file: Path) -> AsyncIterator[Store]:
    store = await Store.open(sqlite_file)
    yield store
    await store.close()


@pytest.fixture
async def impatient_store(sqlite_file: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
    """One that does not wait for another process."""
    monkeypatch.setattr("repertory.store.location.PATIENCE", 0.0)
    monkeypatch.setattr("repertory.store.database.PATIENCE", 0.0)
    store = await Store.open(sqlite_file)
    yield store
    await store.close()


def restored(kind: str, release: str, request: pytest.FixtureRequest) -> str:
    """The location of a store as ``release`` left it."""
    location = new_location(kind, request)
    if kind == "sqlite":
        restore_file(release, Path(location))
    else:
        restore_database(release, request.getfixturevalue("postgres"), location)
    return location


ALL = [(kind, release) for kind, releases in RELEASED.items() for release in releases]


@pytest.fixture(params=ALL, ids=[f"{kind}-{release}" for kind, release in ALL])
def released(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The name of a release, and a store of it."""
    kind, release = request.param
    return release, restored(kind, release, request)


@pytest.fixture(params=RELEASED)
def of_version_3(request: pytest.FixtureRequest) -> str:
    return restored(request.param, "3", request)
