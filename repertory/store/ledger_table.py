"""The ledger in the database: several processes, on several machines, pay from the same accounts.

Leases: each process that holds reservations is a holder, whose row says until when it surely lives. It renews that
with every write, and three times a lease besides. When that time has passed, whoever comes next *writes off* what
the holder held: it is charged in full and never freed, as nobody knows what the provider billed, and a wall that
guesses low is none. So leases are no matter of safety. A process that was taken for dead, being suspended or on a
machine whose clock is wrong by more than the lease, pays too much for the calls it had under way, never too
little, and goes on as before. That is why each machine's own `Clock.time` will do, and why a lease is generous.
"""

import asyncio
from collections.abc import Awaitable, Generator, Sequence
from contextlib import suppress
from itertools import count
from uuid import uuid4

from sqlalchemy import bindparam, delete, exists, select
from sqlalchemy.dialects import postgresql

from repertory.clock import Clock, SystemClock
from repertory.errors import ConfigError, RepertoryError, StoreError
from repertory.store.accounts import Account
from repertory.store.database import Store
from repertory.store.ledger import AccountLimit, Amount, Balance, Reservation, WorstCase, unknown_account
from repertory.store.ledger_entries import ACCOUNTS, EXPIRED, End, Entries, Start, Sweep
from repertory.store.memory_ledger import DONE, NOTHING
from repertory.store.tables import ledger_accounts
from repertory.store.writer import LAST_COMMIT

LEASE = 30.0  # seconds

_NEW_LIMIT = postgresql.insert(ledger_accounts)  # SQLite understands its clause
_LIMIT = _NEW_LIMIT.on_conflict_do_update(
    index_elements=["name"], set_={name: _NEW_LIMIT.excluded[name] for name in ("nano_limit", "token_limit")}
)

_FORGET = delete(ledger_accounts).where(
    ledger_accounts.c.name == bindparam("account"), ledger_accounts.c.reservations == 0
)


