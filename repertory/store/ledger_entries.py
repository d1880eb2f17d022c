"""What the ledger's reservations do to its tables: many of them in one transaction."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import TypeAlias

import orjson
from sqlalchemy import BigInteger, Float, String, bindparam, cast, delete, insert, select, update
from sqlalchemy.dialects import postgresql

from repertory.clock import Clock
from repertory.errors import RepertoryError
from repertory.store.accounts import Account, grant
from repertory.store.given import given
from repertory.store.ledger import MOST, Amount, Reservation, WorstCase, unknown_account
from repertory.store.tables import ledger_accounts, ledger_holders, ledger_reservations
from repertory.store.transactions import Connection

COUNTERS = tuple(field.name for field in fields(Account))[3:]  # columns and attributes of the same names
ACCOUNTS = select(*(ledger_accounts.c[field.name] for field in fields(Account)))
EXPIRED = ledger_holders.c.expires_at < bindparam("now", type_=Float)

_NEW_LEASE = postgresql.insert(ledger_holders)  # SQLite understands its clause
_RENEW = _NEW_LEASE.on_conflict_do_update(
    index_elements=["id"], set_={"expires_at": _NEW_LEASE.excluded.expires_at}
)


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """Reserve, if all accounts can grant it."""

    reservation: Reservation
    most: Amount | WorstCase


@dataclass(frozen=True, slots=True, eq=False)
class End:
    """Take a reservation back, and charge."""

    reservation: Reservation
    spent: Amount
    uncertain: bool


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """Write off what holders have left behind; ``leaving`` adds this one."""

    leaving: bool = False


Entry: TypeAlias = Start | End | Sweep


class Entries:
    """An operation of the writer: what many calls of one holder reserve and end, in the order they came.

    Every process locks rows in this order, so that none waits for one that waits for it: its own holder, expired
    holders (those that another has locked are left to it), and accounts by name. The first statement writes: a
    SQLite transaction that begins by reading could not go on to write once another has written.
    """

    def __init__(self, dialect: str, clock: Clock, holder: str, lease: float) -> None:
        self._clock = clock
        self._holder = holder
        self._lease = lease
        value = given(dialect)
        names = select(value[0].as_string())
        self._lock = (
            ACCOUNTS.where(ledger_accounts.c.name.in_(names)).order_by(ledger_accounts.c.name).with_for_update()
        )
        self._save = update(ledger_accounts).where(ledger_accounts.c.name == value[0].as_string())
        self._save = self._save.values(
            {name: cast(value[place].as_string(), BigInteger) for place, name in enumerate(COUNTERS, 1)}
        )
        numbers = select(cast(value[0].as_string(), BigInteger))
        rows = ledger_reservations.c
        self._remove = (
            delete(ledger_reservations)
            .where(rows.holder == bindparam("holder"), rows.number.in_(numbers))
            .returning(rows.number)
        )
        self._add = insert(ledger_reservations).from_select(
            ["holder", "number", "accounts", "nano_dollars", "tokens"],
            select(
                bindparam("holder", type_=String),
                cast(value[0].as_string(), BigInteger),
                value[1].as_string(),
                *(cast(value[place].as_string(), BigInteger) for place in (2, 3)),
            ),
        )
        self._gone = (
            select(ledger_holders.c.id)
            .where(EXPIRED)
            .order_by(ledger_holders.c.id)
            .with_for_update(skip_locked=True)
        )
        self._forget = delete(ledger_holders).where(ledger_holders.c.id.in_(names))
        self._left = (
            delete(ledger_reservations)
            .where(rows.holder.in_(names))
            .returning(rows.number, rows.holder, rows.accounts, rows.nano_dollars, rows.tokens)
        )

    async def __call__(self, connection: Connection, entries: Sequence[Entry], /) -> list[RepertoryError | None]:
        now = self._clock.time()
        sweeps = [entry for entry in entries if isinstance(entry, Sweep)]
        leaving = any(sweep.leaving for sweep in sweeps)
        until = now - 1 if leaving else now + self._lease
        await connection.execute(_RENEW, {"id": self._holder, "expires_at": until})
        left = await self._sweep(connection, now) if sweeps else []
        ended = await self._end(connection, entries)
        accounts = await self._read(connection, entries, left)
        for reservation in left:
            for name in reservation.accounts:
                accounts[name].end(reservation.most, reservation.most, uncertain=True)
        started, outcomes = _apply(entries, ended, accounts)
        await self._write(connection, started, accounts.values())
        return outcomes

    async def _sweep(self, connection: Connection, now: float) -> list[Reservation]:
        """Remove expired holders and what they held; return that."""
        gone = [(holder,) for (holder,) in await connection.execute(self._gone, {"now": now})]
        if not gone:
            return []
        ids = orjson.dumps(gone).decode()
        await connection.execute(self._forget, {"given": ids})
        rows = await connection.execute(self._left, {"given": ids})
        return [
            Reservation(
                row.number, row.holder, tuple(orjson.loads(row.accounts)), Amount(row.nano_dollars, row.tokens)
            )
            for row in rows
        ]

    async def _end(self, connection: Connection, entries: Iterable[Entry]) -> set[int]:
        """Remove the reservations that are being ended; return those that were there to end."""
        numbers = [(entry.reservation.number,) for entry in entries if isinstance(entry, End)]
        if not numbers:
            return set()
        values = {"holder": self._holder, "given": orjson.dumps(numbers).decode()}
        return {number for (number,) in await connection.execute(self._remove, values)}

    async def _read(
        self, connection: Connection, entries: Iterable[Entry], left: Iterable[Reservation]
    ) -> dict[str, Account]:
        """The accounts that all this concerns, locked."""
        names = {
            name
            for reservation in (*(e.reservation for e in entries if not isinstance(e, Sweep)), *left)
            for name in reservation.accounts
        }
        if not names:
            return {}
        values = {"given": orjson.dumps([(name,) for name in names]).decode()}
        return {row.name: Account(*row) for row in await connection.execute(self._lock, values)}

    async def _write(
        self, connection: Connection, started: Iterable[Reservation], accounts: Collection[Account]
    ) -> None:
        if accounts:
            rows = [
                [account.name, *(min(getattr(account, name), MOST) for name in COUNTERS)] for account in accounts
            ]
            await connection.execute(self._save, {"given": orjson.dumps(rows).decode()})
        new = [
            (each.number, orjson.dumps(each.accounts).decode(), each.most.nano_dollars, each.most.tokens)
            for each in started
        ]
        if new:
            await connection.execute(self._add, {"holder": self._holder, "given": orjson.dumps(new).decode()})


def _apply(
    entries: Iterable[Entry], ended: set[int], accounts: dict[str, Account]
) -> tuple[Collection[Reservation], list[RepertoryError | None]]:
    """Take ``entries`` into ``accounts``; return what stays reserved of it, and each one's outcome."""
    started: dict[int, Reservation] = {}
    outcomes: list[RepertoryError | None] = []
    for entry in entries:
        refusal: RepertoryError | None = None
        match entry:
            case Start(reservation, most):
                refusal = _start(reservation, most, accounts)
                if refusal is None:
                    started[reservation.number] = reservation
            case End(reservation, spent, uncertain):
                number = reservation.number
                if number in ended or started.pop(number, None) is not None:
                    ended.discard(number)
                    for name in reservation.accounts:
                        accounts[name].end(reservation.most, spent, uncertain=uncertain)
        outcomes.append(refusal)
    return started.values(), outcomes


def _start(
    reservation: Reservation, most: Amount | WorstCase, accounts: dict[str, Account]
) -> RepertoryError | None:
    paying = []
    for name in reservation.accounts:
        account = accounts.get(name)
        if account is None:
            return unknown_account(name)
        paying.append(account)
    return grant(paying, most, reservation.most)
