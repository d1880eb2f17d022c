"""Ledgers: one contract for the one in memory and those in databases."""

import asyncio
import gc
from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from itertools import product
from typing import Any

import pytest
from sqlalchemy import text

from repertory.clock import SystemClock
from repertory.errors import AmountUnknown, BudgetExceeded, ConfigError, RepertoryError, StoreError
from repertory.store import (
    AccountLimit,
    Amount,
    Ledger,
    LedgerTable,
    MemoryLedger,
    Reservation,
    Store,
    WorstCase,
)
from repertory.store.ledger import MOST, in_dollars, nano_dollars
from repertory.testing import FakeClock
from tests.store.conftest import new_location

CHAIN = ("run:r", "session:s", "key:k", "tenant:t", "global")
NONE = Amount()
COST = Amount(3, 2)
WAYS = ("settle", "release", "write_off")


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def location(request: pytest.FixtureRequest) -> str:
    return "" if request.param == "memory" else new_location(request.param, request)


@pytest.fixture
async def store(location: str) -> AsyncIterator[Store | None]:
    store = await Store.open(location) if location else None
    yield store
    if store is not None:
        await store.close()


@pytest.fixture
async def ledger(store: Store | None) -> AsyncIterator[Ledger]:
    ledger: Ledger = MemoryLedger() if store is None else await LedgerTable.open(store)
    for account in CHAIN:
        await ledger.limit(account, AccountLimit(1000, 1000))
    yield ledger
    await ledger.close()


async def end(ledger: Ledger, way: str, reservation: Reservation, spent: Amount = COST) -> None:
    match way:
        case "settle":
            await ledger.settle(reservation, spent)
        case "release":
            await ledger.release(reservation)
        case "write_off":
            await ledger.write_off(reservation)


async def standing(ledger: Ledger, account: str) -> tuple[Amount, Amount, Amount, int]:
    balance = await ledger.balance(account)
    return balance.spent, balance.uncertain, balance.reserved, balance.reservations


async def test_a_reservation_is_set_aside_in_every_account_of_the_chain(ledger: Ledger) -> None:
    await ledger.reserve(CHAIN, Amount(100, 10))
    for account in CHAIN:
        assert await standing(ledger, account) == (NONE, NONE, Amount(100, 10), 1)


async def test_a_settled_call_is_charged_what_it_cost_and_the_rest_is_free_again(ledger: Ledger) -> None:
    reservation = await ledger.reserve(CHAIN, Amount(1000, 1000))
    await ledger.settle(reservation, Amount(300, 200))
    assert await standing(ledger, "global") == (Amount(300, 200), NONE, NONE, 0)
    await ledger.reserve(CHAIN, Amount(700, 800))


async def test_a_released_call_costs_nothing(ledger: Ledger) -> None:
    await ledger.release(await ledger.reserve(CHAIN, Amount(1000, 1000)))
    assert await standing(ledger, "global") == (NONE, NONE, NONE, 0)


async def test_a_call_that_is_written_off_is_charged_in_full_and_counted_apart(ledger: Ledger) -> None:
    await ledger.settle(await ledger.reserve(CHAIN, Amount(100, 100)), Amount(10, 20))
    await ledger.write_off(await ledger.reserve(CHAIN, Amount(400, 50)))
    assert await standing(ledger, "global") == (Amount(410, 70), Amount(400, 50), NONE, 0)


@pytest.mark.parametrize(("first", "second"), [*product(WAYS, repeat=2)])
async def test_ending_a_reservation_again_changes_nothing(ledger: Ledger, first: str, second: str) -> None:
    reservation = await ledger.reserve(CHAIN, Amount(100, 100))
    other = await ledger.reserve(CHAIN, Amount(7, 7))
    await end(ledger, first, reservation)
    before = await standing(ledger, "global")
    await end(ledger, second, reservation, Amount(50, 50))
    assert await standing(ledger, "global") == before
    await end(ledger, "release", other)


async def test_what_costs_more_than_was_reserved_shows(ledger: Ledger) -> None:
    await ledger.settle(await ledger.reserve(CHAIN, Amount(900, 900)), Amount(1100, 950))
    assert await standing(ledger, "global") == (Amount(1100, 950), NONE, NONE, 0)
    with pytest.raises(BudgetExceeded, match=r"has \$-0\.000000100 left"):
        await ledger.reserve(CHAIN, Amount(0, 0))


