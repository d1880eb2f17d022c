"""The actor system: starting, stopping, and being stopped with everything in flight."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from repertory.actors import ActorSystem, Exit, MailboxStats
from repertory.errors import ActorDown, StartFailed
from repertory.events import ActorStarted, Event, Hooks
from tests.actors.kernel import Echo, Finish, Gate, Hold, Probe, settle
from tests.virtual_time import LoopClock


async def test_a_stop_ends_the_actors_latest_first_and_frees_their_names(system: ActorSystem) -> None:
    log: list[object] = []

    class Named(Probe):
        async def stopping(self, exit: Exit) -> None:
            log.append(self.path)

    for name in ("a", "b", "c"):
        await system.spawn(Named, name=name)
    await system.stop()
    assert log == ["c", "b", "a"]
    for name in ("a", "b", "c"):
        await system.spawn(Probe, name=name)


async def test_an_actor_that_ended_by_itself_is_not_stopped_again(system: ActorSystem) -> None:
    log: list[object] = []
    ref = await system.spawn(lambda: Probe(log), name="probe")
    await ref.ask(Finish(Exit("normal")))
    await settle()
    await system.stop()
    assert log == ["started", "stopping: normal"]
    assert (ref.running, ref.load, ref.stats) == (False, 0, MailboxStats(0, 0, 0, 0))


async def test_a_stop_during_a_start_ends_the_start(system: ActorSystem, events: list[Event]) -> None:
    gate = Gate()

    class Slow(Probe):
        async def started(self) -> None:
            await self.hold(Hold(gate))

    spawning = asyncio.create_task(system.spawn(Slow, name="slow"))
    await gate.entered.wait()
    asked = asyncio.create_task(system.ref("slow").ask(Echo(1)))
    await asyncio.sleep(0)
    await system.stop()
    with pytest.raises(StartFailed, match="stopped while it started"):
        await spawning
    with pytest.raises(ActorDown):
        await asked
    assert gate.cancelled
    assert events == []


async def test_a_stop_does_not_wait_for_a_start_that_withstands_it(system: ActorSystem) -> None:
    gate = Gate()

    class Deaf(Probe):
        async def started(self) -> None:
            gate.entered.set()
            while not gate.open.is_set():
                try:
                    await gate.open.wait()
                except asyncio.CancelledError:
                    gate.cancelled = True

    spawning = asyncio.create_task(system.spawn(Deaf, name="deaf", start_timeout=1000))
    await gate.entered.wait()
    before = system.clock.monotonic()
    await system.stop(2)
    with pytest.raises(StartFailed):
        await spawning
    assert system.clock.monotonic() - before < 10
    gate.open.set()


async def test_hooks_that_are_still_empty_hear_of_what_happens_later(nothing_left_behind: None) -> None:
    hooks, events = Hooks(), list[Event]()
    system = ActorSystem(clock=LoopClock(), hooks=hooks)
    hooks.add(events.append)
    await system.spawn(Probe, name="probe")
    assert events == [ActorStarted("probe", 1)]
    await system.stop()


async def test_a_system_without_hooks_works_the_same(nothing_left_behind: None) -> None:
    system = ActorSystem(clock=LoopClock())
    ref = await system.spawn(Probe, name="probe")
    system.ref("nobody").tell(Echo(1))
    assert await ref.ask(Echo(1)) == 1
    ref.kill(ValueError("broken"))
    await settle()
    assert not ref.running
    await system.stop()


@pytest.mark.parametrize("timeout", [5.0, 0.0])
async def test_a_system_stopped_with_10_000_asks_in_flight_leaves_each_with_one_outcome(
    system: ActorSystem, timeout: float
) -> None:
    refs = [await system.spawn(Probe, name=f"probe-{number}", concurrency=4) for number in range(10)]
    gates = [Gate() for _ in range(100)]
    held = [asyncio.create_task(refs[n % 10].ask(Hold(gate), timeout=None)) for n, gate in enumerate(gates)]
    echoed = [asyncio.create_task(refs[n % 10].ask(Echo(n), timeout=60)) for n in range(9_900)]
    await settle()
    stopping = asyncio.create_task(system.stop(timeout))
    outcomes = await asyncio.gather(*held, *echoed, return_exceptions=True)
    await stopping
    assert Counter(type(outcome) for outcome in outcomes) == {ActorDown: 10_000}
    assert sum(gate.cancelled for gate in gates) == 40  # those at work


async def test_a_system_killed_actor_by_actor_with_10_000_asks_in_flight_answers_each_once(
    system: ActorSystem,
) -> None:
    refs = [await system.spawn(Probe, name=f"probe-{number}") for number in range(10)]
    asks = [asyncio.create_task(refs[n % 10].ask(Echo(n))) for n in range(10_000)]
    await asyncio.sleep(0)  # all are in the mailboxes
    await asyncio.sleep(0)  # some are handled
    for ref in refs:
        ref.kill(ValueError("killed"))
    outcomes = await asyncio.gather(*asks, return_exceptions=True)
    replies = [outcome for outcome in outcomes if isinstance(outcome, int)]
    assert all(outcome == n for n, outcome in enumerate(outcomes) if isinstance(outcome, int))
    assert 0 < len(replies) < 10_000
    assert sum(isinstance(outcome, ActorDown) for outcome in outcomes) == 10_000 - len(replies)


async def test_a_stop_tells_how_the_actors_ended(system: ActorSystem) -> None:
    error = ValueError("cannot let go")

    class Failing(Probe):
        async def stopping(self, exit: Exit) -> None:
            raise error

    exits: list[Exit] = []
    await system.spawn(Failing, name="failing", on_exit=exits.append)
    await system.spawn(Probe, name="fine", on_exit=exits.append)
    stuck = await system.spawn(Probe, name="stuck", on_exit=exits.append)
    gate = Gate()
    held = asyncio.create_task(stuck.ask(Hold(gate), timeout=None))
    await gate.entered.wait()
    await system.stop(1)
    cut_short, fine, failed = exits
    assert isinstance(cut_short.error, TimeoutError)
    assert fine == Exit("shutdown")
    assert failed == Exit("error", error)
    with pytest.raises(ActorDown):
        await held


async def test_an_on_exit_that_raises_keeps_nobody_from_ending(system: ActorSystem) -> None:
    complaints: list[Mapping[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    error = RuntimeError("broken callback")

    def fail(_: Exit) -> None:
        raise error

    log: list[object] = []
    for name in ("a", "b"):
        await system.spawn(lambda: Probe(log), name=name, on_exit=fail)
    crashed = await system.spawn(Probe, name="c", on_exit=fail)
    crashed.kill(ValueError("broken"))
    await settle()
    assert system.find_cell("c") is None
    await system.stop()
    assert log == ["started", "started", "stopping: shutdown", "stopping: shutdown"]
    assert [complaint["exception"] for complaint in complaints] == [error] * 3


async def test_what_is_no_exit_is_refused_and_changes_nothing(system: ActorSystem) -> None:
    ref = await system.spawn(Probe, name="probe")
    wrong: Any = TimeoutError
    with pytest.raises(TypeError, match="TimeoutError"):
        ref.kill(wrong)
    with pytest.raises(TypeError, match="TimeoutError"):
        await ref.stop(wrong)
    assert ref.running
    assert await ref.ask(Echo(1)) == 1
