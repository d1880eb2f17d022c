"""An actor without work has no task; the next message gives it one."""

import asyncio

import pytest

from repertory.actors import ActorSystem, Exit
from repertory.actors.cell import Cell
from repertory.events import Event, StuckChild
from tests.actors.kernel import Echo, Gate, Hold, Probe, of, settle
from tests.actors.light import Light, Run

LONG = 5.0  # seconds after which whatever may rest does


def cell_of(system: ActorSystem, name: str) -> Cell:
    cell = system.find_cell(name)
    assert cell is not None
    return cell


def tasks_of(name: str) -> int:
    return sum(task.get_name().startswith(f"{name} ") for task in asyncio.all_tasks())


async def test_an_actor_without_hooks_has_no_task_before_its_first_message(system: ActorSystem) -> None:
    ref = await system.spawn(Light, name="light")
    assert tasks_of("light") == 0
    assert ref.running


async def test_an_idle_actor_gives_up_its_task_and_handles_the_next_message(system: ActorSystem) -> None:
    ref = await system.spawn(Light, name="light")
    for number in range(3):
        assert await ref.ask(Echo(number)) == number
        assert tasks_of("light") == 1
        await asyncio.sleep(LONG)
        assert tasks_of("light") == 0
        assert ref.running


async def test_an_actor_that_is_busy_now_and_then_keeps_its_task(system: ActorSystem) -> None:
    ref = await system.spawn(Light, name="light")
    await ref.ask(Echo(0))
    task = next(task for task in asyncio.all_tasks() if task.get_name().startswith("light "))
    for number in range(20):
        await asyncio.sleep(0.5)
        await ref.ask(Echo(number))
    assert not task.done()


async def test_an_actor_that_only_starts_rests_too(system: ActorSystem) -> None:
    class Starting(Light):
        async def started(self) -> None:
            await asyncio.sleep(1)

    ref = await system.spawn(Starting, name="light")
    await asyncio.sleep(LONG)
    assert tasks_of("light") == 0
    assert await ref.ask(Echo(1)) == 1


async def test_an_actor_with_stopping_keeps_one_task_from_its_start_to_its_end(system: ActorSystem) -> None:
    tasks: list[object] = []

    class Scoped(Probe):
        async def started(self) -> None:
            tasks.append(asyncio.current_task())

        async def echo(self, message: Echo) -> int:
            tasks.append(asyncio.current_task())
            return await super().echo(message)

        async def stopping(self, exit: Exit) -> None:
            tasks.append(asyncio.current_task())

    ref = await system.spawn(Scoped, name="probe")
    await asyncio.sleep(LONG)
    await ref.ask(Echo(1))
    await asyncio.sleep(LONG)
    await system.stop()
    assert len(tasks) == 3
    assert len(set(tasks)) == 1


@pytest.mark.parametrize("kind", [Light, Probe])
@pytest.mark.parametrize("concurrency", [1, 2, 10])
async def test_after_a_burst_the_runners_rest_and_as_many_may_come_back(
    system: ActorSystem, kind: type[Light | Probe], concurrency: int
) -> None:
    ref = await system.spawn(kind, name="busy", concurrency=concurrency)
    cell = cell_of(system, "busy")
    stays = 1 if kind is Probe else 0
    for _ in range(3):
        gates = [Gate() for _ in range(concurrency)]
        for gate in gates:
            ref.tell(Hold(gate))
        for gate in gates:
            await gate.entered.wait()
        assert tasks_of("busy") == concurrency
        assert cell.free == 0
        for gate in gates:
            gate.open.set()
        await asyncio.sleep(LONG)
        assert tasks_of("busy") == stays
        assert cell.free == concurrency - stays


async def test_a_message_in_the_very_turn_of_the_rest_is_handled(system: ActorSystem) -> None:
    ref = await system.spawn(Light, name="light")
    cell = cell_of(system, "light")
    await ref.ask(Echo(0))
    await settle()
    assert cell.life is not None
    lead = cell.life.lead
    assert lead is not None
    lead.rest()
    asked = asyncio.create_task(ref.ask(Echo(1)))  # comes when the runner has just gone
    ref.tell(Echo(2))  # comes before it has
    assert await asked == 1
    await asyncio.sleep(LONG)
    lead.rest()  # it is gone: nothing happens
    assert cell.free == 1
    assert await ref.ask(Echo(3)) == 3


async def test_a_message_taken_back_in_the_turn_of_the_rest_leaves_no_runner_behind(system: ActorSystem) -> None:
    ref = await system.spawn(Light, name="light", concurrency=2)
    cell = cell_of(system, "light")
    await ref.ask(Echo(0))
    await settle()
    assert cell.life is not None
    assert cell.life.lead is not None
    cell.life.lead.rest()
    taken_back = Echo(1)
    cell.signal(taken_back)
    cell.retract(taken_back)
    await asyncio.sleep(LONG)
    assert cell.free == 2
    assert tasks_of("light") == 0
    assert await ref.ask(Echo(2)) == 2


@pytest.mark.parametrize("delay", [n / 10 for n in range(25)])
async def test_a_message_at_any_moment_of_the_sweeps_is_handled(system: ActorSystem, delay: float) -> None:
    ref = await system.spawn(Light, name="light", concurrency=3)
    for number in range(5):
        await asyncio.gather(*(ref.ask(Echo(number)) for _ in range(4)))
        await asyncio.sleep(delay)
    await asyncio.sleep(LONG)
    assert cell_of(system, "light").free == 3


@pytest.mark.parametrize("exit", [Exit("normal"), Exit("shutdown"), Exit("error", ValueError("on purpose"))])
async def test_an_actor_at_rest_ends(system: ActorSystem, exit: Exit) -> None:
    exits: list[Exit] = []
    ref = await system.spawn(Light, name="light", on_exit=exits.append)
    await ref.ask(Echo(1))
    await asyncio.sleep(LONG)
    await ref.stop(exit)
    assert exits == [exit]
    assert not ref.running


async def test_background_work_goes_on_while_its_actor_rests_and_ends_with_it(
    system: ActorSystem, events: list[Event]
) -> None:
    gate = Gate()

    async def start_work(actor: Light) -> None:
        actor.background(actor.hold(Hold(gate)))  # type: ignore[arg-type]  # its result does not matter here

    ref = await system.spawn(Light, name="light")
    await ref.ask(Run(start_work))
    await asyncio.sleep(LONG)
    assert tasks_of("light") == 1
    assert not gate.cancelled
    await system.stop()
    assert gate.cancelled
    assert of(StuckChild, events) == []