@pytest.mark.parametrize("tight", CHAIN)
@pytest.mark.parametrize("limit", [AccountLimit(99, None), AccountLimit(None, 9)], ids=["money", "tokens"])
async def test_an_account_that_cannot_pay_refuses_by_name_and_the_others_set_nothing_aside(
    ledger: Ledger, tight: str, limit: AccountLimit
) -> None:
    await ledger.limit(tight, limit)
    with pytest.raises(BudgetExceeded, match=f"budget '{tight}' has .* left, the call may cost") as caught:
        await ledger.reserve(CHAIN, Amount(100, 10))
    assert caught.value.account == tight
    assert caught.value.hint
    for account in CHAIN:
        assert await standing(ledger, account) == (NONE, NONE, NONE, 0)


async def test_a_refusal_says_what_is_left_what_was_asked_and_what_calls_under_way_may_give_back(
    ledger: Ledger,
) -> None:
    await ledger.limit("global", AccountLimit.of(Decimal("0.5"), 100))
    await ledger.reserve(["global"], Amount(nano_dollars(Decimal("0.3")), 60))
    with pytest.raises(BudgetExceeded, match=r"\$0.200000000 left, the call may cost \$0.250000000") as money:
        await ledger.reserve(["global"], Amount(nano_dollars(Decimal("0.25")), 1))
    assert str(money.value.hint).startswith("$0.300000000 are reserved for 1 calls under way; ")
    with pytest.raises(BudgetExceeded, match="40 tokens left, the call may cost 41 tokens"):
        await ledger.reserve(["global"], Amount(0, 41))


async def test_the_last_of_a_budget_can_be_spent(ledger: Ledger) -> None:
    await ledger.reserve(CHAIN, Amount(1000, 1000))
    await ledger.reserve(CHAIN, Amount(0, 0))
    with pytest.raises(BudgetExceeded):
        await ledger.reserve(CHAIN, Amount(1, 0))
    with pytest.raises(BudgetExceeded):
        await ledger.reserve(CHAIN, Amount(0, 1))


async def test_what_nobody_knows_of_a_call_only_accounts_limited_in_it_refuse(ledger: Ledger) -> None:
    await ledger.limit("in tokens", AccountLimit(tokens=100))
    await ledger.limit("in money", AccountLimit(nano_dollars=100))
    await ledger.limit("in nothing", AccountLimit())
    await ledger.reserve(["in nothing"], WorstCase(None, None))
    await ledger.reserve(["in nothing", "in tokens"], WorstCase(None, 60))
    await ledger.reserve(["in nothing", "in money"], WorstCase(60, None))
    assert await standing(ledger, "in nothing") == (NONE, NONE, Amount(60, 60), 3)
    for account, worst, kind in (
        ("in money", WorstCase(None, 1), "money"),
        ("in tokens", WorstCase(1, None), "tokens"),
    ):
        with pytest.raises(AmountUnknown, match=f"'{account}' is limited in {kind}") as caught:
            await ledger.reserve(["in nothing", account], worst)
        assert (caught.value.account, caught.value.kind) == (account, kind)
    assert await standing(ledger, "in nothing") == (NONE, NONE, Amount(60, 60), 3)


async def test_an_account_that_nobody_made_pays_for_nothing(ledger: Ledger) -> None:
    with pytest.raises(ConfigError, match=r"budget 'tenant:new': there is no such account") as caught:
        await ledger.reserve(("global", "tenant:new"), Amount(1, 1))
    assert "limit('tenant:new'" in str(caught.value.hint)
    assert await standing(ledger, "global") == (NONE, NONE, NONE, 0)
    with pytest.raises(ConfigError, match=r"tenant:new"):
        await ledger.balance("tenant:new")


async def test_an_account_named_twice_pays_once(ledger: Ledger) -> None:
    reservation = await ledger.reserve(["global", "key:k", "global"], Amount(600, 600))
    assert reservation.accounts == ("global", "key:k")
    await ledger.settle(reservation, Amount(5, 5))
    assert await standing(ledger, "global") == (Amount(5, 5), NONE, NONE, 0)


