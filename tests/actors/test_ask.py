"""An ask has exactly one outcome."""

import asyncio
from typing import assert_type

import pytest

from repertory.actors import Actor, ActorSystem, Exit, Message, handles
from repertory.errors import ActorDown, MailboxFull, UnhandledMessage
from repertory.events import ActorCrashed, ActorStopped, Event, MessageDropped
from tests.actors.kernel import Declined, Echo, Finish, Gate, Hold, Probe, Raise, Unknown, of, settle


async def test_an_ask_gets_what_the_handler_returns(system: ActorSystem) -> None:
    ref = await system.spawn(Probe, name="probe")
    reply = await ref.ask(Echo(7))
    assert_type(reply, int)  # by the message's own declaration
    assert reply == 7


async def test_an_expected_error_is_an_answer_and_the_life_goes_on(
    system: ActorSystem, events: list[Event]
) -> None:
    log: list[object] = []
    ref = await system.spawn(lambda: Probe(log), name="probe")
    refusal = Declined("not today")
    with pytest.raises(Declined) as caught:
        await ref.ask(Raise(refusal))
    assert caught.value is refusal
    assert await ref.ask(Echo(1)) == 1
    assert log == ["started", 1]
    assert of(ActorCrashed, events) == []


async def test_a_crash_answers_the_asker_with_the_error_and_ends_the_life(
    system: ActorSystem, events: list[Event]
) -> None:
    exits: list[Exit] = []
    ref = await system.spawn(Probe, name="probe", on_exit=exits.append)
    error = ValueError("broken")
    with pytest.raises(ValueError, match="broken") as caught:
        await ref.ask(Raise(error))
    await settle()
    assert caught.value is error
    assert exits == [Exit("error", error)]
    assert [(crash.path, crash.incarnation, crash.cause) for crash in of(ActorCrashed, events)] == [
        ("probe", 1, error)
    ]


async def test_an_unhandled_message_is_refused_and_the_life_goes_on(
    system: ActorSystem, events: list[Event]
) -> None:
    ref = await system.spawn(Probe, name="probe")
    with pytest.raises(UnhandledMessage, match=r"Probe does not handle Unknown\n.*@handles\(Unknown\)"):
        await ref.ask(Unknown())
    assert await ref.ask(Echo(1)) == 1
    assert of(MessageDropped, events) == [MessageDropped("probe", Unknown, "unhandled")]


async def test_an_ask_beyond_the_bound_of_the_mailbox_is_refused_at_once(
    system: ActorSystem, events: list[Event]
) -> None:
    log: list[object] = []
    ref = await system.spawn(lambda: Probe(log), name="probe", mailbox=2)
    gate = Gate()
    held = asyncio.create_task(ref.ask(Hold(gate)))
    await gate.entered.wait()
    waiting = [asyncio.create_task(ref.ask(Echo(value))) for value in (1, 2)]
    await asyncio.sleep(0)
    with pytest.raises(MailboxFull, match="2 messages wait"):
        await ref.ask(Echo(3))
    with pytest.raises(MailboxFull, match="2 messages wait"):
        ref.tell(Echo(4))
    gate.open.set()
    assert await held == "held"
    assert await asyncio.gather(*waiting) == [1, 2]
    assert await ref.ask(Echo(5)) == 5
    assert log == ["started", "held", 1, 2, 5]
    assert of(MessageDropped, events) == [MessageDropped("probe", Echo, "full")] * 2


async def test_an_ask_to_where_nobody_lives_is_refused(system: ActorSystem, events: list[Event]) -> None:
    ref = system.ref("nobody")
    with pytest.raises(ActorDown, match="no actor at 'nobody'"):
        await ref.ask(Echo(1))
    ref.tell(Echo(1))
    assert of(MessageDropped, events) == [MessageDropped("nobody", Echo, "down")]
    assert (ref.load, ref.running) == (0, False)


async def test_an_ask_to_an_actor_that_has_stopped_is_refused(system: ActorSystem) -> None:
    ref = await system.spawn(Probe, name="probe")
    await ref.ask(Finish(Exit("normal")))
    await settle()
    with pytest.raises(ActorDown):
        await ref.ask(Echo(1))


async def test_a_reference_reaches_whoever_lives_at_its_path_now(system: ActorSystem) -> None:
    ref = await system.spawn(Probe, name="probe")
    await ref.ask(Finish(Exit("normal")))
    await settle()
    await system.spawn(Probe, name="probe")
    assert await ref.ask(Echo(1)) == 1


