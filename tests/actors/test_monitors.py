"""Monitors: who hears of whose end. Semantics: Erlang/OTP."""

import asyncio
from collections.abc import Callable

import pytest

from repertory.actors import SHUTDOWN, ActorSpec, ActorSystem, Exit
from repertory.errors import ActorDown
from tests.actors.kernel import Echo, Probe, Raise, Restarting, settle
from tests.actors.observer import Do, Observer, Trapping, monitor, settle_to_rest


async def test_a_monitor_tells_once_how_the_life_ended(system: ActorSystem) -> None:
    log: list[tuple[str, Exit]] = []
    observer = await system.spawn(lambda: Observer(log), name="observer")
    keeper = Restarting()
    cell = system.new_cell("restarted", ActorSpec(start=Observer), keeper)
    await cell.start()
    made = await monitor(observer, cell.ref)
    cause = ValueError("broken")
    for _ in range(2):  # the second life was not asked about
        cell.kill(cause)
        await settle()
        await cell.start()
    assert log == [("restarted is down", Exit("error", cause))]
    assert not made.active
    await cell.stop(SHUTDOWN, 5)


async def test_two_monitors_of_one_actor_tell_twice(system: ActorSystem) -> None:
    log: list[tuple[str, Exit]] = []
    observer = await system.spawn(lambda: Observer(log), name="observer")
    probe = await system.spawn(Probe, name="probe")
    for _ in range(2):
        await monitor(observer, probe)
    await probe.stop()
    await settle()
    assert log == [("probe is down", SHUTDOWN)] * 2


async def test_a_monitor_of_the_dead_tells_at_once(system: ActorSystem) -> None:
    log: list[tuple[str, Exit]] = []
    observer = await system.spawn(lambda: Observer(log), name="observer")
    await monitor(observer, system.ref("nobody"))
    await settle()
    ((told, exit),) = log
    assert told == "nobody is down"
    assert isinstance(exit.error, ActorDown)


async def test_the_end_of_the_watcher_does_not_touch_the_watched(system: ActorSystem) -> None:
    observer = await system.spawn(Observer, name="observer")
    probe = await system.spawn(Probe, name="probe")
    made = await monitor(observer, probe)
    observer.kill(ValueError("broken"))
    await settle()
    assert probe.running
    assert not made.active


async def test_a_cancelled_monitor_does_not_tell_even_where_the_life_has_ended(system: ActorSystem) -> None:
    log: list[tuple[str, Exit]] = []
    observer = await system.spawn(lambda: Observer(log), name="observer")
    first, second = [await system.spawn(Probe, name=name) for name in ("first", "second")]

    def cancel_before_and_after_the_end(actor: Observer) -> None:
        before, after = actor.monitor(first), actor.monitor(second)
        before.cancel()
        for ref in (first, second):
            cell = ref.find_cell()
            assert cell is not None
            cell.close()
        after.cancel()
        after.cancel()

    await observer.ask(Do(cancel_before_and_after_the_end))
    await settle()
    assert log == []


async def test_what_one_life_was_to_be_told_does_not_reach_the_next(system: ActorSystem) -> None:
    log: list[tuple[str, Exit]] = []
    cell = system.new_cell("restarted", ActorSpec(start=lambda: Trapping(log)), Restarting())
    await cell.start()
    probe = await system.spawn(Probe, name="probe")

    def crash_while_a_down_waits(actor: Observer) -> None:
        actor.monitor(system.ref("nobody"))
        actor.link(system.ref("nobody"))
        actor.monitor(probe)
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await cell.ref.ask(Do(crash_while_a_down_waits))
    await settle()
    await cell.start()
    await probe.stop()
    await settle()
    assert log == []
    await cell.stop(SHUTDOWN, 5)


async def test_passivation_is_no_end_but_the_end_of_a_passivated_actor_is(system: ActorSystem) -> None:
    log: list[tuple[str, Exit]] = []
    observer = await system.spawn(lambda: Observer(log), name="observer")
    cell = system.new_cell("resting", ActorSpec(start=Observer, passivate_after=1), Restarting())
    await cell.start()
    await monitor(observer, cell.ref)
    await settle_to_rest()
    assert cell.passivated
    assert log == []
    await cell.stop(SHUTDOWN, 5)
    await settle()
    assert log == [("resting is down", SHUTDOWN)]


async def test_a_passivated_actor_that_cannot_be_made_anew_is_down(system: ActorSystem) -> None:
    log: list[tuple[str, Exit]] = []
    observer = await system.spawn(lambda: Observer(log), name="observer")
    error = ValueError("no parts")
    makers: list[Callable[[], Observer]] = [Observer]

    def make() -> Observer:
        if not makers:
            raise error
        return makers.pop()()

    resting = await system.spawn(make, name="resting", passivate_after=1)
    await monitor(observer, resting)
    await settle_to_rest()
    resting.tell(Do(lambda actor: None))
    await settle()
    ((told, exit),) = log
    assert told == "resting is down"
    assert exit.error is not None
    assert exit.error.__cause__ is error


async def test_a_passivated_watcher_comes_back_to_be_told(system: ActorSystem) -> None:
    log: list[tuple[str, Exit]] = []
    observer = await system.spawn(lambda: Observer(log), name="observer", passivate_after=1)
    probe = await system.spawn(Probe, name="probe")
    await monitor(observer, probe)
    await settle_to_rest()
    assert not observer.running
    await probe.stop()
    await settle()
    assert log == [("probe is down", SHUTDOWN)]


# --- from outside --------------------------------------------------------------------------------------------


async def test_code_that_is_no_actor_waits_for_the_end_of_a_life(system: ActorSystem) -> None:
    probe = await system.spawn(Probe, name="probe")
    waiting = [asyncio.create_task(probe.ended()) for _ in range(2)]
    await settle()
    waiting[1].cancel()
    error = ValueError("broken")
    probe.tell(Raise(error))
    assert await waiting[0] == Exit("error", error)
    assert isinstance((await probe.ended()).error, ActorDown)


async def test_an_actor_that_monitors_itself_hears_nothing(system: ActorSystem) -> None:
    log: list[tuple[str, Exit]] = []
    cell = system.new_cell("restarted", ActorSpec(start=lambda: Trapping(log)), Restarting())
    await cell.start()
    await monitor(cell.ref, cell.ref)
    cell.kill(ValueError("broken"))
    await settle()
    await cell.start()
    await settle()
    assert log == []
    await cell.stop(SHUTDOWN, 5)


async def test_a_told_down_without_a_handler_does_no_harm(system: ActorSystem) -> None:
    class Careless(Probe):
        async def echo(self, message: Echo) -> int:
            self.monitor(self.system.ref("nobody"))
            return await super().echo(message)

    ref = await system.spawn(Careless, name="careless")
    assert [await ref.ask(Echo(value)) for value in (1, 2)] == [1, 2]
