"""What durability costs: tells whose handlers commit state, beside the disk's own pace."""

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from pydantic import BaseModel

from benchmarks.timing import Sample, one_core
from repertory.actors import Actor, ActorSystem, Message, handles
from repertory.store import StateTable, Store

TELLS = 20_000
IN_FLIGHT = 64  # one at each of as many actors
FLOOR_COMMITS = 200


class Total(BaseModel):
    """What each actor keeps."""

    total: int = 0


@dataclass(frozen=True, slots=True)
class Add(Message[None]):
    """To be added and committed."""

    amount: int


class Account(Actor[Total]):
    """Commits at each message, and then says so."""

    def __init__(self, committed: "Callable[[Account], None]") -> None:
        self._committed = committed

    @handles(Add)
    async def add(self, message: Add) -> None:
        """Add and commit."""
        await self.commit(Total(total=self.state.total + message.amount))
        self._committed(self)


async def durable_tells_per_s(scale: int) -> Sample:
    """Tells committed to disk a second, 64 in flight, in elapsed time; beside it what SQLite does by itself."""
    with TemporaryDirectory() as name:
        directory = Path(name)
        per_s = await _tells_per_s(directory / "store.db", TELLS // scale)
        with one_core():
            pinned = await _tells_per_s(directory / "pinned.db", TELLS // scale)
        single = _sqlite_rows_per_s(directory / "floor.db", rows_a_commit=1)
        grouped = _sqlite_rows_per_s(directory / "grouped.db", rows_a_commit=IN_FLIGHT)
    return {
        "durable_tells_per_s": per_s,
        "durable_tells_per_s.on_one_core": pinned,
        "durable_tells_per_s.sqlite_commits_per_s": single,
        "durable_tells_per_s.sqlite_rows_per_s_64_a_commit": grouped,
    }


async def _tells_per_s(path: Path, tells: int) -> float:
    store = await Store.open(path)
    system = ActorSystem(states=StateTable(store))
    await _commit(system, 4 * IN_FLIGHT, "warm")
    seconds = await _commit(system, tells, "account")
    await system.stop()
    await store.close()
    await _verify(path, tells)
    return tells / seconds


async def _verify(path: Path, tells: int) -> None:
    """Raise unless the file holds all of them."""
    store = await Store.open(path)
    states = StateTable(store)
    found = [await states.load(f"account-{number}") for number in range(IN_FLIGHT)]
    await store.close()
    if (revisions := sum(state.revision for state in found if state is not None)) != tells:
        raise RuntimeError(f"{revisions} commits are in the store, {tells} were counted")


async def _commit(system: ActorSystem, tells: int, name: str) -> float:
    """Seconds until ``tells`` messages have been committed by actors called ``name``."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    to_send, to_hear = tells - IN_FLIGHT, tells

    def committed(actor: Account) -> None:
        nonlocal to_send, to_hear
        to_hear -= 1
        if to_send:
            to_send -= 1
            actor.ref.tell(Add(1))
        elif not to_hear:
            done.set_result(None)

    refs = [await system.spawn(lambda: Account(committed), name=f"{name}-{n}") for n in range(IN_FLIGHT)]
    begun = perf_counter()
    for ref in refs:
        ref.tell(Add(1))
    await done
    return perf_counter() - begun


def _sqlite_rows_per_s(path: Path, rows_a_commit: int) -> float:
    """Rows a bare sqlite3 connection updates a second, each commit on disk."""
    with sqlite3.connect(path, isolation_level=None) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE states (path TEXT PRIMARY KEY, revision INTEGER, data TEXT)")
        rows = [(f"account-{number}", 0, '{"total":0}') for number in range(rows_a_commit)]
        connection.executemany("INSERT INTO states VALUES (?, ?, ?)", rows)
        begun = perf_counter()
        for revision in range(FLOOR_COMMITS):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "UPDATE states SET revision = ?, data = ? WHERE path = ? AND revision = ?",
                [(revision + 1, f'{{"total":{revision}}}', row[0], revision) for row in rows],
            )
            connection.execute("COMMIT")
        seconds = perf_counter() - begun
    connection.close()
    return FLOOR_COMMITS * rows_a_commit / seconds
