"""Faults of children that OTP's suite has no cases of: section C of the behaviours to match, one test a line.

Faults that concern who asks are in `test_faults_of_asks`, lives that race with others in `test_races`, random
histories in `test_history`.
"""

import asyncio
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from repertory.actors import ActorSystem, Exit, Message, blocking, handles
from repertory.errors import ActorDown, RestartLimitReached, StaleState, StartFailed, StoreTooNew
from repertory.events import (
    ActorCrashed,
    ActorRestarted,
    CancellationIgnored,
    Event,
    RestartFailed,
    StuckChild,
    SupervisorGaveUp,
)
from repertory.supervisors import ChildSpec, StartChild, Supervisor
from repertory.supervisors.decision import Strategy
from tests.actors.kernel import Echo, Gate, Withstand, of, settle
from tests.actors.test_state import Add, AddLate, Counter, Stubborn
from tests.supervisors.faults import SlowInLife, group_of, restart_log, under_all_strategies
from tests.supervisors.tree import ABNORMAL, Child, causes, child, end, restarts, statuses, supervise


@under_all_strategies
async def test_c_child_that_swallows_cancelled_error(
    system: ActorSystem, events: list[Event], strategy: Strategy
) -> None:
    """Neither its own restart nor that of its group waits for it longer than its timeout and the grace."""
    log: list[object] = []
    top = await supervise(system, [child(id, log) for id in "abc"], strategy=strategy)
    gates = {id: Gate() for id in "bc"}
    stuck = [
        asyncio.create_task(system.ref(f"top/{id}").ask(Withstand(gate), timeout=None))
        for id, gate in gates.items()
    ]
    await settle()
    log.clear()
    system.ref("top/b").kill(ValueError("broken"))
    await asyncio.sleep(8)  # b is left behind after 1 s; c, which has 5 s, 6 s later
    group = group_of("b", strategy)
    left_behind = [StuckChild(f"top/{id}", 1) for id in "bc" if id in group]
    assert of(StuckChild, events) == left_behind
    assert await statuses(top) == dict.fromkeys("abc", "running")
    assert await restarts(top) == {id: int(id in group) for id in "abc"}
    assert await system.ref("top/b").ask(Echo(1)) == 1
    for gate in gates.values():
        gate.open.set()
    outcomes = await asyncio.gather(*stuck, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ActorDown, ActorDown if "c" in group else type(None)]
    await settle()
    assert of(StuckChild, events) == left_behind
    assert await restarts(top) == {id: int(id in group) for id in "abc"}


@dataclass(eq=False, slots=True)
class Doorway:
    """Where a thread waits until the test lets it go on."""

    entered: threading.Event = field(default_factory=threading.Event)
    open: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class Block(Message[None]):
    doorway: Doorway


class Blocking(Child):
    @handles(Block)
    @blocking
    def block(self, message: Block) -> None:
        message.doorway.entered.set()
        message.doorway.open.wait(30)
        message.doorway.left.set()


@under_all_strategies
async def test_c_child_that_blocks_in_a_thread(
    system: ActorSystem, events: list[Event], strategy: Strategy, tmp_path: Path
) -> None:
    """The next life takes messages while the thread of the last one still blocks. Time is real (``tmp_path``)."""
    specs = [ChildSpec(id=id, start=Blocking, shutdown=0.05) for id in "abc"]
    top = await supervise(system, specs, strategy=strategy)
    doorways = {id: Doorway() for id in "bc"}
    blocked = [
        asyncio.create_task(system.ref(f"top/{id}").ask(Block(doorway), timeout=None))
        for id, doorway in doorways.items()
    ]
    for doorway in doorways.values():
        assert await asyncio.to_thread(doorway.entered.wait, 30)
    system.ref("top/b").kill(ValueError("broken"))
    assert await system.ref("top/b").ask(Echo(1), timeout=None) == 1
    group = group_of("b", strategy)
    assert await restarts(top) == {id: int(id in group) for id in "abc"}
    left_alone = [CancellationIgnored(f"top/{id}", 1, Block) for id in "bc" if id in group]
    assert of(CancellationIgnored, events) == left_alone
    assert of(StuckChild, events) == []  # the actor itself is not stuck
    for doorway in doorways.values():
        assert not doorway.left.is_set()
        doorway.open.set()
        assert await asyncio.to_thread(doorway.left.wait, 30)
    outcomes = await asyncio.gather(*blocked, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ActorDown, ActorDown if "c" in group else type(None)]
    assert await restarts(top) == {id: int(id in group) for id in "abc"}


class FailsInStopping(Child):
    async def stopping(self, exit: Exit) -> None:
        await super().stopping(exit)
        raise OSError("the door does not close")


@under_all_strategies
async def test_c_crash_in_stopping(system: ActorSystem, events: list[Event], strategy: Strategy) -> None:
    """Where a child ends by itself it is a crash; where it is being stopped it hinders nobody."""
    log: list[object] = []
    specs = [ChildSpec(id=id, start=lambda: FailsInStopping(log), restart="transient", shutdown=1) for id in "abc"]
    top = await supervise(system, specs, strategy=strategy, intensity=2)
    log.clear()
    await end(system.ref("top/b"), Exit("normal"))
    assert log == ["-top/b normal", *restart_log("b", strategy)]
    once = {id: int(id in group_of("b", strategy)) for id in "abc"}
    assert await restarts(top) == once
    assert len(of(ActorRestarted, events)) == 1
    log.clear()
    await end(system.ref("top/a"), ABNORMAL)
    assert log == ["-top/a error", *restart_log("a", strategy)]
    assert await restarts(top) == {id: once[id] + (id in group_of("a", strategy)) for id in "abc"}
    assert len(of(ActorRestarted, events)) == 2
    log.clear()
    await system.stop()
    assert log == ["-top/c shutdown", "-top/b shutdown", "-top/a shutdown"]
    crashed = {(event.path, type(event.cause)) for event in of(ActorCrashed, events)}
    assert ("top/b", OSError) in crashed
    assert ("top/a", type(ABNORMAL.error)) in crashed  # what it crashed by, not what followed from it
    assert of(SupervisorGaveUp, events) == []


