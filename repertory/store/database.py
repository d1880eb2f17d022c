"""The store: an SQL database reached through SQLAlchemy's async Core.

SQLite (write-ahead log) is the default; its file survives ``kill -9`` at any moment. PostgreSQL is for several
machines that share one store. Both run the same statements.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from sqlalchemy import Executable, Row, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from repertory.clock import Clock, SystemClock
from repertory.errors import ConfigError, RepertoryError
from repertory.store import run_trigger
from repertory.store.connection import connect, is_away, is_starting
from repertory.store.failures import read_failed, reason, remedy
from repertory.store.location import PATIENCE, direct_engine, engine_at, shown
from repertory.store.opened_file import OpenedFile, file_of
from repertory.store.reads import PooledReads, Reads, ThreadReads
from repertory.store.schema import prepare
from repertory.store.transactions import AsyncTransactions, Connection, ThreadTransactions, Transactions
from repertory.store.writer import Operation, Writer

Values: TypeAlias = Mapping[str, object]

ItemT = TypeVar("ItemT")
OutcomeT = TypeVar("OutcomeT")


class Store:
    """One open database. Create it with `Store.open`, end it with `close`.

    Attributes:
        hand_over: As `submit`, for whoever has no use for a future; see `Writer.hand_over`.
    """

    def __init__(self, engine: AsyncEngine, clock: Clock, name: str, file: OpenedFile | None) -> None:
        self._engine = engine
        self._clock = clock
        self._name = name
        self._file = file
        reads: Reads = PooledReads(engine, clock)
        transactions: Transactions = AsyncTransactions(partial(connect, engine, clock), file)
        if file is not None:  # what is in memory has one connection alone
            writing = direct_engine(engine)
            event.listen(writing, "connect", run_trigger.prepare)
            reads, transactions = ThreadReads(direct_engine(engine)), ThreadTransactions(writing, file)
        self._reads = reads
        self._writer = Writer(transactions, name)
        self.hand_over = self._writer.hand_over

    @classmethod
    async def open(cls, location: str | Path, *, clock: Clock | None = None) -> "Store":
        """Open, or create, the store at a SQLite file's path or a database URL (``postgresql://...``).

        A PostgreSQL database must exist and hold nothing else. A store of an older version is upgraded.
        Raises ConfigError if the location cannot be read and written, StoreTooNew if a newer version wrote it.
        """
        engine = engine_at(location)
        name = shown(location)
        clock = clock or SystemClock()
        until = clock.monotonic() + PATIENCE
        try:
            while not await _prepared(engine, name, last_try=clock.monotonic() >= until):
                await clock.sleep(0.02)
            file = await file_of(engine)
        except RepertoryError:
            await engine.dispose()
            raise
        except Exception as error:
            await engine.dispose()
            hint = remedy(name, error)
            if engine.dialect.name == "postgresql" and (hint is None or is_away(error)):
                hint = "Check the URL's host, port, user, password and database, and that the server runs."
            raise ConfigError(f"store: cannot use {name}: {reason(error)}", hint=hint) from error
        except BaseException:
            await engine.dispose()
            raise
        return cls(engine, clock, name, file)

    @property
    def dialect(self) -> str:
        """ "sqlite" or "postgresql"."""
        return self._engine.dialect.name

    @property
    def name(self) -> str:
        """Its location as errors show it: without a password."""
        return self._name

    @property
    def file(self) -> OpenedFile | None:
        """The file of a SQLite store; None for one that a server keeps, or memory."""
        return self._file

    async def connect(self) -> AsyncConnection:
        """A connection for the caller alone, who closes it before the store.

        Waits a while for a server that is away; raises what the driver does.
        """
        return await connect(self._engine, self._clock)

    def submit(self, operation: Operation[ItemT, OutcomeT], item: ItemT) -> asyncio.Future[OutcomeT]:
        """Have ``operation`` done for ``item``, in one transaction with others that come at the same time.

        The future has the outcome once that is on disk, or raises StoreError.
        """
        return self._writer.submit(operation, item)

    def write(self, statement: Executable, values: Values) -> asyncio.Future[None]:
        """Execute ``statement`` with ``values``: at once in the queue, on disk when the future is done.

        The future raises StoreError if the write failed. Rows that several processes may write at a time want an
        `Operation`, which puts them in order.
        """
        return self._writer.submit(_Statement(statement, frozenset(values)), values)

    async def read(self, statement: Executable) -> Sequence[Row[Any]]:
        """All rows of a query, on another connection if one breaks. Raises StoreError."""
        until = self._clock.monotonic() + PATIENCE
        while True:
            try:
                return await self._reads.rows(statement)
            except (SQLAlchemyError, OSError) as error:
                if not is_away(error) or self._clock.monotonic() >= until:
                    raise read_failed(self._name, error) from error

    async def close(self) -> None:
        """Commit what is pending and let go of the database."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._engine.dispose)
            stack.push_async_callback(self._reads.close)
            await self._writer.close()


@dataclass(frozen=True, slots=True)
class _Statement:
    """A statement executed for rows of values with the same names: SQLAlchemy looks at the first row's alone."""

    statement: Executable
    names: frozenset[str]

    @property
    def place(self) -> str:
        """By kind and table: statements have no names."""
        return f"{self.statement.__visit_name__} {getattr(self.statement, 'table', '')} {sorted(self.names)}"

    async def __call__(self, connection: Connection, rows: Sequence[Values], /) -> list[None]:
        await connection.execute(self.statement, rows)
        return [None] * len(rows)


async def _prepared(engine: AsyncEngine, name: str, *, last_try: bool) -> bool:
    """Prepare the store; return whether that was done, False where it is worth another try."""
    try:
        await prepare(engine, name)
    except Exception as error:
        if last_try or not is_starting(error):
            raise
        return False
    return True
