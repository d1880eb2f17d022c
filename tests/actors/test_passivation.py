"""Actors without work lose their object, and the next message makes it anew."""

import asyncio
import gc
import weakref
from functools import partial

import pytest
from pydantic import BaseModel

from repertory.actors import Actor, ActorSystem, Exit, handles
from repertory.actors.cell import Cell
from repertory.actors.exit import SHUTDOWN
from repertory.actors.spec import ActorSpec
from repertory.errors import ActorDown, InjectedCrash, StartFailed
from repertory.events import ActorCrashed, ActorPassivated, ActorStarted, ActorStopped, Event, StuckChild
from tests.actors.kernel import Echo, Gate, Hold, Probe, Raise, Restarting, of, settle
from tests.actors.light import Light, Run

AFTER = 10.0  # seconds
LONG = 15.0  # seconds after which an idle actor has been passivated


class SlowToStop(Probe):
    """Takes 3 seconds to end."""

    async def stopping(self, exit: Exit) -> None:
        await asyncio.sleep(3)
        await super().stopping(exit)


def cell_of(system: ActorSystem, name: str) -> Cell:
    cell = system.find_cell(name)
    assert cell is not None
    return cell


async def until_stopping(system: ActorSystem, name: str) -> None:
    while (life := cell_of(system, name).life) is None or life.exit is None:  # noqa: ASYNC110  # time is virtual
        await asyncio.sleep(0.1)


# --- when ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Light, Probe])
@pytest.mark.parametrize("used", [True, False])
async def test_an_idle_actor_is_passivated_after_its_time_and_the_next_message_makes_it_anew(
    system: ActorSystem, events: list[Event], kind: type[Light | Probe], used: bool
) -> None:
    exits: list[Exit] = []
    ref = await system.spawn(kind, name="actor", passivate_after=AFTER, on_exit=exits.append)
    if used:
        await ref.ask(Echo(0))
    await asyncio.sleep(AFTER - 1)
    assert of(ActorPassivated, events) == []
    await asyncio.sleep(LONG - AFTER + 1)
    assert of(ActorPassivated, events) == [ActorPassivated("actor", 1)]
    assert not ref.running
    assert cell_of(system, "actor").info().state == "passivated"
    assert system.residents.count == 0
    assert await ref.ask(Echo(1)) == 1
    assert of(ActorStarted, events) == [ActorStarted("actor", 1), ActorStarted("actor", 2)]
    assert of(ActorStopped, events) == []
    assert exits == []


@pytest.mark.parametrize("kind", [Light, Probe])
async def test_each_message_puts_passivation_off(
    system: ActorSystem, events: list[Event], kind: type[Light | Probe]
) -> None:
    ref = await system.spawn(kind, name="actor", passivate_after=AFTER)
    for number in range(10):
        await asyncio.sleep(AFTER / 2)
        await ref.ask(Echo(number))
    assert of(ActorPassivated, events) == []


@pytest.mark.parametrize("kind", [Light, Probe])
async def test_the_object_of_a_passivated_actor_is_let_go(system: ActorSystem, kind: type[Light | Probe]) -> None:
    made: list[weakref.ref[Actor[None]]] = []

    def make() -> Light | Probe:
        actor = kind()
        made.append(weakref.ref(actor))
        return actor

    ref = await system.spawn(make, name="actor", passivate_after=AFTER, lazy=True, start_timeout=1000)
    await ref.ask(Echo(1))
    await asyncio.sleep(LONG)
    gc.collect()
    assert made[0]() is None


async def test_stopping_is_told_that_the_actor_is_passivated(system: ActorSystem) -> None:
    log: list[object] = []
    await system.spawn(lambda: Probe(log), name="probe", passivate_after=AFTER)
    await asyncio.sleep(LONG)
    assert log == ["started", "stopping: passivated"]
    await system.stop()
    assert len(log) == 2  # what has no object has nothing to stop


class Total(BaseModel):
    total: int = 0


class Adder(Actor[Total]):
    @handles(Echo)
    async def add(self, message: Echo) -> int:
        await self.commit(Total(total=self.state.total + message.value))
        return self.state.total


async def test_what_was_committed_is_there_after_passivation(system: ActorSystem, events: list[Event]) -> None:
    ref = await system.spawn(Adder, name="adder", passivate_after=AFTER)
    for number in (1, 2, 3):
        await ref.ask(Echo(number))
        await asyncio.sleep(LONG)
    assert await ref.ask(Echo(4)) == 10
    assert len(of(ActorPassivated, events)) == 3


# --- never while ---------------------------------------------------------------------------------------------


async def stashes(actor: Light) -> None:
    actor.stash()


async def sets_a_timer(actor: Light) -> None:
    actor.send_after(1000, Echo(0))


async def has_work(actor: Light) -> None:
    actor.background(asyncio.sleep(1000))


async def is_linked(actor: Light) -> None:
    actor.link(actor.system.ref("other"))


async def handles_on(actor: Light) -> None:
    await asyncio.sleep(1000)


