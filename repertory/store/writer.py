"""Group commit: one writer, many writes a transaction.

While one transaction is on its way to the disk the next writes gather, and all of them go into the next one;
under load the cost of a commit is shared, and a lone write waits for nobody. Nor does the next transaction wait
for the event loop, which may have much to do about the outcomes of the one before.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeAlias, TypeVar

from repertory.errors import StoreError
from repertory.store.failures import concerns_every_write, file_lost, outcome_unknown, transaction_failed
from repertory.store.transactions import Connection, Failure, TransactionFailed, Transactions, Work

ItemT = TypeVar("ItemT")
OutcomeT = TypeVar("OutcomeT")
ItemT_contra = TypeVar("ItemT_contra", contravariant=True)
OutcomeT_co = TypeVar("OutcomeT_co", covariant=True)

GROUP = 1000  # items in a transaction at most, so that other tasks get their turn between two
LAST_COMMIT = 5.0  # seconds a cancelled close waits for the commit under way


class Operation(Protocol[ItemT_contra, OutcomeT_co]):
    """A kind of write, done for many items at once inside the writer's transaction.

    It gets the items in the order in which they came and returns the outcome of each, in the same order; an
    outcome that is a StoreError is raised to that caller alone. What it raises undoes the whole group, which
    is then tried again in halves where one item may be the cause: it must not change anything but the database.
    It may be executed in a thread without an event loop, so it waits for nothing but its connection.
    Equal operations are one. Those of a group are executed in the order of their ``place``, a string, or where
    they have none of their names.

    Where two processes may write the same rows, it must take them in an order that is the same for both, such as
    that of their keys, or each could wait for the other.
    """

    async def __call__(
        self, connection: Connection, items: Sequence[ItemT_contra], /
    ) -> Sequence[OutcomeT_co | StoreError]: ...


# What it is, of what, and who gets the outcome. A tuple, as there are many.
_Write: TypeAlias = tuple[Operation[Any, OutcomeT], Any, Callable[[OutcomeT | StoreError], object]]
_Outcomes: TypeAlias = tuple[list[_Write[Any]], list[object]]  # those of a group, in its order


class Writer:
    """Commits writes in groups.

    Invariants: a write's caller hears of it only after the transaction that holds it has been committed, to a
    file that its path still leads to. A write is in at most one transaction whose commit was asked for and not
    refused, so it never happens twice: where the connection breaks before the commit the group is written anew,
    where it breaks during the commit the callers are told that the outcome is unknown. Writes of one operation
    keep their order; those of different operations in one group do not: a write that needs another one's row
    waits for that one first. The operations of a group come in an order that is the same in every process, so that
    no two processes can each hold rows that the other one's next operation waits for.
    A caller cancelled while it waits does not undo its write.
    """

    def __init__(self, transactions: Transactions, store: str) -> None:
        self._transactions = transactions
        self._store = store  # its name in errors
        self._pending: SimpleQueue[_Write[Any] | None] = SimpleQueue()  # None: there will be no more
        self._group: list[_Write[Any]] = []  # the one whose transaction is under way
        # Whoever executes transactions in the loop must not wait for the queue itself.
        self._some = None if transactions.in_thread else asyncio.Event()
        self._closing = False
        self._task = asyncio.get_running_loop().create_task(self._run(), name="store-writer")

    def submit(self, operation: Operation[ItemT, OutcomeT], item: ItemT) -> asyncio.Future[OutcomeT]:
        """Have ``operation`` done for ``item``; the future has its outcome, once on disk, or a StoreError."""
        done: asyncio.Future[OutcomeT] = asyncio.get_running_loop().create_future()
        self.hand_over(operation, item, partial(_settle, done))
        return done

    def hand_over(
        self,
        operation: Operation[ItemT, OutcomeT],
        item: ItemT,
        tell: Callable[[OutcomeT | StoreError], object],
    ) -> None:
        """As `submit`; ``tell`` gets the outcome, once it is on disk, or the error. It must not raise."""
        if self._closing:
            raise StoreError(
                f"the store {self._store} is closed", hint="Keep the Runtime open while work is under way."
            )
        self._pending.put((operation, item, tell))
        if self._some is not None:
            self._some.set()

    async def close(self) -> None:
        """Commit what is pending and end; later writes are refused."""
        if not self._closing:
            self._closing = True
            self._put_end()
        try:
            await asyncio.shield(self._task)
        except asyncio.CancelledError:
            await asyncio.wait({self._task}, timeout=LAST_COMMIT)  # whoever hurries still gets what was written
            raise

    def _put_end(self) -> None:
        self._pending.put(None)
        if self._some is not None:
            self._some.set()

    async def _run(self) -> None:
        try:
            while True:
                try:
                    return await self._transactions.run_each(self._next, _tell)
                except TransactionFailed as failed:
                    await self._commit_after(failed, self._group)
        finally:
            self._closing = True
            self._abandon()
            self._put_end()
            await self._transactions.close()

    async def _next(self) -> Work[_Outcomes] | None:
        """The transaction of the writes that have gathered, once there are some; None: there will be none.

        Called by whoever executes transactions, who may wait for it in a thread of his own.
        """
        if self._some is not None:
            while self._pending.empty():
                await self._some.wait()
                self._some.clear()
        first = self._pending.get()
        self._group = [first, *self._gathered(GROUP - 1)] if first is not None else []
        return partial(_execute, self._group) if self._group else None

    def _gathered(self, most: int) -> list[_Write[Any]]:
        """The next of the pending writes, as many as there are."""
        gathered: list[_Write[Any]] = []
        with suppress(Empty):
            while len(gathered) < most:
                write = self._pending.get_nowait()
                if write is None:
                    self._pending.put(None)  # it stays the last
                    break
                gathered.append(write)
        return gathered

    async def _commit(self, group: list[_Write[Any]], *, anew: bool = True) -> None:
        try:
            outcomes = await self._transactions.run(partial(_execute, group))
        except TransactionFailed as failed:
            await self._commit_after(failed, group, anew=anew)
        else:
            _tell(outcomes)

    async def _commit_after(
        self, failed: TransactionFailed, group: list[_Write[Any]], *, anew: bool = True
    ) -> None:
        """Do about ``group``, whose transaction ``failed``, what can be done."""
        error = failed.error
        match failed.failure:
            case Failure.UNDONE if len(group) > 1 and not concerns_every_write(error):
                # One bad write must not fail its neighbours: each half gets a transaction of its own.
                middle = len(group) // 2
                await self._commit(group[:middle])
                await self._commit(group[middle:])
            case Failure.BROKEN if anew:
                await self._commit(group, anew=False)
            case Failure.UNKNOWN:
                _fail(group, partial(outcome_unknown, self._store, error))
            case Failure.LOST:
                _fail(group, partial(file_lost, self._store))
            case _:
                _fail(group, partial(transaction_failed, self._store, error))

    def _abandon(self) -> None:
        """It was cancelled, or an error is unforeseen."""
        message = f"the writer of the store {self._store} failed; the write may be lost"
        _fail([*self._group, *self._gathered(self._pending.qsize())], partial(StoreError, message))


async def _execute(group: list[_Write[Any]], connection: Connection) -> _Outcomes:
    """Run ``group`` in one transaction, yet to be committed."""
    positions: dict[Operation[Any, Any], list[int]] = {}
    for position, (operation, _, _) in enumerate(group):
        positions.setdefault(operation, []).append(position)
    outcomes: list[object] = [None] * len(group)
    for operation, among in sorted(positions.items(), key=lambda one: _place(one[0])):
        given = await operation(connection, [group[position][1] for position in among])
        for position, outcome in zip(among, given, strict=True):
            outcomes[position] = outcome
    return group, outcomes


def _place(operation: Operation[Any, Any]) -> str:
    """Where an operation comes among those of its group: its ``place``, or else its own or its class's name."""
    place: str | None = getattr(operation, "place", None)
    return place or f"{operation.__module__}.{getattr(operation, '__qualname__', type(operation).__qualname__)}"


def _tell(outcomes: _Outcomes) -> None:
    for (_, _, tell), outcome in zip(*outcomes, strict=True):
        tell(outcome)


def _fail(group: list[_Write[Any]], failure: Callable[[], StoreError]) -> None:
    for _, _, tell in group:
        tell(failure())


def _settle(done: asyncio.Future[OutcomeT], outcome: OutcomeT | StoreError) -> None:
    if done.done():  # its caller was cancelled
        return
    if isinstance(outcome, StoreError):
        done.set_exception(outcome)
    else:
        done.set_result(outcome)
