"""Timers: messages an actor sends itself."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from repertory.actors import Actor, ActorSpec, ActorSystem, Cell, Exit, Message, Timer, handles
from repertory.errors import StartFailed
from tests.actors.kernel import Echo, Gate, Restarting, Withstand, settle
from tests.actors.light import Light


@dataclass(frozen=True, slots=True)
class Tick(Message[None]):
    name: str = "tick"
    takes: float = 0.0


@dataclass(frozen=True, slots=True)
class Note(Message[None]):
    name: str


@dataclass(frozen=True, slots=True)
class Do(Message[Any]):
    what: Callable[["Clockwork"], Any]


class Clockwork(Actor[None]):
    """Writes down when what came."""

    def __init__(self, log: list[tuple[float, str]]) -> None:
        self.log = log

    @handles(Do)
    async def do(self, message: Do) -> Any:
        return message.what(self)

    @handles(Tick)
    async def tick(self, message: Tick) -> None:
        self.note(message.name)
        if message.takes:
            await asyncio.sleep(message.takes)

    @handles(Note)
    async def told(self, message: Note) -> None:
        self.note(message.name)

    def note(self, name: str) -> None:
        self.log.append((round(asyncio.get_running_loop().time() - self.since, 1), name))

    since: float = 0.0


@pytest.fixture
def log() -> list[tuple[float, str]]:
    return []


@pytest.fixture
async def cell(system: ActorSystem, log: list[tuple[float, str]]) -> Cell:
    """A Clockwork whose crash leaves its cell for another life; the system's ``roots`` do not know it."""
    cell = system.new_cell("clockwork", ActorSpec(start=lambda: Clockwork(log)), Restarting())
    await cell.start()
    begin(cell)
    return cell


def begin(cell: Cell) -> None:
    """Let the times that are noted count from now."""
    assert isinstance(cell.actor, Clockwork)
    cell.actor.since = asyncio.get_running_loop().time()


async def do(cell: Cell, what: Callable[[Clockwork], Any]) -> Any:
    return await cell.ref.ask(Do(what))


async def timer(cell: Cell, what: Callable[[Clockwork], Timer]) -> Timer:
    made = await do(cell, what)
    assert isinstance(made, Timer)
    return made


async def end(cell: Cell) -> None:
    await cell.stop(Exit("shutdown"), 5)


async def test_a_message_comes_once_when_it_is_due(cell: Cell, log: list[tuple[float, str]]) -> None:
    made = await timer(cell, lambda actor: actor.send_after(3, Tick()))
    assert made.active
    await asyncio.sleep(10)
    assert log == [(3.0, "tick")]
    assert not made.active
    await end(cell)


async def test_a_repeated_message_comes_until_it_is_cancelled(cell: Cell, log: list[tuple[float, str]]) -> None:
    made = await timer(cell, lambda actor: actor.send_every(2, Tick()))
    await asyncio.sleep(7)
    assert made.active
    made.cancel()
    made.cancel()
    assert not made.active
    await asyncio.sleep(7)
    assert log == [(2.0, "tick"), (4.0, "tick"), (6.0, "tick")]
    await end(cell)


async def test_a_period_does_not_drift_and_missed_times_are_not_made_up_for(
    cell: Cell, log: list[tuple[float, str]]
) -> None:
    made = await timer(cell, lambda actor: actor.send_every(2, Tick(takes=5)))
    await asyncio.sleep(15)
    made.cancel()
    # Handled from 2 to 7, while the one of 4 waits and those of 6 is left out, and so on.
    assert [name for _, name in log] == ["tick"] * 3
    assert [at for at, _ in log] == [2.0, 7.0, 12.0]
    await asyncio.sleep(10)
    assert len(log) == 3
    await end(cell)


