"""OTP's cases of restart strategies, under their names in OTP's supervisor_SUITE."""

import asyncio
from collections.abc import Callable

import pytest

from repertory.actors import ActorSystem, Exit
from repertory.errors import ActorDown, InjectedCrash, RestartLimitReached
from repertory.events import ActorRestarted, Event, RestartFailed, SupervisorGaveUp
from repertory.supervisors import ChildSpec, StartChild
from repertory.supervisors.decision import Strategy
from tests.actors.kernel import Echo, Gate, Hold, of, settle
from tests.supervisors.tree import (
    ABNORMAL,
    ERROR,
    Child,
    Starts,
    Unwanted,
    child,
    children_of,
    counts,
    end,
    restarts,
    statuses,
    supervise,
    supervise_dynamically,
)


def faltering(id: str, log: list[object], failing: Callable[[int], bool]) -> ChildSpec:
    starts = Starts(failing)
    return ChildSpec(id=id, start=lambda: Child(log, starts))


async def escalate(system: ActorSystem, strategy: Strategy, log: list[object]) -> Exit:
    """Have the second of three children end twice, where one restart is tolerated."""
    exits: list[Exit] = []
    await supervise(system, [child(id, log) for id in "abc"], strategy=strategy, intensity=1, on_exit=exits.append)
    await end(system.ref("top/b"), ABNORMAL)
    assert exits == []
    log.clear()
    await end(system.ref("top/b"), ABNORMAL)
    (exit,) = exits
    return exit


def assert_gave_up(exit: Exit, events: list[Event]) -> None:
    assert exit.kind == "shutdown"
    assert isinstance(exit.error, RestartLimitReached)
    assert exit.error.__cause__ is ERROR
    assert of(SupervisorGaveUp, events) == [SupervisorGaveUp("top", ERROR)]
    assert len(of(ActorRestarted, events)) == 1


async def test_multiple_restarts(system: ActorSystem) -> None:
    """Any number of restarts, as long as they are far enough apart."""
    exits: list[Exit] = []
    top = await supervise(system, [child("a")], intensity=1, period=1, on_exit=exits.append)
    for number in range(1, 5):
        await end(system.ref("top/a"), ABNORMAL)
        assert await restarts(top) == {"a": number}
        await asyncio.sleep(1.1)
    assert exits == []
    await end(system.ref("top/a"), ABNORMAL)
    await end(system.ref("top/a"), ABNORMAL)
    assert len(exits) == 1


async def test_one_for_one(system: ActorSystem, events: list[Event]) -> None:
    log: list[object] = []
    top = await supervise(system, [child(id, log) for id in "abc"])
    log.clear()
    await end(system.ref("top/b"), ABNORMAL)
    assert log == ["-top/b error", "+top/b"]
    assert await restarts(top) == {"a": 0, "b": 1, "c": 0}
    assert await counts(top) == (3, 3, 0, 3)
    assert len(of(ActorRestarted, events)) == 1


async def test_one_for_one_escalation(system: ActorSystem, events: list[Event]) -> None:
    log: list[object] = []
    assert_gave_up(await escalate(system, "one_for_one", log), events)
    assert log == ["-top/b error", "-top/c shutdown", "-top/a shutdown"]


async def test_one_for_all(system: ActorSystem, events: list[Event]) -> None:
    log: list[object] = []
    top = await supervise(system, [child(id, log) for id in "abc"], strategy="one_for_all")
    log.clear()
    await end(system.ref("top/b"), ABNORMAL)
    assert log == ["-top/b error", "-top/c shutdown", "-top/a shutdown", "+top/a", "+top/b", "+top/c"]
    assert await statuses(top) == dict.fromkeys("abc", "running")
    assert await restarts(top) == dict.fromkeys("abc", 1)
    assert [(event.path, event.cause) for event in of(ActorRestarted, events)] == [("top/b", ERROR)]


async def test_one_for_all_escalation(system: ActorSystem, events: list[Event]) -> None:
    log: list[object] = []
    assert_gave_up(await escalate(system, "one_for_all", log), events)
    assert log == ["-top/b error", "-top/c shutdown", "-top/a shutdown"]


async def test_one_for_all_other_child_fails_restart(system: ActorSystem, events: list[Event]) -> None:
    """The child that could not be started again is then the one that is being restarted, with all others."""
    log: list[object] = []
    top = await supervise(
        system,
        [child("a", log), faltering("b", log, lambda number: number in (2, 3)), child("c", log)],
        strategy="one_for_all",
        intensity=3,
    )
    log.clear()
    await end(system.ref("top/c"), ABNORMAL)
    assert log == [
        "-top/c error",
        "-top/b shutdown",
        "-top/a shutdown",
        *("+top/a", "-top/a shutdown") * 2,  # b could not start, twice
        *("+top/a", "+top/b", "+top/c"),
    ]
    assert await statuses(top) == dict.fromkeys("abc", "running")
    assert await restarts(top) == {"a": 3, "b": 3, "c": 1}
    assert [event.path for event in of(RestartFailed, events)] == ["top/b", "top/b"]
    assert [(event.path, event.cause) for event in of(ActorRestarted, events)] == [("top/c", ERROR)]


