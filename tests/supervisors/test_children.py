"""Starting and stopping children: with the supervisor, and by request."""

import asyncio
from typing import Any, cast

import pytest

from repertory.actors import ActorSystem, Exit
from repertory.errors import ActorDown, ConfigError, DeadlineExceeded, NameTaken, StartFailed
from repertory.events import ActorRestarted, ActorStarted, ActorStopped, Event, StuckChild
from repertory.supervisors import (
    ChildSpec,
    DeleteChild,
    GetChildSpec,
    RestartChild,
    StartChild,
    StopChild,
    TerminateChild,
)
from tests.actors.kernel import Echo, Finish, Gate, Hold, Probe, Withstand, of, settle
from tests.supervisors.tree import Child, child, statuses, supervise


async def test_children_start_in_order_and_stop_in_reverse(system: ActorSystem) -> None:
    log: list[object] = []
    top = await supervise(system, [child(id, log) for id in "abc"])
    await top.ask(StartChild(child("d", log)))
    assert list(await statuses(top)) == ["a", "b", "c", "d"]
    await system.stop()
    ids = "abcd"
    assert log == [*(f"+top/{id}" for id in ids), *(f"-top/{id} shutdown" for id in reversed(ids))]


async def test_a_restarted_child_keeps_its_place_in_the_order(system: ActorSystem) -> None:
    log: list[object] = []
    await supervise(system, [child(id, log) for id in "abc"])
    system.ref("top/a").kill(ValueError("broken"))
    await settle()
    log.clear()
    await system.stop()
    assert log == [f"-top/{id} shutdown" for id in "cba"]


async def test_the_next_child_starts_only_when_the_one_before_it_is_ready(system: ActorSystem) -> None:
    log: list[object] = []
    gate = Gate()

    class Slow(Child):
        async def started(self) -> None:
            await self.hold(Hold(gate))
            await super().started()

    starting = asyncio.create_task(
        supervise(system, [ChildSpec(id="a", start=lambda: Slow(log)), child("b", log)])
    )
    await settle()
    assert log == []
    gate.open.set()
    await starting
    assert log == ["held", "+top/a", "+top/b"]


async def test_the_next_child_stops_only_when_the_one_after_it_is_gone(system: ActorSystem) -> None:
    log: list[object] = []
    gate = Gate()
    await supervise(system, [child("a", log), child("b", log)])
    system.ref("top/b").tell(Hold(gate))
    await gate.entered.wait()
    stopping = asyncio.create_task(system.stop())
    await settle()
    assert log == ["+top/a", "+top/b"]
    gate.open.set()
    await stopping
    assert log[2:] == ["held", "-top/b shutdown", "-top/a shutdown"]


async def test_a_static_child_that_fails_stops_those_before_it(system: ActorSystem) -> None:
    log: list[object] = []
    error = ValueError("no fuel")
    faulty = ChildSpec(id="c", start=lambda: Child(log, lambda: error))
    with pytest.raises(StartFailed, match="top/c did not start: no fuel") as caught:
        await supervise(system, [child("a", log), child("b", log), faulty, child("d", log)])
    cause = caught.value.__cause__
    assert isinstance(cause, StartFailed)
    assert cause.__cause__ is error
    assert log == ["+top/a", "+top/b", "-top/b shutdown", "-top/a shutdown"]
    await supervise(system, [child("a"), child("c")])  # all names are free again


async def test_a_static_child_that_hangs_stops_those_before_it(system: ActorSystem) -> None:
    log: list[object] = []

    class Hanging(Child):
        async def started(self) -> None:
            await asyncio.Event().wait()

    with pytest.raises(StartFailed, match=r"top/b did not start: its start took longer than 3 s"):
        await supervise(system, [child("a", log), ChildSpec(id="b", start=Hanging, start_timeout=3)])
    assert log == ["+top/a", "-top/a shutdown"]


async def test_two_static_children_of_one_id_fail_the_supervisor(system: ActorSystem) -> None:
    log: list[object] = []
    with pytest.raises(StartFailed) as caught:
        await supervise(system, [child("a", log), child("a", log)])
    assert isinstance(caught.value.__cause__, NameTaken)
    assert log == []  # nothing was begun


