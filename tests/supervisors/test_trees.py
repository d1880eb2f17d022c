"""Supervisors under supervisors."""

import asyncio
from collections import Counter

import pytest

from repertory.actors import ActorSystem, Exit
from repertory.errors import ActorDown, InjectedCrash, RestartLimitReached, StartFailed
from repertory.events import ActorRestarted, Event, SupervisorGaveUp
from repertory.supervisors import ChildSpec, StartChild, Supervisor, WhichChildren
from repertory.supervisors.child import Restart
from tests.actors.kernel import Echo, Gate, Hold, of, settle
from tests.supervisors.tree import Child, Starts, child, children_of, counts, statuses, supervise


def branch(
    id: str,
    *children: ChildSpec,
    intensity: int = 5,
    restart: Restart = "permanent",
    shutdown: float | None = None,
) -> ChildSpec:
    return ChildSpec(
        id=id, start=lambda: Supervisor(children, intensity=intensity), restart=restart, shutdown=shutdown
    )


async def test_a_tree_starts_depth_first_and_stops_in_reverse(system: ActorSystem) -> None:
    log: list[object] = []
    await supervise(system, [branch("x", child("a", log), child("b", log)), child("c", log)])
    await system.stop()
    assert log == [
        "+top/x/a",
        "+top/x/b",
        "+top/c",
        "-top/c shutdown",
        "-top/x/b shutdown",
        "-top/x/a shutdown",
    ]


async def test_a_supervisor_that_gave_up_is_restarted_by_its_parent_with_all_its_children(
    system: ActorSystem, events: list[Event]
) -> None:
    log: list[object] = []
    top = await supervise(system, [branch("x", child("a", log), child("b", log), intensity=1)])
    refs = [system.ref("top/x/a"), system.ref("top/x/b")]
    errors = [ValueError("first"), ValueError("second")]
    for error in errors:
        refs[0].kill(error)
        await settle()
    assert [await ref.ask(Echo(1)) for ref in refs] == [1, 1]  # references outlive the supervisor's life
    children = await children_of(top)
    assert children["x"].restarts == 1
    assert isinstance(children["x"].last_error, RestartLimitReached)
    assert of(SupervisorGaveUp, events) == [SupervisorGaveUp("top/x", errors[1])]
    assert [event.path for event in of(ActorRestarted, events)] == ["top/x/a", "top/x"]
    assert log[:7] == [
        "+top/x/a",
        "+top/x/b",
        "-top/x/a error",
        "+top/x/a",
        "-top/x/a error",
        "-top/x/b shutdown",
        "+top/x/a",
    ]


async def test_after_the_parents_restart_the_intensity_counts_anew_and_added_children_are_gone(
    system: ActorSystem,
) -> None:
    top = await supervise(system, [branch("x", child("a"), intensity=1)])
    x = system.ref("top/x")
    await x.ask(StartChild(child("added")))
    ref = system.ref("top/x/a")
    for restarts_of_x in (0, 1, 1, 2):
        ref.kill(ValueError("broken"))
        await settle()
        assert (await children_of(top))["x"].restarts == restarts_of_x
        assert await ref.ask(Echo(1)) == 1
    assert await statuses(x) == {"a": "running"}


async def test_a_crash_that_no_restart_mends_escalates_to_the_top(
    system: ActorSystem, events: list[Event]
) -> None:
    exits: list[Exit] = []
    starts = Starts(lambda number: number >= 2)
    await supervise(
        system,
        [branch("x", ChildSpec(id="a", start=lambda: Child(None, starts)), intensity=2)],
        intensity=3,
        on_exit=exits.append,
    )
    ref = system.ref("top/x/a")
    ref.kill(ValueError("broken"))
    await settle()
    assert [event.path for event in of(SupervisorGaveUp, events)] == ["top/x", "top"]
    (exit,) = exits
    assert exit.kind == "shutdown"
    assert starts.count == 1 + 2 + 3  # the first, two retries, three starts of the whole branch
    with pytest.raises(ActorDown):
        await ref.ask(Echo(1))
    cause: BaseException | None = exit.error
    causes = []
    while cause is not None:
        causes.append(type(cause))
        cause = cause.__cause__
    assert causes == [RestartLimitReached, StartFailed, StartFailed, ValueError]


@pytest.mark.parametrize(
    ("restart", "comes_back"), [("permanent", True), ("transient", False), ("temporary", False)]
)
async def test_a_supervisor_that_gave_up_ended_with_shutdown(
    system: ActorSystem, restart: Restart, comes_back: bool
) -> None:
    await supervise(system, [branch("x", child("a"), intensity=0, restart=restart)])
    system.ref("top/x/a").kill(ValueError("broken"))
    await settle()
    assert system.ref("top/x").running == system.ref("top/x/a").running == comes_back


async def test_a_killed_supervisor_takes_its_children_along_and_comes_back_with_them(system: ActorSystem) -> None:
    log: list[object] = []
    await supervise(system, [branch("x", child("a", log), branch("y", child("b", log)))])
    gate = Gate()
    held = asyncio.create_task(system.ref("top/x/y/b").ask(Hold(gate)))
    await gate.entered.wait()
    system.ref("top/x").kill(InjectedCrash("on purpose"))
    gate.open.set()
    assert await held == "held"
    await settle()
    assert log == [
        "+top/x/a",
        "+top/x/y/b",
        "held",
        "-top/x/y/b shutdown",
        "-top/x/a shutdown",
        "+top/x/a",
        "+top/x/y/b",
    ]
    assert await system.ref("top/x/y/b").ask(Echo(1)) == 1