async def test_simple_one_for_one(system: ActorSystem) -> None:
    log: list[object] = []
    top = await supervise_dynamically(system, child("template", log))
    for id in "abc":
        await top.ask(StartChild(id=id))
    log.clear()
    await end(system.ref("top/b"), ABNORMAL)
    assert log == ["-top/b error", "+top/b"]
    assert await restarts(top) == {"a": 0, "b": 1, "c": 0}


async def test_simple_one_for_one_shutdown(system: ActorSystem) -> None:
    """All children are stopped at the same time, within one timeout."""
    top = await supervise_dynamically(system, child("template", shutdown=10))
    refs = [await top.ask(StartChild(id=str(number))) for number in range(20)]
    gates = [Gate() for _ in refs]
    held = [asyncio.create_task(ref.ask(Hold(gate), timeout=None)) for ref, gate in zip(refs, gates, strict=True)]
    await settle()
    before = system.clock.monotonic()
    stopping = asyncio.create_task(system.stop(None))
    await asyncio.sleep(5)
    for gate in gates[:10]:
        gate.open.set()
    await stopping
    assert system.clock.monotonic() - before == pytest.approx(10, abs=0.1)
    outcomes = await asyncio.gather(*held, return_exceptions=True)
    assert outcomes[:10] == ["held"] * 10
    assert [type(outcome) for outcome in outcomes[10:]] == [ActorDown] * 10


async def test_simple_one_for_one_extra(system: ActorSystem) -> None:
    """What is passed to start a child is appended to what its template says, in each of its lives."""
    made: list[tuple[object, ...]] = []

    class Told(Child):
        def __init__(self, *arguments: object) -> None:
            super().__init__()
            made.append(arguments)

    top = await supervise_dynamically(system, ChildSpec(id="template", start=Told))
    for id, args in (("a", (1, 2)), ("b", ("x",)), ("c", ())):
        await top.ask(StartChild(id=id, args=args))
    assert made == [(1, 2), ("x",), ()]
    for id in "cba":
        await end(system.ref(f"top/{id}"), ABNORMAL)
    assert made[3:] == [(), ("x",), (1, 2)]


async def test_simple_one_for_one_escalation(system: ActorSystem, events: list[Event]) -> None:
    exits: list[Exit] = []
    top = await supervise_dynamically(system, child("template"), intensity=1, on_exit=exits.append)
    for id in "abc":
        await top.ask(StartChild(id=id))
    await end(system.ref("top/a"), ABNORMAL)
    await end(system.ref("top/b"), ABNORMAL)
    (exit,) = exits
    assert_gave_up(exit, events)
    assert [system.find_cell(f"top/{id}") for id in "abc"] == [None] * 3


async def test_rest_for_one(system: ActorSystem, events: list[Event]) -> None:
    log: list[object] = []
    top = await supervise(system, [child(id, log) for id in "abcd"], strategy="rest_for_one")
    log.clear()
    await end(system.ref("top/b"), ABNORMAL)
    assert log == ["-top/b error", "-top/d shutdown", "-top/c shutdown", "+top/b", "+top/c", "+top/d"]
    assert await restarts(top) == {"a": 0, "b": 1, "c": 1, "d": 1}
    assert [(event.path, event.cause) for event in of(ActorRestarted, events)] == [("top/b", ERROR)]
    log.clear()
    await end(system.ref("top/d"), ABNORMAL)
    assert log == ["-top/d error", "+top/d"]


async def test_rest_for_one_escalation(system: ActorSystem, events: list[Event]) -> None:
    log: list[object] = []
    assert_gave_up(await escalate(system, "rest_for_one", log), events)
    assert log == ["-top/b error", "-top/c shutdown", "-top/a shutdown"]


async def test_rest_for_one_other_child_fails_restart(system: ActorSystem, events: list[Event]) -> None:
    """The group is tried again from the child that could not be started: those before it go on."""
    log: list[object] = []
    top = await supervise(
        system,
        [
            child("a", log),
            child("b", log),
            faltering("c", log, lambda number: number in (2, 3)),
            child("d", log),
        ],
        strategy="rest_for_one",
        intensity=3,
    )
    log.clear()
    system.ref("top/b").kill(ERROR)
    asked = [asyncio.create_task(system.ref(f"top/{id}").ask(Echo(1))) for id in "abcd"]
    assert await asyncio.gather(*asked) == [1] * 4  # those that wait for their restart, wait
    lives = [entry for entry in log if entry != 1]
    assert lives == ["-top/b error", "-top/d shutdown", "-top/c shutdown", "+top/b", "+top/c", "+top/d"]
    assert await restarts(top) == {"a": 0, "b": 1, "c": 3, "d": 1}
    assert [event.path for event in of(RestartFailed, events)] == ["top/c", "top/c"]


