"""A database server that restarts, or ends a connection, in the middle of work."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field

import pytest
from sqlalchemy import insert, select, text

from repertory.clock import SystemClock
from repertory.errors import ConfigError, StaleState, StoreError
from repertory.store import StateTable, Store
from repertory.store.tables import actor_states
from repertory.store.transactions import Connection
from tests.store.postgres import PostgresServer, running_server

END_ALL = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname LIKE 'test%'"
)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """One that these tests may stop."""
    with running_server() as server:
        yield server


@pytest.fixture
def location(server: PostgresServer) -> str:
    return server.new_database()


@pytest.fixture
async def store(location: str) -> AsyncIterator[Store]:
    store = await Store.open(location)
    yield store
    await store.close()


@dataclass
class Accounts:
    """What writers were told, to compare with what is there in the end."""

    acknowledged: dict[str, int] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    progress: asyncio.Event = field(default_factory=asyncio.Event)

    async def all_go_on(self, writers: int) -> None:
        """Return when each of so many writers has written ten times more."""
        before = dict(self.acknowledged)
        while len(self.acknowledged) < writers or any(
            revision < before.get(path, 0) + 10 for path, revision in self.acknowledged.items()
        ):
            self.progress.clear()
            await self.progress.wait()

    async def write(self, states: StateTable, path: str, until: asyncio.Event) -> None:
        """Append events, one after the other; after an error go on from what is there, as a new life does."""
        revision = 0
        while not until.is_set():
            try:
                revision = await states.append(path, revision, 1, str(revision + 1))
                self.acknowledged[path] = revision
                self.progress.set()
                continue
            except StaleState:
                raise  # nobody else writes here: the writer would have written something twice
            except StoreError as error:
                (self.unknown if "is unknown" in str(error) else self.refused).append(path)
            stored = await states.load(path)
            now = stored.revision if stored is not None else 0
            assert revision <= now <= revision + 1
            revision = now


async def check(states: StateTable, accounts: Accounts) -> None:
    """Everything acknowledged is there, once, in order and without a gap."""
    for path, revision in accounts.acknowledged.items():
        stored = await states.load(path)
        assert stored is not None
        assert stored.revision >= revision
        assert [int(event.data) for event in stored.events] == list(range(1, stored.revision + 1))


@pytest.mark.parametrize("mode", ["immediate", "fast"])
async def test_a_server_restarted_in_the_middle_of_writes_loses_nothing(
    server: PostgresServer, store: Store, mode: str
) -> None:
    states, accounts, until = StateTable(store), Accounts(), asyncio.Event()
    writing = [asyncio.create_task(accounts.write(states, f"a{n}", until)) for n in range(16)]
    for _ in range(2):
        await accounts.all_go_on(16)
        await asyncio.to_thread(server.stop, mode)
        await asyncio.to_thread(server.start)
    await accounts.all_go_on(16)
    until.set()
    await asyncio.gather(*writing)
    await check(states, accounts)
    assert accounts.refused == []  # it was back in time


async def test_connections_ended_by_the_server_are_mended(server: PostgresServer, store: Store) -> None:
    states, accounts, until = StateTable(store), Accounts(), asyncio.Event()
    writing = [asyncio.create_task(accounts.write(states, f"a{n}", until)) for n in range(8)]
    for _ in range(20):
        await accounts.all_go_on(8)
        await asyncio.to_thread(server.execute, END_ALL)
    until.set()
    await asyncio.gather(*writing)
    await check(states, accounts)
    assert accounts.refused == []


async def test_an_idle_store_does_not_notice_a_restart(server: PostgresServer, store: Store) -> None:
    states = StateTable(store)
    assert await states.save("a", 0, 1, '"kept"') == 1
    await asyncio.gather(*(store.read(select(actor_states)) for _ in range(5)))  # several idle connections
    server.stop()
    server.start()
    stored = await states.load("a")
    assert stored is not None
    assert stored.data == '"kept"'
    assert await states.save("a", 1, 1, "{}") == 2
    server.execute(END_ALL)
    assert await states.save("a", 2, 1, "{}") == 3
    assert len(await store.read(select(actor_states))) == 1


async def test_a_connection_lost_during_a_transaction_is_written_anew_once(
    server: PostgresServer, store: Store
) -> None:
    calls = 0

    async def write(connection: Connection, items: Sequence[None], /) -> list[None]:
        nonlocal calls
        calls += 1
        await connection.execute(
            insert(actor_states), [{"path": "a", "revision": 1, "schema_version": 1, "data": ""}]
        )
        if calls == 1:
            await asyncio.to_thread(server.execute, END_ALL)
            await connection.execute(text("SELECT 1"))
        return [None]

    await store.submit(write, None)
    assert calls == 2
    assert len(await store.read(select(actor_states))) == 1


async def test_a_connection_lost_during_the_commit_is_told_as_such_and_nothing_is_written_again(
    server: PostgresServer, store: Store
) -> None:
    calls = 0

    async def write(connection: Connection, items: Sequence[str], /) -> list[None]:
        nonlocal calls
        calls += 1
        rows = [{"path": path, "revision": 1, "schema_version": 1, "data": ""} for path in items]
        await connection.execute(insert(actor_states), rows)
        await asyncio.to_thread(server.execute, END_ALL)
        return [None for _ in items]

    outcomes = await asyncio.gather(*(store.submit(write, path) for path in "abc"), return_exceptions=True)
    assert calls == 1
    for outcome in outcomes:
        assert isinstance(outcome, StoreError)
        assert "the connection broke during a commit: whether the write took place is unknown" in str(outcome)
    assert await StateTable(store).save("later", 0, 1, "{}") == 1


class HurriedClock(SystemClock):
    """A clock on which every wait is over at once, and has taken its time."""

    __slots__ = ("passed",)

    def __init__(self) -> None:
        self.passed = 0.0

    def monotonic(self) -> float:
        return self.passed

    async def sleep(self, seconds: float) -> None:
        self.passed += seconds
        await asyncio.sleep(0)


async def test_while_the_server_is_away_writes_and_reads_fail_clearly_and_later_ones_work(
    server: PostgresServer, location: str
) -> None:
    store = await Store.open(location, clock=HurriedClock())
    states = StateTable(store)
    assert await states.save("a", 0, 1, "{}") == 1
    server.stop()
    try:
        outcomes = await asyncio.gather(*(states.save(path, 0, 1, "{}") for path in "bc"), return_exceptions=True)
        for outcome in outcomes:
            assert isinstance(outcome, StoreError)
            assert "the database cannot be reached" in str(outcome)
            assert "later work tries to reach it again" in str(outcome.hint)
        with pytest.raises(StoreError, match="the database cannot be reached"):
            await states.load("a")
        with pytest.raises(StoreError, match="a read failed"):
            await store.read(select(actor_states))
        with pytest.raises(ConfigError, match="cannot use"):
            await Store.open(location)
    finally:
        server.start()
    assert await states.save("a", 1, 1, "{}") == 2
    assert await states.load("b") is None
    await store.close()


async def test_a_store_may_be_closed_while_the_server_is_away(server: PostgresServer, location: str) -> None:
    store = await Store.open(location, clock=HurriedClock())
    assert await StateTable(store).save("a", 0, 1, "{}") == 1
    server.stop("immediate")
    try:
        await store.close()
    finally:
        server.start()
