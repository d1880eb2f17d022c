"""The life of an actor from `started` to `stopping`."""

import asyncio
from typing import Any

import pytest

from repertory.actors import Actor, ActorSystem, Exit, Message, handles
from repertory.errors import ActorDown, InjectedCrash, NameTaken, StartFailed
from repertory.events import ActorCrashed, ActorStarted, ActorStopped, Event, StuckChild
from tests.actors.kernel import Echo, Finish, Gate, Hold, Probe, of, settle


async def test_a_life_starts_takes_messages_and_stops(system: ActorSystem, events: list[Event]) -> None:
    log: list[object] = []
    ref = await system.spawn(lambda: Probe(log), name="probe")
    await ref.ask(Echo(1))
    await system.stop()
    assert log == ["started", 1, "stopping: shutdown"]
    assert events == [ActorStarted("probe", 1), ActorStopped("probe", 1)]


async def test_started_that_raises_fails_the_start_with_its_cause_and_skips_stopping(system: ActorSystem) -> None:
    log: list[object] = []
    error = ValueError("no fuel")

    class Broken(Probe):
        async def started(self) -> None:
            raise error

    with pytest.raises(StartFailed, match="broken did not start: no fuel") as caught:
        await system.spawn(lambda: Broken(log), name="broken")
    assert caught.value.__cause__ is error
    assert log == []


async def test_a_factory_that_raises_fails_the_start(system: ActorSystem) -> None:
    error = ValueError("no parts")

    def factory() -> Probe:
        raise error

    with pytest.raises(StartFailed) as caught:
        await system.spawn(factory, name="broken")
    assert caught.value.__cause__ is error


async def test_started_that_takes_too_long_is_cancelled_and_fails_the_start(
    system: ActorSystem, events: list[Event]
) -> None:
    cancelled = asyncio.Event()

    class Slow(Probe):
        async def started(self) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

    with pytest.raises(StartFailed, match=r"its start took longer than 2 s") as caught:
        await system.spawn(Slow, name="slow", start_timeout=2)
    assert isinstance(caught.value.__cause__, TimeoutError)
    assert cancelled.is_set()
    assert events == []


async def test_started_that_withstands_its_cancellation_is_left_behind(
    system: ActorSystem, events: list[Event]
) -> None:
    release, released = asyncio.Event(), asyncio.Event()

    class Deaf(Probe):
        async def started(self) -> None:
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    continue

        async def stopping(self, exit: Exit) -> None:
            released.set()

    with pytest.raises(StartFailed):
        await system.spawn(Deaf, name="deaf", start_timeout=2)
    assert events == [StuckChild("deaf", 1)]
    ref = await system.spawn(Probe, name="deaf")  # its place is free
    release.set()
    await released.wait()
    assert await ref.ask(Echo(1)) == 1


async def test_started_that_finishes_although_it_was_cancelled_does_not_live(
    system: ActorSystem, events: list[Event]
) -> None:
    class Late(Probe):
        async def started(self) -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.log.append("late")

    log: list[object] = []
    with pytest.raises(StartFailed):
        await system.spawn(lambda: Late(log), name="late", start_timeout=2)
    await settle()
    assert log == ["late", "stopping: error"]
    assert events == []


async def test_an_actor_that_stops_itself_while_it_starts_fails_the_start_and_stops_in_its_own_time(
    system: ActorSystem,
) -> None:
    log: list[object] = []

    class Reluctant(Probe):
        async def started(self) -> None:
            self.stop()

        async def stopping(self, exit: Exit) -> None:
            await asyncio.sleep(1)
            await super().stopping(exit)

    with pytest.raises(StartFailed, match="stopped while it started"):
        await system.spawn(lambda: Reluctant(log), name="reluctant")
    assert log == ["stopping: normal"]


async def test_a_failed_start_takes_its_background_work_along(system: ActorSystem) -> None:
    cleaned = asyncio.Event()

    class Broken(Probe):
        async def started(self) -> None:
            self.background(self.poll())
            await asyncio.sleep(0)
            raise ValueError("no fuel")

        async def poll(self) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0.5)
                cleaned.set()

    with pytest.raises(StartFailed, match="no fuel"):
        await system.spawn(Broken, name="broken")
    assert cleaned.is_set()


