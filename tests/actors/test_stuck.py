"""A life that withstands its cancellation is reported and left behind."""

import asyncio

import pytest

from repertory.actors import ActorRef, ActorSystem, Exit
from repertory.errors import ActorDown, DeadlineExceeded, InjectedCrash
from repertory.events import ActorCrashed, CancellationIgnored, Event, StuckChild
from tests.actors.kernel import Echo, Gate, Hold, Probe, Withstand, of, settle
from tests.actors.light import Light, Run, cleans_up


async def test_a_handler_that_swallows_its_cancellation_is_left_behind(
    system: ActorSystem, events: list[Event]
) -> None:
    exits: list[Exit] = []
    log: list[object] = []
    ref = await system.spawn(lambda: Probe(log), name="probe", on_exit=exits.append)
    gate = Gate()
    stuck = asyncio.create_task(ref.ask(Withstand(gate)))
    await gate.entered.wait()
    crash = InjectedCrash("on purpose")
    ref.kill(crash)
    with pytest.raises(ActorDown) as caught:
        await stuck
    assert caught.value.__cause__ is crash
    assert of(StuckChild, events) == [StuckChild("probe", 1)]
    assert exits == [Exit("error", crash)]
    replacement = await system.spawn(Probe, name="probe")
    gate.open.set()
    await settle()
    assert log == ["started", "stopping: error"]  # the one left behind still cleans up
    assert await replacement.ask(Echo(1)) == 1
    assert len(of(ActorCrashed, events)) == 1


async def test_a_stop_does_not_wait_for_ever_for_a_stuck_handler(system: ActorSystem, events: list[Event]) -> None:
    ref = await system.spawn(Probe, name="probe")
    gate = Gate()
    ref.tell(Withstand(gate))
    await gate.entered.wait()
    await system.stop(2)
    assert of(StuckChild, events) == [StuckChild("probe", 1)]
    assert isinstance(of(ActorCrashed, events)[0].cause, TimeoutError)
    gate.open.set()


@pytest.mark.parametrize("stuck_runner", [0, 1])
async def test_a_stuck_runner_is_reported_once_and_the_others_end(
    system: ActorSystem, events: list[Event], stuck_runner: int
) -> None:
    ref = await system.spawn(Probe, name="probe", concurrency=2)
    gates = [Gate(), Gate()]
    for runner, gate in enumerate(gates):
        ref.tell(Withstand(gate) if runner == stuck_runner else Hold(gate))
    await asyncio.gather(*(gate.entered.wait() for gate in gates))
    await system.stop(2)
    await asyncio.sleep(10)
    assert all(gate.cancelled for gate in gates)
    assert of(StuckChild, events) == [StuckChild("probe", 1)]
    gates[stuck_runner].open.set()


async def test_background_work_that_withstands_its_cancellation_is_reported(
    system: ActorSystem, events: list[Event]
) -> None:
    gate = Gate()

    class Polling(Probe):
        async def started(self) -> None:
            self.background(self.withstand(Withstand(gate)))

    await system.spawn(Polling, name="polling")
    await gate.entered.wait()
    await system.stop()
    assert of(StuckChild, events) == [StuckChild("polling", 1)]
    gate.open.set()


async def test_a_stuck_handler_does_not_keep_its_lifes_background_work_going(system: ActorSystem) -> None:
    polling, gate = Gate(), Gate()

    class Polling(Probe):
        async def started(self) -> None:
            self.background(self.poll())

        async def poll(self) -> None:
            await self.hold(Hold(polling))

    ref = await system.spawn(Polling, name="polling")
    ref.tell(Withstand(gate))
    await gate.entered.wait()
    ref.kill(InjectedCrash("on purpose"))
    await asyncio.sleep(10)
    assert polling.cancelled
    gate.open.set()


async def test_a_stopping_that_hangs_is_cut_short_by_the_timeout(system: ActorSystem, events: list[Event]) -> None:
    cut = asyncio.Event()

    class Hanging(Probe):
        async def stopping(self, exit: Exit) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cut.set()

    await system.spawn(Hanging, name="hanging")
    await system.stop(2)
    assert cut.is_set()
    assert of(StuckChild, events) == []


async def test_a_stopping_that_hangs_after_a_handler_was_cut_short_is_cut_short_too(system: ActorSystem) -> None:
    cut = asyncio.Event()

    class Hanging(Probe):
        async def stopping(self, exit: Exit) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cut.set()

    ref = await system.spawn(Hanging, name="hanging")
    gate = Gate()
    ref.tell(Hold(gate))
    await gate.entered.wait()
    await system.stop(2)
    await settle()
    assert cut.is_set()


async def test_a_handler_may_clean_up_for_a_while_when_it_is_cancelled(
    system: ActorSystem, events: list[Event]
) -> None:
    cleaned = asyncio.Event()

    class Careful(Probe):
        async def hold(self, message: Hold) -> str:
            try:
                return await super().hold(message)
            finally:
                await asyncio.sleep(0.5)
                cleaned.set()

    ref = await system.spawn(Careful, name="careful")
    gate = Gate()
    ref.tell(Hold(gate))
    await gate.entered.wait()
    await system.stop(0)
    assert cleaned.is_set()
    assert of(StuckChild, events) == []