async def test_a_supervisor_killed_in_mid_restart_of_a_child_comes_back_whole(system: ActorSystem) -> None:
    gate = Gate()

    class Slow(Child):
        async def started(self) -> None:
            if self.incarnation == 2:
                await self.hold(Hold(gate))
            await super().started()

    log: list[object] = []
    await supervise(system, [branch("x", child("b", log), ChildSpec(id="a", start=lambda: Slow(log)))])
    system.ref("top/x/a").kill(ValueError("broken"))
    await gate.entered.wait()
    asked = asyncio.create_task(system.ref("top/x/a").ask(Echo(1)))
    await asyncio.sleep(0)
    system.ref("top/x").kill(InjectedCrash("on purpose"))
    with pytest.raises(ActorDown):
        await asked
    await settle()
    assert gate.cancelled
    assert log == ["+top/x/b", "+top/x/a", "-top/x/a error", "-top/x/b shutdown", "+top/x/b", "+top/x/a"]
    assert await system.ref("top/x/a").ask(Echo(1)) == 1


async def test_a_crash_during_another_childs_restart_is_mended_after_it(system: ActorSystem) -> None:
    gate = Gate()

    class Slow(Child):
        async def started(self) -> None:
            if self.incarnation == 2:
                await self.hold(Hold(gate))

    top = await supervise(system, [child("b"), ChildSpec(id="a", start=Slow)])
    system.ref("top/a").kill(ValueError("first"))
    await gate.entered.wait()
    system.ref("top/b").kill(ValueError("second"))
    await settle()
    assert not system.ref("top/b").running
    gate.open.set()
    assert await system.ref("top/b").ask(Echo(1)) == 1
    assert {id: info.restarts for id, info in (await children_of(top)).items()} == {"b": 1, "a": 1}


async def test_a_child_that_crashes_while_its_supervisor_still_starts_others_is_restarted(
    system: ActorSystem,
) -> None:
    gate = Gate()

    class Slow(Child):
        async def started(self) -> None:
            await self.hold(Hold(gate))

    starting = asyncio.create_task(supervise(system, [child("a"), ChildSpec(id="b", start=Slow)]))
    await gate.entered.wait()
    system.ref("top/a").kill(ValueError("broken"))
    await settle()
    gate.open.set()
    top = await starting
    assert await system.ref("top/a").ask(Echo(1)) == 1
    assert (await children_of(top))["a"].restarts == 1


async def test_a_tree_stopped_with_10_000_asks_in_flight_answers_each_once(system: ActorSystem) -> None:
    leaves = [f"top/{x}/{a}" for x in "xyz" for a in "abc"]
    await supervise(system, [branch(x, *(child(a, shutdown=1) for a in "abc")) for x in "xyz"])
    refs = [system.ref(path) for path in leaves]
    gate = Gate()
    held = [asyncio.create_task(ref.ask(Hold(gate), timeout=None)) for ref in refs]
    asks = [asyncio.create_task(refs[n % 9].ask(Echo(n), timeout=60)) for n in range(10_000 - 9)]
    await settle()
    stopping = asyncio.create_task(system.stop(None))
    for path in ("top/x", "top/y/a"):  # and something crashes meanwhile
        system.ref(path).kill(InjectedCrash("on purpose"))
    outcomes = await asyncio.gather(*held, *asks, return_exceptions=True)
    await stopping
    counted = Counter(type(outcome) for outcome in outcomes)
    assert set(counted) <= {ActorDown, int}
    assert counted.total() == 10_000
    assert not system.ref("top").running


async def test_messages_that_waited_for_a_killed_supervisors_child_are_answered(system: ActorSystem) -> None:
    await supervise(system, [branch("x", child("a"))])
    ref = system.ref("top/x/a")
    gate = Gate()
    held = asyncio.create_task(ref.ask(Hold(gate)))
    await gate.entered.wait()
    queued = [asyncio.create_task(ref.ask(Echo(n))) for n in range(100)]
    await asyncio.sleep(0)
    system.ref("top/x").kill(InjectedCrash("on purpose"))
    outcomes = await asyncio.gather(held, *queued, return_exceptions=True)
    assert Counter(type(outcome) for outcome in outcomes) == {ActorDown: 101}
    assert await ref.ask(Echo(1)) == 1


async def test_a_supervisor_is_never_passivated(system: ActorSystem, events: list[Event]) -> None:
    spec = ChildSpec(id="x", start=lambda: Supervisor([child("a")]), passivate_after=1)
    await supervise(system, [spec])
    await asyncio.sleep(10)
    assert system.ref("top/x").running
    assert system.ref("top/x/a").running


async def test_a_lazy_supervisor_counts_as_one_once_it_has_begun(system: ActorSystem) -> None:
    lazy = ChildSpec(id="x", start=lambda: Supervisor([child("a")]), lazy=True)
    top = await supervise(system, [lazy])
    await system.ref("top/x").ask(WhichChildren())
    assert await counts(top) == (1, 1, 1, 0)
    assert (await children_of(top))["x"].kind == "supervisor"