async def test_two_siblings_that_crash_in_the_same_turn_are_one_group_restart(
    system: ActorSystem, events: list[Event]
) -> None:
    log: list[object] = []
    top = await supervise(system, [child(id, log) for id in "abc"], strategy="one_for_all", intensity=1)
    log.clear()
    for id in "ac":
        system.ref(f"top/{id}").kill(InjectedCrash("on purpose"))
    await settle()
    assert sorted(map(str, log[:3])) == ["-top/a error", "-top/b shutdown", "-top/c error"]
    assert log[3:] == ["+top/a", "+top/b", "+top/c"]
    assert await restarts(top) == dict.fromkeys("abc", 1)
    assert [event.path for event in of(ActorRestarted, events)] == ["top/a"]


@pytest.mark.parametrize("turns", range(8))
async def test_a_sibling_that_crashes_while_its_group_is_restarted_is_restarted_with_it_or_after_it(
    system: ActorSystem, turns: int
) -> None:
    top = await supervise(system, [child(id) for id in "abc"], strategy="one_for_all")
    for id in "abc":
        await system.ref(f"top/{id}").ask(Echo(0))
    system.ref("top/a").kill(ERROR)
    for _ in range(turns):
        await asyncio.sleep(0)
    system.ref("top/b").kill(InjectedCrash("second"))
    assert await asyncio.gather(*(system.ref(f"top/{id}").ask(Echo(1)) for id in "abc")) == [1] * 3
    await settle()
    assert await statuses(top) == dict.fromkeys("abc", "running")
    assert len(set((await restarts(top)).values())) == 1  # whole groups only


async def test_messages_wait_for_a_sibling_that_is_restarted_with_its_group(system: ActorSystem) -> None:
    await supervise(system, [child("a"), child("b")], strategy="one_for_all")
    gate = Gate()
    held = asyncio.create_task(system.ref("top/b").ask(Hold(gate)))
    await gate.entered.wait()
    queued = [asyncio.create_task(system.ref("top/b").ask(Echo(number))) for number in range(100)]
    system.ref("top/a").kill(ERROR)
    await settle()
    gate.open.set()
    assert await held == "held"  # it stops when it has finished what it is at work on
    assert await asyncio.gather(*queued) == list(range(100))


async def test_a_group_restart_starts_those_that_were_stopped_on_purpose_or_had_ended_for_good(
    system: ActorSystem,
) -> None:
    """As in OTP: all that the supervisor keeps are started with the group."""
    top = await supervise(system, [child("a"), child("b", restart="transient")], strategy="one_for_all")
    await end(system.ref("top/b"), Exit("normal"))
    assert await statuses(top) == {"a": "running", "b": "stopped"}
    await end(system.ref("top/a"), ABNORMAL)
    assert await statuses(top) == {"a": "running", "b": "running"}
    assert (await children_of(top))["b"].restarts == 1


async def test_two_siblings_that_crash_in_the_same_turn_count_once_even_if_the_restart_fails(
    system: ActorSystem, events: list[Event]
) -> None:
    log: list[object] = []
    top = await supervise(
        system,
        [faltering("a", log, lambda number: number == 2), child("b", log)],
        strategy="one_for_all",
        intensity=2,  # the crash, and the failed start
    )
    for id in "ab":
        system.ref(f"top/{id}").kill(InjectedCrash("on purpose"))
    await settle()
    assert await statuses(top) == {"a": "running", "b": "running"}
    assert of(SupervisorGaveUp, events) == []


async def test_a_temporary_bystander_that_crashes_while_its_group_is_stopped_is_forgotten_once(
    system: ActorSystem,
) -> None:
    gate = Gate()
    top = await supervise(
        system, [child("a"), child("b", restart="temporary"), child("c")], strategy="one_for_all"
    )
    system.ref("top/c").tell(Hold(gate))
    await gate.entered.wait()
    system.ref("top/a").kill(ERROR)
    await settle()  # c is being stopped, and finishes its message first
    system.ref("top/b").kill(InjectedCrash("meanwhile"))
    await settle()
    gate.open.set()
    await settle()
    assert await statuses(top) == {"a": "running", "c": "running"}
    assert await restarts(top) == {"a": 1, "c": 1}


async def test_a_child_that_says_in_its_restart_that_it_is_not_wanted_is_stopped(
    system: ActorSystem, events: list[Event]
) -> None:
    kinds: list[type[Child]] = [Child]
    top = await supervise(system, [ChildSpec(id="a", start=lambda: kinds[-1]())])
    kinds.append(Unwanted)
    waiting = asyncio.create_task(system.ref("top/a").ask(Echo(1)))
    system.ref("top/a").kill(ERROR)
    with pytest.raises(ActorDown):
        await waiting
    assert await statuses(top) == {"a": "stopped"}
    assert of(ActorRestarted, events) == []
