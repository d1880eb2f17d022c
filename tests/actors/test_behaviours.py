"""Which method handles a message: marks, overrides, `become`, and what is stashed meanwhile."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import pytest

from repertory.actors import Actor, ActorSpec, ActorSystem, Exit, Message, handles
from repertory.errors import ActorDown, DeadlineExceeded, MailboxFull, UnhandledMessage
from repertory.events import Event, MessageDropped
from tests.actors.kernel import Declined, Echo, Gate, Hold, Probe, Raise, Restarting, Unknown, of, settle


@dataclass(frozen=True, slots=True)
class Open(Message[None]):
    pass


@dataclass(frozen=True, slots=True)
class Close(Message[None]):
    pass


class Door(Actor[None]):
    """Echoes while it is open; closed, it stashes."""

    expected: ClassVar[tuple[type[Exception], ...]] = (MailboxFull,)

    def __init__(self, log: list[object] | None = None) -> None:
        self.log: list[object] = [] if log is None else log

    async def started(self) -> None:
        self.become("closed")

    @handles(Open, when="closed")
    async def open(self, message: Open) -> None:
        self.become("open")
        self.unstash()

    @handles(Close, when="open")
    async def close(self, message: Close) -> None:
        self.become("closed")

    @handles(Echo, when="closed")
    async def set_aside(self, message: Echo) -> int:
        self.stash()
        return -1  # nobody gets this

    @handles(Echo)
    async def echo(self, message: Echo) -> int:
        self.log.append(message.value)
        return message.value

    @handles(Raise)
    async def raise_(self, message: Raise) -> None:
        raise message.error


async def asked(ref: Any, *values: int) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(ref.ask(Echo(value))) for value in values]
    await settle()
    return tasks


# --- become --------------------------------------------------------------------------------------------------


async def test_an_actor_handles_what_its_behaviour_handles(system: ActorSystem) -> None:
    ref = await system.spawn(Door, name="door")
    with pytest.raises(UnhandledMessage, match="Door does not handle Close while it is 'closed'"):
        await ref.ask(Close())
    await ref.ask(Open())
    assert await ref.ask(Echo(1)) == 1
    with pytest.raises(UnhandledMessage, match="Door does not handle Open while it is 'open'"):
        await ref.ask(Open())
    await ref.ask(Close())


async def test_a_behaviour_that_no_method_names_is_refused_and_changes_nothing(system: ActorSystem) -> None:
    class Lost(Door):
        expected = (LookupError,)

        async def raise_(self, message: Raise) -> None:
            self.become("ajar")

    ref = await system.spawn(Lost, name="lost")
    with pytest.raises(LookupError, match="Lost has no behaviour 'ajar'; it has '', 'closed', 'open'"):
        await ref.ask(Raise(ValueError()))
    await ref.ask(Open())


async def test_the_empty_behaviour_is_that_of_the_unconditional_methods(system: ActorSystem) -> None:
    class Plain(Door):
        async def raise_(self, message: Raise) -> None:
            self.become()

    ref = await system.spawn(Plain, name="plain")
    await ref.ask(Raise(ValueError()))
    assert await ref.ask(Echo(1)) == 1
    with pytest.raises(UnhandledMessage, match=r"Plain does not handle Open\n"):
        await ref.ask(Open())


async def test_a_life_begins_without_the_behaviour_of_the_one_before(system: ActorSystem) -> None:
    cell = system.new_cell("door", ActorSpec(start=Door), Restarting())
    await cell.start()
    await cell.ref.ask(Open())
    cell.kill(ValueError("broken"))
    await settle()
    await cell.start()
    await cell.ref.ask(Open())  # it was closed again
    await cell.stop(Exit("shutdown"), 5)


# --- stash ---------------------------------------------------------------------------------------------------


async def test_what_was_stashed_is_answered_in_order_before_what_waits(system: ActorSystem) -> None:
    log: list[object] = []
    ref = await system.spawn(lambda: Door(log), name="door")
    stashed = await asked(ref, 1, 2, 3)
    ref.tell(Echo(4))
    await settle()
    assert log == []
    ref.tell(Open())
    ref.tell(Echo(5))
    assert await asyncio.gather(*stashed) == [1, 2, 3]
    await settle()
    assert log == [1, 2, 3, 4, 5]


async def test_messages_may_be_stashed_again(system: ActorSystem) -> None:
    log: list[object] = []
    ref = await system.spawn(lambda: Door(log), name="door")
    stashed = await asked(ref, 1, 2)
    for message in (Open(), Close(), Open()):  # the second finds the first two before it
        ref.tell(message)
    assert await asyncio.gather(*stashed) == [1, 2]
    await ref.ask(Close())
    later = await asked(ref, 3)
    await ref.ask(Open())
    assert await later[0] == 3
    assert log == [1, 2, 3]


async def test_a_stashed_ask_that_expires_is_never_handled(system: ActorSystem, events: list[Event]) -> None:
    log: list[object] = []
    ref = await system.spawn(lambda: Door(log), name="door")
    cancelled, waiting = await asked(ref, 1, 2)
    cancelled.cancel()
    with pytest.raises(DeadlineExceeded):
        await ref.ask(Echo(3), timeout=1)
    await ref.ask(Open())
    assert await waiting == 2
    assert log == [2]
    assert of(MessageDropped, events) == [
        MessageDropped("door", Echo, "abandoned"),
        MessageDropped("door", Echo, "expired"),
    ]
    assert ref.load == 0


async def test_what_was_stashed_waits_for_the_next_life(system: ActorSystem) -> None:
    log: list[object] = []
    cell = system.new_cell("door", ActorSpec(start=lambda: Door(log)), Restarting())
    await cell.start()
    stashed = await asked(cell.ref, 1, 2)
    crash = asyncio.create_task(cell.ref.ask(Raise(ValueError("broken"))))
    (behind,) = await asked(cell.ref, 3)
    with pytest.raises(ValueError, match="broken"):
        await crash
    await settle()
    assert not any(task.done() for task in stashed)
    await cell.start()
    await cell.ref.ask(Open())
    assert await asyncio.gather(*stashed, behind) == [1, 2, 3]
    assert log == [1, 2, 3]
    await cell.stop(Exit("shutdown"), 5)


async def test_what_is_stashed_when_the_actor_goes_is_answered_that_it_is_down(system: ActorSystem) -> None:
    ref = await system.spawn(Door, name="door")
    stashed = await asked(ref, 1, 2)
    await ref.stop()
    outcomes = await asyncio.gather(*stashed, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {ActorDown}


async def test_the_stash_has_the_bound_of_the_mailbox(system: ActorSystem) -> None:
    ref = await system.spawn(Door, name="door", mailbox=2)
    stashed = await asked(ref, 1, 2)
    with pytest.raises(MailboxFull, match="2 messages are stashed already"):
        await ref.ask(Echo(3))
    await ref.ask(Open())
    assert await asyncio.gather(*stashed) == [1, 2]


async def test_background_work_may_unstash(system: ActorSystem) -> None:
    gate = Gate()

    class Connecting(Door):
        async def started(self) -> None:
            await super().started()
            self.background(self.connect())

        async def connect(self) -> None:
            await gate.open.wait()
            await self.open(Open())

    ref = await system.spawn(Connecting, name="connecting")
    stashed = await asked(ref, 1, 2)
    gate.open.set()
    assert await asyncio.gather(*stashed) == [1, 2]
    await ref.ask(Close())
    stashed = await asked(ref, 3)
    await asyncio.sleep(4)  # it has no task any more
    cell = ref.find_cell()
    assert cell is not None
    await cast("Connecting", cell.actor).open(Open())
    assert await asyncio.gather(*stashed) == [3]


async def test_unstashed_messages_are_handled_side_by_side_where_the_actor_may(system: ActorSystem) -> None:
    class Gates(Door):
        @handles(Hold, when="closed")
        async def later(self, message: Hold) -> str:
            self.stash()
            return ""

        @handles(Hold)
        async def hold(self, message: Hold) -> str:
            message.gate.entered.set()
            await message.gate.open.wait()
            return "held"

    ref = await system.spawn(Gates, name="gates", concurrency=3)
    gates = [Gate() for _ in range(3)]
    held = [asyncio.create_task(ref.ask(Hold(gate))) for gate in gates]
    await settle()
    await ref.ask(Open())
    await asyncio.gather(*(gate.entered.wait() for gate in gates))
    for gate in gates:
        gate.open.set()
    assert await asyncio.gather(*held) == ["held"] * 3


async def test_only_a_handler_has_something_to_stash(system: ActorSystem) -> None:
    class Eager(Probe):
        async def started(self) -> None:
            self.stash()

    with pytest.raises(Exception, match="there is no message to stash"):
        await system.spawn(Eager, name="eager")


async def test_the_error_of_a_handler_that_has_stashed_its_message_is_the_answer(system: ActorSystem) -> None:
    class Confused(Probe):
        async def echo(self, message: Echo) -> int:
            self.stash()
            raise Declined("no")

        async def raise_(self, message: Raise) -> None:
            self.unstash()

    ref = await system.spawn(Confused, name="confused")
    with pytest.raises(Declined):
        await ref.ask(Echo(1))
    await ref.ask(Raise(ValueError()))
    with pytest.raises(Declined):
        await ref.ask(Echo(2))


# --- marks ---------------------------------------------------------------------------------------------------


async def test_an_override_that_is_marked_again_no_longer_handles_the_old_message(system: ActorSystem) -> None:
    class Remarked(Probe):
        @handles(Unknown)
        async def echo(self, message: Any) -> int:
            return 7

    ref = await system.spawn(Remarked, name="remarked")
    await ref.ask(Unknown())
    with pytest.raises(UnhandledMessage):
        await ref.ask(Echo(1))
    assert await (await system.spawn(Probe, name="probe")).ask(Echo(1)) == 1


async def test_a_method_of_another_name_takes_over_an_inherited_message(system: ActorSystem) -> None:
    class Other(Probe):
        @handles(Echo)
        async def twice(self, message: Echo) -> int:
            return 2 * message.value

    class Overriding(Other):
        async def echo(self, message: Echo) -> int:
            return -1  # the message has not been this method's since Other

    for kind in (Other, Overriding):
        ref = await system.spawn(kind, name=kind.__name__)
        assert await ref.ask(Echo(2)) == 4


async def test_one_method_may_handle_several_messages(system: ActorSystem) -> None:
    class Both(Actor[None]):
        @handles(Open)
        @handles(Close)
        async def note(self, message: Open | Close) -> str:
            return type(message).__name__

    ref = await system.spawn(Both, name="both")
    assert [await ref.ask(cast("Message[str]", message)) for message in (Open(), Close())] == ["Open", "Close"]


async def test_a_mixin_brings_its_handlers(system: ActorSystem) -> None:
    class Echoing:
        @handles(Echo)
        async def echo(self, message: Echo) -> int:
            return message.value

    class Mixed(Echoing, Actor[None]):
        pass

    assert await (await system.spawn(Mixed, name="mixed")).ask(Echo(1)) == 1


def test_two_methods_of_one_class_for_the_same_message_are_refused() -> None:
    with pytest.raises(TypeError, match="Twice: one and two both handle Echo while it is 'open'"):

        class Twice(Actor[None]):
            @handles(Echo, when="open")
            async def one(self, message: Echo) -> int:
                return 1

            @handles(Echo, when="open")
            async def two(self, message: Echo) -> int:
                return 2


async def method(actor: object, message: object) -> None: ...


@pytest.mark.parametrize(
    ("mark", "error"),
    [
        (lambda: handles(cast("Any", method)), r"write @handles\(TheMessage\)"),
        (lambda: handles(cast("Any", int)), "a subclass of Message"),
        (lambda: handles(Echo)(cast("Any", lambda actor, message: 1)), "must be `async def`"),
    ],
)
def test_a_mark_that_would_never_work_is_refused_when_it_is_made(mark: Callable[[], Any], error: str) -> None:
    with pytest.raises(TypeError, match=error):
        mark()


@pytest.mark.parametrize("error", [ValueError("broken"), MailboxFull("an answer")])
async def test_a_message_whose_handler_fails_after_setting_it_aside_has_its_outcome(
    system: ActorSystem, events: list[Event], error: Exception
) -> None:
    class Failing(Door):
        async def set_aside(self, message: Echo) -> int:
            self.stash()
            if message.value == 1:
                raise error
            return -1

    log: list[object] = []
    cell = system.new_cell("door", ActorSpec(start=lambda: Failing(log)), Restarting())
    await cell.start()
    (stashed,) = await asked(cell.ref, 0)
    with pytest.raises(type(error)):
        await cell.ref.ask(Echo(1))
    await settle()
    if not cell.running:
        await cell.start()
    cell.ref.tell(Echo(1))
    await settle()
    if not cell.running:
        await cell.start()
    await cell.ref.ask(Open())
    assert await stashed == 0
    assert log == [0]
    assert [event.reason for event in of(MessageDropped, events)] == (
        ["failed"] if isinstance(error, MailboxFull) else []
    )
    await cell.stop(Exit("shutdown"), 5)


async def test_what_is_stashed_counts_as_load_while_somebody_waits_for_it(system: ActorSystem) -> None:
    ref = await system.spawn(Door, name="door")
    stashed = await asked(ref, 1, 2)
    ref.tell(Echo(3))
    await settle()
    assert ref.load == 3
    stashed[0].cancel()
    await settle()
    assert ref.load == 2
    await ref.ask(Open())
    await settle()
    assert ref.load == 0


def test_an_override_that_is_not_async_is_refused_where_it_is_written() -> None:
    def echo(self: Door, message: Echo) -> int:
        return message.value

    with pytest.raises(TypeError, match=r"Plain\.echo overrides a handler: it must be `async def` too"):
        type("Plain", (Door,), {"echo": echo})
