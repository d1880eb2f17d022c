"""Faults of section C that are a matter of one turn of the event loop more or less; see `test_faults`."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from repertory.actors import ActorRef, ActorSystem, Exit
from repertory.errors import ActorDown
from repertory.events import ActorPassivated, ActorRestarted, ActorStarted, Event
from repertory.supervisors import ChildSpec, StopChild, TerminateChild
from repertory.supervisors.decision import Strategy
from tests.actors.kernel import Echo, Gate, Raise, of, settle
from tests.supervisors.faults import SlowInLife, group_of, under_all_strategies
from tests.supervisors.tree import Child, child, restarts, statuses, supervise

ERROR = ValueError("broken")


def stop_child(top: ActorRef) -> Awaitable[object]:
    return top.ask(StopChild("b"))


def terminate_child(top: ActorRef) -> Awaitable[object]:
    return top.ask(TerminateChild("b"))


def stop_supervisor(top: ActorRef) -> Awaitable[object]:
    return top.stop()


async def do(stop: Awaitable[object]) -> None:
    await stop


@under_all_strategies
@pytest.mark.parametrize("stop", [stop_child, terminate_child, stop_supervisor])
@pytest.mark.parametrize("first", ["crash", "kill", "stop"])
async def test_c_crash_in_the_same_loop_turn_as_a_stop(
    system: ActorSystem,
    events: list[Event],
    strategy: Strategy,
    stop: Callable[[ActorRef], Awaitable[object]],
    first: str,
) -> None:
    """Whichever comes first, in the end the child is stopped, once, and its siblings are as they should be."""
    log: list[object] = []
    top = await supervise(system, [child(id, log) for id in "abc"], strategy=strategy)
    ref = system.ref("top/b")
    stopping = asyncio.create_task(do(stop(top)))
    if first == "stop":
        await asyncio.sleep(0)  # it is sent in this turn, and heeded in the next one
    if first == "crash":
        ref.tell(Raise(ERROR))
    else:
        ref.kill(ERROR)
    await stopping
    await settle()
    starts, stops = ([entry for entry in log if str(entry)[0] == sign] for sign in "+-")
    restarted = len(starts) > 3
    assert len(of(ActorRestarted, events)) == restarted
    assert starts[3:] == [f"+top/{id}" for id in group_of("b", strategy) if restarted]
    if stop is stop_supervisor:
        assert not restarted
        assert sorted(str(entry).split()[0] for entry in stops) == ["-top/a", "-top/b", "-top/c"]
        assert system.roots() == ()
        return
    assert not ref.running
    expected = {"a": "running", "b": "stopped", "c": "running"}
    if stop is stop_child:
        del expected["b"]
    assert await statuses(top) == expected
    assert [entry for entry in log if "top/b" in str(entry)][-1] != "+top/b"
    with pytest.raises(ActorDown):
        await ref.ask(Echo(1))


class Leaving(Child):
    """Takes some turns to be dropped."""

    async def stopping(self, exit: Exit) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        await super().stopping(exit)


@pytest.mark.parametrize("turns", range(-1, 9))
@pytest.mark.parametrize("asks", [1, 20])
async def test_c_passivation_racing_with_a_message(
    system: ActorSystem, events: list[Event], turns: int, asks: int
) -> None:
    """Whether it meets the old life or calls a new one into being, each message is handled once; it is no end."""
    log: list[object] = []
    specs = [child("a"), ChildSpec(id="b", start=lambda: Leaving(log), passivate_after=1000)]
    top = await supervise(system, specs, strategy="one_for_all", intensity=0)
    ref = system.ref("top/b")
    cell = ref.find_cell()
    assert cell is not None
    assert await ref.ask(Echo(-1)) == -1
    await settle()
    if turns >= 0:
        cell.passivate()
    for _ in range(turns):
        await asyncio.sleep(0)
    asking = [asyncio.create_task(ref.ask(Echo(number))) for number in range(asks)]
    if turns < 0:
        await asyncio.sleep(0)  # they are sent in this turn, and handled in the next one
        cell.passivate()
    assert await asyncio.gather(*asking) == list(range(asks))
    assert [entry for entry in log if isinstance(entry, int)] == [-1, *range(asks)]
    lives = [entry for entry in log if isinstance(entry, str)]
    assert lives == (["+top/b"] if turns < 0 else ["+top/b", "-top/b passivated", "+top/b"])
    assert len(of(ActorPassivated, events)) == (turns >= 0)
    assert await restarts(top) == {"a": 0, "b": 0}
    assert await statuses(top) == {"a": "running", "b": "running"}


@under_all_strategies
@pytest.mark.parametrize("overtaken", [False, True])
async def test_c_two_activations_racing(
    system: ActorSystem, events: list[Event], strategy: Strategy, overtaken: bool
) -> None:
    """All messages to an actor without a life call one into being, also where its group is restarted meanwhile."""
    log: list[object] = []
    gate = Gate()
    lazy = ChildSpec(id="c", start=lambda: SlowInLife(log, gate, 1), lazy=True)
    top = await supervise(system, [child("a", log), child("b", log), lazy], strategy=strategy)
    assert log == ["+top/a", "+top/b"]
    ref = system.ref("top/c")
    asks = [asyncio.create_task(ref.ask(Echo(number))) for number in range(5)]
    await gate.entered.wait()
    asks += [asyncio.create_task(system.ref("top/c").ask(Echo(number))) for number in range(5, 10)]
    await settle()
    lives = 1
    if overtaken:
        system.ref("top/a").kill(ERROR)
        await settle()
        lives += "c" in group_of("a", strategy)
    gate.open.set()
    assert await asyncio.gather(*asks) == list(range(10))
    assert [entry for entry in log if isinstance(entry, int)] == list(range(10))
    assert log.count("+top/c") == 1
    assert [event.incarnation for event in of(ActorStarted, events) if event.path == "top/c"] == [lives]
    assert await restarts(top) == {id: int(overtaken and id in group_of("a", strategy)) for id in "abc"}
