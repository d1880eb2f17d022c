"""Replicas behind one reference."""

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest

from repertory.actors import ActorSystem, Exit, Message
from repertory.errors import ActorDown, ConfigError, DeadlineExceeded, InjectedCrash, MailboxFull
from repertory.supervisors import (
    Backoff,
    ChildSpec,
    Pool,
    PoolRef,
    RestartChild,
    StartChild,
    StopChild,
    Supervisor,
    TerminateChild,
    WhichChildren,
)
from tests.actors.kernel import Echo, Gate, Hold, Raise, Withstand, settle
from tests.supervisors.pools import hold_all, loads, outcome_of, pool_of
from tests.supervisors.tree import Child, child


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
    assert pool.busiest() == pool.replicas[0]
    gate.open.set()
    await asyncio.gather(*asks)


@pytest.mark.parametrize("busy", [0, 50])
async def test_a_replica_between_two_lives_is_chosen_last(system: ActorSystem, busy: int) -> None:
    restarting, working = Gate(), Gate()

    class Slow(Child):
        async def started(self) -> None:
            if self.incarnation == 2:
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
        await PoolRef(system, "pool").ask(Echo(1))


# --- what waits for a replica that ends ---


async def test_what_waits_for_a_replica_that_crashes_goes_to_the_others_at_once(system: ActorSystem) -> None:
    pool = await pool_of(system, 3, backoff=Backoff(initial=1e6, maximum=1e6))
    gates, held = await hold_all(pool, 3)
    asks = [asyncio.create_task(pool.ask(Echo(n), timeout=None)) for n in range(30)]
    await settle()
    assert loads(pool) == [11, 11, 11]
    victim = pool.replicas[0]
    victim.kill(InjectedCrash("on purpose"))
    await settle()
    assert loads(pool) == [0, 16, 16]
    for gate in gates:
        gate.open.set()
    assert await asyncio.gather(*asks) == list(range(30))
    outcomes = await asyncio.gather(*held, return_exceptions=True)
    assert Counter(type(outcome) for outcome in outcomes) == {ActorDown: 1, str: 2}
    assert not victim.running


async def test_a_full_mailbox_takes_what_a_crashed_replica_leaves(system: ActorSystem) -> None:
    pool = await pool_of(system, 2, mailbox=5)
    gates, held = await hold_all(pool, 2)
    asks = [asyncio.create_task(pool.ask(Echo(n), timeout=None)) for n in range(10)]
    await settle()
    pool.replicas[0].kill(InjectedCrash("on purpose"))
    for gate in gates:
        gate.open.set()
    assert await asyncio.gather(*asks) == list(range(10))
    assert len([1 for task in held if not isinstance(await outcome_of(task), ActorDown)]) == 1


async def test_where_nobody_else_runs_messages_wait_for_whoever_comes_back_first(system: ActorSystem) -> None:
    back = {"replica-0": Gate(), "replica-1": Gate()}

    class Slow(Child):
        async def started(self) -> None:
            if self.incarnation == 2:
                await self.hold(Hold(back[self.ref.path.rpartition("/")[2]]))

    pool = await pool_of(system, 2, Slow)
    _, held = await hold_all(pool, 2)
    asks = [asyncio.create_task(pool.ask(Echo(n), timeout=None)) for n in range(10)]
    await settle()
    for replica in pool.replicas:
        replica.kill(InjectedCrash("on purpose"))
    await settle()
    assert sum(loads(pool)) == 10
    before = system.clock.monotonic()
    back["replica-0"].open.set()
    await settle()
    assert not back["replica-1"].open.is_set()
    assert await asyncio.gather(*asks) == list(range(10))
    assert system.clock.monotonic() - before < 1  # replica-1 is still not back
    await asyncio.gather(*held, return_exceptions=True)
    back["replica-1"].open.set()


async def test_asks_withdrawn_while_they_wait_are_not_handed_over(system: ActorSystem) -> None:
    log: list[object] = []
    pool = await pool_of(system, 2, lambda: Child(log))
    _, held = await hold_all(pool, 2)
    kept, dropped = (asyncio.create_task(pool.ask(Echo(n), timeout=None)) for n in (1, 2))
    expiring = asyncio.create_task(pool.ask(Echo(3), timeout=1))
    await settle()
    dropped.cancel()
    await asyncio.sleep(2)
    pool.replicas[0].kill(InjectedCrash("on purpose"))
    pool.replicas[1].kill(InjectedCrash("on purpose"))
    assert await kept == 1
    assert [entry for entry in log if isinstance(entry, int)] == [1]
    assert [type(await outcome_of(task)) for task in held] == [ActorDown] * 2
    with pytest.raises(DeadlineExceeded):
        await expiring


@pytest.mark.parametrize("stop", [TerminateChild, StopChild])
async def test_a_replica_that_is_stopped_leaves_what_waits_to_the_others(
    system: ActorSystem, stop: Callable[[str], Message[object]]
) -> None:
    pool = await pool_of(system, 2)
    gates, held = await hold_all(pool, 2)
    asks = [asyncio.create_task(pool.ask(Echo(n), timeout=None)) for n in range(10)]
    await settle()
    stopping = asyncio.create_task(system.ref("pool").ask(stop("replica-0"), timeout=None))
    await settle()
    assert [replica.path for replica in pool.replicas] == ["pool/replica-1"]
    assert loads(pool) == [11]
    for gate in gates:
        gate.open.set()
    await stopping
    assert await asyncio.gather(*asks, *held) == [*range(10), "held", "held"]


async def test_a_terminated_replica_can_be_started_again(system: ActorSystem) -> None:
    pool = await pool_of(system, 2)
    await system.ref("pool").ask(TerminateChild("replica-0"))
    await system.ref("pool").ask(RestartChild("replica-0"))
    assert [replica.path for replica in pool.replicas] == ["pool/replica-0", "pool/replica-1"]
    assert [await pool.ask(Echo(n)) for n in range(4)] == list(range(4))


# --- the reference ---


async def test_a_pool_that_was_restarted_is_found_again(system: ActorSystem) -> None:
    top = await system.spawn(
        lambda: Supervisor([ChildSpec(id="pool", start=lambda: Pool(Child, replicas=2, intensity=0))]),
        name="top",
    )
    pool = PoolRef(system, "top/pool")
    assert await pool.ask(Echo(1)) == 1
    pool.replicas[0].kill(InjectedCrash("on purpose"))  # one too many for the pool
    await settle()
    assert await pool.ask(Echo(2)) == 2
    (info,) = await top.ask(WhichChildren())
    assert info.restarts == 1


async def test_a_tell_goes_to_the_replica_with_the_least_to_do(system: ActorSystem) -> None:
    pool = await pool_of(system, 3)
    gate = Gate()
    for _ in range(6):
        pool.tell(Hold(gate))
    assert loads(pool) == [2, 2, 2]
    gate.open.set()
    await settle()
    assert loads(pool) == [0, 0, 0]


async def test_a_pool_that_is_gone_has_no_busiest_replica(system: ActorSystem) -> None:
    with pytest.raises(ActorDown, match="the pool at 'pool' has no replica"):
        PoolRef(system, "pool").busiest()
    with pytest.raises(ActorDown):
        PoolRef(system, "pool").tell(Echo(1))


async def test_no_other_child_is_started_in_a_pool(system: ActorSystem) -> None:
    pool = await pool_of(system, 2)
    with pytest.raises(ConfigError, match="pool: a Pool starts its replicas itself"):
        await system.ref("pool").ask(StartChild(child("stranger")))
    assert [replica.path for replica in pool.replicas] == ["pool/replica-0", "pool/replica-1"]