class Ending(Light):
    async def stopping(self, exit: Exit) -> None:
        self.log.append(exit.kind)


@pytest.mark.parametrize("kind", [Light, Ending])
@pytest.mark.parametrize("reason", [stashes, sets_a_timer, has_work, is_linked, handles_on])
async def test_an_actor_that_would_lose_something_is_not_passivated(
    system: ActorSystem, events: list[Event], kind: type[Light], reason: object
) -> None:
    await system.spawn(Light, name="other")
    ref = await system.spawn(kind, name="actor", passivate_after=AFTER)
    ref.tell(Run(reason))  # type: ignore[arg-type]  # they all take the actor
    await asyncio.sleep(500)
    assert of(ActorPassivated, events) == []
    assert ref.running


async def test_an_actor_whose_timer_has_fired_is_passivated_in_its_time(
    system: ActorSystem, events: list[Event]
) -> None:
    ref = await system.spawn(Light, name="light", passivate_after=AFTER)
    ref.tell(Run(sets_a_timer))
    await asyncio.sleep(1000 + LONG)
    assert of(ActorPassivated, events) == [ActorPassivated("light", 1)]


# --- races ---------------------------------------------------------------------------------------------------


async def test_a_message_during_stopping_is_handled_by_the_next_life(system: ActorSystem) -> None:
    log: list[object] = []
    ref = await system.spawn(lambda: SlowToStop(log), name="slow", passivate_after=AFTER)
    await until_stopping(system, "slow")
    ref.tell(Echo(1))
    assert await ref.ask(Echo(2)) == 2
    assert log == ["started", "stopping: passivated", "started", 1, 2]


async def test_a_message_in_the_turn_of_the_passivation_is_handled_once(system: ActorSystem) -> None:
    for kind in (Light, Probe):
        log: list[object] = []
        ref = await system.spawn(partial(kind, log), name=kind.__name__, passivate_after=AFTER)
        await ref.ask(Echo(0))
        await settle()
        cell = cell_of(system, kind.__name__)
        cell.passivate()
        ref.tell(Echo(1))
        cell.passivate()
        ref.tell(Echo(2))
        await settle()
        assert [entry for entry in log if isinstance(entry, int)] == [0, 1, 2]
        assert cell.incarnation == 2


async def test_messages_that_come_together_begin_one_life(system: ActorSystem, events: list[Event]) -> None:
    gate = Gate()

    class Slow(Probe):
        async def started(self) -> None:
            await self.hold(Hold(gate))

    ref = await system.spawn(Slow, name="slow", lazy=True)
    asks = [asyncio.create_task(ref.ask(Echo(number))) for number in range(10)]
    await gate.entered.wait()
    gate.open.set()
    assert await asyncio.gather(*asks) == list(range(10))
    assert of(ActorStarted, events) == [ActorStarted("slow", 1)]


async def test_a_stop_while_it_is_passivated_ends_it_for_good(system: ActorSystem, events: list[Event]) -> None:
    exits: list[Exit] = []
    ref = await system.spawn(SlowToStop, name="slow", passivate_after=AFTER, on_exit=exits.append)
    await until_stopping(system, "slow")
    await ref.stop()
    assert exits == [SHUTDOWN]
    assert of(ActorPassivated, events) == []
    assert system.find_cell("slow") is None


async def test_a_kill_while_it_is_passivated_is_a_crash(system: ActorSystem, events: list[Event]) -> None:
    exits: list[Exit] = []
    crash = InjectedCrash("on purpose")
    ref = await system.spawn(SlowToStop, name="slow", passivate_after=AFTER, on_exit=exits.append)
    await until_stopping(system, "slow")
    ref.kill(crash)
    await asyncio.sleep(5)
    assert exits == [Exit("error", crash)]
    assert of(ActorCrashed, events) == [ActorCrashed("slow", 1, crash)]


async def test_a_passivation_that_hangs_in_stopping_does_not_keep_messages_waiting_for_ever(
    system: ActorSystem, events: list[Event]
) -> None:
    class Hanging(Probe):
        async def stopping(self, exit: Exit) -> None:
            await asyncio.Event().wait()

    exits: list[Exit] = []
    ref = await system.spawn(Hanging, name="hanging", passivate_after=AFTER, on_exit=exits.append)
    await until_stopping(system, "hanging")
    with pytest.raises(ActorDown):
        await ref.ask(Echo(1), timeout=100)
    assert [type(exit.error) for exit in exits] == [TimeoutError]
    assert of(StuckChild, events) == []


async def test_a_link_made_during_stopping_begins_the_next_life(system: ActorSystem) -> None:
    other = await system.spawn(Light, name="other")
    ref = await system.spawn(SlowToStop, name="slow", passivate_after=AFTER)
    await until_stopping(system, "slow")

    async def link(actor: Light) -> None:
        actor.link(ref)

    await other.ask(Run(link))
    await asyncio.sleep(5)
    assert ref.running
    ref.kill(InjectedCrash("on purpose"))
    await asyncio.sleep(5)
    assert not other.running


