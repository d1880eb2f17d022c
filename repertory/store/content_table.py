"""Contents in the database: pieces of large values, each stored once under its hash."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import orjson
from sqlalchemy import Executable, Float, bindparam, select, true
from sqlalchemy.dialects import postgresql

from repertory.clock import Clock
from repertory.errors import StoreError
from repertory.store.contents import content_hash, missing, references_of
from repertory.store.database import Store
from repertory.store.given import given
from repertory.store.tables import contents
from repertory.store.transactions import Connection

REFRESH: Final = 1800.0  # seconds for which `used_at` may lag behind, so that what is used a lot is rarely written
QUERY: Final = 10_000  # contents in a query at most
STATEMENT: Final = 4_194_304  # bytes of contents in a statement, more or less: it holds them a second time
NONE: Final[Mapping[str, bytes]] = MappingProxyType({})


class ContentTable:
    """The contents of a store.

    Invariant: what a content refers to was put with it or before it. `used_at` is at most `REFRESH` seconds older
    than the latest put.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._do = _Puts(clock)
        self._read = select(contents.c.hash, contents.c.data).where(
            contents.c.hash.in_(select(given(store.dialect)[0].as_string()))
        )

    def put(self, new: Mapping[str, bytes]) -> asyncio.Future[None]:
        """Keep contents, by hash; on disk when the future is done."""
        return self._store.submit(self._do, new)

    async def load(self, hashes: Iterable[str], known: Mapping[str, bytes] = NONE) -> dict[str, bytes]:
        """These contents and all that they refer to, directly or not: a query for each level of them.

        Args:
            known: Contents that need not be read.

        Raises StoreError, which names the content, if one is missing or damaged.
        """
        found: dict[str, bytes] = {}
        wanted = set(hashes)
        while wanted:
            level = {hash: known[hash] for hash in wanted if hash in known}
            level |= await self._level(sorted(wanted - level.keys()))
            found |= level
            wanted = {hash for content in level.values() for hash in references_of(content)} - found.keys()
        return found

    async def _level(self, hashes: Sequence[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for at in range(0, len(hashes), QUERY):
            some = orjson.dumps([(hash,) for hash in hashes[at : at + QUERY]]).decode()
            for row in await self._store.read(self._read.params(given=some)):
                found[row.hash] = content = row.data.encode()
                if content_hash(content) != row.hash:
                    raise StoreError(
                        f"content {row.hash} is damaged in the store",
                        hint="Restore a backup, or remove what refers to it.",
                    )
        for hash in hashes:
            if hash not in found:
                raise missing(hash)
        return found


async def write_contents(connection: Connection, new: Mapping[str, bytes], used_at: float) -> None:
    """Put contents, by hash, within a transaction: for operations of the writer that refer to them."""
    # In one order for all, or two processes could wait for each other's rows.
    for rows in _shares(sorted(new.items())):
        values = {"given": orjson.dumps(rows).decode(), "used_at": used_at}
        await connection.execute(_PUT[connection.dialect.name], values)


def _shares(new: Sequence[tuple[str, bytes]]) -> Iterator[list[tuple[str, str]]]:
    """The contents in shares of which each is fit for one statement."""
    share: list[tuple[str, str]] = []
    size = 0
    for hash, content in new:
        share.append((hash, content.decode()))
        size += len(content)
        if size > STATEMENT:
            yield share
            share, size = [], 0
    if share:
        yield share


class _Puts:
    """An operation of the writer: many puts in one statement."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def __call__(self, connection: Connection, items: Sequence[Mapping[str, bytes]], /) -> list[None]:
        new: dict[str, bytes] = {}
        for item in items:
            new |= item
        await write_contents(connection, new, self._clock.time())
        return [None] * len(items)


def _put(dialect: str) -> Executable:
    """The statement that inserts the ``given`` [hash, data]s and refreshes those that are there."""
    value = given(dialect)
    rows = select(value[0].as_string(), value[1].as_string(), bindparam("used_at", type_=Float))
    # SQLite understands PostgreSQL's clause, but without a WHERE before it takes it for a join's ON.
    new = postgresql.insert(contents).from_select(["hash", "data", "used_at"], rows.where(true()))
    return new.on_conflict_do_update(
        index_elements=["hash"],
        set_={"used_at": new.excluded.used_at},
        where=contents.c.used_at < new.excluded.used_at - REFRESH,
    )


_PUT: Final = {dialect: _put(dialect) for dialect in ("sqlite", "postgresql")}
