"""What waits for an actor: two lanes, a bound with a policy, and exact figures about it."""

import asyncio
import contextlib
import itertools
from typing import Any

import pytest

from repertory.actors import ActorSystem, Message
from repertory.actors.info import MailboxStats
from repertory.actors.spec import Overflow
from repertory.errors import DeadlineExceeded, MailboxFull
from repertory.events import Event
from tests.actors.busy import Busy, cell_of, dropped
from tests.actors.kernel import Declined, Echo, Gate, Hold, Probe, Raise, Unknown, settle

EVERY_POLICY = pytest.mark.parametrize("overflow", ["wait", "reject", "drop_newest", "drop_oldest"])
REFUSING_POLICY = pytest.mark.parametrize("overflow", ["reject", "drop_newest"])
FULL = "2 messages wait"


@pytest.fixture
def busy(system: ActorSystem) -> Busy:
    return Busy(system)


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


async def test_one_that_is_let_in_is_handled_at_once_where_another_handler_is_free(system: ActorSystem) -> None:
    ref = await system.spawn(Probe, name="probe", mailbox=1, overflow="wait", concurrency=2)
    gates = [Gate(), Gate()]
    asked = [asyncio.create_task(ref.ask(Hold(gate))) for gate in gates]  # the second finds the mailbox full
    await settle()
    assert [gate.entered.is_set() for gate in gates] == [True, True]
    for gate in gates:
        gate.open.set()
    assert await asyncio.gather(*asked) == ["held", "held"]
    assert ref.stats.waits == 1


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