async def test_a_child_is_added_and_taken_away(system: ActorSystem) -> None:
    log: list[object] = []
    top = await supervise(system, [])
    ref = await top.ask(StartChild(child("a", log)))
    assert (ref.path, await ref.ask(Echo(1))) == ("top/a", 1)
    assert await top.ask(StopChild("a")) is True
    assert await top.ask(StopChild("a")) is False
    with pytest.raises(ActorDown):
        await ref.ask(Echo(2))
    assert log == ["+top/a", 1, "-top/a shutdown"]
    assert await statuses(top) == {}
    await top.ask(StartChild(child("a", log)))
    assert await ref.ask(Echo(3)) == 3


async def test_a_child_whose_id_is_taken_is_refused_and_nothing_changes(system: ActorSystem) -> None:
    log: list[object] = []
    top = await supervise(system, [child("a", log)])
    with pytest.raises(NameTaken, match="top has a child 'a' already"):
        await top.ask(StartChild(child("a", log)))
    assert log == ["+top/a"]
    assert await statuses(top) == {"a": "running"}


async def test_a_child_whose_path_is_taken_by_a_stranger_is_refused(system: ActorSystem) -> None:
    top = await supervise(system, [])
    await system.spawn(Probe, name="top/a")
    with pytest.raises(NameTaken, match="'top/a' exists already"):
        await top.ask(StartChild(child("a")))
    assert await statuses(top) == {}


async def test_a_start_whose_asker_is_gone_is_undone(system: ActorSystem) -> None:
    gate = Gate()

    class Slow(Child):
        async def started(self) -> None:
            await self.hold(Hold(gate))

    top = await supervise(system, [])
    with pytest.raises(DeadlineExceeded):
        await top.ask(StartChild(ChildSpec(id="a", start=Slow)), timeout=1)
    assert await statuses(top) == {}
    assert gate.cancelled
    await top.ask(StartChild(child("a")))


async def test_a_stop_whose_asker_is_gone_still_ends_the_child_for_good(system: ActorSystem) -> None:
    top = await supervise(system, [child("a")])
    gate = Gate()
    held = asyncio.create_task(system.ref("top/a").ask(Hold(gate), timeout=None))
    queued = asyncio.create_task(system.ref("top/a").ask(Echo(1), timeout=None))
    await gate.entered.wait()
    with pytest.raises(DeadlineExceeded):
        await top.ask(StopChild("a"), timeout=1)
    outcomes = await asyncio.gather(held, queued, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ActorDown, ActorDown]
    assert await statuses(top) == {}
    await top.ask(StartChild(child("a")))  # its name is free
    assert await system.ref("top/a").ask(Echo(1)) == 1


async def test_stopping_a_child_that_has_ended_forgets_it(system: ActorSystem) -> None:
    top = await supervise(system, [child("a", restart="transient")])
    await system.ref("top/a").ask(Finish(Exit("normal")))
    await settle()
    assert await statuses(top) == {"a": "stopped"}
    with pytest.raises(NameTaken):  # its specification is kept
        await top.ask(StartChild(child("a")))
    assert await top.ask(StopChild("a")) is True
    assert await statuses(top) == {}


@pytest.mark.parametrize("turns", range(6))
async def test_a_child_stopped_about_when_it_crashes_is_gone_whichever_comes_first(
    system: ActorSystem, events: list[Event], turns: int
) -> None:
    top = await supervise(system, [child("a")])
    stopping = asyncio.create_task(top.ask(StopChild("a")))
    for _ in range(turns):
        await asyncio.sleep(0)
    cell = system.find_cell("top/a")
    if cell is not None:
        cell.kill(ValueError("broken"))
    assert await stopping is True
    await settle()
    assert await statuses(top) == {}
    with pytest.raises(ActorDown):
        await system.ref("top/a").ask(Echo(1))
    assert len(of(ActorRestarted, events)) == len(of(ActorStarted, events)) - 2


