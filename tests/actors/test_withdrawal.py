"""A message whose asker is gone, by cancellation or by its deadline."""

import asyncio

import pytest

from repertory.actors import ActorSystem, Exit
from repertory.errors import DeadlineExceeded
from repertory.events import ActorCrashed, ActorStopped, Event, MessageDropped
from tests.actors.kernel import Echo, Finish, Gate, Hold, Probe, Withstand, of, settle


async def test_a_caller_cancelled_in_the_queue_withdraws_its_message(
    system: ActorSystem, events: list[Event]
) -> None:
    log: list[object] = []
    ref = await system.spawn(lambda: Probe(log), name="probe")
    gate = Gate()
    held = asyncio.create_task(ref.ask(Hold(gate)))
    await gate.entered.wait()
    queued = asyncio.create_task(ref.ask(Echo(1)))
    await asyncio.sleep(0)
    queued.cancel()
    await asyncio.wait([queued])
    gate.open.set()
    assert await held == "held"
    assert await ref.ask(Echo(2)) == 2
    assert queued.cancelled()
    assert log == ["started", "held", 2]
    assert of(MessageDropped, events) == [MessageDropped("probe", Echo, "abandoned")]


async def test_a_caller_cancelled_in_mid_handler_cancels_the_handler_and_the_actor_lives_on(
    system: ActorSystem, events: list[Event]
) -> None:
    log: list[object] = []
    ref = await system.spawn(lambda: Probe(log), name="probe")
    gate = Gate()
    held = asyncio.create_task(ref.ask(Hold(gate)))
    await gate.entered.wait()
    next_one = asyncio.create_task(ref.ask(Echo(1)))
    held.cancel()
    await asyncio.wait([held])
    assert held.cancelled()
    assert await next_one == 1
    assert gate.cancelled
    assert log == ["started", 1]
    assert of(ActorCrashed, events) == []


async def test_after_a_cancelled_handler_later_waits_are_not_cut_short(system: ActorSystem) -> None:
    class Patient(Probe):
        async def echo(self, message: Echo) -> int:
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0
            async with asyncio.timeout(5):
                await asyncio.sleep(1)
            return message.value

    ref = await system.spawn(Patient, name="patient")
    gate = Gate()
    held = asyncio.create_task(ref.ask(Hold(gate)))
    await gate.entered.wait()
    held.cancel()
    await asyncio.wait([held])
    assert await ref.ask(Echo(1)) == 1


async def test_a_message_whose_deadline_passed_in_the_queue_is_never_handled(
    system: ActorSystem, events: list[Event]
) -> None:
    log: list[object] = []
    ref = await system.spawn(lambda: Probe(log), name="probe")
    gate = Gate()
    held = asyncio.create_task(ref.ask(Hold(gate), timeout=None))
    await gate.entered.wait()
    with pytest.raises(DeadlineExceeded, match="no reply to Echo"):
        await ref.ask(Echo(1), timeout=1)
    gate.open.set()
    assert await held == "held"
    assert await ref.ask(Echo(2)) == 2
    assert log == ["started", "held", 2]
    assert of(MessageDropped, events) == [MessageDropped("probe", Echo, "expired")]


async def test_a_deadline_that_passes_in_the_handler_cancels_the_handler(
    system: ActorSystem, events: list[Event]
) -> None:
    ref = await system.spawn(Probe, name="probe")
    gate = Gate()
    with pytest.raises(DeadlineExceeded, match="no reply to Hold"):
        await ref.ask(Hold(gate), timeout=1)
    assert await ref.ask(Echo(1)) == 1
    assert gate.cancelled
    assert of(ActorCrashed, events) == []


async def test_deadlines_pass_in_their_own_order_and_no_earlier(system: ActorSystem) -> None:
    ref = await system.spawn(Probe, name="probe")
    held = asyncio.create_task(ref.ask(Hold(Gate()), timeout=None))
    started = system.clock.monotonic()
    passed: list[tuple[float, float]] = []

    async def ask(timeout: float) -> None:
        with pytest.raises(DeadlineExceeded):
            await ref.ask(Echo(1), timeout=timeout)
        passed.append((timeout, system.clock.monotonic() - started))

    await asyncio.gather(*(ask(timeout) for timeout in (3.0, 0.5, 1.0, 0.5)))
    assert [timeout for timeout, _ in passed] == [0.5, 0.5, 1.0, 3.0]
    assert all(timeout <= waited <= timeout + 0.05 for timeout, waited in passed)
    held.cancel()
    await asyncio.wait([held])


