"""Which reminder counts: one that was replaced, forgotten, or could not be written."""

import asyncio

import pytest

from repertory.actors import ActorSystem, Reminder
from repertory.errors import DeadlineExceeded, StoreError
from repertory.events import Event, ReminderFailed
from repertory.store import MemoryReminders
from tests.actors.kernel import of
from tests.actors.reminded import Do, FailingRows, Forgetful, Log, SlowRows, forget, process, remind


@pytest.fixture
def log() -> Log:
    return []


@pytest.fixture
def rows() -> MemoryReminders:
    return MemoryReminders()


# --- replaced and forgotten ----------------------------------------------------------------------------------


async def test_a_reminder_of_the_same_name_takes_the_place_of_the_one_before(
    system: ActorSystem, log: Log
) -> None:
    refs = [await system.spawn(lambda: Forgetful(log), name=name) for name in ("actor", "namesake")]
    await refs[0].ask(remind("x", 5))
    await refs[1].ask(remind("x", 6))
    await refs[0].ask(remind("x", 10))
    await asyncio.sleep(100)
    assert log == [(6.0, "x"), (10.0, "x")]


@pytest.mark.parametrize("after", [0, 3])
async def test_a_handler_may_have_itself_reminded_again_under_the_same_name(
    nothing_left_behind: None, rows: MemoryReminders, log: Log, after: float
) -> None:
    async def again(actor: Forgetful, reminder: Reminder) -> None:
        if len(log) < 3:
            await actor.remind("x", after=after)
            await asyncio.sleep(5)  # the next falls due while this one is still being handled

    system = process(rows)
    ref = await system.spawn(lambda: Forgetful(log, again), name="actor")
    await ref.ask(remind("x", 5))
    await asyncio.sleep(100)
    assert log == [(5.0, "x"), (10.0, "x"), (15.0, "x")]
    assert await rows.all() == []
    await system.stop()


@pytest.mark.parametrize("put_off", [False, True])
async def test_what_waits_already_does_not_come_once_it_is_forgotten_or_put_off(
    system: ActorSystem, log: Log, put_off: bool
) -> None:
    async def hold(actor: Forgetful) -> None:
        await asyncio.sleep(10)
        await (actor.remind("x", after=20) if put_off else actor.forget_reminder("x"))

    ref = await system.spawn(lambda: Forgetful(log), name="actor")
    await ref.ask(remind("x", 5))
    ref.tell(Do(hold))
    await asyncio.sleep(100)
    assert log == ([(30.0, "x")] if put_off else [])


async def test_a_handler_may_forget_what_it_is_reminded_of(
    nothing_left_behind: None, rows: MemoryReminders, log: Log
) -> None:
    async def enough(actor: Forgetful, reminder: Reminder) -> None:
        if len(log) == 2:
            await actor.forget_reminder("x")

    system = process(rows)
    ref = await system.spawn(lambda: Forgetful(log, enough), name="actor")
    await ref.ask(remind("x", 5, every=5))
    await asyncio.sleep(100)
    assert log == [(5.0, "x"), (10.0, "x")]
    assert await rows.all() == []
    await system.stop()


@pytest.mark.parametrize("moment", [4.0, 4.5, 5.0, 5.5, 6.5])
async def test_what_was_asked_last_is_what_is_on_disk(nothing_left_behind: None, log: Log, moment: float) -> None:
    rows = SlowRows()
    system = process(rows)
    await system.spawn(lambda: Forgetful(log), name="actor")
    for name in ("forgotten", "put off"):
        await system.reminders.remind("actor", name, after=5, every=5)
    await asyncio.sleep(moment)
    await asyncio.gather(
        system.reminders.forget("actor", "forgotten"),
        system.reminders.remind("actor", "put off", after=1000, every=None),
    )
    await asyncio.sleep(20)
    (row,) = await rows.all()
    assert (row.name, row.every) == ("put off", None)
    await system.stop()


async def test_one_that_is_put_off_again_and_again_is_kept_but_once(system: ActorSystem) -> None:
    for _ in range(1000):
        await system.reminders.remind("actor", "x", after=1000, every=None)
    assert len(system.reminders._queue) < 100


@pytest.mark.parametrize("after", [5, 50])
async def test_one_whose_forgetting_was_cut_short_is_as_before(
    nothing_left_behind: None, log: Log, after: float
) -> None:
    async def hold(actor: Forgetful) -> None:
        await asyncio.sleep(10)  # it falls due and waits in the mailbox, or is yet to fall due
        await actor.forget_reminder("x")

    rows = SlowRows()
    system = process(rows)
    ref = await system.spawn(lambda: Forgetful(log), name="actor")
    await ref.ask(remind("x", after))
    with pytest.raises(DeadlineExceeded):
        await ref.ask(Do(hold), timeout=10.5)
    (row,) = await rows.all()
    assert row.name == "x"
    await asyncio.sleep(100)
    assert [name for _, name in log] == ["x"]
    assert await rows.all() == []
    await system.stop()


# --- a disk that fails ---------------------------------------------------------------------------------------


async def test_where_the_write_fails_everything_stays_as_it_was(nothing_left_behind: None, log: Log) -> None:
    rows = FailingRows()
    system = process(rows)
    ref = await system.spawn(lambda: Forgetful(log), name="actor")
    await ref.ask(remind("x", 5))
    rows.full = True
    for message in (remind("x", 50), forget("x"), remind("y", 1)):
        with pytest.raises(StoreError, match="disk full"):
            await ref.ask(message)
    rows.full = False
    await asyncio.sleep(100)
    assert log == [(5.0, "x")]
    assert await rows.all() == []
    await system.stop()


async def test_where_it_cannot_be_written_that_it_was_handled_that_is_said_and_it_may_come_again(
    nothing_left_behind: None, log: Log, events: list[Event]
) -> None:
    rows = FailingRows()
    first = process(rows, events)
    ref = await first.spawn(lambda: Forgetful(log), name="actor")
    await ref.ask(remind("once", 5))
    await ref.ask(remind("again", 6, every=60))
    rows.full = True
    await asyncio.sleep(10)
    rows.full = False
    failed = of(ReminderFailed, events)
    assert [(event.path, event.name, str(event.cause)) for event in failed] == [
        ("actor", "once", "disk full"),
        ("actor", "again", "disk full"),
    ]
    await asyncio.sleep(60)
    assert [name for _, name in log] == ["once", "again", "again"]  # this process knows
    await first.stop()
    second = process(rows)
    await second.reminders.load()
    await second.spawn(lambda: Forgetful(log), name="actor")
    await asyncio.sleep(10)
    assert [name for _, name in log[3:]] == ["once"]
    await second.stop()