async def test_a_loop_that_was_held_up_does_not_shift_the_period(
    cell: Cell, log: list[tuple[float, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    await timer(cell, lambda actor: actor.send_every(2, Tick()))
    loop = asyncio.get_running_loop()
    await asyncio.sleep(1)
    monkeypatch.setattr(loop, "time", lambda time=loop.time: time() + 6.5)  # blocked from 1 to 7.5
    begin_at = loop.time() - 7.5
    await asyncio.sleep(3)
    assert isinstance(cell.actor, Clockwork)
    assert cell.actor.since == pytest.approx(begin_at, abs=0.1)
    assert log == [(7.5, "tick"), (8.0, "tick"), (10.0, "tick")]
    await end(cell)


async def test_a_handler_slower_than_its_own_clock_does_not_keep_other_messages_out(
    cell: Cell, log: list[tuple[float, str]]
) -> None:
    await do(cell, lambda actor: actor.send_every(1, Tick(takes=3)))
    await asyncio.sleep(2)  # the first is being handled, the second is waiting
    for name in ("a", "b"):
        cell.ref.tell(Note(name))
    await asyncio.sleep(6)
    assert [name for _, name in log][:4] == ["tick", "tick", "a", "b"]
    await end(cell)


async def test_a_single_message_comes_before_those_that_wait(cell: Cell, log: list[tuple[float, str]]) -> None:
    await do(cell, lambda actor: actor.send_after(1, Tick("timeout")))
    cell.ref.tell(Tick("slow", takes=2))
    cell.ref.tell(Note("waiting"))
    await asyncio.sleep(3)
    assert [name for _, name in log] == ["slow", "timeout", "waiting"]
    await end(cell)


@pytest.mark.parametrize("repeated", [False, True])
async def test_a_cancelled_timer_takes_back_what_waits_already(
    cell: Cell, log: list[tuple[float, str]], repeated: bool
) -> None:
    tick = Tick()

    def start(actor: Clockwork) -> Timer:
        return actor.send_every(1, tick) if repeated else actor.send_after(1, tick)

    cancelled, kept = await timer(cell, start), await timer(cell, start)
    cell.ref.tell(Tick("slow", takes=1.5))
    await asyncio.sleep(1.2)
    cancelled.cancel()
    await asyncio.sleep(0.6)
    kept.cancel()
    await asyncio.sleep(5)
    assert log == [(0.0, "slow"), (1.5, "tick")]  # the other's, though both sent the same object
    await end(cell)


@pytest.mark.parametrize("repeated", [False, True])
async def test_timers_end_with_their_life_and_so_does_what_waits(
    cell: Cell, log: list[tuple[float, str]], repeated: bool
) -> None:
    def start(actor: Clockwork) -> None:
        for seconds in (1, 5):
            if repeated:
                actor.send_every(seconds, Tick())
            else:
                actor.send_after(seconds, Tick())

    await do(cell, start)
    cell.ref.tell(Tick("slow", takes=60))
    await asyncio.sleep(2)  # one message waits, one is yet to come
    cell.kill(ValueError("broken"))
    await settle()
    await cell.start()
    await asyncio.sleep(30)
    assert [name for _, name in log] == ["slow"]
    await end(cell)


async def test_a_timer_started_by_what_a_life_did_last_does_not_reach_the_next(
    system: ActorSystem, log: list[tuple[float, str]]
) -> None:
    class Tenacious(Clockwork):
        async def stopping(self, exit: Exit) -> None:
            self.send_after(1, Tick())
            self.send_every(1, Tick())

    cell = system.new_cell("tenacious", ActorSpec(start=lambda: Tenacious(log)), Restarting())
    await cell.start()
    cell.kill(ValueError("broken"))
    await settle()
    await cell.start()
    await asyncio.sleep(5)
    assert log == []
    await end(cell)


async def test_timers_run_from_started_on_and_keep_an_actor_from_being_passivated(
    system: ActorSystem, log: list[tuple[float, str]]
) -> None:
    class Starting(Clockwork):
        async def started(self) -> None:
            self.since = asyncio.get_running_loop().time()
            self.send_after(30, Tick())

    ref = await system.spawn(lambda: Starting(log), name="starting", passivate_after=2)
    await asyncio.sleep(29)
    assert ref.running
    await asyncio.sleep(10)
    assert log == [(30.0, "tick")]
    assert not ref.running


@pytest.mark.parametrize(
    "start",
    [
        lambda actor: actor.send_after(-1, Tick()),
        lambda actor: actor.send_every(0, Tick()),
        lambda actor: actor.send_after(float("nan"), Tick()),
    ],
)
async def test_a_time_that_cannot_be_is_refused(
    system: ActorSystem, log: list[tuple[float, str]], start: Callable[[Clockwork], Timer]
) -> None:
    ref = await system.spawn(lambda: Clockwork(log), name="clockwork")
    with pytest.raises(ValueError, match="timer: seconds ="):
        await ref.ask(Do(start))


class Ticking(Light):
    """Asks for ticks in its first life, and notes who handles them."""

    when: ClassVar[str]

    def __init__(self, handled: list[tuple[int, int]], gate: Gate) -> None:
        super().__init__()
        self.handled = handled
        self.gate = gate

    async def begin(self, when: str) -> None:
        if self.incarnation == 1 and self.when == when:
            self.send_every(0.02, Echo(1))
            await asyncio.sleep(0.1)

    async def started(self) -> None:
        await self.begin("start")
        if self.incarnation == 1 and self.when == "start":
            raise ValueError("broken")

    async def stopping(self, exit: Exit) -> None:
        await self.begin("end")

    async def echo(self, message: Echo) -> int:
        self.handled.append((self.incarnation, message.value))
        return message.value

    @handles(Withstand)
    async def withstand(self, message: Withstand) -> None:
        await self.begin("stuck")
        message.gate.entered.set()
        while not message.gate.open.is_set():
            with suppress(asyncio.CancelledError):
                await message.gate.open.wait()


@pytest.mark.parametrize("when", ["start", "end", "stuck"])
async def test_no_tick_of_a_life_that_is_over_waits_for_the_next_one(system: ActorSystem, when: str) -> None:
    handled: list[tuple[int, int]] = []
    gate = Gate()
    kind = type("Ticks", (Ticking,), {"when": when})
    cell = system.new_cell("ticking", ActorSpec(start=lambda: kind(handled, gate)), Restarting())
    if when == "start":
        with pytest.raises(StartFailed):
            await cell.start()
    else:
        await cell.start()
        if when == "stuck":
            cell.ref.tell(Withstand(gate))
            await gate.entered.wait()
        cell.kill(ValueError("broken"))
    await asyncio.sleep(2)
    handled.clear()
    await cell.start()
    await asyncio.sleep(1)
    assert handled == []
    gate.open.set()
    await cell.stop(Exit("shutdown"), 5)
