"""The hooks: `started`, `after_start`, `idle`, `stopping`, and what each may do."""

import asyncio
from functools import partial
from typing import ClassVar, Generic, TypeVar

import pytest
from pydantic import BaseModel

from repertory.actors import Actor, ActorSystem, Exit, handles
from repertory.errors import InjectedCrash, StartFailed
from repertory.events import ActorCrashed, Event
from tests.actors.kernel import Echo, Gate, Probe, of, settle


class Opening(Probe):
    """Goes through a gate after its start."""

    def __init__(self, log: list[object], gate: Gate) -> None:
        super().__init__(log)
        self.gate = gate

    async def after_start(self) -> None:
        self.gate.entered.set()
        await self.gate.open.wait()
        self.log.append("after_start")


class Bare(Actor[None]):
    """Has no hooks of its own: nothing in it needs a task before the first message."""

    def __init__(self, log: list[object]) -> None:
        self.log = log

    @handles(Echo)
    async def echo(self, message: Echo) -> int:
        self.log.append(message.value)
        return message.value


class Idling(Bare):
    idle_after: ClassVar[float | None] = 5

    async def idle(self) -> None:
        self.log.append("idle")


class IdlingToTheLast(Idling):
    async def stopping(self, exit: Exit) -> None:
        self.log.append("stopping")


# --- after_start ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_after_start_comes_before_the_first_message_and_nobody_waits_for_it(
    system: ActorSystem, concurrency: int
) -> None:
    log: list[object] = []
    gate = Gate()
    ref = await system.spawn(lambda: Opening(log, gate), name="opening", concurrency=concurrency)
    assert ref.running
    answers = [asyncio.create_task(ref.ask(Echo(value))) for value in (1, 2, 3)]
    await asyncio.sleep(1)
    assert log == ["started"]
    gate.open.set()
    assert await asyncio.gather(*answers) == [1, 2, 3]
    assert log == ["started", "after_start", 1, 2, 3]


async def test_after_start_needs_no_other_hook(system: ActorSystem) -> None:
    class Lone(Bare):
        async def after_start(self) -> None:
            self.log.append("after_start")

    log: list[object] = []
    ref = await system.spawn(lambda: Lone(log), name="lone", concurrency=2)
    await ref.ask(Echo(1))
    assert log == ["after_start", 1]


async def test_an_error_in_after_start_is_a_crash_and_no_failed_start(
    system: ActorSystem, events: list[Event]
) -> None:
    error = ValueError("broken")

    class Broken(Probe):
        async def after_start(self) -> None:
            raise error

    log: list[object] = []
    exits: list[Exit] = []
    await system.spawn(lambda: Broken(log), name="broken", on_exit=exits.append)
    await settle()
    assert exits == [Exit("error", error)]
    assert log == ["started", "stopping: error"]
    assert [crash.cause for crash in of(ActorCrashed, events)] == [error]


async def test_an_actor_may_stop_itself_in_after_start(system: ActorSystem) -> None:
    class Brief(Probe):
        async def after_start(self) -> None:
            self.stop()

    exits: list[Exit] = []
    await system.spawn(Brief, name="brief", on_exit=exits.append)
    await settle()
    assert exits == [Exit("normal")]


async def test_an_after_start_that_hangs_is_cut_short_by_a_stop_or_a_crash(system: ActorSystem) -> None:
    for ending in ("stop", "kill"):
        log: list[object] = []
        gate = Gate()
        exits: list[Exit] = []
        ref = await system.spawn(partial(Opening, log, gate), name=ending, on_exit=exits.append)
        await gate.entered.wait()
        if ending == "stop":
            await ref.stop(timeout=1)
        else:
            ref.kill(InjectedCrash("on purpose"))
            await settle()
        assert log == ["started", "stopping: error"]
        assert [exit.kind for exit in exits] == ["error"]


# --- idle ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Idling, IdlingToTheLast])
async def test_idle_is_called_once_each_time_nothing_has_come_for_a_while(
    system: ActorSystem, kind: type[Idling]
) -> None:
    log: list[object] = []
    ref = await system.spawn(lambda: kind(log), name="idling")
    await ref.ask(Echo(1))
    for _ in range(4):
        await asyncio.sleep(4)
        await ref.ask(Echo(2))
    assert log == [1, 2, 2, 2, 2]
    await asyncio.sleep(60)
    assert log[5:] == ["idle"]
    await ref.ask(Echo(3))
    await asyncio.sleep(60)
    assert log[6:] == [3, "idle"]


