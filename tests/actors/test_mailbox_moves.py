"""Messages on their way from one mailbox or life to another: none is lost, doubled or counted twice."""

import asyncio

import pytest

from repertory.actors import Actor, ActorRef, ActorSystem, Exit, handles
from repertory.actors.cell import Cell
from repertory.actors.envelope import Envelope
from repertory.actors.exit import SHUTDOWN
from repertory.actors.info import MailboxStats
from repertory.actors.spec import ActorSpec, Overflow
from repertory.errors import ActorDown, DeadlineExceeded, MailboxFull
from repertory.events import Event, MessageDropped
from tests.actors.kernel import Echo, Gate, Hold, Probe, of, settle


class Indifferent:
    """A keeper that takes note of ends, and closes the cell if it is to."""

    def __init__(self, *, closes: bool = False) -> None:
        self.exits: list[Exit] = []
        self.closes = closes

    def child_ended(self, cell: Cell, exit: Exit) -> None:
        self.exits.append(exit)
        if self.closes:
            cell.close()


def new_cell(
    system: ActorSystem,
    name: str,
    log: list[object],
    *,
    mailbox: int = 100,
    overflow: Overflow = "reject",
    lazy: bool = False,
) -> Cell:
    spec = ActorSpec(start=lambda: Probe(log), mailbox=mailbox, overflow=overflow, lazy=lazy)
    return system.new_cell(name, spec, Indifferent())


async def ask(ref: ActorRef, *values: int, timeout: float | None = None) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(ref.ask(Echo(value), timeout=timeout)) for value in values]
    await settle()
    return tasks


def dropped(events: list[Event]) -> list[tuple[str, str]]:
    return [(event.path, event.reason) for event in of(MessageDropped, events)]


async def test_surrendered_messages_are_answered_by_who_accepts_them(system: ActorSystem) -> None:
    log: list[object] = []
    one, other = new_cell(system, "one", [], mailbox=2, overflow="wait"), new_cell(system, "other", log, mailbox=1)
    await other.start()
    asked = await ask(one.ref, 1, 2, 3)
    items = one.surrender()
    assert (one.depth, one.withdrawn, one.waiting, len(items)) == (0, 0, None, 3)
    other.accept(items)
    assert other.info().mailbox == MailboxStats(depth=3, high_water=3, waits=0, drops=0)
    assert await asyncio.gather(*asked) == [1, 2, 3]
    assert log == ["started", 1, 2, 3]
    one.close()
    await other.stop(SHUTDOWN, None)


async def test_dead_asks_are_not_surrendered(system: ActorSystem, events: list[Event]) -> None:
    one = new_cell(system, "one", [])
    asked = await ask(one.ref, 1, 2, 3)
    asked[0].cancel()
    await settle()
    asked[1].cancel()  # and has not noticed
    assert len(one.surrender()) == 1
    await settle()
    assert (one.withdrawn, one.depth) == (0, 0)
    assert dropped(events) == [("one", "abandoned"), ("one", "abandoned")]
    asked[2].cancel()
    await settle()
    assert (one.withdrawn, one.depth) == (0, 0)
    one.close()


async def test_an_asker_that_goes_while_its_message_is_between_two_cells_is_counted_by_neither(
    system: ActorSystem, events: list[Event]
) -> None:
    log: list[object] = []
    one, other = new_cell(system, "one", []), new_cell(system, "other", log)
    asked = await ask(one.ref, 1, 2, 3)
    items = one.surrender()
    asked[0].cancel()
    await settle()
    asked[1].cancel()
    other.accept(items)
    await settle()
    assert [(cell.withdrawn, cell.depth) for cell in (one, other)] == [(0, 0), (0, 1)]
    await other.start()
    assert await asked[2] == 3
    assert log == ["started", 3]
    assert dropped(events) == [("other", "abandoned"), ("other", "abandoned")]
    one.close()
    await other.stop(SHUTDOWN, None)


