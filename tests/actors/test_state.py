"""Persisted, versioned state with compare-and-set."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import pytest
from pydantic import BaseModel, ConfigDict

from repertory.actors import Actor, ActorSystem, Exit, Message, handles
from repertory.errors import ActorDown, StaleState, StartFailed, StoreError, StoreTooNew
from repertory.store import StateTable, Store
from tests.actors.kernel import Gate
from tests.store.conftest import new_location, postgres, sqlite_file
from tests.virtual_time import LoopClock

__all__ = ["postgres", "sqlite_file"]


class Total(BaseModel):
    model_config = ConfigDict(frozen=True)

    total: int = 0


@dataclass(frozen=True, slots=True)
class Add(Message[int]):
    amount: int


@dataclass(frozen=True, slots=True)
class AddAndFail(Message[None]):
    amount: int
    error: Exception


class Counter(Actor[Total]):
    @handles(Add)
    async def add(self, message: Add) -> int:
        await self.commit(Total(total=self.state.total + message.amount))
        return self.state.total

    @handles(AddAndFail)
    async def add_and_fail(self, message: AddAndFail) -> None:
        await self.commit(Total(total=self.state.total + message.amount))
        raise message.error


class Renamed(BaseModel):
    sum: int
    unit: str


class Newer(Actor[Renamed]):
    """The third version of Counter."""

    schema_version: ClassVar[int] = 3
    migrations: ClassVar[Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {
        1: lambda data: {"sum": data["total"]},
        2: lambda data: {**data, "unit": f"from {data['sum']}"},
    }

    @handles(Add)
    async def add(self, message: Add) -> int:
        assert self.state.unit == "from 5"
        await self.commit(self.state.model_copy(update={"sum": self.state.sum + message.amount}))
        return self.state.sum


@dataclass(frozen=True, slots=True)
class AddLate(Message[None]):
    """Withstand every cancellation until the gate opens, then commit."""

    amount: int
    gate: Gate
    outcome: asyncio.Future[BaseException]


class Stubborn(Counter):
    @handles(AddLate)
    async def add_late(self, message: AddLate) -> None:
        message.gate.entered.set()
        while not message.gate.open.is_set():
            try:
                await message.gate.open.wait()
            except asyncio.CancelledError:
                message.gate.cancelled = True
        try:
            await self.commit(Total(total=message.amount))
        except StoreError as error:
            message.outcome.set_result(error)


class Added(BaseModel):
    amount: int


class Subtracted(BaseModel):
    amount: int


class Ledger(Actor[Total]):
    events: ClassVar[Any] = Added | Subtracted
    snapshot_every: ClassVar[int] = 4

    def apply(self, state: Any, event: Any) -> Any:
        sign = 1 if isinstance(event, Added) else -1
        return Total(total=state.total + sign * event.amount)

    @handles(Add)
    async def add(self, message: Add) -> int:
        amount = message.amount
        await self.record(Added(amount=amount) if amount > 0 else Subtracted(amount=-amount))
        return self.state.total


@pytest.fixture(params=["sqlite", "postgresql"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return new_location(request.param, request)


@pytest.fixture
async def store(location: str, nothing_left_behind: None) -> AsyncIterator[Store]:
    store = await Store.open(location)
    yield store
    await store.close()


@pytest.fixture
async def stateful(store: Store) -> AsyncIterator[ActorSystem]:
    system = ActorSystem(clock=LoopClock(), states=StateTable(store))
    yield system
    await system.stop()


async def revision(store: Store, path: str = "counter") -> int:
    stored = await StateTable(store).load(path)
    return stored.revision if stored is not None else 0


async def test_a_new_life_begins_from_the_last_commit(stateful: ActorSystem, store: Store) -> None:
    ref = await stateful.spawn(Counter, name="counter")
    assert [await ref.ask(Add(amount)) for amount in (2, 3)] == [2, 5]
    await stateful.stop()
    ref = await stateful.spawn(Counter, name="counter")
    assert await ref.ask(Add(1)) == 6
    assert await revision(store) == 3


async def test_without_a_store_the_state_lives_as_long_as_the_system(nothing_left_behind: None) -> None:
    system = ActorSystem(clock=LoopClock())
    ref = await system.spawn(Counter, name="counter")
    assert [await ref.ask(Add(amount)) for amount in (2, 3)] == [2, 5]
    await system.stop()
    ref = await system.spawn(Counter, name="counter")
    assert await ref.ask(Add(1)) == 6
    await system.stop()
    system = ActorSystem(clock=LoopClock())
    ref = await system.spawn(Counter, name="counter")
    assert await ref.ask(Add(1)) == 1
    await system.stop()


async def test_a_new_life_begins_from_all_recorded_events(stateful: ActorSystem, store: Store) -> None:
    ref = await stateful.spawn(Ledger, name="counter")
    for amount in (5, -2, 10, 1, -4, 3):
        await ref.ask(Add(amount))
    await stateful.stop()
    stored = await StateTable(store).load("counter")
    assert stored is not None
    assert (stored.revision, stored.data) == (6, '{"total":14}')
    assert [event.data for event in stored.events] == ['{"Subtracted":{"amount":4}}', '{"Added":{"amount":3}}']
    ref = await stateful.spawn(Ledger, name="counter")
    assert await ref.ask(Add(1)) == 14


async def test_a_life_left_behind_cannot_commit_even_before_its_replacement_does(system: ActorSystem) -> None:
    ref = await system.spawn(Stubborn, name="counter")
    assert await ref.ask(Add(1)) == 1
    gate, outcome = Gate(), asyncio.get_running_loop().create_future()
    ref.tell(AddLate(100, gate, outcome))
    await gate.entered.wait()
    ref.kill(ValueError("on purpose"))
    await asyncio.sleep(5)  # it is left behind meanwhile
    assert gate.cancelled
    replacement = await system.spawn(Stubborn, name="counter")
    gate.open.set()
    assert isinstance(await outcome, StaleState)
    assert await replacement.ask(Add(1)) == 2


async def test_what_was_committed_before_a_crash_in_the_same_message_stays(stateful: ActorSystem) -> None:
    ref = await stateful.spawn(Counter, name="counter")
    with pytest.raises(ValueError, match="after the commit"):
        await ref.ask(AddAndFail(5, ValueError("after the commit")))
    await stateful.stop()
    ref = await stateful.spawn(Counter, name="counter")
    assert await ref.ask(Add(1)) == 6


async def test_commits_of_concurrent_handlers_run_one_after_the_other(stateful: ActorSystem, store: Store) -> None:
    ref = await stateful.spawn(Counter, name="counter", concurrency=8)
    await asyncio.gather(*(ref.ask(Add(1)) for _ in range(40)))
    assert await revision(store) == 40


async def test_a_stale_life_cannot_overwrite_a_newer_one(stateful: ActorSystem, location: str) -> None:
    other_store = await Store.open(location)
    other = ActorSystem(clock=LoopClock(), states=StateTable(other_store))
    stale = await stateful.spawn(Counter, name="counter")
    assert await stale.ask(Add(1)) == 1
    newer = await other.spawn(Counter, name="counter")
    assert await newer.ask(Add(10)) == 11
    with pytest.raises(StaleState, match="no longer at revision 1"):
        await stale.ask(Add(100))
    assert await newer.ask(Add(10)) == 21
    await other.stop()
    await other_store.close()


async def test_of_two_lives_that_both_saw_no_state_one_commits(stateful: ActorSystem, store: Store) -> None:
    other = ActorSystem(clock=LoopClock(), states=StateTable(store))
    lives = [await system.spawn(Counter, name="counter") for system in (stateful, other)]
    outcomes = await asyncio.gather(*(life.ask(Add(1)) for life in lives), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["StaleState", "int"]
    assert await revision(store) == 1
    await other.stop()


@pytest.mark.parametrize("turns", range(0, 40, 3))
async def test_a_commit_whose_asker_is_cancelled_leaves_the_life_with_what_the_store_holds(
    stateful: ActorSystem, store: Store, turns: int
) -> None:
    ref = await stateful.spawn(Counter, name="counter")
    assert await ref.ask(Add(1)) == 1
    asked = asyncio.create_task(ref.ask(Add(10)))
    for _ in range(turns):
        await asyncio.sleep(0)
    asked.cancel()
    await asyncio.wait([asked])
    total = await ref.ask(Add(100))
    assert total in (101, 111)
    stored = await StateTable(store).load("counter")
    assert stored is not None
    assert Total.model_validate_json(stored.data or "").total == total


async def test_a_life_killed_in_a_commit_is_over_when_the_commit_is(stateful: ActorSystem, store: Store) -> None:
    exits: list[Exit] = []
    ref = await stateful.spawn(Counter, name="counter", on_exit=exits.append)
    asked = asyncio.create_task(ref.ask(Add(1)))
    for _ in range(5):
        await asyncio.sleep(0)
    error = ValueError("killed")
    ref.kill(error)
    with pytest.raises(ActorDown):
        await asked
    await stateful.stop()
    assert exits == [Exit("error", error)]
    again = await stateful.spawn(Counter, name="counter")
    before = await revision(store)
    assert await again.ask(Add(10)) == 10 + before  # whichever it was, the new life has seen it
    assert await revision(store) == before + 1


async def test_older_states_are_migrated_step_by_step(stateful: ActorSystem, store: Store) -> None:
    ref = await stateful.spawn(Counter, name="counter")
    await ref.ask(Add(5))
    await stateful.stop()
    ref = await stateful.spawn(Newer, name="counter")
    assert await ref.ask(Add(2)) == 7
    stored = await StateTable(store).load("counter")
    assert stored is not None
    assert (stored.schema_version, stored.revision) == (3, 2)


async def test_a_state_of_a_newer_schema_is_refused(stateful: ActorSystem, store: Store) -> None:
    await StateTable(store).save("counter", 0, 2, '{"total": 5}')
    with pytest.raises(StartFailed) as caught:
        await stateful.spawn(Counter, name="counter")
    assert isinstance(caught.value.__cause__, StoreTooNew)
    assert "schema version 2, this program knows 1" in str(caught.value.__cause__)
    assert "Run the newer program" in str(caught.value.__cause__.hint)


async def test_a_state_that_no_migration_leads_from_is_refused(stateful: ActorSystem, store: Store) -> None:
    class Skipping(Newer):
        migrations: ClassVar[Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {2: Newer.migrations[2]}

    await StateTable(store).save("counter", 0, 1, '{"total": 5}')
    with pytest.raises(StartFailed) as caught:
        await stateful.spawn(Skipping, name="counter")
    assert isinstance(caught.value.__cause__, StoreError)
    assert "no migration from schema version 1" in str(caught.value.__cause__)


@pytest.mark.parametrize("data", ['{"total": "many"}', "[]", "not json"])
async def test_a_state_that_does_not_fit_its_model_is_refused(
    stateful: ActorSystem, store: Store, data: str
) -> None:
    await StateTable(store).save("counter", 0, 1, data)
    with pytest.raises(StartFailed) as caught:
        await stateful.spawn(Counter, name="counter")
    assert isinstance(caught.value.__cause__, StoreError)
    assert "counter: its stored state does not fit Total" in str(caught.value.__cause__)
    assert caught.value.__cause__.hint


async def test_states_of_different_actors_do_not_mix(stateful: ActorSystem) -> None:
    refs = [await stateful.spawn(Counter, name=f"counter-{number}") for number in range(5)]
    for round in range(1, 4):
        assert await asyncio.gather(*(ref.ask(Add(n)) for n, ref in enumerate(refs))) == [
            n * round for n in range(5)
        ]


FirstT = TypeVar("FirstT", bound=BaseModel)
SecondT = TypeVar("SecondT", bound=BaseModel)


class Configured(Actor[SecondT], Generic[FirstT, SecondT]):
    pass


class Twice(Configured[Renamed, SecondT]):
    pass


class Once(Twice[Total]):
    pass


class Further(Once):
    pass


def test_the_states_model_is_the_argument_that_stands_for_it() -> None:
    assert [kind.state_model for kind in (Configured, Twice, Once, Further)] == [None, None, Total, Total]