async def test_a_changed_limit_keeps_what_was_spent_and_reserved(ledger: Ledger) -> None:
    await ledger.settle(await ledger.reserve(CHAIN, Amount(500, 0)), Amount(500, 0))
    held = await ledger.reserve(CHAIN, Amount(100, 0))
    await ledger.limit("global", AccountLimit(50, None))
    balance = await ledger.balance("global")
    assert balance.limit == AccountLimit(50, None)
    assert (balance.spent, balance.reserved) == (Amount(500, 0), Amount(100, 0))
    with pytest.raises(BudgetExceeded):
        await ledger.reserve(CHAIN, Amount(1, 0))
    await ledger.limit("global", AccountLimit(601, None))
    await ledger.reserve(CHAIN, Amount(1, 10))
    await ledger.release(held)


async def test_of_many_at_the_same_time_as_many_are_paid_for_as_can_be(ledger: Ledger) -> None:
    outcomes = await asyncio.gather(
        *(ledger.reserve(CHAIN, Amount(7, 1)) for _ in range(200)), return_exceptions=True
    )
    granted = [outcome for outcome in outcomes if isinstance(outcome, Reservation)]
    assert len(granted) == 1000 // 7
    assert sum(isinstance(outcome, BudgetExceeded) for outcome in outcomes) == 200 - len(granted)
    await asyncio.gather(*(ledger.settle(reservation, Amount(1, 1)) for reservation in granted))
    assert await standing(ledger, "global") == (Amount(len(granted), len(granted)), NONE, NONE, 0)


async def test_an_end_takes_effect_though_nobody_waits_for_it(ledger: Ledger) -> None:
    held = [await ledger.reserve(CHAIN, Amount(10, 10)) for _ in range(3)]
    ledger.settle(held[0], Amount(4, 4))
    ledger.release(held[1])
    ledger.write_off(held[2])
    await ledger.release(await ledger.reserve(CHAIN, NONE))  # what comes later is on disk later
    assert await standing(ledger, "global") == (Amount(14, 14), Amount(10, 10), NONE, 0)


async def test_a_caller_cancelled_while_it_ends_a_call_does_not_undo_that(ledger: Ledger) -> None:
    async def settling(reservation: Reservation) -> None:
        await ledger.settle(reservation, Amount(4, 4))

    held = [await ledger.reserve(CHAIN, Amount(10, 10)) for _ in range(10)]
    tasks = [asyncio.create_task(settling(reservation)) for reservation in held]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await ledger.release(await ledger.reserve(CHAIN, NONE))
    assert await standing(ledger, "global") == (Amount(40, 40), NONE, NONE, 0)