class LedgerTable:
    """The `Ledger` of a store. Create it with `LedgerTable.open`; close it before the store.

    Invariant: what this process holds is in ``_open`` from before it may be on disk until it is being ended, and
    then in ``_ending`` until the end is on disk: an end that could not be written is tried again at each renewal.
    """

    def __init__(self, store: Store, clock: Clock, lease: float) -> None:
        self._store = store
        self._clock = clock
        self._lease = lease
        self._holder = uuid4().hex
        self._enter = Entries(store.dialect, clock, self._holder, lease)
        self._numbers = count(1)
        self._open: dict[int, Reservation] = {}
        self._ending: dict[int, End] = {}
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, store: Store, *, clock: Clock | None = None, lease: float = LEASE) -> "LedgerTable":
        """Begin to pay from the accounts of ``store``. Raises StoreError.

        Args:
            store: Where the accounts are; it must stay open until this is closed.
            clock: Tells when leases end, by ``time``; it must be that of the other processes, more or less.
            lease: Seconds after which what a dead process held is written off.
        """
        if not lease > 0:
            raise ConfigError(f"budget: lease = {lease}: expected a number of seconds above 0")
        table = cls(store, clock or SystemClock(), lease)
        await table.sweep()
        table._task = asyncio.get_running_loop().create_task(table._keep(), name="ledger-lease")
        return table

    async def limit(self, account: str, limit: AccountLimit) -> None:
        """As `Ledger.limit`."""
        await self._store.write(
            _LIMIT, {"name": account, "nano_limit": limit.nano_dollars, "token_limit": limit.tokens}
        )

    async def reserve(
        self, accounts: Sequence[str], most: Amount | WorstCase, timeout: float | None = None
    ) -> Reservation:
        """As `Ledger.reserve`."""
        if self._task is None:
            raise StoreError("the ledger is closed", hint="Keep the Runtime open while work is under way.")
        known = most if isinstance(most, Amount) else most.known
        number = next(self._numbers)
        reservation = Reservation(number, self._holder, tuple(dict.fromkeys(accounts)), known)
        self._open[number] = reservation
        try:
            async with asyncio.timeout(timeout):
                refusal = await self._store.submit(self._enter, Start(reservation, most))
        except BaseException:
            # It may be on disk all the same: the caller is gone, or the connection broke during the commit.
            self.release(reservation)
            raise
        if refusal is not None:
            del self._open[number]
            raise refusal
        return reservation

    def settle(self, reservation: Reservation, spent: Amount) -> Awaitable[None]:
        """As `Ledger.settle`."""
        return self._end(reservation, spent)

    def release(self, reservation: Reservation) -> Awaitable[None]:
        """As `Ledger.release`."""
        return self._end(reservation, NOTHING)

    def write_off(self, reservation: Reservation) -> Awaitable[None]:
        """As `Ledger.write_off`."""
        return self._end(reservation, reservation.most, uncertain=True)

    async def balance(self, account: str) -> Balance:
        """As `Ledger.balance`: what is on disk by now."""
        rows = await self._store.read(ACCOUNTS.where(ledger_accounts.c.name == account))
        if not rows:
            raise unknown_account(account)
        return Account(*rows[0]).balance()

    async def forget(self, account: str) -> None:
        """As `Ledger.forget`."""
        await self._store.write(_FORGET, {"account": account})

    async def sweep(self) -> None:
        """Write off what holders have left behind whose lease has run out; done now and then anyway.

        Raises StoreError.
        """
        await self._store.submit(self._enter, Sweep())

    async def close(self) -> None:
        """As `Ledger.close`. Raises StoreError; what it then leaves is written off when its lease has run out."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.wait({task})
        self._open.clear()  # from now on ending one changes nothing
        for end in list(self._ending.values()):
            self._write(end)
        leaving = asyncio.get_running_loop().create_task(self._leave(), name="ledger-leaving")
        try:
            await asyncio.shield(leaving)
        except asyncio.CancelledError:
            await asyncio.wait({leaving}, timeout=LAST_COMMIT)
            raise

    async def _leave(self) -> None:
        # Not together with what came before: those who leave are written off before anything else is done.
        await self.sweep()
        await self._store.submit(self._enter, Sweep(leaving=True))

    def _end(self, reservation: Reservation, spent: Amount, *, uncertain: bool = False) -> Awaitable[None]:
        if self._open.get(reservation.number) is not reservation:
            return DONE
        end = End(reservation, spent, uncertain)
        self._ending[reservation.number] = end
        del self._open[reservation.number]
        return _Written(self._write(end))

    def _write(self, end: End) -> asyncio.Future[RepertoryError | None]:
        number = end.reservation.number
        try:
            done = self._store.submit(self._enter, end)
        except (
            StoreError
        ) as error:  # it is closed. Whoever ends a call has more to give back, and must not be stopped
            done = asyncio.get_running_loop().create_future()
            done.set_exception(error)

        def written(done: asyncio.Future[RepertoryError | None]) -> None:
            if not done.cancelled() and done.exception() is None:
                self._ending.pop(number, None)

        done.add_done_callback(written)
        return done

    async def _keep(self) -> None:
        """Renew the lease, finish what could not be written, write off what others left behind."""
        while True:
            await self._clock.sleep(self._lease / 3)
            # A store that cannot be written now may be at the next turn; nothing is lost until then.
            with suppress(StoreError):
                for end in list(self._ending.values()):
                    self._write(end)
                if self._open or self._ending or await self._others_left():
                    await self.sweep()

    async def _others_left(self) -> bool:
        found = await self._store.read(select(exists().where(EXPIRED)).params(now=self._clock.time()))
        return bool(found[0][0])


class _Written:
    """Waits for a write that goes on without whoever waits."""

    __slots__ = ("_done",)

    def __init__(self, done: asyncio.Future[RepertoryError | None]) -> None:
        self._done = done

    def __await__(self) -> Generator[object, None, None]:
        yield from asyncio.shield(self._done).__await__()