async def test_an_ask_without_a_limit_waits_as_long_as_it_takes(system: ActorSystem) -> None:
    ref = await system.spawn(Probe, name="probe")
    gate = Gate()
    held = asyncio.create_task(ref.ask(Hold(gate), timeout=None))
    await asyncio.sleep(1_000_000)
    gate.open.set()
    assert await held == "held"


async def test_a_handler_that_finishes_in_spite_of_the_cancellation_does_no_harm(system: ActorSystem) -> None:
    ref = await system.spawn(Probe, name="probe")
    gate = Gate()
    with pytest.raises(DeadlineExceeded):
        await ref.ask(Withstand(gate), timeout=1)
    gate.open.set()
    assert await ref.ask(Echo(1)) == 1


async def test_the_error_of_a_handler_that_was_being_cancelled_is_a_crash(system: ActorSystem) -> None:
    error = ValueError("in clean-up")

    class Clumsy(Probe):
        async def hold(self, message: Hold) -> str:
            try:
                return await super().hold(message)
            except asyncio.CancelledError:
                raise error from None

    exits: list[Exit] = []
    ref = await system.spawn(Clumsy, name="clumsy", on_exit=exits.append)
    with pytest.raises(DeadlineExceeded):
        await ref.ask(Hold(Gate()), timeout=1)
    await settle()
    assert exits == [Exit("error", error)]


async def test_a_withdrawn_message_in_a_stopping_life_does_not_cut_the_others_short(
    system: ActorSystem, events: list[Event]
) -> None:
    ref = await system.spawn(Probe, name="probe", concurrency=3)
    abandoned, finished = Gate(), Gate()
    first = asyncio.create_task(ref.ask(Hold(abandoned)))
    second = asyncio.create_task(ref.ask(Hold(finished)))
    await asyncio.gather(abandoned.entered.wait(), finished.entered.wait())
    await ref.ask(Finish(Exit("normal")))  # graceful: the two messages may be finished
    first.cancel()
    await asyncio.wait([first])
    await settle()
    assert (first.cancelled(), second.done()) == (True, False)
    finished.open.set()
    assert await second == "held"
    assert not finished.cancelled
    await settle()
    assert len(of(ActorStopped, events)) == 1


async def test_a_caller_cancelled_in_the_turn_of_the_reply_changes_nothing_for_the_actor(
    system: ActorSystem,
) -> None:
    ref = await system.spawn(Probe, name="probe")
    gate = Gate()
    held = asyncio.create_task(ref.ask(Hold(gate)))
    await gate.entered.wait()
    gate.open.set()
    await asyncio.sleep(0)  # the handler runs in this turn, the asker in the next
    held.cancel()
    await asyncio.wait([held])
    assert await ref.ask(Echo(1)) == 1


@pytest.mark.parametrize("turns", range(8))
async def test_whatever_the_turn_of_the_cancellation_the_next_message_is_handled(
    system: ActorSystem, events: list[Event], turns: int
) -> None:
    ref = await system.spawn(Probe, name="probe")
    gate = Gate()
    gate.open.set()
    asked = asyncio.create_task(ref.ask(Hold(gate)))
    for _ in range(turns):
        await asyncio.sleep(0)
    asked.cancel()
    await asyncio.wait([asked])
    assert await ref.ask(Echo(1)) == 1
    assert of(ActorCrashed, events) == []


async def test_deadlines_still_pass_after_the_system_was_stopped_and_used_again(system: ActorSystem) -> None:
    ref = await system.spawn(Probe, name="probe")
    await ref.ask(Echo(1), timeout=5)
    await system.stop()
    ref = await system.spawn(Probe, name="probe")
    with pytest.raises(DeadlineExceeded):
        await ref.ask(Hold(Gate()), timeout=10)
