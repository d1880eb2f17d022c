"""Ledgers against a model that remembers every call and adds up: in memory, and three processes on one file."""

import asyncio
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from hypothesis import settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)
from hypothesis.strategies import booleans, integers, lists, none, sampled_from

from repertory.errors import AmountUnknown, BudgetExceeded
from repertory.store import AccountLimit, Amount, Ledger, LedgerTable, MemoryLedger, Reservation, Store, WorstCase
from repertory.testing import FakeClock

ACCOUNTS = ("a", "b", "c")
LEASE = 30.0

State = Literal["open", "settled", "written off"]


@dataclass(eq=False)
class Paid:
    """One granted call, as the model remembers it."""

    accounts: set[str]
    most: tuple[int, int]
    holder: int
    reservation: Reservation
    state: State = "open"
    cost: tuple[int, int] = (0, 0)


@dataclass
class Model:
    limits: dict[str, tuple[int | None, int | None]] = field(default_factory=dict)
    calls: list[Paid] = field(default_factory=list)

    def total(self, account: str, state: State) -> tuple[int, int]:
        each = [call for call in self.calls if account in call.accounts and call.state == state]
        sums = [call.most if state != "settled" else call.cost for call in each]
        return sum(money for money, _ in sums), sum(tokens for _, tokens in sums)

    def grants(self, account: str, worst: tuple[int | None, int]) -> bool:
        used = [
            sum(kind)
            for kind in zip(*(self.total(account, s) for s in ("open", "settled", "written off")), strict=True)
        ]
        return all(
            limit is None or (asked is not None and already + asked <= limit)
            for limit, already, asked in zip(self.limits[account], used, worst, strict=True)
        )


class LedgerMachine(RuleBasedStateMachine):
    """Calls are reserved, end in every way, and limits change; the ledger says the same as the model."""

    held = Bundle("held")
    ended = Bundle("ended")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.model = Model()
        self.ledgers: list[Ledger] = self.runner.run(self.opened())

    async def opened(self) -> list[Ledger]:
        return [MemoryLedger()]

    @initialize(limits=lists(none() | integers(20, 60), min_size=6, max_size=6))
    def limit_all(self, limits: list[int | None]) -> None:
        for place, account in enumerate(ACCOUNTS):
            self.limit(account, limits[2 * place], limits[2 * place + 1])

    @rule(account=sampled_from(ACCOUNTS), money=none() | integers(0, 60), tokens=none() | integers(0, 60))
    def limit(self, account: str, money: int | None, tokens: int | None) -> None:
        self.runner.run(self.ledgers[0].limit(account, AccountLimit(money, tokens)))
        self.model.limits[account] = (money, tokens)

    @rule(
        target=held,
        holder=integers(0, 2),
        accounts=lists(sampled_from(ACCOUNTS), max_size=4),
        money=none() | integers(0, 20),
        tokens=integers(0, 20),
    )
    def reserve(self, holder: int, accounts: list[str], money: int | None, tokens: int) -> object:
        ledger = self.ledgers[holder % len(self.ledgers)]
        expected = all(self.model.grants(account, (money, tokens)) for account in accounts)
        try:
            reservation = self.runner.run(ledger.reserve(accounts, WorstCase(money, tokens)))
        except (BudgetExceeded, AmountUnknown) as refusal:
            assert not expected
            assert refusal.account in accounts  # noqa: PT017  # refused or not, as drawn
            return multiple()
        assert expected
        call = Paid(set(accounts), (money or 0, tokens), holder % len(self.ledgers), reservation)
        self.model.calls.append(call)
        return call

    @rule(
        target=ended,
        call=consumes(held),
        ending=sampled_from(["settle", "release", "write off"]),
        money=integers(0, 30),
        tokens=integers(0, 30),
        awaited=booleans(),
    )
    def end(self, call: Paid, ending: str, money: int, tokens: int, awaited: bool) -> Paid:
        self.runner.run(self.ended_by(call, ending, Amount(money, tokens), awaited))
        if call.state == "open":  # else it had been written off for its holder
            call.state = "written off" if ending == "write off" else "settled"
            call.cost = (money, tokens) if ending == "settle" else (0, 0)
        return call

    @rule(call=ended, ending=sampled_from(["settle", "release", "write off"]))
    def end_again(self, call: Paid, ending: str) -> None:
        self.runner.run(self.ended_by(call, ending, Amount(7, 7), awaited=True))

    async def ended_by(self, call: Paid, ending: str, cost: Amount, awaited: bool) -> None:
        ledger = self.ledgers[call.holder]
        match ending:
            case "settle":
                done = ledger.settle(call.reservation, cost)
            case "release":
                done = ledger.release(call.reservation)
            case _:
                done = ledger.write_off(call.reservation)
        if awaited:
            await done
        else:
            await ledger.release(await ledger.reserve((), Amount()))  # what comes later is on disk later

    @invariant()
    def it_says_what_the_model_says(self) -> None:
        for account in self.model.limits:
            balance = self.runner.run(self.ledgers[-1].balance(account))
            settled, lost = self.model.total(account, "settled"), self.model.total(account, "written off")
            assert balance.limit == AccountLimit(*self.model.limits[account])
            assert balance.reserved == Amount(*self.model.total(account, "open"))
            assert balance.uncertain == Amount(*lost)
            assert balance.spent == Amount(settled[0] + lost[0], settled[1] + lost[1])
            assert balance.reservations == sum(
                account in call.accounts for call in self.model.calls if call.state == "open"
            )

    def teardown(self) -> None:
        self.runner.close()