async def test_an_error_of_background_work_during_the_start_is_the_cause_of_its_failure(
    system: ActorSystem,
) -> None:
    error = ValueError("poll failed")

    class Broken(Probe):
        async def started(self) -> None:
            self.background(self.poll())
            await asyncio.Event().wait()

        async def poll(self) -> None:
            raise error

    with pytest.raises(StartFailed, match="poll failed") as caught:
        await system.spawn(Broken, name="broken")
    assert caught.value.__cause__ is error


async def test_a_start_whose_caller_is_cancelled_is_undone(system: ActorSystem, events: list[Event]) -> None:
    gate = Gate()

    class Slow(Probe):
        async def started(self) -> None:
            await self.hold(Hold(gate))

    spawning = asyncio.create_task(system.spawn(Slow, name="slow"))
    await gate.entered.wait()
    spawning.cancel()
    await asyncio.wait([spawning])
    assert spawning.cancelled()
    assert gate.cancelled
    await system.spawn(Probe, name="slow")  # its name is free


async def test_a_name_is_taken_from_the_start_until_the_end(system: ActorSystem) -> None:
    ref = await system.spawn(Probe, name="probe")
    with pytest.raises(NameTaken, match="'probe' exists already"):
        await system.spawn(Probe, name="probe")
    await ref.ask(Finish(Exit("normal")))
    await settle()
    await system.spawn(Probe, name="probe")


async def test_messages_sent_while_an_actor_starts_wait_for_it(system: ActorSystem) -> None:
    gate = Gate()

    class Slow(Probe):
        async def started(self) -> None:
            await self.hold(Hold(gate))

    spawning = asyncio.create_task(system.spawn(Slow, name="slow"))
    await gate.entered.wait()
    asked = asyncio.create_task(system.ref("slow").ask(Echo(1)))
    await settle()
    assert not asked.done()
    gate.open.set()
    assert await asked == 1
    await spawning


async def test_an_error_in_stopping_makes_a_normal_end_a_failure(system: ActorSystem, events: list[Event]) -> None:
    error = ValueError("no clean end")

    class Messy(Probe):
        async def stopping(self, exit: Exit) -> None:
            raise error

    exits: list[Exit] = []
    ref = await system.spawn(Messy, name="messy", on_exit=exits.append)
    await ref.ask(Finish(Exit("normal")))
    await settle()
    assert exits == [Exit("error", error)]
    assert [crash.cause for crash in of(ActorCrashed, events)] == [error]


async def test_an_error_in_stopping_after_a_crash_does_not_hide_the_crash(system: ActorSystem) -> None:
    class Messy(Probe):
        async def stopping(self, exit: Exit) -> None:
            raise ValueError("no clean end")

    exits: list[Exit] = []
    ref = await system.spawn(Messy, name="messy", on_exit=exits.append)
    crash = InjectedCrash("on purpose")
    ref.kill(crash)
    await settle()
    assert exits == [Exit("error", crash)]


async def test_background_work_ends_with_the_life(system: ActorSystem) -> None:
    ended = asyncio.Event()

    class Polling(Probe):
        async def started(self) -> None:
            self.background(self.poll())

        async def poll(self) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        async def stopping(self, exit: Exit) -> None:
            assert ended.is_set()

    await system.spawn(Polling, name="polling")
    await system.stop()
    assert ended.is_set()


@pytest.mark.parametrize("busy", [True, False])
async def test_an_error_of_background_work_ends_the_life(system: ActorSystem, busy: bool) -> None:
    error, fail = ValueError("poll failed"), asyncio.Event()

    class Polling(Probe):
        async def started(self) -> None:
            self.background(self.poll())

        async def poll(self) -> None:
            await fail.wait()
            raise error

    exits: list[Exit] = []
    ref = await system.spawn(Polling, name="polling", on_exit=exits.append)
    gate = Gate()
    held = asyncio.create_task(ref.ask(Hold(gate))) if busy else None
    await settle()
    fail.set()
    await settle()
    assert exits == [Exit("error", error)]
    if held is not None:
        with pytest.raises(ActorDown) as caught:
            await held
        assert caught.value.__cause__ is error


async def test_background_work_that_is_done_does_not_end_the_life(system: ActorSystem) -> None:
    done = asyncio.Event()

    class Brief(Probe):
        async def started(self) -> None:
            self.background(self.once())

        async def once(self) -> None:
            done.set()

    ref = await system.spawn(Brief, name="brief")
    await done.wait()
    assert await ref.ask(Echo(1)) == 1