async def test_an_asker_that_goes_after_its_message_was_moved_is_counted_where_it_waits(
    system: ActorSystem,
) -> None:
    one, other = new_cell(system, "one", []), new_cell(system, "other", [])
    (asked,) = await ask(one.ref, 1)
    other.accept(one.surrender())
    asked.cancel()
    await settle()
    assert [(cell.withdrawn, cell.depth) for cell in (one, other)] == [(0, 0), (1, 0)]
    one.close()
    other.close()
    assert other.withdrawn == 0


async def test_a_closed_cell_turns_away_what_it_is_to_accept(system: ActorSystem, events: list[Event]) -> None:
    one, other = new_cell(system, "one", []), new_cell(system, "other", [])
    (asked,) = await ask(one.ref, 1)
    one.ref.tell(Echo(2))
    items = one.surrender()
    other.close()
    other.accept(items)
    with pytest.raises(ActorDown, match="other has stopped"):
        await asked
    assert dropped(events) == [("other", "down")]
    one.close()


async def test_a_cell_that_closes_while_it_accepts_holds_nothing(system: ActorSystem, events: list[Event]) -> None:
    """What it accepts first wakes it, it cannot start, and its keeper gives it up."""

    def broken() -> Probe:
        raise ValueError("broken")

    one = new_cell(system, "one", [])
    keeper = Indifferent(closes=True)
    other = system.new_cell("other", ActorSpec(start=broken, lazy=True), keeper)
    await other.start()
    asked = await ask(one.ref, 1, 2, 3)
    other.accept(one.surrender())
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ActorDown] * 3
    assert len(keeper.exits) == 1
    assert (other.closed, other.depth, len(other.mailbox or ())) == (True, 0, 0)
    one.close()


async def test_put_back_comes_first_in_its_order(system: ActorSystem) -> None:
    log: list[object] = []
    cell = new_cell(system, "one", log, mailbox=2)
    cell.ref.tell(Echo(3))
    cell.put_back([Echo(1), Echo(2)])
    assert cell.info().mailbox == MailboxStats(depth=3, high_water=3, waits=0, drops=0)
    with pytest.raises(MailboxFull):
        cell.ref.tell(Echo(4))
    await cell.start()
    await settle()
    assert log == ["started", 1, 2, 3]
    await cell.stop(SHUTDOWN, None)


async def test_what_is_put_back_is_counted_once_it_is_dead(system: ActorSystem, events: list[Event]) -> None:
    cell = new_cell(system, "one", [])
    asked = await ask(cell.ref, 1, 2)
    items = cell.surrender()
    asked[0].cancel()
    await settle()
    cell.put_back(items)
    assert (cell.depth, cell.withdrawn) == (1, 0)
    asked[1].cancel()
    await settle()
    assert (cell.depth, cell.withdrawn) == (0, 1)
    cell.close()
    assert cell.withdrawn == 0
    assert dropped(events) == [("one", "abandoned"), ("one", "abandoned")]


async def test_messages_wait_between_two_lives_and_signals_do_not(system: ActorSystem) -> None:
    log: list[object] = []
    cell = new_cell(system, "one", log, mailbox=2, overflow="wait")
    await cell.start()
    await cell.end(SHUTDOWN, None)
    log.clear()
    cell.ref.tell(Echo(1))
    asked = await ask(cell.ref, 2, 3)
    with pytest.raises(DeadlineExceeded):
        await cell.ref.ask(Echo(4), timeout=1)
    assert cell.info().mailbox == MailboxStats(depth=3, high_water=4, waits=2, drops=0)
    assert (cell.free, cell.life) == (0, None)
    await cell.start()
    assert await asyncio.gather(*asked) == [2, 3]
    assert log == ["started", 1, 2, 3]
    assert (cell.depth, cell.withdrawn, cell.free) == (0, 0, 0)
    cell.signal(Echo(5))
    await cell.end(SHUTDOWN, 0)
    await cell.start()
    await settle()
    assert 5 not in log
    await cell.stop(SHUTDOWN, None)