async def test_a_caller_cancelled_while_it_reserves_has_reserved_nothing(ledger: Ledger) -> None:
    tasks = [asyncio.create_task(ledger.reserve(CHAIN, Amount(10, 10))) for _ in range(20)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.wait(tasks)
    granted = [task.result() for task in tasks if not task.cancelled()]
    await ledger.release(await ledger.reserve(CHAIN, NONE))
    assert len(granted) >= 10
    assert await standing(ledger, "global") == (
        NONE,
        NONE,
        Amount(10 * len(granted), 10 * len(granted)),
        len(granted),
    )


async def test_a_ledger_that_closes_writes_off_what_is_left(ledger: Ledger, location: str) -> None:
    left = await ledger.reserve(CHAIN, Amount(100, 10))
    ledger.settle(await ledger.reserve(CHAIN, Amount(200, 20)), Amount(50, 5))
    await ledger.close()
    await ledger.settle(left, Amount(1, 1))
    await ledger.close()
    assert await standing(ledger, "global") == (Amount(150, 15), Amount(100, 10), NONE, 0)


def test_money_is_exact_and_rounded_against_whoever_spends_it() -> None:
    assert nano_dollars(Decimal("0.0000000001")) == 1
    assert nano_dollars(Decimal("1.5")) == 1_500_000_000
    assert AccountLimit.of(Decimal("0.0000000019"), 5) == AccountLimit(1, 5)
    assert in_dollars(1_234_567_890_123) == Decimal("1234.567890123")
    assert Amount(2_500_000_000).dollars == Decimal("2.5")


@pytest.mark.parametrize("amount", [-1, MOST + 1])
def test_amounts_and_limits_that_would_break_sums_are_refused(amount: int) -> None:
    for wrong in ({"nano_dollars": amount}, {"tokens": amount}):
        with pytest.raises(ValueError, match="from 0 to"):
            Amount(**wrong)
        with pytest.raises(ConfigError, match="from 0 to"):
            AccountLimit(**wrong)


# --- several processes on one database -----------------------------------------------------------------------


databases_only = pytest.mark.parametrize("location", ["sqlite", "postgresql"], indirect=True)
LEASE = 30.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


async def gone(store: Store, ledger: LedgerTable) -> None:
    """Leave ``ledger`` as a killed process does."""
    assert ledger._task is not None
    ledger._task.cancel()
    await asyncio.wait({ledger._task})
    await store.close()


async def a_turn(clock: FakeClock, living: int) -> None:
    """A third of a lease passes, and each of the ledgers that live has done what it then does."""
    clock.advance(LEASE / 3)
    await clock.until_asleep(living)


@databases_only
async def test_processes_that_share_a_budget_together_spend_all_of_it_and_no_more(location: str) -> None:
    stores = [await Store.open(location) for _ in range(4)]
    ledgers = [await LedgerTable.open(store) for store in stores]
    for account in ("a", "b", "c"):
        await ledgers[0].limit(account, AccountLimit(1000 if account == "b" else 10**6))

    refused_by: set[str] = set()

    async def spend(number: int) -> int:
        ledger = ledgers[number % 4]
        spent = 0
        # Each names them in another order.
        names = ("a", "b", "c")[number % 3 :] + ("a", "b", "c")[: number % 3]
        while True:
            try:
                reservation = await ledger.reserve(names, Amount(10))
            except BudgetExceeded as refusal:
                refused_by.add(refusal.account)
                return spent
            await ledger.settle(reservation, Amount(9))
            spent += 9

    spent = sum(await asyncio.gather(*(spend(number) for number in range(24))))
    assert refused_by == {"b"}
    assert 1000 - 24 * 10 < spent <= 1000
    for account in ("a", "b", "c"):
        assert await standing(ledgers[3], account) == (Amount(spent), NONE, NONE, 0)
    for ledger, store in zip(ledgers, stores, strict=True):
        await ledger.close()
        await store.close()


@databases_only
async def test_what_a_killed_process_held_is_charged_in_full_once_its_lease_has_run_out(
    location: str, clock: FakeClock
) -> None:
    store, other = await Store.open(location), await Store.open(location)
    killed = await LedgerTable.open(store, clock=clock, lease=LEASE)
    await killed.limit("global", AccountLimit(1000))
    await killed.reserve(["global"], Amount(300, 30))
    await killed.settle(await killed.reserve(["global"], Amount(300, 30)), Amount(1, 1))
    await gone(store, killed)
    clock.advance(LEASE)
    ledger = await LedgerTable.open(other, clock=clock, lease=LEASE)
    assert await standing(ledger, "global") == (Amount(1, 1), NONE, Amount(300, 30), 1)
    clock.advance(0.1)
    await ledger.sweep()
    assert await standing(ledger, "global") == (Amount(301, 31), Amount(300, 30), NONE, 0)
    await ledger.close()
    await other.close()


@databases_only
async def test_whoever_lives_writes_off_what_the_dead_have_left_without_being_asked(
    location: str, clock: FakeClock
) -> None:
    store, other = await Store.open(location), await Store.open(location)
    killed = await LedgerTable.open(store, clock=clock, lease=LEASE)
    ledger = await LedgerTable.open(other, clock=clock, lease=LEASE)
    await killed.limit("global", AccountLimit(1000))
    await killed.reserve(["global"], Amount(300, 30))
    await gone(store, killed)
    await clock.until_asleep(1)
    for _ in range(4):
        await a_turn(clock, 1)
    assert await standing(ledger, "global") == (Amount(300, 30), Amount(300, 30), NONE, 0)
    await ledger.close()
    await other.close()


@databases_only
async def test_a_process_that_lives_keeps_what_it_holds_for_as_long_as_a_call_takes(
    location: str, clock: FakeClock
) -> None:
    store, other = await Store.open(location), await Store.open(location)
    patient = await LedgerTable.open(store, clock=clock, lease=LEASE)
    ledger = await LedgerTable.open(other, clock=clock, lease=LEASE)
    await patient.limit("global", AccountLimit(1000))
    held = await patient.reserve(["global"], Amount(300, 30))
    await clock.until_asleep(2)
    for _ in range(9):
        await a_turn(clock, 2)
        await ledger.sweep()
    assert await standing(ledger, "global") == (NONE, NONE, Amount(300, 30), 1)
    await patient.settle(held, Amount(2, 2))
    assert await standing(ledger, "global") == (Amount(2, 2), NONE, NONE, 0)
    await patient.close()
    await ledger.close()
    await store.close()
    await other.close()


@databases_only
async def test_a_process_taken_for_dead_pays_in_full_once_and_goes_on(location: str) -> None:
    now, late = FakeClock(), FakeClock(time=1_700_000_000.0 + 2 * LEASE)
    store, other = await Store.open(location), await Store.open(location)
    suspended = await LedgerTable.open(store, clock=now, lease=LEASE)
    await suspended.limit("global", AccountLimit(1000))
    held = await suspended.reserve(["global"], Amount(300, 30))
    ledger = await LedgerTable.open(other, clock=late, lease=LEASE)
    assert await standing(ledger, "global") == (Amount(300, 30), Amount(300, 30), NONE, 0)
    await suspended.settle(held, Amount(2, 2))
    assert await standing(ledger, "global") == (Amount(300, 30), Amount(300, 30), NONE, 0)
    await suspended.settle(await suspended.reserve(["global"], Amount(100, 10)), Amount(5, 5))
    assert await standing(ledger, "global") == (Amount(305, 35), Amount(300, 30), NONE, 0)
    await suspended.close()
    await ledger.close()
    await store.close()
    await other.close()


@databases_only
async def test_an_end_that_could_not_be_written_is_written_later(location: str, clock: FakeClock) -> None:
    complaints: list[Mapping[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    store = await Store.open(location)
    ledger = await LedgerTable.open(store, clock=clock, lease=LEASE)
    await ledger.limit("global", AccountLimit(1000))
    held = [await ledger.reserve(["global"], Amount(100, 10)) for _ in range(3)]
    await clock.until_asleep(1)
    switch = {"sqlite": "PRAGMA query_only = {}", "postgresql": "SET default_transaction_read_only = {}"}
    await store.write(text(switch[store.dialect].format("on")), {})
    ledger.settle(held[0], Amount(1, 1))
    with pytest.raises(StoreError):
        await ledger.settle(held[1], Amount(2, 2))
    with pytest.raises(StoreError):
        await ledger.reserve(["global"], Amount(5, 5))
    await a_turn(clock, 1)  # still in vain
    gc.collect()
    assert complaints == []
    await store.write(text(switch[store.dialect].format("off")), {})
    await a_turn(clock, 1)
    assert await standing(ledger, "global") == (Amount(3, 3), NONE, Amount(100, 10), 1)
    await ledger.close()
    assert await standing(ledger, "global") == (Amount(103, 13), Amount(100, 10), NONE, 0)
    await store.close()


@databases_only
async def test_reserving_after_the_close_is_refused(ledger: Ledger) -> None:
    await ledger.close()
    with pytest.raises(StoreError, match="closed"):
        await ledger.reserve(CHAIN, Amount(1, 1))


@databases_only
async def test_a_lease_must_have_a_length(store: Store) -> None:
    with pytest.raises(ConfigError, match="lease = 0"):
        await LedgerTable.open(store, clock=SystemClock(), lease=0)


def test_refusals_are_no_errors_of_the_store() -> None:
    """The writer would raise those itself, to whoever waits for the write and not to whoever reserves."""
    for refusal in (BudgetExceeded, AmountUnknown, ConfigError):
        assert issubclass(refusal, RepertoryError)
        assert not issubclass(refusal, StoreError)
