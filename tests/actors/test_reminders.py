"""Reminders outlive the life, the rest and the process that asked for them."""

import asyncio

import pytest

from repertory.actors import ActorSpec, ActorSystem, Exit, Reminder
from repertory.actors.info import MailboxStats
from repertory.errors import MailboxFull
from repertory.events import Event, MessageDropped
from repertory.store import MemoryReminders
from tests.actors.kernel import Declined, Gate, Restarting, of, settle
from tests.actors.reminded import Do, Forgetful, Log, SlowRows, forget, process, remind
from tests.virtual_time import LoopClock


@pytest.fixture
def log() -> Log:
    return []


@pytest.fixture
def rows() -> MemoryReminders:
    return MemoryReminders()


# --- when ----------------------------------------------------------------------------------------------------


async def test_a_reminder_comes_once_when_it_is_due_and_is_then_forgotten(
    nothing_left_behind: None, rows: MemoryReminders, log: Log
) -> None:
    system = process(rows)
    ref = await system.spawn(lambda: Forgetful(log), name="actor")
    await ref.ask(remind("later", 10))
    await ref.ask(remind("sooner", 5))
    assert [(row.path, row.name, row.every) for row in await rows.all()] == [
        ("actor", "sooner", None),
        ("actor", "later", None),
    ]
    await asyncio.sleep(300)
    assert log == [(5.0, "sooner"), (10.0, "later")]
    assert await rows.all() == []
    await system.stop()


async def test_a_repeated_reminder_keeps_its_times_and_leaves_out_what_was_missed(
    nothing_left_behind: None, rows: MemoryReminders, log: Log
) -> None:
    async def dawdle(actor: Forgetful, reminder: Reminder) -> None:
        if len(log) == 2:
            await asyncio.sleep(65)  # from 50 to 115, over those of 70, 90 and 110

    system = process(rows)
    ref = await system.spawn(lambda: Forgetful(log, dawdle), name="actor")
    await ref.ask(remind("again", 30, every=20))
    await asyncio.sleep(160)
    await ref.ask(forget("again"))
    await asyncio.sleep(100)
    assert [at for at, _ in log] == pytest.approx([30, 50, 130, 150], abs=0.2)
    assert await rows.all() == []
    await system.stop()


@pytest.mark.parametrize(
    ("after", "every"), [(-1, None), (1, 0), (1, -1), (float("nan"), None), (1, float("nan"))]
)
async def test_a_time_that_cannot_be_is_refused(system: ActorSystem, after: float, every: float | None) -> None:
    with pytest.raises(ValueError, match=r"reminder 'x': (after|every) = "):
        await system.reminders.remind("actor", "x", after=after, every=every)


async def test_the_wall_clock_may_be_set_forward_meanwhile(
    nothing_left_behind: None, rows: MemoryReminders, log: Log
) -> None:
    class Wall(LoopClock):
        ahead = 0.0

        def time(self) -> float:
            return super().time() + self.ahead

    clock = Wall()
    system = ActorSystem(clock=clock, reminders=rows)
    ref = await system.spawn(lambda: Forgetful(log), name="actor")
    await ref.ask(remind("tomorrow", 86_400))
    clock.ahead = 86_400  # the machine slept
    await asyncio.sleep(90)
    assert [name for _, name in log] == ["tomorrow"]
    await system.stop()


# --- what they outlive ---------------------------------------------------------------------------------------


async def test_a_reminder_outlives_the_life_that_asked(system: ActorSystem, log: Log) -> None:
    cell = system.new_cell("actor", ActorSpec(start=lambda: Forgetful(log)), Restarting())
    await cell.start()
    await cell.ref.ask(remind("later", 10))
    cell.kill(ValueError("broken"))
    await asyncio.sleep(20)
    assert log == []  # it waits between lives
    await cell.start()
    await settle()
    assert [name for _, name in log] == ["later"]
    await cell.stop(Exit("shutdown"), 5)


