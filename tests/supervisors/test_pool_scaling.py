"""Pools that grow and shrink with the messages that wait."""

import asyncio
from random import Random

import pytest

from repertory.actors import ActorSystem, Message
from repertory.errors import ActorDown, InjectedCrash
from repertory.events import Event, PoolScaled, RestartFailed
from repertory.supervisors import (
    PoolRef,
    Scaling,
    WhichChildren,
)
from tests.actors.kernel import Echo, Gate, Hold, Raise, of, settle
from tests.supervisors.pools import hold_all, loads, outcome_of, pool_of
from tests.supervisors.tree import Child, Starts

SCALING = Scaling(high=2, low=0.5, up_after=1, down_after=10, every=0.5)


async def test_a_pool_grows_while_too_many_wait_and_shrinks_when_few_do(
    system: ActorSystem, events: list[Event]
) -> None:
    pool = await pool_of(system, 1, max_replicas=3, scaling=SCALING)
    assert len(pool.replicas) == 1
    gates, held = await hold_all(pool, 12)
    await asyncio.sleep(2)
    assert len(pool.replicas) == 2
    assert sorted(loads(pool)) == [6, 6]  # what waited is shared
    await asyncio.sleep(2)
    assert len(pool.replicas) == 3
    assert sorted(loads(pool)) == [4, 4, 4]
    await asyncio.sleep(20)
    assert len(pool.replicas) == 3  # no more than it may have
    for gate in gates:
        gate.open.set()
    assert await asyncio.gather(*held) == ["held"] * 12
    await asyncio.sleep(12)
    assert len(pool.replicas) == 2
    await asyncio.sleep(50)
    assert [replica.path for replica in pool.replicas] == ["pool/replica-0"]  # nor fewer
    assert [info.id for info in await system.ref("pool").ask(WhichChildren())] == ["replica-0"]
    assert of(PoolScaled, events) == [
        PoolScaled("pool", 2, 11),
        PoolScaled("pool", 3, 10),
        PoolScaled("pool", 2, 0),
        PoolScaled("pool", 1, 0),
    ]


async def grown_to_two(system: ActorSystem) -> PoolRef:
    """A pool that has grown from one replica to two, both of which have nothing to do."""
    pool = await pool_of(system, 1, max_replicas=2, scaling=SCALING)
    gates, held = await hold_all(pool, 8)
    await asyncio.sleep(2)
    for gate in gates:
        gate.open.set()
    await asyncio.gather(*held)
    assert len(pool.replicas) == 2
    return pool


async def test_the_idle_replica_goes_and_not_the_one_at_work(system: ActorSystem) -> None:
    pool = await grown_to_two(system)
    gate = Gate()
    held = asyncio.create_task(pool.replicas[1].ask(Hold(gate), timeout=None))
    await asyncio.sleep(12)
    assert [replica.path for replica in pool.replicas] == ["pool/replica-1"]
    assert system.find_cell("pool/replica-0") is None
    gate.open.set()
    assert await held == "held"
    assert await pool.ask(Echo(1)) == 1


async def test_a_pool_does_not_shrink_while_all_are_at_work(system: ActorSystem) -> None:
    pool = await grown_to_two(system)
    gates, held = await hold_all(pool, 2)
    await asyncio.sleep(100)
    assert len(pool.replicas) == 2
    for gate in gates:
        gate.open.set()
    await asyncio.gather(*held)


class Draining:
    """A pool one of whose replicas is to go although it is at work: the message came by its own address."""

    def __init__(self, system: ActorSystem) -> None:
        self.system = system
        self.gate = Gate()

    async def begin(self) -> None:
        self.pool = await grown_to_two(self.system)
        self.leaving = self.pool.replicas[1]
        while len(self.pool.replicas) == 2:  # noqa: ASYNC110  # the pool tells nobody; the time is virtual
            await asyncio.sleep(0.01)
        self.held = asyncio.create_task(self.leaving.ask(Hold(self.gate), timeout=None))
        self.queued = asyncio.create_task(self.leaving.ask(Echo(1), timeout=None))
        await self.gate.entered.wait()


