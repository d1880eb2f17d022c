"""Replicas behind one reference."""

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest

from repertory.actors import ActorSystem, Exit
from repertory.errors import ActorDown, InjectedCrash, MailboxFull
from repertory.supervisors import Pool, PoolRef, StopChild, WhichChildren
from tests.actors.kernel import Echo, Gate, Hold, Raise, Withstand, settle
from tests.supervisors.tree import Child


async def pool_of(
    system: ActorSystem,
    replicas: int,
    start: Callable[[], Child] = Child,
    *,
    concurrency: int = 1,
    mailbox: int = 100,
) -> PoolRef:
    await system.spawn(
        lambda: Pool(start, replicas=replicas, concurrency=concurrency, mailbox=mailbox), name="pool"
    )
    return PoolRef(system, "pool", replicas)


def loads(pool: PoolRef) -> list[int]:
    return [replica.load for replica in pool.replicas]


async def test_the_replicas_are_children_with_numbered_ids(system: ActorSystem) -> None:
    pool = await pool_of(system, 3)
    infos = await system.ref("pool").ask(WhichChildren())
    assert [info.id for info in infos] == ["replica-0", "replica-1", "replica-2"]
    assert [info.path for info in infos] == [replica.path for replica in pool.replicas]


async def test_idle_replicas_share_the_work_evenly(system: ActorSystem) -> None:
    log: list[object] = []

    class Telling(Child):
        async def echo(self, message: Echo) -> int:
            log.append(self.path)
            return message.value

    pool = await pool_of(system, 4, Telling)
    assert [await pool.ask(Echo(n)) for n in range(40)] == list(range(40))
    assert Counter(log) == {replica.path: 10 for replica in pool.replicas}


async def test_waiting_asks_are_spread_evenly(system: ActorSystem) -> None:
    pool = await pool_of(system, 4)
    gate = Gate()
    asks = [asyncio.create_task(pool.ask(Hold(gate))) for _ in range(22)]
    await settle()
    assert sorted(loads(pool)) == [5, 5, 6, 6]
    gate.open.set()
    assert await asyncio.gather(*asks) == ["held"] * 22


async def test_an_ask_goes_to_the_replica_with_the_least_to_do(system: ActorSystem) -> None:
    pool = await pool_of(system, 3)
    gate = Gate()
    for replica, number in zip(pool.replicas, (4, 1, 3), strict=True):
        for _ in range(number):
            replica.tell(Hold(gate))
    asks = []
    for expected in ([4, 2, 3], [4, 3, 3]):
        asks.append(asyncio.create_task(pool.ask(Hold(gate))))
        await settle()
        assert loads(pool) == expected
    assert pool.busiest() is pool.replicas[0]
    gate.open.set()
    await asyncio.gather(*asks)


@pytest.mark.parametrize("busy", [0, 50])
async def test_a_replica_between_two_lives_is_chosen_last(system: ActorSystem, busy: int) -> None:
    restarting, working = Gate(), Gate()

    class Slow(Child):
        async def started(self) -> None:
            if self._cell.incarnation == 2:
                await self.hold(Hold(restarting))

    pool = await pool_of(system, 2, Slow)
    pool.replicas[0].kill(InjectedCrash("on purpose"))
    await restarting.entered.wait()
    for _ in range(busy):
        pool.replicas[1].tell(Hold(working))
    asks = [asyncio.create_task(pool.ask(Echo(n))) for n in range(10)]
    await asyncio.sleep(0)
    assert loads(pool) == [0, busy + 10]
    working.open.set()
    assert await asyncio.gather(*asks) == list(range(10))
    restarting.open.set()


async def test_a_replica_whose_life_is_ending_is_chosen_last(system: ActorSystem) -> None:
    ending = Gate()

    class Careful(Child):
        async def stopping(self, exit: Exit) -> None:
            if exit.abnormal:
                await self.hold(Hold(ending))

    pool = await pool_of(system, 2, Careful)
    pool.replicas[0].kill(InjectedCrash("on purpose"))
    await ending.entered.wait()
    assert [await pool.ask(Echo(n)) for n in range(10)] == list(range(10))
    ending.open.set()


async def test_a_stuck_replica_is_chosen_last(system: ActorSystem) -> None:
    pool = await pool_of(system, 2)
    gate = Gate()
    pool.replicas[0].tell(Withstand(gate))
    await gate.entered.wait()
    pool.replicas[0].kill(InjectedCrash("on purpose"))
    assert [await pool.ask(Echo(n)) for n in range(10)] == list(range(10))
    gate.open.set()


async def test_when_all_replicas_are_between_lives_the_ask_waits(system: ActorSystem) -> None:
    pool = await pool_of(system, 3)
    for replica in pool.replicas:
        replica.kill(InjectedCrash("on purpose"))
    assert await asyncio.gather(*(pool.ask(Echo(n)) for n in range(30))) == list(range(30))


async def test_a_crash_of_one_replica_does_not_touch_the_asks_of_the_others(system: ActorSystem) -> None:
    pool = await pool_of(system, 4)
    outcomes = await asyncio.gather(
        *(pool.ask(Raise(ValueError("broken")) if n == 50 else Echo(n)) for n in range(200)),
        return_exceptions=True,
    )
    assert [n for n, outcome in enumerate(outcomes) if outcome != n] == [50]
    assert isinstance(outcomes[50], ValueError)


async def test_a_pool_is_full_when_its_least_loaded_replica_is(system: ActorSystem) -> None:
    pool = await pool_of(system, 2, mailbox=3)
    gate = Gate()
    asks = []
    for _ in range(8):  # one at work and three waiting, each
        asks.append(asyncio.create_task(pool.ask(Hold(gate))))
        await settle()
    with pytest.raises(MailboxFull):
        await pool.ask(Echo(1))
    gate.open.set()
    await asyncio.gather(*asks)


async def test_each_replica_handles_as_many_at_a_time_as_it_may(system: ActorSystem) -> None:
    pool = await pool_of(system, 2, concurrency=3)
    gates = [Gate() for _ in range(8)]
    asks = [asyncio.create_task(pool.ask(Hold(gate))) for gate in gates]
    await settle()
    assert sum(gate.entered.is_set() for gate in gates) == 6
    for gate in gates:
        gate.open.set()
    await asyncio.gather(*asks)


async def test_a_replica_that_is_gone_is_not_chosen(system: ActorSystem) -> None:
    pool = await pool_of(system, 2)
    assert await system.ref("pool").ask(StopChild("replica-0"))
    assert [await pool.ask(Echo(n)) for n in range(10)] == list(range(10))


async def test_a_pool_that_has_stopped_refuses(system: ActorSystem) -> None:
    pool = await pool_of(system, 2)
    await system.stop()
    with pytest.raises(ActorDown):
        await pool.ask(Echo(1))


async def test_a_pool_of_nobody_yet_refuses(system: ActorSystem) -> None:
    with pytest.raises(ActorDown):
        await PoolRef(system, "pool", 2).ask(Echo(1))
