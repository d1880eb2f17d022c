"""Group commit: one writer, many writes a transaction.

While one transaction is on its way to the disk the next writes gather, and all of them go into the next one;
under load the cost of a commit is shared, and a lone write waits for nobody.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from sqlalchemy import Executable
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from repertory.errors import StoreError

Values: TypeAlias = Mapping[str, object]

LAST_COMMIT = 5.0  # seconds a cancelled close waits for the commit under way


@dataclass(slots=True, eq=False)
class _Write:
    statement: Executable
    values: Values
    counted: bool
    done: asyncio.Future[int]


class Writer:
    """Commits writes in groups.

    Invariant: a write's caller hears of it only after the transaction that holds it has been committed.
    Writes of one group run statement by statement, not in order of arrival: a write that needs another one's
    row waits for that one first. A caller cancelled while it waits does not undo its write.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._pending: list[_Write] = []
        self._wake = asyncio.Event()
        self._closing = False
        self._task = asyncio.get_running_loop().create_task(self._run(), name="store-writer")

    def write(self, statement: Executable, values: Values) -> asyncio.Future[int]:
        """Execute ``statement`` with ``values``; the future is done when it is on disk, or has a StoreError."""
        return self._enqueue(statement, values, counted=False)

    def write_counted(self, statement: Executable, values: Values) -> asyncio.Future[int]:
        """As `write`, and tell how many rows it changed; slower, since it is executed by itself."""
        return self._enqueue(statement, values, counted=True)

    async def close(self) -> None:
        """Commit what is pending and end; later writes are refused."""
        self._closing = True
        self._wake.set()
        try:
            await asyncio.shield(self._task)
        except asyncio.CancelledError:
            await asyncio.wait({self._task}, timeout=LAST_COMMIT)  # whoever hurries still gets what was written
            raise

    def _enqueue(self, statement: Executable, values: Values, *, counted: bool) -> asyncio.Future[int]:
        if self._closing:
            raise StoreError("the store is closed", hint="Keep the Runtime open while work is under way.")
        done = asyncio.get_running_loop().create_future()
        self._pending.append(_Write(statement, values, counted, done))
        self._wake.set()
        return done

    async def _run(self) -> None:
        try:
            async with self._engine.connect() as connection:
                while self._pending or not self._closing:
                    if not self._pending:
                        await self._wake.wait()
                        self._wake.clear()
                        continue
                    group, self._pending = self._pending, []
                    try:
                        await self._commit(connection, group)
                    finally:
                        _abandon(group)  # only an unforeseen error leaves one without an outcome
        finally:
            self._closing = True
            _abandon(self._pending)

    async def _commit(self, connection: AsyncConnection, group: list[_Write]) -> None:
        try:
            counts = await _execute(connection, group)
        except Exception as error:  # noqa: BLE001  # drivers refuse values with errors of every kind
            await connection.rollback()
            if len(group) == 1:
                _resolve(group[0], _store_error(error))
                return
            # One bad write must not fail its neighbours: each gets a transaction of its own.
            for write in group:
                await self._commit(connection, [write])
            return
        for write, count in zip(group, counts, strict=True):
            _resolve(write, count)


async def _execute(connection: AsyncConnection, group: list[_Write]) -> list[int]:
    """Run ``group`` in one transaction; return the rows changed by each counted write, 0 for the others."""
    counts = [0] * len(group)
    bulk: dict[tuple[Executable, frozenset[str]], list[Values]] = {}
    for position, write in enumerate(group):
        if write.counted:
            result = await connection.execute(write.statement, write.values)
            counts[position] = result.rowcount
        else:
            # SQLAlchemy takes the columns from the first row alone.
            bulk.setdefault((write.statement, frozenset(write.values)), []).append(write.values)
    for (statement, _), rows in bulk.items():
        await connection.execute(statement, rows)
    await connection.commit()
    return counts


def _resolve(write: _Write, outcome: int | StoreError) -> None:
    if write.done.done():  # its caller was cancelled
        return
    if isinstance(outcome, StoreError):
        write.done.set_exception(outcome)
    else:
        write.done.set_result(outcome)


def _abandon(writes: list[_Write]) -> None:
    for write in writes:
        if not write.done.done():
            write.done.set_exception(StoreError("the store's writer failed; the write may be lost"))


def _store_error(error: Exception) -> StoreError:
    wrapped = StoreError(
        f"a write failed: {getattr(error, 'orig', None) or error}",
        hint="Check free disk space and the store's file." if isinstance(error, OperationalError) else None,
    )
    wrapped.__cause__ = error
    return wrapped
