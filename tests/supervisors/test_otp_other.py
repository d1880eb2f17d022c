"""OTP's remaining cases, under their names in OTP's supervisor_SUITE."""

import asyncio
import gc
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import pytest

from repertory.actors import Actor, ActorSystem, Exit, Message, handles
from repertory.errors import ActorDown, ChildRestarting, NameTaken
from repertory.supervisors import (
    ChildSpec,
    DeleteChild,
    DynamicSupervisor,
    RestartChild,
    StartChild,
    StopChild,
    Supervisor,
    TerminateChild,
)
from repertory.supervisors.child import Restart
from tests.actors.kernel import Echo, Probe, settle
from tests.supervisors.tree import (
    ABNORMAL,
    Child,
    Starts,
    Unwanted,
    child,
    children_of,
    counts,
    end,
    statuses,
    supervise,
    supervise_dynamically,
)


@dataclass
class Switch:
    """Whether starts succeed at present."""

    open: bool = True
    tries: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self) -> BaseException | None:
        self.tries += 1
        self.changed.set()
        return None if self.open else ValueError("no fuel")

    async def until(self, tries: int) -> None:
        """Return when so many starts have been tried."""
        while self.tries < tries:
            self.changed.clear()
            await self.changed.wait()


@dataclass(frozen=True, slots=True)
class Unlink(Message[None]):
    path: str


async def test_child_unlink(system: ActorSystem) -> None:
    """The tie between a supervisor and its child is no link: a child cannot undo it."""

    class Rebel(Child):
        @handles(Unlink)
        async def unlink_from(self, message: Unlink) -> None:
            self.unlink(self.system.ref(message.path))

    log: list[object] = []
    top = await supervise(system, [ChildSpec(id="a", start=lambda: Rebel(log))])
    await system.ref("top/a").ask(Unlink("top"))
    await end(system.ref("top/a"), ABNORMAL)
    await top.ask(TerminateChild("a"))
    assert log == ["+top/a", "-top/a error", "+top/a", "-top/a shutdown"]


async def test_tree(system: ActorSystem) -> None:
    """A branch whose worker ends too often is ended and begun anew by its own supervisor, then that one's."""
    exits: list[Exit] = []
    log: list[object] = []

    def middle() -> Supervisor:
        return Supervisor([child("a", log), child("b", log)], strategy="one_for_all", intensity=1)

    top = await supervise(
        system,
        [ChildSpec(id="x", start=middle), ChildSpec(id="y", start=Supervisor), child("c", log)],
        intensity=1,
        on_exit=exits.append,
    )
    await system.ref("top/y").ask(StartChild(child("d", log)))
    log.clear()
    await end(system.ref("top/x/a"), ABNORMAL)
    assert log == ["-top/x/a error", "-top/x/b shutdown", "+top/x/a", "+top/x/b"]
    log.clear()
    await end(system.ref("top/x/a"), ABNORMAL)
    assert log == ["-top/x/a error", "-top/x/b shutdown", "+top/x/a", "+top/x/b"]
    assert {id: info.restarts for id, info in (await children_of(top)).items()} == {"x": 1, "y": 0, "c": 0}
    log.clear()
    for _ in range(2):
        await end(system.ref("top/x/b"), ABNORMAL)
    assert len(exits) == 1
    assert log[4:] == ["-top/x/b error", "-top/x/a shutdown", "-top/c shutdown", "-top/y/d shutdown"]


async def test_count_children(system: ActorSystem) -> None:
    top = await supervise(system, [])
    assert await counts(top) == (0, 0, 0, 0)
    await top.ask(StartChild(child("a")))
    assert await counts(top) == (1, 1, 0, 1)
    await top.ask(StartChild(child("b")))
    assert await counts(top) == (2, 2, 0, 2)
    await top.ask(TerminateChild("a"))
    assert await counts(top) == (2, 1, 0, 2)
    await top.ask(DeleteChild("a"))
    assert await counts(top) == (1, 1, 0, 1)


async def test_count_children_supervisor(system: ActorSystem) -> None:
    def nested(id: str) -> ChildSpec:
        return ChildSpec(id=id, start=Supervisor)

    top = await supervise(system, [child("a"), nested("x"), nested("y")])
    assert await counts(top) == (3, 3, 2, 1)
    await top.ask(TerminateChild("x"))
    await top.ask(TerminateChild("a"))
    assert await counts(top) == (3, 1, 2, 1)
    assert [info.kind for info in (await children_of(top)).values()] == ["worker", "supervisor", "supervisor"]
    await top.ask(DeleteChild("x"))
    assert await counts(top) == (2, 1, 1, 1)


async def test_count_restarting_children(system: ActorSystem) -> None:
    switch = Switch()
    top = await supervise_dynamically(
        system, ChildSpec(id="template", start=lambda: Child(None, switch)), intensity=10**6
    )
    for id in "abc":
        await top.ask(StartChild(id=id))
    assert await counts(top) == (3, 3, 0, 3)
    switch.open = False
    for active, id in ((2, "a"), (1, "b")):
        system.ref(f"top/{id}").kill(ValueError("broken"))
        await switch.until(10 * (4 - active))
        assert await counts(top) == (3, active, 0, 3)
    switch.open = True
    await settle()
    assert await counts(top) == (3, 3, 0, 3)