async def test_a_stop_lets_the_message_at_work_finish_within_the_timeout(system: ActorSystem) -> None:
    ref = await system.spawn(Probe, name="probe")
    gate = Gate()
    held = asyncio.create_task(ref.ask(Hold(gate)))
    await gate.entered.wait()
    stopping = asyncio.create_task(system.stop(5))
    await asyncio.sleep(4)
    gate.open.set()
    assert await held == "held"
    await stopping


async def test_sup_stop_timeout_a_stop_beyond_its_timeout_cancels_the_message_at_work(
    system: ActorSystem, events: list[Event]
) -> None:
    ref = await system.spawn(Probe, name="probe")
    gate = Gate()
    held = asyncio.create_task(ref.ask(Hold(gate)))
    await gate.entered.wait()
    await system.stop(3)
    assert gate.cancelled
    with pytest.raises(ActorDown) as caught:
        await held
    assert isinstance(caught.value.__cause__, TimeoutError)
    assert [str(crash.cause) for crash in of(ActorCrashed, events)] == ["probe did not stop within 3 s"]
    assert of(StuckChild, events) == []


async def test_sup_stop_infinity_a_stop_without_timeout_waits_for_the_message_at_work(system: ActorSystem) -> None:
    ref = await system.spawn(Probe, name="probe")
    gate = Gate()
    held = asyncio.create_task(ref.ask(Hold(gate), timeout=None))
    await gate.entered.wait()
    stopping = asyncio.create_task(system.stop(None))
    await asyncio.sleep(1_000_000)
    assert not stopping.done()
    gate.open.set()
    await stopping
    assert await held == "held"


async def test_a_kill_with_a_message_in_flight_is_a_crash_and_stopping_still_runs(
    system: ActorSystem, events: list[Event]
) -> None:
    log: list[object] = []
    exits: list[Exit] = []
    ref = await system.spawn(lambda: Probe(log), name="probe", on_exit=exits.append)
    gate = Gate()
    held = asyncio.create_task(ref.ask(Hold(gate)))
    await gate.entered.wait()
    crash = InjectedCrash("on purpose")
    ref.kill(crash)
    ref.kill(InjectedCrash("again"))  # the first one counts
    with pytest.raises(ActorDown) as caught:
        await held
    await settle()
    assert caught.value.__cause__ is crash
    assert exits == [Exit("error", crash)]
    assert log == ["started", "stopping: error"]


async def test_a_kill_in_the_turn_of_a_stop_does_not_make_two_ends(
    system: ActorSystem, events: list[Event]
) -> None:
    ref = await system.spawn(Probe, name="probe")
    stopping = asyncio.create_task(system.stop())
    await asyncio.sleep(0)
    ref.kill(InjectedCrash("on purpose"))
    await stopping
    assert len(of(ActorStopped, events)) + len(of(ActorCrashed, events)) == 1


@pytest.mark.parametrize("timeout", [0, 5])
async def test_sup_stop_brutal_kill_an_idle_actor_stops_with_any_timeout(
    system: ActorSystem, timeout: float
) -> None:
    await system.spawn(Probe, name="probe")
    await system.stop(timeout)
    with pytest.raises(ActorDown):
        await system.ref("probe").ask(Echo(1))


async def test_an_actor_that_declares_no_state_cannot_commit(system: ActorSystem) -> None:
    class Stateless(Actor[None]):
        @handles(Echo)
        async def echo(self, message: Message[int]) -> None:
            assert self.state is None
            await self.commit(None)

    ref = await system.spawn(Stateless, name="stateless")
    with pytest.raises(TypeError, match="declares no state"):
        await ref.ask(Echo(1))


@pytest.mark.parametrize("made", [None, Probe, "probe"])
async def test_a_start_that_makes_no_actor_says_so(system: ActorSystem, made: Any) -> None:
    with pytest.raises(StartFailed, match="it must return a new actor"):
        await system.spawn(lambda: made, name="probe")


async def test_an_object_has_one_life(system: ActorSystem) -> None:
    probe = Probe()
    await system.spawn(lambda: probe, name="one")
    with pytest.raises(StartFailed, match="each life needs a new one"):
        await system.spawn(lambda: probe, name="two")
    assert await system.ref("one").ask(Echo(1)) == 1
