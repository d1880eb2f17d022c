"""Reads of a store: queries that see what has been committed, each by itself."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, Executable, Row
from sqlalchemy.ext.asyncio import AsyncEngine

from repertory.clock import Clock
from repertory.store.connection import connect
from repertory.store.serial_thread import SerialThread

READERS = 4  # threads at most: beyond that, queries of one file wait for each other anyway


class Reads(Protocol):
    """Reads, as many at a time as come."""

    async def rows(self, statement: Executable) -> Sequence[Row[Any]]:
        """All rows of a query. Raises what the driver does."""

    async def close(self) -> None:
        """Let go of the connections."""


class PooledReads:
    """Reads on connections of an asynchronous engine, whose owner disposes of it."""

    def __init__(self, engine: AsyncEngine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    async def rows(self, statement: Executable) -> Sequence[Row[Any]]:
        """As `Reads.rows`, waiting a while for a server that is away."""
        connection = await connect(self._engine, self._clock)
        try:
            return (await connection.execute(statement)).all()
        finally:
            await connection.close()

    async def close(self) -> None:
        """As `Reads.close`."""


class ThreadReads:
    """Reads on synchronous connections, each in a thread of its own: one hop for each.

    Invariant: there are at most `READERS` threads, and no more than there were reads at a time; those that are
    not idle are reading for somebody.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._turns = asyncio.Semaphore(READERS)
        self._readers: set[_Reader] = set()
        self._idle: list[_Reader] = []

    async def rows(self, statement: Executable) -> Sequence[Row[Any]]:
        """As `Reads.rows`."""
        async with self._turns:
            reader = self._idle.pop() if self._idle else _Reader(self._engine)
            self._readers.add(reader)
            try:
                return await reader.rows(statement)
            finally:
                if reader in self._readers:  # and not closed meanwhile
                    self._idle.append(reader)

    async def close(self) -> None:
        """As `Reads.close`, once those under way are done."""
        readers, self._readers, self._idle = self._readers, set(), []
        async with AsyncExitStack() as stack:
            for reader in readers:
                stack.push_async_callback(reader.close)


class _Reader:
    """A connection and its thread."""

    __slots__ = ("_connection", "_engine", "_thread")

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None
        self._thread = SerialThread("store-reader")

    async def rows(self, statement: Executable) -> Sequence[Row[Any]]:
        """All rows of a query, after what a cancelled caller may have left under way."""
        return await self._thread.drive(self._read(statement))

    async def close(self) -> None:
        """End the thread once it has done what it was given."""
        try:
            await self._thread.drive(self._let_go())
        finally:
            await self._thread.end()

    async def _read(self, statement: Executable) -> Sequence[Row[Any]]:
        connection = self._connection = self._connection or self._engine.connect()
        try:
            rows = connection.execute(statement).all()
            connection.rollback()
        except BaseException:
            await self._let_go()
            raise
        return rows

    async def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
