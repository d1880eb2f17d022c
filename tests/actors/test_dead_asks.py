"""Messages that wait although their askers are gone: they take nobody's room, and are counted exactly."""

import asyncio
import itertools
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from repertory.actors import Actor, ActorSystem, Message, handles
from repertory.actors.info import MailboxStats
from repertory.actors.spec import Overflow
from repertory.errors import DeadlineExceeded, MailboxFull
from repertory.events import Event
from tests.actors.busy import Busy, cell_of, dropped
from tests.actors.kernel import Declined, Echo, Gate, Hold, Probe, settle

EVERY_POLICY = pytest.mark.parametrize("overflow", ["wait", "reject", "drop_newest", "drop_oldest"])


@pytest.fixture
def busy(system: ActorSystem) -> Busy:
    return Busy(system)


@EVERY_POLICY
async def test_dead_asks_leave_their_room_to_others(busy: Busy, events: list[Event], overflow: Overflow) -> None:
    await busy.begin(overflow)
    await busy.ask(1, 2)
    await busy.cancel(1, 2)
    assert busy.cell.depth == 0
    busy.ref.tell(Echo(3))
    await busy.ask(4)
    assert busy.stats == MailboxStats(depth=2, high_water=2, waits=0, drops=0)
    assert await busy.let_go() == [3, 4]
    assert dropped(events) == ["abandoned", "abandoned"]


async def test_a_dead_ask_lets_in_the_first_that_waits_for_room(busy: Busy) -> None:
    await busy.begin("wait")
    await busy.ask(1, 2, 3)
    await busy.cancel(1, 2)  # leaves room for 3 and one more
    busy.ref.tell(Echo(4))
    await busy.ask(5)
    assert busy.stats == MailboxStats(depth=3, high_water=3, waits=2, drops=0)
    assert await busy.let_go() == [3, 4, 5]


@EVERY_POLICY
async def test_those_that_die_in_a_full_mailbox_do_not_pile_up(busy: Busy, overflow: Overflow) -> None:
    await busy.begin(overflow)
    await busy.ask(1, 2)
    for _ in range(100):
        with pytest.raises((DeadlineExceeded, MailboxFull)):
            await busy.ref.ask(Echo(3), timeout=0.1)
    held = len(busy.cell.mailbox or ()) + len(busy.cell.waiting or ())
    assert held <= 2 * 2 + 1
    await busy.let_go()


async def test_a_dead_ask_that_is_skipped_lets_in_one_that_waits_for_room(busy: Busy) -> None:
    await busy.begin("wait")
    await busy.ask(1, 2, 3)
    busy.gate.open.set()  # the actor goes on before the two askers notice
    busy.asked[1].cancel()
    busy.asked[2].cancel()
    assert await busy.let_go() == [3]
    assert await busy.outcome(3) == 3


async def test_an_ask_cancelled_this_very_moment_may_be_what_is_dropped(busy: Busy, events: list[Event]) -> None:
    await busy.begin("drop_oldest")
    await busy.ask(1, 2)
    busy.asked[1].cancel()  # and has not noticed
    busy.asked[2].cancel()
    busy.ref.tell(Echo(3))
    busy.ref.tell(Echo(4))
    assert busy.stats == MailboxStats(depth=2, high_water=2, waits=0, drops=0)
    await settle()
    assert await busy.let_go() == [3, 4]
    assert dropped(events) == ["abandoned", "abandoned"]


@dataclass(frozen=True, slots=True)
class Late(Message[None]):
    gate: Gate
    error: Exception | None


class Answering(Actor[None]):
    expected: ClassVar[tuple[type[Exception], ...]] = (Declined,)

    @handles(Late)
    async def late(self, message: Late) -> None:
        message.gate.entered.set()
        await message.gate.open.wait()
        if message.error is not None:
            raise message.error


@pytest.mark.parametrize("error", [None, Declined("no")])
async def test_a_caller_cancelled_in_the_turn_in_which_the_handler_ends_leaves_nothing_behind(
    system: ActorSystem, error: Exception | None
) -> None:
    ref = await system.spawn(Answering, name="answering")
    gate = Gate()
    asked = asyncio.create_task(ref.ask(Late(gate, error)))
    await gate.entered.wait()
    gate.open.set()  # the handler goes on first, then the asker hears that it is cancelled
    asked.cancel()
    await settle()
    assert asked.cancelled()
    assert cell_of(ref).withdrawn == 0


class Stasher(Probe):
    async def echo(self, message: Echo) -> int:
        if message.value < 0:
            self.stash()
        elif message.value == 0:
            self.unstash()
        return await super().echo(message)


async def test_an_asker_that_goes_while_its_message_is_stashed_makes_no_room(
    system: ActorSystem, events: list[Event]
) -> None:
    log: list[object] = []
    ref = await system.spawn(lambda: Stasher(log), name="probe", mailbox=2)
    stashed = [asyncio.create_task(ref.ask(Echo(-1), timeout=1)), asyncio.create_task(ref.ask(Echo(-2)))]
    await settle()
    await asyncio.sleep(2)
    stashed[1].cancel()
    await asyncio.gather(*stashed, return_exceptions=True)
    assert cell_of(ref).withdrawn == 0
    ref.tell(Echo(0))
    await settle()
    assert log == ["started", -1, -2, 0]
    assert (cell_of(ref).withdrawn, cell_of(ref).depth) == (0, 0)
    assert sorted(dropped(events)) == ["abandoned", "expired"]


@pytest.mark.parametrize("concurrency", [1, 2])
async def test_an_asker_that_goes_while_the_life_ends_is_not_counted_and_lets_stopping_finish(
    system: ActorSystem, concurrency: int
) -> None:
    log: list[object] = []

    class Slow(Probe):
        interrupt_on_stop = True

        async def stopping(self, exit: object) -> None:
            await asyncio.sleep(10)
            log.append("let go of everything")

    ref = await system.spawn(lambda: Slow(log), name="slow", concurrency=concurrency)
    cell = cell_of(ref)
    gates = [Gate() for _ in range(concurrency)]
    asks: list[Coroutine[Any, Any, str]] = [ref.ask(Hold(gate), timeout=2) for gate in gates]
    asked = [asyncio.create_task(ask) for ask in asks]
    await asyncio.gather(*(gate.entered.wait() for gate in gates))
    await ref.stop(timeout=20)
    assert [type(outcome) for outcome in await asyncio.gather(*asked, return_exceptions=True)] == [
        DeadlineExceeded
    ] * concurrency
    assert log == ["started", "let go of everything"]
    assert cell.withdrawn == 0


async def test_a_mailbox_full_of_the_dead_is_emptied_256_a_turn_too(system: ActorSystem) -> None:
    ref = await system.spawn(Probe, name="probe")
    gate = Gate()
    ref.tell(Hold(gate))
    await gate.entered.wait()
    asked = [asyncio.create_task(ref.ask(Echo(value), timeout=1)) for value in range(1000)]
    await asyncio.gather(*asked, return_exceptions=True)
    gate.open.set()
    left = [cell_of(ref).withdrawn]
    while left[-1]:
        await asyncio.sleep(0)
        left.append(cell_of(ref).withdrawn)
    assert left[0] == 1000
    assert max(before - after for before, after in itertools.pairwise(left)) <= 256