class Large:
    """An argument that takes much room."""


async def test_do_not_save_start_parameters_for_temporary_children(system: ActorSystem) -> None:
    """They serve one life, so they need not outlive its start."""

    def make(large: Large) -> Child:
        return Child()

    restarts: tuple[Restart, ...] = ("temporary", "permanent")
    for restart in restarts:
        template = ChildSpec(id="template", start=make, restart=restart)  # type: ignore[arg-type]  # its argument comes with StartChild
        ref = await system.spawn(partial(DynamicSupervisor, template=template), name=restart)
        large = Large()
        seen = weakref.ref(large)
        await ref.ask(StartChild(id="a", args=(large,)))
        del large
        await asyncio.sleep(100)  # no timer of that start is left
        await counts(ref)  # the runner has another message at hand
        gc.collect()
        assert (seen() is None) == (restart == "temporary")
        assert await system.ref(f"{restart}/a").ask(Echo(1)) == 1
        await end(system.ref(f"{restart}/a"), ABNORMAL)
        assert system.ref(f"{restart}/a").running == (restart == "permanent")


async def test_do_not_save_child_specs_for_temporary_children(system: ActorSystem) -> None:
    top = await supervise(system, [])
    for exit in (Exit("normal"), Exit("shutdown"), ABNORMAL):
        await top.ask(StartChild(child("a", restart="temporary")))
        await end(system.ref("top/a"), exit)
        assert await children_of(top) == {}
    await top.ask(StartChild(child("a", restart="temporary")))
    await top.ask(TerminateChild("a"))
    assert await children_of(top) == {}


async def seconds_for(work: Callable[[int], object], number: int) -> float:
    """Of the processor, with the rubbish of others out of the way."""
    gc.collect()
    gc.disable()
    try:
        before = time.process_time()
        await work(number)  # type: ignore[misc]  # it returns a coroutine
        return time.process_time() - before
    finally:
        gc.enable()


async def test_simple_one_for_one_scale_many_temporary_children(system: ActorSystem) -> None:
    """To start and stop a child costs the same, however many there are."""
    top = await supervise_dynamically(system, ChildSpec(id="template", start=Probe, restart="temporary"))

    async def start_and_stop(number: int) -> None:
        for id in range(number):
            await top.ask(StartChild(id=str(id)))
        for id in range(0, number, 2):
            await system.ref(f"top/{id}").stop()
        await settle()
        for id in range(1, number, 2):
            await top.ask(TerminateChild(str(id)))
        assert await counts(top) == (0, 0, 0, 0)

    few = await seconds_for(start_and_stop, 500)
    many = await seconds_for(start_and_stop, 10_000)
    assert many < 10 * (20 * few)


async def test_scale_start_stop_many_children(system: ActorSystem) -> None:
    """100,000 children cost at most ten times as much each as 1,000 do."""

    async def start_and_stop(number: int) -> None:
        top = await system.spawn(Supervisor, name=f"of-{number}")
        for id in range(number):
            await top.ask(StartChild(ChildSpec(id=str(id), start=Plain)))
        for id in range(0, number, 2):
            await top.ask(StopChild(str(id)))
        assert (await counts(top))[1] == number // 2
        await top.stop(timeout=None)

    few = await seconds_for(start_and_stop, 1_000)
    many = await seconds_for(start_and_stop, 100_000)
    assert many < 10 * (100 * few)


class Plain(Probe):
    """One without hooks: it has no task while it has nothing to do."""

    started = Actor.started
    stopping = Actor.stopping


async def in_a_restart_loop(system: ActorSystem, switch: Switch, path: str) -> None:
    """Have the actor crash, and its starts fail, until the test says otherwise."""
    switch.open = False
    tries = switch.tries
    system.ref(path).kill(ValueError("broken"))
    await switch.until(tries + 3)


async def test_hanging_restart_loop(system: ActorSystem) -> None:
    """A child whose restart keeps failing keeps its supervisor from nothing."""
    switch = Switch()
    spec = ChildSpec(id="a", start=lambda: Child(None, switch))
    top = await supervise(system, [spec], intensity=10**6)
    await in_a_restart_loop(system, switch, "top/a")
    assert (await statuses(top), await counts(top)) == ({"a": "restarting"}, (1, 0, 0, 1))
    with pytest.raises(NameTaken):
        await top.ask(StartChild(spec))
    with pytest.raises(ChildRestarting, match="top/a is about to be restarted"):
        await top.ask(RestartChild("a"))
    with pytest.raises(ChildRestarting):
        await top.ask(DeleteChild("a"))
    await top.ask(TerminateChild("a"))
    tries = switch.tries
    await settle()
    assert (await statuses(top), switch.tries) == ({"a": "stopped"}, tries)
    switch.open = True
    await top.ask(RestartChild("a"))
    await in_a_restart_loop(system, switch, "top/a")
    await system.stop(None)
    assert system.find_cell("top/a") is None