async def test_asks_that_still_wait_when_the_actor_stops_hear_that_it_is_down(
    system: ActorSystem, events: list[Event]
) -> None:
    log: list[object] = []
    ref = await system.spawn(lambda: Probe(log), name="probe")
    stopped = asyncio.create_task(ref.ask(Finish(Exit("normal"))))
    queued = [asyncio.create_task(ref.ask(Echo(value))) for value in range(100)]
    await asyncio.sleep(0)
    ref.tell(Echo(100))
    outcomes = await asyncio.gather(stopped, *queued, return_exceptions=True)
    assert outcomes[0] is None
    assert {type(outcome) for outcome in outcomes[1:]} == {ActorDown}
    assert log == ["started", "stopping: normal"]
    assert of(MessageDropped, events) == [MessageDropped("probe", Echo, "down")]
    assert len(of(ActorStopped, events)) == 1


async def test_what_a_life_was_at_work_on_when_it_was_killed_is_answered_with_the_cause(
    system: ActorSystem,
) -> None:
    ref = await system.spawn(Probe, name="probe")
    gate = Gate()
    held = asyncio.create_task(ref.ask(Hold(gate)))
    await gate.entered.wait()
    cause = RuntimeError("killed")
    ref.kill(cause)
    with pytest.raises(ActorDown, match="ended while it handled Hold") as caught:
        await held
    assert caught.value.__cause__ is cause
    assert gate.cancelled


async def test_the_error_of_a_told_message_ends_the_life(system: ActorSystem) -> None:
    exits: list[Exit] = []
    ref = await system.spawn(Probe, name="probe", on_exit=exits.append)
    error = ValueError("broken")
    ref.tell(Raise(error))
    await settle()
    assert exits == [Exit("error", error)]


async def test_the_expected_error_of_a_told_message_is_reported(system: ActorSystem, events: list[Event]) -> None:
    ref = await system.spawn(Probe, name="probe")
    ref.tell(Raise(Declined("no")))
    assert await ref.ask(Echo(1)) == 1
    assert of(MessageDropped, events) == [MessageDropped("probe", Raise, "failed")]


async def test_a_cancellation_that_a_handler_raises_by_itself_is_a_crash(system: ActorSystem) -> None:
    exits: list[Exit] = []
    ref = await system.spawn(Probe, name="probe", on_exit=exits.append)
    error = asyncio.CancelledError()
    with pytest.raises(ActorDown, match="from within"):
        await ref.ask(Raise(error))
    await settle()
    assert exits == [Exit("error", error)]


async def test_the_error_of_the_last_message_of_a_stopping_life_makes_its_end_a_failure(
    system: ActorSystem, events: list[Event]
) -> None:
    error = ValueError("after stop")

    class Fickle(Probe):
        async def raise_(self, message: Raise) -> None:
            self.stop()
            raise message.error

    exits: list[Exit] = []
    ref = await system.spawn(Fickle, name="fickle", on_exit=exits.append)
    ref.tell(Raise(error))
    await settle()
    assert exits == [Exit("error", error)]
    assert [crash.cause for crash in of(ActorCrashed, events)] == [error]


async def test_handlers_are_inherited_and_an_override_needs_no_second_mark(system: ActorSystem) -> None:
    class Double(Probe):
        async def echo(self, message: Echo) -> int:
            return 2 * await super().echo(message)

    ref = await system.spawn(Double, name="double")
    assert await ref.ask(Echo(3)) == 6
    with pytest.raises(Declined):
        await ref.ask(Raise(Declined("inherited")))


async def test_an_actor_may_ask_another_and_hand_out_its_own_reference(system: ActorSystem) -> None:
    other = await system.spawn(Probe, name="other")

    class Relay(Actor[None]):
        @handles(Echo)
        async def relay(self, message: Echo) -> int:
            assert self.ref.path == self.path == "relay"
            return await other.ask(Echo(message.value + 1))

    ref = await system.spawn(Relay, name="relay")
    assert await ref.ask(Echo(1)) == 2


async def test_a_message_whose_type_is_a_subclass_of_a_handled_one_is_not_handled(system: ActorSystem) -> None:
    class Special(Echo):
        pass

    ref = await system.spawn(Probe, name="probe")
    special: Message[int] = Special(1)
    with pytest.raises(UnhandledMessage):
        await ref.ask(special)
