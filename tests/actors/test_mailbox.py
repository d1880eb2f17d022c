"""What waits for an actor: two lanes, a bound with a policy, and exact figures about it."""

import asyncio
import contextlib
import itertools
from collections.abc import Coroutine
from typing import Any

import pytest

from repertory.actors import Actor, ActorRef, ActorSystem, Message, handles
from repertory.actors.cell import Cell
from repertory.actors.info import MailboxStats
from repertory.actors.spec import Overflow
from repertory.errors import DeadlineExceeded, MailboxFull
from repertory.events import Event, MessageDropped
from tests.actors.kernel import Declined, Echo, Gate, Hold, Probe, Raise, Unknown, of, settle

EVERY_POLICY = pytest.mark.parametrize("overflow", ["wait", "reject", "drop_newest", "drop_oldest"])
REFUSING_POLICY = pytest.mark.parametrize("overflow", ["reject", "drop_newest"])
FULL = "2 messages wait"


class Busy:
    """An actor with a mailbox for two that is at work on a message until it is let go on."""

    def __init__(self, system: ActorSystem) -> None:
        self.system = system
        self.log: list[object] = []
        self.gate = Gate()
        self.ref: ActorRef
        self.asked: dict[int, asyncio.Task[int]] = {}

    async def begin(self, overflow: Overflow) -> None:
        self.ref = await self.system.spawn(lambda: Probe(self.log), name="busy", mailbox=2, overflow=overflow)
        self.log.clear()
        self.ref.tell(Hold(self.gate))
        await self.gate.entered.wait()

    @property
    def cell(self) -> Cell:
        return cell_of(self.ref)

    @property
    def stats(self) -> MailboxStats:
        return self.cell.info().mailbox

    async def ask(self, *values: int, timeout: float | None = None) -> None:
        for value in values:
            self.asked[value] = asyncio.create_task(self.ref.ask(Echo(value), timeout=timeout))
        await settle()

    async def cancel(self, *values: int) -> None:
        for value in values:
            self.asked[value].cancel()
        await settle()

    async def let_go(self) -> list[object]:
        """What has then been handled, and what the askers got."""
        self.gate.open.set()
        await settle()
        assert (self.cell.depth, self.cell.withdrawn) == (0, 0)
        return self.log[1:]

    async def outcome(self, value: int) -> int | type[BaseException]:
        (outcome,) = await asyncio.gather(self.asked[value], return_exceptions=True)
        return outcome if isinstance(outcome, int) else type(outcome)


def cell_of(ref: ActorRef) -> Cell:
    cell = ref.find_cell()
    assert cell is not None
    return cell


@pytest.fixture
def busy(system: ActorSystem) -> Busy:
    return Busy(system)


def dropped(events: list[Event]) -> list[str]:
    return [event.reason for event in of(MessageDropped, events)]


# --- two lanes ---


async def test_the_system_lane_goes_first_and_knows_no_bound(busy: Busy) -> None:
    await busy.begin("reject")
    busy.ref.tell(Echo(1))
    busy.ref.tell(Echo(2))
    for value in range(10, 15):
        busy.cell.signal(Echo(value))
    assert busy.stats == MailboxStats(depth=2, high_water=2, waits=0, drops=0)
    assert await busy.let_go() == [10, 11, 12, 13, 14, 1, 2]


async def test_a_signal_is_handled_before_the_next_message_of_a_long_row(system: ActorSystem) -> None:
    log: list[object] = []

    class Signalling(Probe):
        async def echo(self, message: Echo) -> int:
            if message.value == 3:
                self._life.cell.signal(Echo(-1))
            return await super().echo(message)

    ref = await system.spawn(lambda: Signalling(log), name="probe")
    for value in range(6):
        ref.tell(Echo(value))
    await settle()
    assert log == ["started", 0, 1, 2, 3, -1, 4, 5]


async def test_what_an_actor_defers_comes_behind_all_that_wait_and_knows_no_bound(busy: Busy) -> None:
    await busy.begin("reject")
    busy.ref.tell(Echo(1))
    busy.ref.tell(Echo(2))
    busy.cell.defer(Echo(3))
    assert busy.stats == MailboxStats(depth=3, high_water=3, waits=0, drops=0)
    assert await busy.let_go() == [1, 2, 3]


# --- what happens to the message that finds the mailbox full ---


async def test_reject_raises_at_the_sender(busy: Busy, events: list[Event]) -> None:
    await busy.begin("reject")
    await busy.ask(1, 2, 3)
    with pytest.raises(MailboxFull, match=FULL):
        busy.ref.tell(Echo(4))
    assert await busy.outcome(3) is MailboxFull
    assert busy.stats == MailboxStats(depth=2, high_water=2, waits=0, drops=2)
    assert dropped(events) == ["full", "full"]
    assert await busy.let_go() == [1, 2]


async def test_wait_lets_asks_wait_in_their_order_and_rejects_tells(busy: Busy, events: list[Event]) -> None:
    await busy.begin("wait")
    await busy.ask(1, 2, 3, 4)
    with pytest.raises(MailboxFull, match=FULL):
        busy.ref.tell(Echo(5))
    await busy.ask(6)
    assert busy.stats == MailboxStats(depth=5, high_water=5, waits=3, drops=1)
    assert dropped(events) == ["full"]
    assert await busy.let_go() == [1, 2, 3, 4, 6]
    assert [await busy.outcome(value) for value in (1, 2, 3, 4, 6)] == [1, 2, 3, 4, 6]