async def test_the_messages_behind_the_one_that_crashed_wait_for_the_next_life(system: ActorSystem) -> None:
    log: list[object] = []
    cell = new_cell(system, "one", log)
    await cell.start()
    gate = Gate()
    held = asyncio.create_task(cell.ref.ask(Hold(gate)))
    await gate.entered.wait()
    asked = await ask(cell.ref, 1, 2)
    cell.kill(ValueError("killed"))
    with pytest.raises(ActorDown):
        await held
    assert (cell.depth, cell.free) == (2, 0)
    await cell.start()
    assert await asyncio.gather(*asked) == [1, 2]
    await cell.stop(SHUTDOWN, None)


async def test_what_came_before_a_lazy_actor_was_started_begins_its_life(system: ActorSystem) -> None:
    log: list[object] = []
    cell = new_cell(system, "one", log, lazy=True)
    cell.ref.tell(Echo(1))
    await cell.start()
    await settle()
    assert log == ["started", 1]
    await cell.stop(SHUTDOWN, None)


async def test_a_closed_mailbox_holds_nothing_and_every_asker_knows(
    system: ActorSystem, events: list[Event]
) -> None:
    cell = new_cell(system, "one", [], mailbox=2, overflow="wait")
    ref = cell.ref
    asked = await ask(ref, 1, 2, 3)
    cell.signal(Echo(4))
    cell.close()
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ActorDown] * 3
    assert (len(cell.mailbox or ()), cell.waiting, cell.signals, cell.withdrawn) == (0, None, None, 0)
    cell.signal(Echo(5))
    assert cell.signals is None
    assert dropped(events) == []


async def test_holds_and_retract_know_a_message_by_identity_and_make_room(system: ActorSystem) -> None:
    log: list[object] = []
    cell = new_cell(system, "one", log, mailbox=2, overflow="wait")
    first, twin = Echo(1), Echo(1)
    cell.ref.tell(first)
    cell.ref.tell(Echo(2))
    asked = await ask(cell.ref, 3)
    assert cell.holds(first)
    assert not cell.holds(twin)
    cell.retract(twin)
    assert cell.depth == 3
    cell.retract(first)
    assert (cell.depth, cell.waiting) == (2, None)
    assert not cell.holds(first)
    await cell.start()
    assert await asyncio.gather(*asked) == [3]
    assert log == ["started", 2, 3]
    await cell.stop(SHUTDOWN, None)


async def test_surrendered_asks_are_opaque_and_tells_are_bare(system: ActorSystem) -> None:
    cell = new_cell(system, "one", [])
    told = Echo(1)
    cell.ref.tell(told)
    (asked,) = await ask(cell.ref, 2)
    bare, envelope = cell.surrender()
    assert bare is told
    assert type(envelope) is Envelope
    cell.put_back([envelope])
    cell.close()
    with pytest.raises(ActorDown):
        await asked


async def test_a_lead_that_is_to_rest_stays_if_another_runner_has_come_meanwhile(system: ActorSystem) -> None:
    """Its message is taken back in the same turn, so that the lead finds nothing to do."""

    class Light(Actor[None]):
        @handles(Echo)
        async def echo(self, message: Echo) -> int:
            return message.value

    ref = await system.spawn(Light, name="light", concurrency=2)
    await ref.ask(Echo(1))
    cell = ref.find_cell()
    assert cell is not None
    assert cell.life is not None
    lead = cell.life.lead
    assert lead is not None
    lead.rest()
    message = Echo(2)
    ref.tell(message)
    cell.retract(message)
    await settle()
    assert cell.life.lead is lead
    assert cell.free == 2 - len(cell.life.runners)
    assert await ref.ask(Echo(3)) == 3