class SharedLedgerMachine(LedgerMachine):
    """As above, by three processes on one file, each of which may be killed and come back as another."""

    async def opened(self) -> list[Ledger]:
        self.directory = Path(tempfile.mkdtemp())
        self.clock = FakeClock()
        self.stores: list[Store] = []
        self.tables: list[LedgerTable] = []
        for _ in range(3):
            await self.open_one()
        await self.clock.until_asleep(3)
        return list(self.tables)

    async def open_one(self) -> None:
        self.stores.append(await Store.open(self.directory / "ledger.db"))
        self.tables.append(await LedgerTable.open(self.stores[-1], clock=self.clock, lease=LEASE))

    @rule(turns=integers(1, 4))
    def time_passes(self, turns: int) -> None:
        """Those who live keep what they hold."""
        self.runner.run(self.pass_time(turns))

    @rule(holder=integers(0, 2), killed=booleans())
    def leave(self, holder: int, killed: bool) -> None:
        """What it held is written off: at once, or when its lease has run out if it was killed."""
        if not killed:
            self.runner.run(self.tables[holder].close())
        else:
            self.runner.run(self.replace(holder))
        for call in self.model.calls:
            if call.holder == holder and call.state == "open":
                call.state = "written off"
        if not killed:
            self.it_says_what_the_model_says()
            self.runner.run(self.replace(holder))

    async def replace(self, holder: int) -> None:
        task = self.tables[holder]._task
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        await self.stores[holder].close()
        await self.pass_time(4, living=2)
        await self.open_one()
        self.stores[holder], self.tables[holder] = self.stores.pop(), self.tables.pop()
        self.ledgers[holder] = self.tables[holder]
        await self.clock.until_asleep(3)

    async def pass_time(self, turns: int, living: int = 3) -> None:
        for _ in range(turns):
            self.clock.advance(LEASE / 3)
            await self.clock.until_asleep(living)

    def teardown(self) -> None:
        async def end() -> None:
            for table, store in zip(self.tables, self.stores, strict=True):
                await table.close()
                await store.close()

        self.runner.run(end())
        shutil.rmtree(self.directory)
        super().teardown()


TestMemory = LedgerMachine.TestCase
TestMemory.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestShared = SharedLedgerMachine.TestCase
TestShared.settings = settings(max_examples=12, stateful_step_count=25, deadline=None)