@under_all_strategies
async def test_c_crash_during_another_childs_restart(
    system: ActorSystem, events: list[Event], strategy: Strategy
) -> None:
    """It is heeded once that restart is done."""
    log: list[object] = []
    gate = Gate()
    slow = ChildSpec(id="c", start=lambda: SlowInLife(log, gate, 2))
    top = await supervise(system, [child("a", log), child("b", log), slow], strategy=strategy, intensity=2)
    log.clear()
    system.ref("top/c").kill(ValueError("first"))
    await gate.entered.wait()
    system.ref("top/b").kill(ValueError("second"))
    await settle()
    before = ["-top/c error", *restart_log("c", strategy)[:-1], "-top/b error"]
    assert log == before
    gate.open.set()
    await settle()
    assert log == [*before, "held", "+top/c", *restart_log("b", strategy)]
    assert await statuses(top) == dict.fromkeys("abc", "running")
    assert [str(event.cause) for event in of(ActorRestarted, events)] == ["first", "second"]


@under_all_strategies
@pytest.mark.parametrize("which", ["first start of all", "child that is added", "restart"])
async def test_c_shutdown_during_a_start(system: ActorSystem, strategy: Strategy, which: str) -> None:
    """The start is given up, those that run are stopped in reverse order, and no start timeout is waited for."""
    log: list[object] = []
    gate = Gate()
    begun = system.clock.monotonic()
    slow = ChildSpec(id="c", start=lambda: SlowInLife(log, gate, 2 if which == "restart" else 1))
    others = [child("a", log), child("b", log)]
    starting: asyncio.Task[object]
    if which == "first start of all":
        starting = asyncio.create_task(supervise(system, [*others, slow], strategy=strategy))
    else:
        top = await supervise(system, [*others, slow] if which == "restart" else others, strategy=strategy)
        if which == "restart":
            system.ref("top/c").kill(ValueError("broken"))
            starting = asyncio.create_task(system.ref("top/c").ask(Echo(1), timeout=None))
        else:
            starting = asyncio.create_task(top.ask(StartChild(slow), timeout=None))
    await gate.entered.wait()
    log.clear()
    await system.stop(None)
    assert gate.cancelled
    assert log == ["-top/b shutdown", "-top/a shutdown"]
    with pytest.raises(StartFailed if which == "first start of all" else ActorDown):
        await starting
    assert system.clock.monotonic() - begun < 0.1


@under_all_strategies
@pytest.mark.parametrize("overtaken", [False, True])
async def test_c_stale_life_writing_state(system: ActorSystem, strategy: Strategy, overtaken: bool) -> None:
    """What a life that was left behind still wants to write is refused, even before its successor has written.

    So is what a writer elsewhere overtook; the next life has what that one wrote.
    """
    specs = [ChildSpec(id=id, start=Stubborn, shutdown=1) for id in "abc"]
    await supervise(system, specs, strategy=strategy)
    gates = {id: Gate() for id in group_of("b", strategy)}
    refused: list[asyncio.Future[BaseException]] = []
    for id, gate in gates.items():
        ref = system.ref(f"top/{id}")
        assert await ref.ask(Add(1)) == 1
        refused.append(asyncio.get_running_loop().create_future())
        ref.tell(AddLate(1000, gate, refused[-1]))
    await settle()
    system.ref("top/b").kill(ValueError("broken"))
    await asyncio.sleep(10)
    totals = [1] * len(gates)
    if overtaken:
        totals = [await system.ref(f"top/{id}").ask(Add(1)) for id in gates]
        assert totals == [2] * len(gates)
    for gate in gates.values():
        gate.open.set()
    assert [type(error) for error in await asyncio.gather(*refused)] == [StaleState] * len(gates)
    assert [await system.ref(f"top/{id}").ask(Add(1)) for id in gates] == [total + 1 for total in totals]

    await system.states.save("top/b", totals[0] + 1, 1, '{"total": 100}')
    with pytest.raises(StaleState):
        await system.ref("top/b").ask(Add(1))
    assert await system.ref("top/b").ask(Add(1)) == 101


@under_all_strategies
async def test_c_state_that_crashes_the_actor_on_load_escalates(
    system: ActorSystem, events: list[Event], strategy: Strategy
) -> None:
    """Each supervisor tries as often as it may, then leaves it to the one above; the root cause is kept."""
    exits: list[Exit] = []

    def inner() -> Supervisor:
        specs = [child("a"), ChildSpec(id="b", start=Counter), child("c")]
        return Supervisor(specs, strategy=strategy, intensity=3)

    await supervise(system, [ChildSpec(id="sub", start=inner)], strategy=strategy, on_exit=exits.append)
    ref = system.ref("top/sub/b")
    assert await ref.ask(Add(1)) == 1
    await system.states.save("top/sub/b", 1, 99, "{}")
    ref.kill(ValueError("broken"))
    await settle()
    (exit,) = exits
    assert isinstance(exit.error, RestartLimitReached)
    assert causes(exit.error)[-1] is StoreTooNew
    assert [event.path for event in of(SupervisorGaveUp, events)] == ["top/sub", "top"]
    tries = [event.path for event in of(RestartFailed, events)]
    assert tries == ["top/sub/b"] * 3 + ["top/sub"] * 5
    assert system.roots() == ()
    assert not any(system.find_cell(f"top/sub/{id}") for id in "abc")
