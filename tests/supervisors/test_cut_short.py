"""Ends of supervisors that are cut short: no child outlives its supervisor, or works beside its successor."""

import asyncio

import pytest

from repertory.actors import Actor, ActorSystem, Exit
from repertory.errors import ActorDown, InjectedCrash, StartFailed
from repertory.events import Event, StuckChild
from repertory.supervisors import (
    ChildSpec,
    DynamicSupervisor,
    RestartChild,
    StartChild,
    Supervisor,
    TerminateChild,
)
from repertory.supervisors.child import Shutdown
from tests.actors.kernel import Echo, Gate, Hold, Withstand, of, settle
from tests.actors.test_state import Add, Counter
from tests.supervisors.tree import Child, child, supervise


class Present:
    """Who is at work, and who ever was beside another one of its path."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.beside: list[str] = []
        self.clean: list[str] = []


class Slow(Child):
    """Takes its time to let go."""

    def __init__(self, present: Present, seconds: float) -> None:
        super().__init__()
        self.present = present
        self.seconds = seconds

    async def started(self) -> None:
        if self.path in self.present.paths:
            self.present.beside.append(self.path)
        self.present.paths.append(self.path)

    async def stopping(self, exit: Exit) -> None:
        try:
            await asyncio.sleep(self.seconds)
            self.present.clean.append(self.path)
        finally:
            self.present.paths.remove(self.path)


def slow(id: str, present: Present, seconds: float = 1.5) -> ChildSpec:
    return ChildSpec(id=id, start=lambda: Slow(present, seconds))


def branch(id: str, *children: ChildSpec, shutdown: Shutdown | None = None) -> ChildSpec:
    return ChildSpec(id=id, start=lambda: Supervisor(children), shutdown=shutdown)


@pytest.mark.parametrize("depth", [1, 3])
async def test_a_branch_without_enough_time_to_stop_is_gone_before_it_is_begun_again(
    system: ActorSystem, events: list[Event], depth: int
) -> None:
    present = Present()
    grown = branch("b", slow("x", present), slow("y", present), slow("z", present), shutdown=0.2)
    for _ in range(depth - 1):
        grown = branch("b", grown, slow("w", present), shutdown=0.2)
    await supervise(system, [grown, child("c")], strategy="one_for_all")
    everybody = sorted(present.paths)
    system.ref("top/c").kill(InjectedCrash("on purpose"))
    assert await system.ref("top/c").ask(Echo(1), timeout=None) == 1
    assert sorted(present.paths) == everybody
    assert present.beside == []
    assert of(StuckChild, events) == []


async def test_a_branch_of_dynamic_children_too(system: ActorSystem) -> None:
    present = Present()
    template = slow("template", present)
    sessions = ChildSpec(id="b", start=lambda: DynamicSupervisor(template=template), shutdown=0.2)
    await supervise(system, [sessions, child("c")], strategy="one_for_all")
    for id in "xyz":
        await system.ref("top/b").ask(StartChild(id=id))
    system.ref("top/c").kill(InjectedCrash("on purpose"))
    assert await system.ref("top/c").ask(Echo(1), timeout=None) == 1
    assert present.paths == []


async def test_what_withstands_being_killed_is_stuck_but_not_the_supervisors_above_it(
    system: ActorSystem, events: list[Event]
) -> None:
    deep = branch(
        "a", branch("b", branch("c", child("d", shutdown=100), shutdown=100), shutdown=100), shutdown=0.2
    )
    top = await supervise(system, [deep])
    gate = Gate()
    ref = system.ref("top/a/b/c/d")
    stuck = asyncio.create_task(ref.ask(Withstand(gate), timeout=None))
    await gate.entered.wait()
    await top.ask(TerminateChild("a"), timeout=None)
    assert of(StuckChild, events) == [StuckChild("top/a/b/c/d", 1)]
    assert system.find_cell(ref.path) is None
    with pytest.raises(ActorDown):
        await stuck
    gate.open.set()


class Saving(Counter):
    """Saves once more at its end, slowly."""

    async def stopping(self, exit: Exit) -> None:
        await asyncio.sleep(0.5)
        await self.add(Add(100))


async def test_a_child_of_a_killed_branch_writes_nothing_after_its_end(system: ActorSystem) -> None:
    top = await supervise(system, [branch("b", ChildSpec(id="s", start=Saving), shutdown=0.1)])
    ref = system.ref("top/b/s")
    assert await ref.ask(Add(1)) == 1
    await top.ask(TerminateChild("b"))
    await top.ask(RestartChild("b"))
    await asyncio.sleep(2)
    assert await ref.ask(Add(1)) == 2


async def test_the_systems_stop_gives_each_child_its_own_time(system: ActorSystem) -> None:
    present = Present()
    await supervise(system, [slow("a", present, 3), branch("b", slow("c", present, 3)), slow("d", present, 3)])
    await system.stop(5)
    assert present.clean == ["top/d", "top/b/c", "top/a"]


async def test_a_start_that_takes_too_long_leaves_those_before_it_their_time(
    system: ActorSystem, events: list[Event]
) -> None:
    class Hanging(Child):
        async def started(self) -> None:
            await asyncio.Event().wait()

    present = Present()
    with pytest.raises(StartFailed, match="its start took longer than 1 s"):
        await supervise(
            system,
            [slow("a", present, 2), slow("b", present, 2), ChildSpec(id="c", start=Hanging)],
            start_timeout=1,
        )
    assert present.clean == ["top/b", "top/a"]
    assert of(StuckChild, events) == []


async def test_a_supervisor_stopped_while_it_stops_a_child_leaves_that_its_time(system: ActorSystem) -> None:
    present = Present()
    top = await supervise(system, [slow("a", present, 3), slow("b", present, 3)])
    terminating = asyncio.create_task(top.ask(TerminateChild("b"), timeout=None))
    await asyncio.sleep(1)
    await system.stop()
    assert present.clean == ["top/b", "top/a"]
    with pytest.raises(ActorDown):
        await terminating


async def test_a_stop_of_the_system_that_is_cancelled_ends_all(system: ActorSystem) -> None:
    present = Present()
    await supervise(system, [slow("a", present, 100)])
    gates = [Gate(), Gate()]
    for number, gate in enumerate(gates):
        ref = await system.spawn(Child, name=f"c{number}")
        ref.tell(Hold(gate))
        await gate.entered.wait()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(system.stop(None), 1)
    assert [gate.cancelled for gate in gates] == [True, True]
    assert present.paths == []
    assert system.roots() == ()


async def test_a_start_whose_caller_is_cancelled_twice_is_undone_at_once(system: ActorSystem) -> None:
    class Hanging(Actor[None]):
        async def started(self) -> None:
            await asyncio.Event().wait()

    present = Present()
    starting = asyncio.create_task(
        supervise(system, [slow("a", present, 20), ChildSpec(id="b", start=Hanging)], start_timeout=100)
    )
    await settle()
    starting.cancel()
    await asyncio.sleep(1)
    assert present.paths == ["top/a"]  # it has its time
    starting.cancel()
    await asyncio.sleep(1)
    assert present.paths == []
    with pytest.raises(asyncio.CancelledError):
        await starting