async def test_a_keepers_end_during_stopping_closes_the_door(system: ActorSystem) -> None:
    keeper = Restarting()
    cell = system.new_cell("slow", ActorSpec(start=SlowToStop, passivate_after=AFTER), keeper)
    await cell.start()
    await until_stopping(system, "slow")
    asked = asyncio.create_task(cell.ref.ask(Echo(1), timeout=None))
    await cell.end(SHUTDOWN, 5)
    await settle()
    assert not asked.done()
    assert cell.incarnation == 1
    await cell.start()
    assert await asked == 1
    await cell.stop(SHUTDOWN, 5)
    assert keeper.exits == []


# --- lazy actors, and activations that fail ------------------------------------------------------------------


async def test_a_lazy_actor_is_made_by_its_first_message(system: ActorSystem, events: list[Event]) -> None:
    ref = await system.spawn(Light, name="lazy", lazy=True)
    await settle()
    assert events == []
    assert cell_of(system, "lazy").info().state == "passivated"
    assert await ref.ask(Echo(1)) == 1
    assert events == [ActorStarted("lazy", 1)]


@pytest.mark.parametrize("lane", ["mailbox", "signals"])
async def test_what_came_before_a_lazy_actor_was_there_to_take_it_begins_its_life(
    system: ActorSystem, lane: str
) -> None:
    log: list[object] = []
    cell = system.new_cell("lazy", ActorSpec(start=lambda: Light(log), lazy=True), system)
    if lane == "mailbox":
        cell.ref.tell(Echo(1))
    else:
        cell.signal(Echo(1))
    await cell.start()
    await settle()
    assert log == [1]
    await cell.stop(SHUTDOWN, 5)


@pytest.mark.parametrize("where", ["factory", "started", "kill", "timeout"])
async def test_an_activation_that_fails_tells_the_keeper_once_and_the_message_waits(
    system: ActorSystem, where: str
) -> None:
    error = InjectedCrash("on purpose")
    keeper = Restarting()
    fails = [True]

    class Fails(Probe):
        def __init__(self) -> None:
            super().__init__()
            if where == "factory" and fails:
                raise error

        async def started(self) -> None:
            if fails:
                await asyncio.sleep(1)
                if where in ("timeout", "kill"):
                    await asyncio.sleep(100)
                raise error

    cell = system.new_cell("fails", ActorSpec(start=Fails, lazy=True, start_timeout=5), keeper)
    await cell.start()
    asked = asyncio.create_task(cell.ref.ask(Echo(1), timeout=None))
    await settle()
    if where == "kill":
        cell.kill(error)
    await asyncio.sleep(10)
    assert [type(exit.error) for exit in keeper.exits] == [StartFailed]
    cause = keeper.exits[0].error.__cause__ if keeper.exits[0].error is not None else None
    assert isinstance(cause, TimeoutError if where == "timeout" else InjectedCrash)
    assert not asked.done()
    fails.clear()
    await cell.start()
    assert await asked == 1
    await cell.stop(SHUTDOWN, 5)
    assert len(keeper.exits) == 1


async def test_an_activation_that_fails_ends_an_actor_without_supervisor(system: ActorSystem) -> None:
    class Broken(Probe):
        async def started(self) -> None:
            raise InjectedCrash("on purpose")

    exits: list[Exit] = []
    ref = await system.spawn(Broken, name="broken", lazy=True, on_exit=exits.append)
    with pytest.raises(ActorDown):
        await ref.ask(Echo(1))
    assert [type(exit.error) for exit in exits] == [StartFailed]
    assert system.find_cell("broken") is None


async def test_a_crash_by_the_activating_message_tells_the_keeper_once(system: ActorSystem) -> None:
    keeper = Restarting()
    cell = system.new_cell("light", ActorSpec(start=Light, lazy=True), keeper)
    await cell.start()
    error = InjectedCrash("on purpose")
    with pytest.raises(InjectedCrash):
        await cell.ref.ask(Raise(error))
    await settle()
    assert keeper.exits == [Exit("error", error)]
    cell.ref.tell(Echo(1))  # a crash is no passivation: it waits for the keeper
    await settle()
    assert not cell.running
    await cell.stop(SHUTDOWN, 5)


async def test_a_start_time_that_has_passed_does_not_end_the_life_that_made_it(system: ActorSystem) -> None:
    ref = await system.spawn(Probe, name="probe", lazy=True, start_timeout=2)
    await ref.ask(Echo(1))
    await asyncio.sleep(10)
    assert ref.running


async def test_an_actor_that_declines_its_activation_is_gone(system: ActorSystem) -> None:
    class Unwanted(Probe):
        async def started(self) -> None:
            self.stop()

    exits: list[Exit] = []
    ref = await system.spawn(Unwanted, name="unwanted", lazy=True, on_exit=exits.append)
    with pytest.raises(ActorDown):
        await ref.ask(Echo(1))
    assert exits == [Exit("normal")]
