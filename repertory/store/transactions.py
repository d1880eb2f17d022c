"""Transactions: one after the other, on a connection that is kept until it breaks."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from enum import Enum, auto
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection as SyncConnection
from sqlalchemy import CursorResult, Dialect, Engine, Executable

from repertory.store.connection import is_away
from repertory.store.opened_file import OpenedFile
from repertory.store.serial_thread import SerialThread

T = TypeVar("T")


class Connection(Protocol):
    """What a transaction is done on. An `AsyncConnection` is one."""

    @property
    def dialect(self) -> Dialect:
        """Of the database."""

    async def execute(
        self,
        statement: Executable,
        parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        /,
    ) -> CursorResult[Any]:
        """The result of a statement; its rows are there until the transaction ends."""


Work = Callable[[Connection], Coroutine[Any, Any, T]]
NextWork = Callable[[], Coroutine[Any, Any, Work[T] | None]]


class Failure(Enum):
    """What became of a transaction."""

    UNREACHABLE = auto()  # it has not begun: there is no connection
    UNDONE = auto()  # it was rolled back, and another one may begin
    BROKEN = auto()  # the connection broke before the commit: it never took place
    UNKNOWN = auto()  # the connection broke during the commit
    LOST = auto()  # it is in a file that its path does not lead to any more


class TransactionFailed(Exception):
    """A transaction failed as `failure` says, and because of `error`, which is what the driver raised."""

    def __init__(self, failure: Failure, error: Exception) -> None:
        super().__init__(failure, error)
        self.failure = failure
        self.error = error


class Transactions(Protocol):
    """Transactions of one caller, which are never two at a time.

    Attributes:
        in_thread: Whether they are executed in a thread of their own, which may wait for things as threads do.
    """

    in_thread: bool

    async def run(self, work: Work[T]) -> T:
        """Commit what ``work`` does; return what it returns. Raises TransactionFailed."""

    async def run_each(self, work: NextWork[T], tell: Callable[[T], object]) -> None:
        """As `run`, for one ``work`` after the other until there is none; what each returns is told in the loop.

        Raises TransactionFailed for the first that fails; no further one is asked for.
        """

    async def close(self) -> None:
        """Let go of the connection."""


class AsyncTransactions:
    """Transactions on a connection that ``open`` gives, which is asked for again where one broke.

    Invariant: where `run` raises TransactionFailed, it has not kept a connection with a transaction under way.

    Args:
        file: What is written to, if it is a file.
    """

    in_thread = False

    def __init__(self, open: Callable[[], Awaitable["_Kept"]], file: OpenedFile | None) -> None:
        self._open = open
        self._file = file
        self._connection: _Kept | None = None

    async def run(self, work: Work[T]) -> T:
        """As `Transactions.run`."""
        if self._connection is None:
            self._check_file()  # or opening it would make another one
        try:
            connection = self._connection = self._connection or await self._open()
        except Exception as error:  # drivers have errors of every kind
            raise TransactionFailed(Failure.UNREACHABLE, error) from error
        try:
            outcome = await work(connection)
        except Exception as error:  # they refuse values with errors of every kind, too
            undone = await self._undone(connection, error)
            raise TransactionFailed(Failure.UNDONE if undone else Failure.BROKEN, error) from error
        try:
            await connection.commit()
        except Exception as error:  # as above
            undone = await self._undone(connection, error)
            raise TransactionFailed(Failure.UNDONE if undone else Failure.UNKNOWN, error) from error
        self._check_file()  # not before the commit: it may lose its path during that, too
        return outcome

    async def run_each(self, work: NextWork[T], tell: Callable[[T], object]) -> None:
        """As `Transactions.run_each`."""
        while (each := await work()) is not None:
            tell(await self.run(each))

    async def close(self) -> None:
        """As `Transactions.close`."""
        connection, self._connection = self._connection, None
        if connection is not None:
            # A broken one has nothing to say that matters.
            with suppress(Exception):
                await connection.close()

    def _check_file(self) -> None:
        if self._file is not None and not self._file.is_in_place():
            raise TransactionFailed(Failure.LOST, FileNotFoundError(self._file.path))

    async def _undone(self, connection: "_Kept", error: Exception) -> bool:
        """Roll back after ``error``; return whether the connection is still there, which it is if that works."""
        with suppress(Exception):
            await connection.rollback()
            if not (connection.invalidated or is_away(error)):
                return True
        await self.close()
        return False


class ThreadTransactions:
    """Transactions on a synchronous connection, in a thread of their own: one hop for each, whatever it does."""

    in_thread = True

    def __init__(self, engine: Engine, file: OpenedFile) -> None:
        self._engine = engine
        self._thread = SerialThread("store-writer")
        self._transactions = AsyncTransactions(self._open, file)

    async def run(self, work: Work[T]) -> T:
        """As `Transactions.run`; ``work`` waits for nothing but the connection."""
        return await self._thread.drive(self._transactions.run(work))

    async def run_each(self, work: NextWork[T], tell: Callable[[T], object]) -> None:
        """As `Transactions.run_each`; ``work`` is asked for in the thread."""
        call_soon = asyncio.get_running_loop().call_soon_threadsafe

        def tell_loop(outcome: T) -> None:
            with suppress(RuntimeError):  # it is closed: nobody waits any more
                call_soon(tell, outcome)

        await self._thread.drive(self._transactions.run_each(work, tell_loop))

    async def close(self) -> None:
        """As `Transactions.close`."""
        try:
            await self._thread.drive(self._transactions.close())
        finally:
            await self._thread.end()

    async def _open(self) -> "_Kept":
        return Direct(self._engine.connect())


class _Kept(Connection, Protocol):
    """A connection as whoever has it to himself sees it."""

    @property
    def invalidated(self) -> bool:
        """Whether it broke."""

    async def commit(self) -> None:
        """Commit what was executed."""

    async def rollback(self) -> None:
        """Undo what was executed."""

    async def close(self) -> None:
        """Let go of it."""


class Direct:
    """A synchronous connection whose methods can be awaited: none of them suspends."""

    __slots__ = ("_connection",)

    def __init__(self, connection: SyncConnection) -> None:
        self._connection = connection

    @property
    def dialect(self) -> Dialect:
        return self._connection.dialect

    @property
    def invalidated(self) -> bool:
        return self._connection.invalidated

    async def execute(
        self,
        statement: Executable,
        parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        /,
    ) -> CursorResult[Any]:
        return self._connection.execute(statement, parameters)

    def execute_text(self, statement: str, values: tuple[object, ...]) -> None:
        """Execute a statement as the driver understands it, which costs less; its result is let go."""
        self._connection.exec_driver_sql(statement, values)

    async def commit(self) -> None:
        self._connection.commit()

    async def rollback(self) -> None:
        self._connection.rollback()

    async def close(self) -> None:
        self._connection.close()
