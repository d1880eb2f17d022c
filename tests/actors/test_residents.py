"""How many actors keep their objects: limits of number and of memory."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import pytest

from repertory.actors import ActorRef, ActorSystem
from repertory.events import ActorPassivated, Event, Hooks
from tests.actors.kernel import Echo, Gate, Hold, Probe, of, settle
from tests.actors.light import Light, Run
from tests.virtual_time import LoopClock

AGES = 1e6  # seconds: nothing is passivated for having waited so long

MakeSystem: TypeAlias = Callable[..., ActorSystem]


@pytest.fixture
async def make_system(events: list[Event], nothing_left_behind: None) -> AsyncIterator[MakeSystem]:
    made: list[ActorSystem] = []

    def make(**limits: Any) -> ActorSystem:
        made.append(ActorSystem(clock=LoopClock(), hooks=Hooks([events.append]), **limits))
        return made[-1]

    yield make
    for system in made:
        await system.stop()


def spawn(system: ActorSystem, number: int, kind: type[Light | Probe]) -> Awaitable[ActorRef]:
    return system.spawn(kind, name=f"actor-{number}", passivate_after=AGES, lazy=True)


@pytest.mark.parametrize("kind", [Light, Probe])
async def test_of_100_000_addressable_actors_a_few_hundred_are_resident(
    make_system: MakeSystem, kind: type[Light | Probe]
) -> None:
    system = make_system(resident_limit=300)
    refs = [await spawn(system, number, kind) for number in range(100_000)]
    assert system.residents.count == 0
    most = 0
    for _ in range(2):
        for number in range(0, len(refs), 11):
            assert await refs[number].ask(Echo(number)) == number
            most = max(most, system.residents.count)
    await settle()
    assert most <= 310
    assert system.residents.count <= 300


async def test_without_limits_all_stay(make_system: MakeSystem) -> None:
    system = make_system()
    for number in range(1000):
        await (await spawn(system, number, Light)).ask(Echo(number))
    await asyncio.sleep(1000)
    assert system.residents.count == 1000


async def test_those_that_have_rested_longest_go_first(make_system: MakeSystem, events: list[Event]) -> None:
    system = make_system(resident_limit=3)
    refs = [await spawn(system, number, Light) for number in range(4)]
    for number in (2, 0, 1, 2):
        await refs[number].ask(Echo(1))
        await asyncio.sleep(10)
    await refs[3].ask(Echo(1))
    await settle()
    assert of(ActorPassivated, events) == [ActorPassivated("actor-0", 1)]


@pytest.mark.parametrize("kind", [Light, Probe])
async def test_more_than_the_limit_stay_while_they_work_and_go_when_they_are_done(
    make_system: MakeSystem, kind: type[Light | Probe]
) -> None:
    system = make_system(resident_limit=5)
    gates = [Gate() for _ in range(10)]
    for number, gate in enumerate(gates):
        (await spawn(system, number, kind)).tell(Hold(gate))
    await asyncio.sleep(10)
    assert system.residents.count == 10
    for gate in gates:
        gate.open.set()
    await asyncio.sleep(10)
    assert system.residents.count == 5


async def test_those_that_would_lose_something_do_not_stand_for_those_that_may_go(
    make_system: MakeSystem, events: list[Event]
) -> None:
    async def set_timer(actor: Light) -> None:
        actor.send_after(AGES, Echo(1))

    system = make_system(resident_limit=5)
    for number in range(10):
        ref = await spawn(system, number, Light)
        await ref.ask(Run(set_timer) if number < 4 else Echo(1))
        await asyncio.sleep(10)
    assert system.residents.count == 5
    assert {event.path for event in of(ActorPassivated, events)} == {f"actor-{number}" for number in range(4, 9)}


async def test_actors_that_may_not_be_passivated_do_not_count(make_system: MakeSystem) -> None:
    system = make_system(resident_limit=1)
    for number in range(10):
        await system.spawn(Light, name=f"stays-{number}")
    await asyncio.sleep(10)
    assert all(system.ref(f"stays-{number}").running for number in range(10))


@pytest.mark.parametrize("kind", [Light, Probe])
async def test_short_memory_passivates_those_at_rest_before_their_time(
    make_system: MakeSystem, kind: type[Light | Probe]
) -> None:
    memory = 50
    system = make_system(memory_limit=100, memory=lambda: memory)
    refs = [await spawn(system, number, kind) for number in range(100)]
    for number, ref in enumerate(refs):
        await ref.ask(Echo(number))
    await asyncio.sleep(100)
    assert system.residents.count == 100
    memory = 101
    await asyncio.sleep(1)
    assert 80 <= system.residents.count < 100  # by and by
    await asyncio.sleep(100)
    assert system.residents.count == 0
    memory = 50
    assert await refs[0].ask(Echo(1)) == 1
    await asyncio.sleep(100)
    assert system.residents.count == 1


@pytest.mark.parametrize("kind", [Light, Probe])
async def test_a_share_of_those_that_may_go_goes_when_asked_for_the_longest_idle_first(
    make_system: MakeSystem, events: list[Event], kind: type[Light | Probe]
) -> None:
    system = make_system()
    refs = [await spawn(system, number, kind) for number in range(10)]
    gate = Gate()
    refs[0].tell(Hold(gate))
    for ref in refs[1:]:
        await ref.ask(Echo(1))
        await asyncio.sleep(10)
    assert system.passivate_idle(0.3) == 3
    await settle()
    assert {event.path for event in of(ActorPassivated, events)} == {"actor-1", "actor-2", "actor-3"}
    assert system.passivate_idle(0.01) == 1  # one at least
    assert system.passivate_idle(1.0) == 5
    await settle()
    assert system.residents.count == 1  # it is at work
    assert system.passivate_idle(1.0) == 0
    gate.open.set()


@pytest.mark.parametrize("kind", [Light, Probe])
async def test_the_count_holds_through_crashes_and_stops(
    make_system: MakeSystem, kind: type[Light | Probe]
) -> None:
    system = make_system(resident_limit=3)
    refs = [await spawn(system, number, kind) for number in range(6)]
    for ref in refs[:4]:
        await ref.ask(Echo(1))
    await settle()
    refs[3].kill(ValueError("broken"))
    await settle()
    assert system.residents.count == 2
    await refs[5].ask(Echo(1))
    await refs[5].stop()
    assert system.residents.count == 2
    await system.stop()
    assert system.residents.count == 0


async def test_where_lives_end_before_the_limit_is_looked_at_nobody_has_to_go(make_system: MakeSystem) -> None:
    system = make_system(resident_limit=1)
    refs = [await system.spawn(Light, name=f"actor-{number}", passivate_after=AGES) for number in range(3)]
    for ref in refs:
        ref.kill(ValueError("broken"))
    await settle()
    assert system.residents.count == 0
