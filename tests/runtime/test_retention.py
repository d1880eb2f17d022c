"""Retention: what is cleared away, what never is, and that no run loses what it refers to."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis.strategies import integers, lists, none, sampled_from, tuples
from sqlalchemy import func, insert, select, update

from repertory.actors import ActorSystem
from repertory.errors import StoreError
from repertory.events import Event, Hooks, PruningFailed, RunsPruned
from repertory.runtime import old_runs as old_runs_module
from repertory.runtime.config import RetentionConfig
from repertory.runtime.old_runs import RUNS, EndedRun, OldRuns
from repertory.runtime.retention import (
    DAY,
    FIRST,
    INTERVAL,
    JITTER,
    SLACK,
    Retention,
    RetentionKeeper,
    prune,
    unused_before,
)
from repertory.store import ContentTable, Store
from repertory.store.content_table import REFRESH
from repertory.store.contents import Json, Spiller, references, restore
from repertory.store.location import engine_at
from repertory.store.tables import contents, run_events, runs, uncertain_calls
from repertory.testing import FakeClock
from tests.store.conftest import location, postgres, sqlite_file, store

__all__ = ["location", "postgres", "sqlite_file", "store"]

NOTHING = RunsPruned(0, 0, 0)
HISTORY: list[Json] = [{"role": "user", "content": f"{number:>5} " * 40} for number in range(60)]

_EVENT = insert(run_events)


@dataclass
class House:
    """A store with runs in it, on a clock of its own."""

    store: Store
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.numbers = count()
        self.old = OldRuns(self.store)
        self.table = ContentTable(self.store, self.clock)

    async def accept(self, id: str) -> None:
        values = dict.fromkeys(("program", "key", "fingerprint", "inputs"), "") | {"status": "accepted"}
        numbers = dict.fromkeys(("input_tokens", "output_tokens", "lm_calls"), 0)
        await self.store.write(insert(runs), {"id": id, **values, **numbers, "accepted_at": self.clock.time()})

    async def end(self, id: str, status: str = "ok") -> None:
        await self.change(id, status=status, finished_at=self.clock.time())

    async def change(self, id: str, **values: Any) -> None:
        await self.store.write(update(runs).where(runs.c.id == id).values(**values), {})

    async def ended(self, id: str, status: str = "ok") -> None:
        await self.accept(id)
        await self.end(id, status)

    async def log(self, run: str, *events: tuple[str, dict[str, Any]]) -> None:
        for id, (kind, data) in enumerate(events, 1):
            row = {"run_id": run, "id": id, "kind": kind, "data": json.dumps(data), "at": self.clock.time()}
            await self.store.write(_EVENT, row)

    async def logged(self, run: str) -> list[tuple[int, str]]:
        query = select(run_events.c.id, run_events.c.kind).where(run_events.c.run_id == run)
        return [(row.id, row.kind) for row in await self.store.read(query.order_by(run_events.c.id))]

    async def runs(self) -> list[str]:
        return sorted(row.id for row in await self.store.read(select(runs.c.id)))

    async def contents(self) -> int:
        ((number,),) = await self.store.read(select(func.count()).select_from(contents))
        return int(number)

    async def prune(self, retention: Retention) -> RunsPruned:
        """Prune; the clock goes on where that takes a breath."""
        pruning = asyncio.create_task(prune(self.old, retention, self.clock))
        while not pruning.done():
            asleep = asyncio.create_task(self.clock.until_asleep())
            await asyncio.wait((pruning, asleep), return_when=asyncio.FIRST_COMPLETED)
            asleep.cancel()
            self.clock.advance(self.clock.next_wake() or 0.0)
        return await pruning


@pytest.fixture
def house(store: Store) -> House:
    return House(store)


STEP = {"step": "a", "asked": "hash", "occurrence": 0}
CALL = STEP | {"key": "k", "attempt": 1}
LOG: tuple[tuple[str, dict[str, Any]], ...] = (
    ("accepted", {}),
    ("call", CALL),
    ("response", {"key": "k", "attempt": 1, "id": "resp-1"}),
    ("delta", STEP | {"text": "Par"}),
    ("reset", STEP),
    ("delta", STEP | {"text": "Rome"}),
    ("step", STEP | {"outputs": {"city": "Rome"}, "settled": [["k", 1, 3, 4]]}),
    ("call", STEP | {"step": "b", "key": "l", "attempt": 1}),
    ("delta", STEP | {"step": "b", "text": "Wh"}),
    ("done", {"status": "failed"}),
)
COMPACT = [(1, "accepted"), (7, "step"), (8, "call"), (10, "done")]


# --- the policy ----------------------------------------------------------------------------------------------


def test_by_default_everything_is_kept() -> None:
    retention = Retention.configured(RetentionConfig())
    assert retention == Retention()
    assert retention.keeps_all
    assert retention.removes_before(1e9, 1e9) is None
    assert retention.compacts_before(1e9) is None


def test_a_configuration_counts_in_days() -> None:
    config = RetentionConfig(keep_days=30, keep_runs=5, compact_days=0.5)
    retention = Retention.configured(config)
    assert retention == Retention(30 * DAY, 5, DAY / 2)
    assert not retention.keeps_all


@given(
    ends=lists(integers(0, 100), max_size=20),
    keep_seconds=none() | integers(1, 100),
    keep_runs=none() | integers(1, 25),
)
def test_what_goes_is_what_a_count_by_hand_finds(
    ends: list[int], keep_seconds: int | None, keep_runs: int | None
) -> None:
    latest_first = sorted(ends, reverse=True)
    last_to_keep = latest_first[keep_runs - 1] if keep_runs and keep_runs <= len(ends) else None
    before = Retention(keep_seconds, keep_runs).removes_before(100.0, last_to_keep)
    for place, end in enumerate(latest_first):
        too_old = keep_seconds is not None and 100 - end > keep_seconds
        # Of runs that ended at the same moment all are kept, or none.
        too_many = keep_runs is not None and place >= keep_runs and end < latest_first[keep_runs - 1]
        assert (before is not None and end < before) == (too_old or too_many)


# --- in the database -----------------------------------------------------------------------------------------


async def test_ended_runs_that_are_too_old_go_with_their_logs(house: House) -> None:
    for status in ("ok", "failed", "cancelled"):
        await house.ended(status, status)
        await house.log(status, *LOG)
    await house.store.write(
        insert(uncertain_calls),
        {"run_id": "failed", "event_id": 8, "endpoint": "", "request_hash": "", "policy": "hold", "found_at": 0.0},
    )
    house.clock.advance(DAY + 1)
    await house.ended("young")
    await house.log("young", *LOG)
    assert await house.prune(Retention(keep_seconds=DAY)) == RunsPruned(3, 0, 0)
    assert await house.runs() == ["young"]
    for table, left in ((run_events, len(LOG)), (uncertain_calls, 0)):
        assert (await house.store.read(select(func.count()).select_from(table)))[0][0] == left


async def test_a_run_that_has_not_ended_stays_however_old(house: House) -> None:
    await house.accept("waits")
    await house.ended("tried again", "failed")
    await house.change("tried again", status="accepted")
    house.clock.advance(1000 * DAY)
    await house.ended("young")
    assert await house.prune(Retention(keep_seconds=DAY, keep_runs=1, compact_after=0)) == NOTHING
    assert await house.runs() == ["tried again", "waits", "young"]


async def test_a_run_that_ends_exactly_when_the_kept_ones_begin_is_kept(house: House) -> None:
    await house.ended("a")
    house.clock.advance(DAY)
    assert await house.prune(Retention(keep_seconds=DAY)) == NOTHING


async def test_the_latest_runs_are_kept(house: House) -> None:
    for number in range(2 * RUNS + 8):
        house.clock.advance(1)
        await house.ended(f"{number:03}")
    assert (await house.prune(Retention(keep_runs=3))).removed == 2 * RUNS + 5
    assert await house.runs() == [f"{number:03}" for number in range(2 * RUNS + 5, 2 * RUNS + 8)]
    assert await house.prune(Retention(keep_runs=3)) == NOTHING
    assert await house.prune(Retention(keep_runs=30)) == NOTHING


async def test_the_log_of_an_ended_run_becomes_shorter_once(house: House) -> None:
    await house.ended("a", "failed")
    await house.log("a", *LOG)
    assert await house.prune(Retention(compact_after=DAY)) == NOTHING
    assert len(await house.logged("a")) == len(LOG)
    house.clock.advance(DAY + 1)
    assert await house.prune(Retention(compact_after=DAY)) == RunsPruned(0, 1, 0)
    assert await house.logged("a") == COMPACT
    assert await house.prune(Retention(compact_after=DAY)) == NOTHING


async def test_a_run_that_was_tried_again_is_shortened_again(house: House) -> None:
    await house.ended("a", "failed")
    house.clock.advance(1)
    assert await house.prune(Retention(compact_after=0)) == RunsPruned(0, 1, 0)
    house.clock.advance(1)
    await house.log("a", *LOG)
    await house.end("a")
    house.clock.advance(1)
    assert await house.prune(Retention(compact_after=0)) == RunsPruned(0, 1, 0)
    assert await house.logged("a") == COMPACT


async def test_a_run_tried_again_while_its_log_is_read_is_left_alone(house: House) -> None:
    await house.ended("a", "failed")
    await house.log("a", *LOG)
    run = EndedRun("a", house.clock.time())
    await house.change("a", status="accepted")
    assert not await house.old.compact(run, 1.0)
    await house.change("a", status="ok", finished_at=house.clock.time() + 1)
    assert not await house.old.compact(run, 1.0)
    assert len(await house.logged("a")) == len(LOG)


async def test_many_long_logs_are_shortened(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(old_runs_module, "PAGE", 2)
    for number in range(RUNS + 3):  # at one moment
        await house.ended(f"{number:03}")
        await house.log(f"{number:03}", *LOG)
    house.clock.advance(1)
    assert (await house.prune(Retention(compact_after=0))).compacted == RUNS + 3
    assert [await house.logged(id) for id in await house.runs()] == [COMPACT] * (RUNS + 3)


async def test_contents_go_once_no_run_is_left_that_may_have_used_them(house: House) -> None:
    await house.accept("a")
    spilled = Spiller().spill(HISTORY)
    await house.table.put(spilled.contents)
    await house.end("a")
    house.clock.advance(1000 * DAY)
    assert await house.prune(Retention()) == NOTHING
    assert (await house.prune(Retention(keep_seconds=DAY))).contents == len(spilled.contents)
    assert await house.contents() == 0


async def test_contents_that_a_younger_run_uses_outlive_the_run_that_put_them(house: House) -> None:
    await house.accept("old")
    await house.table.put(Spiller().spill(HISTORY).contents)
    await house.end("old")
    house.clock.advance(10 * DAY)
    await house.accept("young")
    spilled = Spiller().spill(HISTORY[:40])
    await house.table.put(spilled.contents)
    await house.end("young")
    house.clock.advance(1)
    pruned = await house.prune(Retention(keep_seconds=DAY))
    assert pruned.removed == 1
    assert pruned.contents > 0
    assert restore(spilled.data, await house.table.load(references(spilled.data))) == HISTORY[:40]


@pytest.mark.parametrize("later", [1, REFRESH, REFRESH + 1, SLACK + 1, 2 * SLACK, DAY])
async def test_contents_are_kept_for_a_run_whenever_another_put_them_before(house: House, later: float) -> None:
    await house.accept("first")
    await house.table.put(Spiller().spill(HISTORY).contents)
    await house.end("first")
    house.clock.advance(later)
    await house.accept("second")
    spilled = Spiller().spill(HISTORY)
    await house.table.put(spilled.contents)
    house.clock.advance(DAY)
    await house.end("second")
    assert (await house.prune(Retention(keep_runs=1))) == RunsPruned(1, 0, 0)
    assert restore(spilled.data, await house.table.load(references(spilled.data))) == HISTORY


async def test_many_contents_go(house: House) -> None:
    await house.table.put({f"{number:032}": b'["whole",1]' for number in range(2500)})
    house.clock.advance(SLACK + 1)
    assert (await house.prune(Retention())).contents == 2500


def test_a_run_that_is_about_to_be_accepted_may_use_what_is_there() -> None:
    assert unused_before(10_000.0, None) == 10_000.0 - SLACK
    assert unused_before(10_000.0, 9_000.0) == 9_000.0 - SLACK
    assert unused_before(10_000.0, 11_000.0) == 10_000.0 - SLACK  # another process's clock is ahead


# --- no run loses what it refers to --------------------------------------------------------------------------

WHAT = sampled_from(["accept", "refer", "refer", "end", "wait", "prune"])
WAITS = (60.0, 1700.0, 2 * SLACK, 1.5 * DAY)
STEPS = lists(tuples(WHAT, integers(0, 3), sampled_from([0.2, 0.5, 0.9, 1.0])), min_size=25, max_size=40)


async def live(house: House, steps: list[tuple[str, int, float]]) -> None:
    """Runs begin, refer to parts of one history, and end, while the store is pruned: each finds what it put."""
    retention = Retention(keep_seconds=2 * DAY, keep_runs=1)
    referred: dict[str, list[tuple[Json, Json]]] = {}
    spillers: dict[str, Spiller] = {}
    under_way: list[str] = []
    for what, which, share in steps:
        run = under_way[which % len(under_way)] if under_way else ""
        if what == "accept" or (what == "refer" and not run):
            id = str(next(house.numbers))
            await house.accept(id)
            referred[id], spillers[id] = [], Spiller()
            under_way.append(id)
        elif what == "refer":
            value: Json = HISTORY[: round(share * len(HISTORY))]
            spilled = spillers[run].spill(value)
            await house.table.put(spilled.contents)
            referred[run].append((spilled.data, value))
        elif what == "end" and run:
            await house.end(run)
            under_way.remove(run)
        elif what == "wait":
            house.clock.advance(share * WAITS[which])
        elif what == "prune":
            await house.prune(retention)
            left = set(await house.runs())
            assert left.issuperset(under_way)
            for id in left & referred.keys():
                for data, value in referred[id]:
                    assert restore(data, await house.table.load(references(data))) == value
    for run in under_way:
        await house.end(run)
    house.clock.advance(3 * DAY)
    await house.prune(retention)
    assert (await house.runs(), await house.contents()) == ([], 0)


def test_no_run_loses_what_it_refers_to(tmp_path: Path) -> None:
    with asyncio.Runner() as runner:
        house = House(runner.run(Store.open(tmp_path / "r.db")))

        @settings(max_examples=40)
        @given(STEPS)
        def lives(steps: list[tuple[str, int, float]]) -> None:
            runner.run(live(house, steps))

        lives()
        runner.run(house.store.close())


# --- the actor -----------------------------------------------------------------------------------------------


@dataclass
class Kept:
    house: House
    events: list[Event]

    async def until_asleep(self) -> float:
        """Return how long the keeper sleeps, as soon as it does, be it not for a breath only."""
        while True:
            await self.house.clock.until_asleep()
            seconds = self.house.clock.next_wake() or 0.0
            if seconds > 1:
                return seconds
            self.house.clock.advance(seconds)

    @property
    def told(self) -> list[Event]:
        return [event for event in self.events if isinstance(event, RunsPruned | PruningFailed)]


@pytest.fixture
async def kept(sqlite_file: Path) -> AsyncIterator[Kept]:
    store = await Store.open(sqlite_file)
    house, events = House(store), list[Event]()
    system = ActorSystem(clock=house.clock, hooks=Hooks([events.append]))
    keep = Retention(keep_seconds=DAY)
    await system.spawn(lambda: RetentionKeeper(house.old, keep, Random(7)), name="retention")
    yield Kept(house, events)
    await system.stop(5)
    await store.close()


async def test_a_keeper_clears_away_soon_after_it_started_and_then_every_hour(kept: Kept) -> None:
    house = kept.house
    await house.ended("a")
    house.clock.advance(0)
    assert await kept.until_asleep() <= FIRST
    house.clock.advance(DAY + 1)
    assert INTERVAL * (1 - JITTER) <= await kept.until_asleep() <= INTERVAL * (1 + JITTER)
    assert kept.told == [RunsPruned(1, 0, 0)]
    await house.ended("b")
    house.clock.advance(DAY - 1)
    await kept.until_asleep()
    assert await house.runs() == ["b"]
    house.clock.advance(1.1 * INTERVAL)
    await kept.until_asleep()
    assert await house.runs() == []
    assert kept.told == [RunsPruned(1, 0, 0)] * 2


async def test_a_store_that_fails_is_tried_again_an_hour_later(kept: Kept, sqlite_file: Path) -> None:
    house = kept.house
    await house.ended("a")
    await alter(sqlite_file, "ALTER TABLE runs RENAME TO away")
    await kept.until_asleep()
    house.clock.advance(DAY + 1)
    await kept.until_asleep()
    (failed,) = kept.told
    assert isinstance(failed, PruningFailed)
    await alter(sqlite_file, "ALTER TABLE away RENAME TO runs")
    house.clock.advance(1.1 * INTERVAL)
    await kept.until_asleep()
    assert kept.told == [failed, RunsPruned(1, 0, 0)]


async def test_a_log_that_cannot_be_read_is_named(house: House) -> None:
    await house.ended("a")
    await house.store.write(_EVENT, {"run_id": "a", "id": 1, "kind": "step", "data": "{", "at": 1.0})
    with pytest.raises(
        StoreError, match=r"run a: event 1 cannot be read: .*\n  Restore a backup, or remove that run"
    ):
        await house.old.compact(EndedRun("a", house.clock.time()), 1.0)


async def alter(file: Path, statement: str) -> None:
    engine = engine_at(file)
    async with engine.begin() as connection:
        await connection.exec_driver_sql(statement)
    await engine.dispose()