async def test_a_reminder_makes_a_passivated_actor_anew(system: ActorSystem, log: Log) -> None:
    ref = await system.spawn(lambda: Forgetful(log), name="actor", passivate_after=2)
    await ref.ask(remind("later", 100))
    await asyncio.sleep(50)
    assert not ref.running
    await asyncio.sleep(60)
    assert log == [(100.0, "later")]
    assert not ref.running


async def test_a_reminder_outlives_the_process(nothing_left_behind: None, rows: MemoryReminders, log: Log) -> None:
    first = process(rows)
    ref = await first.spawn(lambda: Forgetful(log), name="actor")
    await ref.ask(remind("in time", 20))
    await ref.ask(remind("overdue", 5))
    await first.stop()
    await asyncio.sleep(10)
    second = process(rows)
    await second.reminders.load()
    await second.spawn(lambda: Forgetful(log), name="actor")
    await asyncio.sleep(20)
    assert log == [(10.0, "overdue"), (20.0, "in time")]
    assert await rows.all() == []
    await second.stop()


async def test_one_whose_handling_the_process_did_not_survive_comes_again(
    nothing_left_behind: None, rows: MemoryReminders, log: Log
) -> None:
    gate = Gate()

    async def hang(actor: Forgetful, reminder: Reminder) -> None:
        gate.entered.set()
        await gate.open.wait()

    first = process(rows)
    ref = await first.spawn(lambda: Forgetful(log, hang), name="actor")
    await ref.ask(remind("x", 5))
    await gate.entered.wait()
    await first.stop(1)  # too short for it
    second = process(rows)
    await second.reminders.load()
    await second.spawn(lambda: Forgetful(log), name="actor")
    await settle()
    assert [name for _, name in log] == ["x", "x"]
    await second.stop()
    assert await rows.all() == []


async def test_one_that_is_handled_while_the_system_stops_is_written_down(
    nothing_left_behind: None, log: Log
) -> None:
    rows = SlowRows()
    gate = Gate()

    async def take_long(actor: Forgetful, reminder: Reminder) -> None:
        gate.entered.set()
        await asyncio.sleep(3)

    system = process(rows)
    ref = await system.spawn(lambda: Forgetful(log, take_long), name="actor")
    await ref.ask(remind("x", 5))
    await gate.entered.wait()
    await system.stop()
    assert await rows.all() == []


async def test_one_whose_life_was_killed_while_it_handled_it_comes_again(system: ActorSystem, log: Log) -> None:
    gate = Gate()

    async def hang_once(actor: Forgetful, reminder: Reminder) -> None:
        gate.entered.set()
        if len(log) == 1:
            await gate.open.wait()

    cell = system.new_cell("actor", ActorSpec(start=lambda: Forgetful(log, hang_once)), Restarting())
    await cell.start()
    await cell.ref.ask(remind("x", 5))
    await gate.entered.wait()
    await cell.end(Exit("shutdown"), 0)  # as a supervisor ends it for what a sibling did
    await cell.start()
    await asyncio.sleep(100)
    assert [name for _, name in log] == ["x", "x"]
    await cell.stop(Exit("shutdown"), 5)


@pytest.mark.parametrize("error", [ValueError("broken"), asyncio.CancelledError(), Declined("no")])
async def test_one_whose_handler_failed_has_been_handled(
    nothing_left_behind: None, rows: MemoryReminders, log: Log, error: BaseException, events: list[Event]
) -> None:
    async def fail(actor: Forgetful, reminder: Reminder) -> None:
        raise error

    system = process(rows, events)
    cell = system.new_cell("actor", ActorSpec(start=lambda: Forgetful(log, fail)), Restarting())
    await cell.start()
    await cell.ref.ask(remind("x", 5))
    await asyncio.sleep(10)
    if not cell.running:
        await cell.start()
    await asyncio.sleep(100)
    assert len(log) == 1
    assert await rows.all() == []
    # An error that does not end the life would not be heard of otherwise.
    assert of(MessageDropped, events) == (
        [MessageDropped("actor", Reminder, "failed")] if isinstance(error, Declined) else []
    )
    await cell.stop(Exit("shutdown"), 5)
    await system.stop()