async def test_hanging_restart_loop_rest_for_one(system: ActorSystem) -> None:
    switch = Switch()
    log: list[object] = []
    top = await supervise(
        system,
        [child("a", log), ChildSpec(id="b", start=lambda: Child(log, switch)), child("c", log)],
        strategy="rest_for_one",
        intensity=10**6,
    )
    await in_a_restart_loop(system, switch, "top/b")
    assert await statuses(top) == {"a": "running", "b": "restarting", "c": "waiting"}
    assert await counts(top) == (3, 1, 0, 3)
    waiting = asyncio.create_task(system.ref("top/c").ask(Echo(1)))
    await settle()
    assert not waiting.done()  # it is to be started after b
    with pytest.raises(ChildRestarting):
        await top.ask(RestartChild("b"))
    await top.ask(TerminateChild("b"))
    with pytest.raises(ActorDown):  # nothing starts it now
        await waiting
    assert await statuses(top) == {"a": "running", "b": "stopped", "c": "stopped"}
    switch.open = True
    await top.ask(RestartChild("b"))
    await top.ask(RestartChild("c"))
    assert await statuses(top) == dict.fromkeys("abc", "running")
    await in_a_restart_loop(system, switch, "top/b")
    await system.stop(None)
    assert log[-1] == "-top/a shutdown"


async def test_hanging_restart_loop_simple(system: ActorSystem) -> None:
    switch = Switch()
    top = await supervise_dynamically(
        system, ChildSpec(id="template", start=lambda: Child(None, switch)), intensity=10**6
    )
    await top.ask(StartChild(id="a"))
    await in_a_restart_loop(system, switch, "top/a")
    assert await statuses(top) == {"a": "restarting"}
    with pytest.raises(ChildRestarting):
        await top.ask(DeleteChild("a"))
    await top.ask(TerminateChild("a"))
    assert await statuses(top) == {}
    switch.open = True
    await top.ask(StartChild(id="a"))
    await in_a_restart_loop(system, switch, "top/a")
    await system.stop(None)
    assert system.find_cell("top/a") is None


async def test_code_change(system: ActorSystem) -> None:
    """There is no change of code in a life; the next life of a supervisor is as it is then made."""
    plans = [("ab", 0)]

    def make() -> Supervisor:
        ids, intensity = plans[-1]
        return Supervisor([child(id) for id in ids], intensity=intensity)

    await supervise(system, [ChildSpec(id="x", start=make)])
    plans.append(("cab", 9))
    assert list(await statuses(system.ref("top/x"))) == ["a", "b"]
    await end(system.ref("top/x/a"), ABNORMAL)
    assert list(await statuses(system.ref("top/x"))) == ["c", "a", "b"]
    for _ in range(9):
        await end(system.ref("top/x/a"), ABNORMAL)
    assert (await children_of(system.ref("top/x")))["a"].restarts == 9


async def test_code_change_simple(system: ActorSystem) -> None:
    """Nor of a template; but what its ``start`` makes may differ from life to life."""
    kinds: list[type[Probe]] = [Child]
    top = await supervise_dynamically(system, ChildSpec(id="template", start=lambda: kinds[-1]()))
    await top.ask(StartChild(id="a"))
    kinds.append(Probe)
    assert type(system.find_cell("top/a").actor) is Child  # type: ignore[union-attr]  # it runs
    await end(system.ref("top/a"), ABNORMAL)
    assert type(system.find_cell("top/a").actor) is Probe  # type: ignore[union-attr]  # it runs


@pytest.mark.parametrize("strategy", ["one_for_one", "one_for_all", "rest_for_one"])
async def test_order_of_children(system: ActorSystem, strategy: str) -> None:
    """Start order, whenever they were started; a restart does not change it, deletion and a new start do."""
    log: list[object] = []
    top = await supervise(system, [child(id, log) for id in "ab"], strategy=strategy, intensity=9)  # type: ignore[arg-type]  # one of the three
    for id in "cd":
        await top.ask(StartChild(child(id, log)))
    await top.ask(StartChild(ChildSpec(id="e", start=Unwanted)))
    await end(system.ref("top/a"), ABNORMAL)
    assert list(await statuses(top)) == list("abcde")
    await top.ask(TerminateChild("b"))
    await top.ask(RestartChild("b"))
    assert list(await statuses(top)) == list("abcde")
    await top.ask(StopChild("b"))
    await top.ask(StartChild(child("b", log)))
    assert list(await statuses(top)) == list("acdeb")
    log.clear()
    await system.stop()
    assert log == [f"-top/{id} shutdown" for id in "bdca"]


async def test_a_restart_keeps_the_starts_apart(system: ActorSystem) -> None:
    """A child whose second start fails is tried again, and the tries are counted in its record."""
    starts = Starts(lambda number: number == 2)
    top = await supervise(system, [ChildSpec(id="a", start=lambda: Child(None, starts))])
    await end(system.ref("top/a"), ABNORMAL)
    assert ((await children_of(top))["a"].restarts, starts.count) == (2, 3)