async def test_each_child_has_its_own_time_to_stop(system: ActorSystem, events: list[Event]) -> None:
    top = await supervise(system, [child("quick", shutdown=1), child("slow", shutdown=100)])
    gates = {id: Gate() for id in ("quick", "slow")}
    held = {
        id: asyncio.create_task(system.ref(f"top/{id}").ask(Hold(gate), timeout=None))
        for id, gate in gates.items()
    }
    await settle()
    before = system.clock.monotonic()
    stopping = asyncio.create_task(system.stop(None))
    await asyncio.sleep(50)
    gates["slow"].open.set()
    await stopping
    assert await held["slow"] == "held"
    with pytest.raises(ActorDown):
        await held["quick"]
    assert system.clock.monotonic() - before == pytest.approx(51, abs=0.1)
    assert not top.running


async def test_a_stop_cut_short_leaves_no_child(system: ActorSystem, events: list[Event]) -> None:
    """The supervisor's own time is over before its children's is."""
    log: list[object] = []
    await supervise(system, [child(id, log, shutdown=100) for id in "abc"])
    gates = [Gate() for _ in "abc"]
    for id, gate in zip("abc", gates, strict=True):
        system.ref(f"top/{id}").tell(Hold(gate))
    await settle()
    await system.stop(2)
    await settle()
    assert all(gate.cancelled for gate in gates)
    assert len(log) == 6
    assert of(StuckChild, events) == []
    await supervise(system, [child(id) for id in "abc"])  # all names are free


async def test_a_stuck_child_is_left_behind_and_the_others_are_stopped_in_order(
    system: ActorSystem, events: list[Event]
) -> None:
    log: list[object] = []
    await supervise(system, [child(id, log, shutdown=1) for id in "abc"])
    gate = Gate()
    system.ref("top/b").tell(Withstand(gate))
    await gate.entered.wait()
    await system.stop(None)
    assert of(StuckChild, events) == [StuckChild("top/b", 1)]
    assert log[3:] == ["-top/c shutdown", "-top/a shutdown"]
    gate.open.set()


async def test_a_supervisor_asked_to_stop_in_mid_start_of_a_child_that_withstands_it_is_not_stuck_itself(
    system: ActorSystem, events: list[Event]
) -> None:
    log: list[object] = []
    gate = Gate()

    class Deaf(Child):
        async def started(self) -> None:
            await self.withstand(Withstand(gate))

    top = await supervise(system, [child("a", log)])
    starting = asyncio.create_task(top.ask(StartChild(ChildSpec(id="deaf", start=Deaf))))
    await gate.entered.wait()
    await system.stop(None)
    with pytest.raises(ActorDown):
        await starting
    assert log == ["+top/a", "-top/a shutdown"]
    assert StuckChild("top", 1) not in events
    assert [event.path for event in of(ActorStopped, events)] == ["top/a", "top"]
    gate.open.set()


async def test_a_supervisor_stops_although_it_waits_for_a_childs_stop(
    system: ActorSystem, events: list[Event]
) -> None:
    top = await supervise(system, [child("a", shutdown=100), child("b")])
    gate = Gate()
    system.ref("top/a").tell(Withstand(gate))
    await gate.entered.wait()
    stopped = asyncio.create_task(top.ask(StopChild("a"), timeout=None))
    await settle()
    await system.stop(None)
    with pytest.raises(ActorDown):
        await stopped
    assert StuckChild("top", 1) not in events
    gate.open.set()


@pytest.mark.parametrize("message", [TerminateChild, RestartChild, DeleteChild, StopChild, GetChildSpec])
def test_an_id_that_cannot_be_one_is_refused_where_it_is_written(message: Any) -> None:
    with pytest.raises(ConfigError, match=r"id = \['a'\]"):
        message(["a"])


def test_a_spec_that_is_none_is_refused_where_it_is_written() -> None:
    wrong: Any = "ann"
    with pytest.raises(ConfigError, match="StartChild: spec = 'ann'"):
        StartChild(wrong)
    with pytest.raises(ConfigError, match="StartChild: id = 7"):
        StartChild(id=cast(Any, 7))