async def test_a_handler_that_was_refused_by_an_actor_that_is_gone_has_handled_it(
    system: ActorSystem, log: Log
) -> None:
    async def ask_nobody(actor: Forgetful, reminder: Reminder) -> None:
        await actor.system.ref("nobody").ask(forget("x"))

    cell = system.new_cell("actor", ActorSpec(start=lambda: Forgetful(log, ask_nobody)), Restarting())
    await cell.start()
    await cell.ref.ask(remind("x", 5))
    await asyncio.sleep(10)
    await cell.start()
    await asyncio.sleep(100)
    assert len(log) == 1  # else it would crash life after life
    await cell.stop(Exit("shutdown"), 5)


async def test_one_that_falls_due_while_nobody_is_there_waits_for_the_actor(system: ActorSystem, log: Log) -> None:
    ref = await system.spawn(lambda: Forgetful(log), name="actor")
    await ref.ask(remind("missed", 5))
    await ref.ask(remind("forgotten", 5))
    await ref.ask(remind("put off", 5))
    await ref.stop()
    await asyncio.sleep(10)
    await system.reminders.forget("actor", "forgotten")
    await system.reminders.remind("actor", "put off", after=40, every=None)
    await asyncio.sleep(10)
    await system.spawn(lambda: Forgetful(log), name="actor")
    await asyncio.sleep(50)
    assert log == [(20.0, "missed"), (50.0, "put off")]


async def test_one_that_waits_in_the_mailbox_of_an_actor_that_ends_waits_for_the_next(
    system: ActorSystem, log: Log
) -> None:
    async def hold(actor: Forgetful) -> None:
        await asyncio.sleep(60)

    ref = await system.spawn(lambda: Forgetful(log), name="actor")
    await ref.ask(remind("x", 5))
    ref.tell(Do(hold))
    await asyncio.sleep(10)
    await ref.stop(timeout=0)
    assert log == []
    await system.spawn(lambda: Forgetful(log), name="actor")
    await settle()
    assert [name for _, name in log] == ["x"]


# --- a mailbox that stays full -------------------------------------------------------------------------------


async def test_the_oldest_that_is_dropped_for_want_of_room_is_never_a_reminder(
    system: ActorSystem, log: Log, events: list[Event]
) -> None:
    echoed: list[int] = []

    async def hold(actor: Forgetful) -> None:
        await asyncio.sleep(60)

    def note(value: int) -> Do:
        async def write_down(actor: Forgetful) -> None:
            echoed.append(value)

        return Do(write_down)

    ref = await system.spawn(lambda: Forgetful(log), name="actor", mailbox=3, overflow="drop_oldest")
    await ref.ask(remind("x", 5))
    await ref.ask(remind("y", 6))
    ref.tell(Do(hold))
    await asyncio.sleep(10)
    for value in range(100):
        ref.tell(note(value))
    assert ref.stats.depth == 3
    await asyncio.sleep(100)
    assert ([name for _, name in log], echoed) == (["x", "y"], [99])
    assert len(of(MessageDropped, events)) == ref.stats.drops == 99


async def test_where_only_reminders_wait_the_next_message_is_the_one_dropped(
    system: ActorSystem, log: Log, events: list[Event]
) -> None:
    async def hold(actor: Forgetful) -> None:
        await asyncio.sleep(60)

    ref = await system.spawn(lambda: Forgetful(log), name="actor", mailbox=2, overflow="drop_oldest")
    for name in ("x", "y", "z"):
        await ref.ask(remind(name, 5))
    ref.tell(Do(hold))
    await asyncio.sleep(10)
    ref.tell(Do(hold))
    with pytest.raises(MailboxFull):
        await ref.ask(Do(hold))
    assert [event.message for event in of(MessageDropped, events)] == [Do, Do]
    assert ref.stats == MailboxStats(depth=3, high_water=3, waits=0, drops=2)
    await asyncio.sleep(100)
    assert [name for _, name in log] == ["x", "y", "z"]
