"""A ledger that lasts as long as the process: where one process pays, and in tests."""

from collections.abc import Awaitable, Generator, Sequence

from repertory.store.accounts import Account, grant
from repertory.store.ledger import (
    AccountLimit,
    Amount,
    Balance,
    Reservation,
    WorstCase,
    unknown_account,
)

NOTHING = Amount()


class Done:
    """Something to await that has already happened."""

    __slots__ = ()

    def __await__(self) -> Generator[None, None, None]:
        return
        yield


DONE = Done()


class MemoryLedger:
    """A `Ledger` of one process. Nothing here ever waits."""

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}
        self._open: dict[int, Reservation] = {}
        self._given = 0  # reservations so far

    async def limit(self, account: str, limit: AccountLimit) -> None:
        """As `Ledger.limit`."""
        kept = self._accounts.setdefault(account, Account(account))
        kept.nano_limit, kept.token_limit = limit.nano_dollars, limit.tokens

    async def reserve(
        self, accounts: Sequence[str], most: Amount | WorstCase, timeout: float | None = None
    ) -> Reservation:
        """As `Ledger.reserve`."""
        names = tuple(dict.fromkeys(accounts))
        paying = [self._account(name) for name in names]
        known = most if isinstance(most, Amount) else most.known
        refusal = grant(paying, most, known)
        if refusal is not None:
            raise refusal
        self._given += 1
        reservation = Reservation(self._given, "", names, known)
        self._open[self._given] = reservation
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
        """As `Ledger.balance`."""
        return self._account(account).balance()

    async def forget(self, account: str) -> None:
        """As `Ledger.forget`."""
        known = self._accounts.get(account)
        if known is not None and not known.balance().reservations:
            del self._accounts[account]

    async def close(self) -> None:
        """As `Ledger.close`."""
        for reservation in list(self._open.values()):
            self.write_off(reservation)

    def _account(self, name: str) -> Account:
        try:
            return self._accounts[name]
        except KeyError:
            raise unknown_account(name) from None

    def _end(self, reservation: Reservation, spent: Amount, *, uncertain: bool = False) -> Done:
        if self._open.pop(reservation.number, None) is not None:
            for name in reservation.accounts:
                self._accounts[name].end(reservation.most, spent, uncertain=uncertain)
        return DONE