async def test_a_handler_that_goes_on_after_its_asker_gave_up_is_reported(
    system: ActorSystem, events: list[Event]
) -> None:
    ref = await system.spawn(Probe, name="probe")
    gate = Gate()
    with pytest.raises(DeadlineExceeded):
        await ref.ask(Withstand(gate), timeout=2)
    behind = asyncio.create_task(ref.ask(Echo(1), timeout=None))
    await asyncio.sleep(10)
    assert of(CancellationIgnored, events) == [CancellationIgnored("probe", 1, Withstand)]
    assert not behind.done()
    gate.open.set()
    assert await behind == 1  # it goes on as before
    assert of(StuckChild, events) == []


async def test_a_handler_that_cleans_up_after_its_asker_gave_up_is_not_reported(
    system: ActorSystem, events: list[Event]
) -> None:
    gate = Gate()

    async def clean_up(_: Light) -> None:
        await cleans_up(gate, seconds=0.5)

    ref = await system.spawn(Light, name="light")
    with pytest.raises(DeadlineExceeded):
        await ref.ask(Run(clean_up), timeout=2)
    await asyncio.sleep(10)
    assert gate.cancelled
    assert of(CancellationIgnored, events) == []
    assert await ref.ask(Echo(1)) == 1


async def test_a_stopping_that_hangs_after_a_crash_is_cut_short(system: ActorSystem, events: list[Event]) -> None:
    class Hanging(Probe):
        async def stopping(self, exit: Exit) -> None:
            await asyncio.Event().wait()

    exits: list[Exit] = []
    crash = InjectedCrash("on purpose")
    ref = await system.spawn(Hanging, name="hanging", on_exit=exits.append)
    ref.kill(crash)
    await asyncio.sleep(29)
    assert exits == []
    await asyncio.sleep(2)
    assert exits == [Exit("error", crash)]
    assert of(StuckChild, events) == []


async def test_background_work_started_in_stopping_is_cancelled(system: ActorSystem, events: list[Event]) -> None:
    gate = Gate()

    class Late(Probe):
        async def stopping(self, exit: Exit) -> None:
            self.background(cleans_up(gate, seconds=0.5))
            await settle()

    await system.spawn(Late, name="late")
    await system.stop()
    assert gate.cancelled
    assert of(StuckChild, events) == []


@pytest.mark.parametrize("kind", [Light, Probe])
async def test_background_work_started_by_what_is_being_cancelled_is_cancelled_too(
    system: ActorSystem, kind: type[Light | Probe]
) -> None:
    first, second = Gate(), Gate()

    class Stubborn(kind):  # type: ignore[misc, valid-type]  # either kind will do
        async def started(self) -> None:
            self.background(self.poll())

        async def poll(self) -> None:
            try:
                await cleans_up(first, seconds=0)
            finally:
                self.background(cleans_up(second, seconds=0))

    await system.spawn(Stubborn, name="stubborn")
    await first.entered.wait()
    await system.stop()
    await settle()
    assert len(asyncio.all_tasks()) == 1


async def test_a_stuck_life_is_reported_once_even_if_who_stops_it_is_cancelled_then(
    system: ActorSystem, events: list[Event]
) -> None:
    ref = await system.spawn(Probe, name="probe")
    gate = Gate()
    ref.tell(Withstand(gate))
    await gate.entered.wait()
    stopping = asyncio.create_task(ref.stop(timeout=1))

    def cancel(event: Event) -> None:
        if isinstance(event, StuckChild):
            stopping.cancel()

    system.hooks.add(cancel)
    await asyncio.wait([stopping])
    await asyncio.sleep(10)
    assert of(StuckChild, events) == [StuckChild("probe", 1)]
    gate.open.set()


async def test_a_life_left_behind_cannot_act_in_its_successors_place(system: ActorSystem) -> None:
    gate, over = Gate(), asyncio.Event()
    refused: list[str] = []

    class Clinging(Probe):
        async def withstand(self, message: Withstand) -> None:
            await super().withstand(message)
            for act in (
                lambda: self.register("name"),
                lambda: self.join("group"),
                lambda: self.monitor(other),
                lambda: self.link(other),
            ):
                try:
                    act()
                except ActorDown as error:
                    refused.append(error.message)
            self.leave("members")
            self.unlink(other)
            over.set()

    other = await system.spawn(Probe, name="other")
    ref = await system.spawn(Clinging, name="actor")
    ref.tell(Withstand(gate))
    await gate.entered.wait()
    ref.kill(InjectedCrash("on purpose"))
    await asyncio.sleep(2)
    replacement = await system.spawn(lambda: Light(), name="actor")
    system.registry.join("members", replacement)
    await replacement.ask(Run(lambda light: linking(light, other)))
    gate.open.set()
    await over.wait()
    assert refused == ["this life of actor has ended"] * 4
    assert system.registry.whereis("name") is None
    assert system.registry.members("group") == ()
    assert system.registry.members("members") == (replacement,)
    other.kill(InjectedCrash("linked"))
    await settle()
    assert not replacement.running


async def linking(light: Light, other: ActorRef) -> None:
    light.link(other)