@pytest.mark.parametrize("kind", [Idling, IdlingToTheLast])
async def test_idle_is_called_where_no_message_ever_came(system: ActorSystem, kind: type[Idling]) -> None:
    log: list[object] = []
    await system.spawn(lambda: kind(log), name="idling")
    await asyncio.sleep(4)
    assert log == []
    await asyncio.sleep(60)
    assert log == ["idle"]


async def test_idle_waits_for_all_that_an_actor_does_at_a_time(system: ActorSystem) -> None:
    class Busy(Idling):
        @handles(Echo)
        async def echo(self, message: Echo) -> int:
            await asyncio.sleep(message.value)
            self.log.append(message.value)
            return message.value

    log: list[object] = []
    ref = await system.spawn(lambda: Busy(log), name="busy", concurrency=2)
    ref.tell(Echo(30))
    ref.tell(Echo(1))
    await asyncio.sleep(60)
    assert log == [1, 30, "idle"]


async def test_an_error_in_idle_is_a_crash(system: ActorSystem) -> None:
    error = ValueError("broken")

    class Broken(Idling):
        async def idle(self) -> None:
            raise error

    exits: list[Exit] = []
    await system.spawn(lambda: Broken([]), name="broken", on_exit=exits.append)
    await asyncio.sleep(10)
    assert exits == [Exit("error", error)]


async def test_an_actor_may_stop_itself_when_it_is_idle(system: ActorSystem) -> None:
    class Brief(Idling):
        async def idle(self) -> None:
            self.stop()

    exits: list[Exit] = []
    await system.spawn(lambda: Brief([]), name="brief", on_exit=exits.append)
    await asyncio.sleep(10)
    assert exits == [Exit("normal")]


# --- started -------------------------------------------------------------------------------------------------


async def test_an_actor_that_stops_itself_while_it_starts_is_not_spawned(
    system: ActorSystem, events: list[Event]
) -> None:
    class Unwanted(Probe):
        async def started(self) -> None:
            await super().started()
            self.stop()

    log: list[object] = []
    with pytest.raises(StartFailed, match="unwanted stopped while it started"):
        await system.spawn(lambda: Unwanted(log), name="unwanted")
    assert log == ["started", "stopping: normal"]  # what `started` acquired is let go of
    assert system.find_cell("unwanted") is None
    assert of(ActorCrashed, events) == []


async def test_an_actor_without_hooks_is_there_when_spawn_returns_and_needs_no_task(system: ActorSystem) -> None:
    tasks = len(asyncio.all_tasks())
    ref = await system.spawn(lambda: Bare([]), name="bare")
    assert ref.running
    assert len(asyncio.all_tasks()) == tasks


@pytest.mark.parametrize("messages", [0, 1])
async def test_an_actor_that_may_be_passivated_is_even_if_nobody_ever_spoke_to_it(
    system: ActorSystem, messages: int
) -> None:
    ref = await system.spawn(lambda: Bare([]), name="bare", passivate_after=3)
    for value in range(messages):
        await ref.ask(Echo(value))
    await asyncio.sleep(10)
    assert not ref.running
    assert await ref.ask(Echo(1)) == 1


# --- what a class says of its state --------------------------------------------------------------------------


class Total(BaseModel):
    total: int = 0


def test_the_model_of_the_state_is_the_parameter_of_the_actor_and_not_of_a_mixin() -> None:
    ItemT = TypeVar("ItemT")
    StateT = TypeVar("StateT", bound=BaseModel)

    class Cache(Generic[ItemT]):
        pass

    class Plain:
        pass

    class Stateless(Plain, Cache[Total], Actor[None]):
        pass

    class Family(Actor[StateT], Generic[StateT]):
        pass

    class Stateful(Plain, Family[Total]):
        pass

    class Inheriting(Stateful):
        pass

    assert Stateless.state_model is None
    assert Family.state_model is None
    assert Stateful.state_model is Total
    assert Inheriting.state_model is Total