async def test_wait_is_within_the_deadline(busy: Busy, events: list[Event]) -> None:
    await busy.begin("wait")
    await busy.ask(1, 2)
    with pytest.raises(DeadlineExceeded):
        await busy.ref.ask(Echo(3), timeout=1)
    assert busy.stats == MailboxStats(depth=2, high_water=3, waits=1, drops=0)
    assert await busy.let_go() == [1, 2]
    assert dropped(events) == ["expired"]


async def test_drop_newest_drops_what_comes(busy: Busy, events: list[Event]) -> None:
    await busy.begin("drop_newest")
    await busy.ask(1, 2, 3)
    busy.ref.tell(Echo(4))
    assert await busy.outcome(3) is MailboxFull
    assert busy.stats == MailboxStats(depth=2, high_water=2, waits=0, drops=2)
    assert dropped(events) == ["full", "full"]
    assert await busy.let_go() == [1, 2]


async def test_drop_oldest_drops_what_has_waited_longest(busy: Busy, events: list[Event]) -> None:
    await busy.begin("drop_oldest")
    await busy.ask(1)
    busy.ref.tell(Echo(2))
    await busy.ask(3)
    assert await busy.outcome(1) is MailboxFull
    busy.ref.tell(Echo(4))
    assert busy.stats == MailboxStats(depth=2, high_water=2, waits=0, drops=2)
    assert dropped(events) == ["full", "full"]
    assert await busy.let_go() == [3, 4]
    assert await busy.outcome(3) == 3


@EVERY_POLICY
async def test_an_asker_cancelled_while_its_message_was_being_refused_does_no_harm(
    busy: Busy, overflow: Overflow
) -> None:
    await busy.begin(overflow)
    await busy.ask(1, 2)
    asked = asyncio.create_task(busy.ref.ask(Echo(3)))
    await asyncio.sleep(0)
    asked.cancel()
    asyncio.get_running_loop().call_soon(busy.gate.open.set)
    await asyncio.wait([asked])
    await settle()
    assert (busy.cell.depth, busy.cell.withdrawn) == (0, 0)
    assert busy.log[1:] in ([1, 2], [2])


# --- those whose askers are gone ---


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


async def test_dropping_the_oldest_takes_no_longer_the_more_there_are(system: ActorSystem) -> None:
    class Counted(Message[None]):
        __slots__ = ()

    ref = await system.spawn(Probe, name="probe", mailbox=20_000, overflow="drop_oldest")
    gate = Gate()
    ref.tell(Hold(gate))
    await gate.entered.wait()
    mailbox = cell_of(ref).open_mailbox()
    for _ in range(40_000):  # takes minutes where each looks through the whole mailbox
        ref.tell(Counted())
    assert len(mailbox) == 20_000
    assert cell_of(ref).info().mailbox == MailboxStats(20_000, 20_000, waits=0, drops=20_000)
    mailbox.clear()
    gate.open.set()


async def test_a_caller_cancelled_in_the_turn_in_which_the_handler_ends_leaves_nothing_behind(busy: Busy) -> None:
    ref = await busy.system.spawn(Probe, name="probe")
    for error in (None, Declined("no")):

        class Slow(Message[None]):
            pass

        gate = Gate()

        class Ends(Actor[None]):
            expected = (Declined,)

            @handles(Slow)
            async def slow(self, message: Slow, gate: Gate = gate, error: Exception | None = error) -> None:
                gate.entered.set()
                await gate.open.wait()
                if error is not None:
                    raise error

        ref = await busy.system.spawn(Ends, name=f"ends {error}")
        asked = asyncio.create_task(ref.ask(Slow()))
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


# --- order ---


@EVERY_POLICY
async def test_the_messages_of_one_sender_keep_their_order(busy: Busy, overflow: Overflow) -> None:
    await busy.begin(overflow)
    for value in range(1, 20, 2):
        await busy.ask(value)
        with contextlib.suppress(MailboxFull):
            busy.ref.tell(Echo(value + 1))
    handled = await busy.let_go()
    assert handled == sorted(handled, key=lambda value: int(str(value)))
    assert len(handled) == (10 + 1 if overflow == "wait" else 2)


async def test_an_ask_does_not_overtake_those_that_wait_for_room_while_they_are_let_in(busy: Busy) -> None:
    await busy.begin("wait")
    await busy.ask(1, 2, 3, 4)

    async def ask_as_soon_as_there_is_room() -> None:
        while len(busy.asked) < 10:
            value = len(busy.asked) + 1
            busy.asked[value] = asyncio.create_task(busy.ref.ask(Echo(value)))
            await asyncio.sleep(0)

    asking = asyncio.create_task(ask_as_soon_as_there_is_room())
    assert await busy.let_go() == list(range(1, 11))
    await asking


# --- turns ---


@pytest.mark.parametrize("kind", ["echo", "unhandled", "declined"])
async def test_at_most_256_messages_a_turn(system: ActorSystem, kind: str) -> None:
    messages: dict[str, Message[Any]] = {"echo": Echo(1), "unhandled": Unknown(), "declined": Raise(Declined(""))}
    ref = await system.spawn(Probe, name="probe")
    for _ in range(1000):
        ref.tell(messages[kind])
    depths = [ref.load]
    while depths[-1]:
        await asyncio.sleep(0)
        depths.append(ref.load)
    assert max(before - after for before, after in itertools.pairwise(depths)) <= 256


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