async def test_a_replica_that_is_to_go_finishes_what_it_has(system: ActorSystem) -> None:
    draining = Draining(system)
    await draining.begin()
    await asyncio.sleep(100)
    assert draining.leaving.running
    assert len(draining.pool.replicas) == 1
    assert [await draining.pool.ask(Echo(n)) for n in range(4)] == list(range(4))  # by the other one
    draining.gate.open.set()
    assert (await draining.held, await draining.queued) == ("held", 1)
    await asyncio.sleep(1)
    assert system.find_cell(draining.leaving.path) is None


async def test_a_replica_that_is_to_go_stays_when_it_is_needed_again(system: ActorSystem) -> None:
    draining = Draining(system)
    await draining.begin()
    gates, held = await hold_all(draining.pool, 8)
    await asyncio.sleep(2)
    assert draining.leaving in draining.pool.replicas
    for gate in (draining.gate, *gates):
        gate.open.set()
    assert await asyncio.gather(*held, draining.queued) == ["held"] * 8 + [1]
    assert await draining.held == "held"
    draining.leaving.kill(InjectedCrash("on purpose"))
    await settle()
    assert draining.leaving.running  # it is restarted like all others


async def test_a_replica_that_crashes_while_it_is_to_go_is_gone(system: ActorSystem) -> None:
    draining = Draining(system)
    await draining.begin()
    draining.leaving.kill(InjectedCrash("on purpose"))
    assert await draining.queued == 1  # by the other one
    assert isinstance(await outcome_of(draining.held), ActorDown)
    await settle()
    assert system.find_cell(draining.leaving.path) is None
    (info,) = await system.ref("pool").ask(WhichChildren())
    assert (info.id, info.restarts) == ("replica-0", 0)


async def test_a_pool_that_cannot_grow_goes_on_and_tries_again(system: ActorSystem, events: list[Event]) -> None:
    starts = Starts(lambda number: number in (2, 3))
    pool = await pool_of(system, 1, lambda: Child(None, starts), max_replicas=2, scaling=SCALING)
    gates, held = await hold_all(pool, 8)
    await asyncio.sleep(10)
    assert len(pool.replicas) == 2
    assert len(of(RestartFailed, events)) == 2
    for gate in gates:
        gate.open.set()
    assert await asyncio.gather(*held) == ["held"] * 8


async def test_a_pool_stops_while_a_replica_is_to_go(system: ActorSystem) -> None:
    draining = Draining(system)
    await draining.begin()
    stopping = asyncio.create_task(system.stop(None))
    await settle()
    draining.gate.open.set()
    await stopping
    assert await draining.held == "held"
    assert isinstance(await asyncio.gather(draining.queued, return_exceptions=True), list)


@pytest.mark.parametrize("seed", range(20))
async def test_every_ask_has_one_outcome_whatever_happens_to_the_replicas(system: ActorSystem, seed: int) -> None:
    rng = Random(seed)
    pool = await pool_of(system, 2, max_replicas=4, scaling=SCALING, intensity=10**6, mailbox=10**6)
    asks = []
    for number in range(400):
        message: Message[object] = Echo(number) if rng.random() < 0.95 else Raise(ValueError("broken"))
        asks.append(asyncio.create_task(pool.ask(message, timeout=None)))
        if rng.random() < 0.05:
            await asyncio.sleep(rng.choice([0, 0, 0.001, 1]))
        if rng.random() < 0.05 and pool.replicas:
            rng.choice(pool.replicas).kill(InjectedCrash("on purpose"))
    outcomes = await asyncio.gather(*asks, return_exceptions=True)
    assert len(outcomes) == 400
    for number, outcome in enumerate(outcomes):
        assert outcome == number or isinstance(outcome, ValueError | ActorDown)
    assert sum(isinstance(outcome, ActorDown) for outcome in outcomes) <= 40  # only those at work when it ended
