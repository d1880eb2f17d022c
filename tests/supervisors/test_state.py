"""What a supervised actor keeps across its lives."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from repertory.actors import ActorSystem, Exit
from repertory.errors import ActorDown, InjectedCrash, RestartLimitReached, StaleState
from repertory.events import Event, Hooks, SupervisorGaveUp
from repertory.store import StateTable, Store
from repertory.supervisors import ChildSpec
from tests.actors.kernel import of
from tests.actors.test_state import Add, AddAndFail, Counter
from tests.supervisors.tree import supervise
from tests.virtual_time import LoopClock


@pytest.fixture
async def store(tmp_path: Path, nothing_left_behind: None) -> AsyncIterator[Store]:
    store = await Store.open(tmp_path / "states.db")
    yield store
    await store.close()


@pytest.fixture
async def stateful(store: Store, events: list[Event]) -> AsyncIterator[ActorSystem]:
    system = ActorSystem(clock=LoopClock(), states=StateTable(store), hooks=Hooks([events.append]))
    yield system
    await system.stop()


COUNTER = ChildSpec(id="counter", start=Counter)


async def test_a_restart_begins_from_the_last_commit(stateful: ActorSystem) -> None:
    await supervise(stateful, [COUNTER])
    ref = stateful.ref("top/counter")
    assert await ref.ask(Add(2)) == 2
    with pytest.raises(ValueError, match="after the commit"):
        await ref.ask(AddAndFail(3, ValueError("after the commit")))
    assert await ref.ask(Add(10)) == 15


@pytest.mark.parametrize("turns", range(0, 30, 4))
async def test_a_kill_at_any_moment_of_a_commit_loses_nothing_that_was_told(
    stateful: ActorSystem, turns: int
) -> None:
    await supervise(stateful, [COUNTER], intensity=100)
    ref = stateful.ref("top/counter")
    told = asked = 0
    for amount in (1, 10, 100):
        asking = asyncio.create_task(ref.ask(Add(amount)))
        for _ in range(turns):
            await asyncio.sleep(0)
        ref.kill(InjectedCrash("on purpose"))
        asked += amount
        try:
            await asking
        except ActorDown:
            continue
        told += amount
    total = await ref.ask(Add(0))
    assert told <= total <= asked


async def test_a_life_with_stale_state_crashes_and_the_next_one_has_the_newer(
    stateful: ActorSystem, store: Store
) -> None:
    await supervise(stateful, [COUNTER])
    ref = stateful.ref("top/counter")
    assert await ref.ask(Add(1)) == 1
    await StateTable(store).save("top/counter", 1, 1, '{"total": 100}')
    with pytest.raises(StaleState):
        await ref.ask(Add(1))
    assert await ref.ask(Add(1)) == 101


async def test_a_state_that_fails_every_start_escalates_instead_of_spinning(
    stateful: ActorSystem, store: Store, events: list[Event]
) -> None:
    gone: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
    await supervise(stateful, [COUNTER], intensity=3, on_exit=gone.set_result)
    ref = stateful.ref("top/counter")
    assert await ref.ask(Add(1)) == 1
    await StateTable(store).save("top/counter", 1, 99, "{}")
    ref.kill(InjectedCrash("on purpose"))
    exit = await gone
    assert isinstance(exit.error, RestartLimitReached)
    (gave_up,) = of(SupervisorGaveUp, events)
    assert gave_up.cause is exit.error.__cause__
    assert "schema version 99" in str(gave_up.cause)
