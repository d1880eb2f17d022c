"""How many messages are handled at a time, in what order, and who else gets a turn."""

import asyncio
from itertools import pairwise

import pytest

from repertory.actors import ActorSystem, Exit, Message, handles
from repertory.actors.runner import TURN
from repertory.errors import ActorDown
from repertory.events import ActorCrashed, Event
from tests.actors.kernel import Echo, Finish, Gate, Hold, Probe, Raise, of, settle


class Gauge(Probe):
    """Counts the handlers that are at work."""

    now = 0
    most = 0

    async def hold(self, message: Hold) -> str:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return await super().hold(message)
        finally:
            self.now -= 1


@pytest.mark.parametrize("concurrency", [1, 2, 7])
async def test_handlers_interleave_up_to_the_concurrency(system: ActorSystem, concurrency: int) -> None:
    gauge = Gauge()
    ref = await system.spawn(lambda: gauge, name="gauge", concurrency=concurrency)
    gates = [Gate() for _ in range(20)]
    asks = [asyncio.create_task(ref.ask(Hold(gate))) for gate in gates]
    await settle()
    assert [gate.entered.is_set() for gate in gates] == [number < concurrency for number in range(20)]
    assert ref.load == 20
    for gate in gates:
        gate.open.set()
    assert await asyncio.gather(*asks) == ["held"] * 20
    assert gauge.most == concurrency
    assert ref.load == 0


async def test_messages_that_waited_for_the_start_are_handled_concurrently(system: ActorSystem) -> None:
    starting = Gate()

    class Slow(Gauge):
        async def started(self) -> None:
            starting.entered.set()
            await starting.open.wait()

    gauge = Slow()
    spawning = asyncio.create_task(system.spawn(lambda: gauge, name="gauge", concurrency=4))
    await starting.entered.wait()
    gates = [Gate() for _ in range(6)]
    asks = [asyncio.create_task(system.ref("gauge").ask(Hold(gate))) for gate in gates]
    await settle()
    starting.open.set()
    await settle()
    assert gauge.now == 4
    for gate in gates:
        gate.open.set()
    await asyncio.gather(spawning, *asks)


async def test_a_slow_message_does_not_hold_up_the_other_runners(system: ActorSystem) -> None:
    ref = await system.spawn(Probe, name="probe", concurrency=2)
    gate = Gate()
    held = asyncio.create_task(ref.ask(Hold(gate)))
    await gate.entered.wait()
    for value in range(1000):
        assert await ref.ask(Echo(value)) == value
    gate.open.set()
    assert await held == "held"


async def test_a_crash_of_one_handler_ends_the_others_with_the_life(
    system: ActorSystem, events: list[Event]
) -> None:
    exits: list[Exit] = []
    ref = await system.spawn(Probe, name="probe", concurrency=3, on_exit=exits.append)
    gates = [Gate(), Gate()]
    held = [asyncio.create_task(ref.ask(Hold(gate))) for gate in gates]
    await settle()
    error = ValueError("broken")
    with pytest.raises(ValueError, match="broken"):
        await ref.ask(Raise(error))
    outcomes = await asyncio.gather(*held, return_exceptions=True)
    assert [(type(outcome), getattr(outcome, "__cause__", None)) for outcome in outcomes] == [
        (ActorDown, error),
        (ActorDown, error),
    ]
    assert all(gate.cancelled for gate in gates)
    assert exits == [Exit("error", error)]
    assert len(of(ActorCrashed, events)) == 1


async def test_the_first_runners_crash_ends_the_others_with_the_life(system: ActorSystem) -> None:
    class Triggered(Probe):
        async def hold(self, message: Hold) -> str:
            await super().hold(message)
            raise ValueError("broken")

    ref = await system.spawn(Triggered, name="probe", concurrency=3)
    gates = [Gate(), Gate(), Gate()]
    held = [asyncio.create_task(ref.ask(Hold(gate))) for gate in gates]
    await settle()
    gates[0].open.set()
    outcomes = await asyncio.gather(*held, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ValueError, ActorDown, ActorDown]


async def test_a_stop_lets_all_messages_at_work_finish_and_begins_no_other(system: ActorSystem) -> None:
    ref = await system.spawn(Probe, name="probe", concurrency=3)
    gates = [Gate() for _ in range(4)]
    held = [asyncio.create_task(ref.ask(Hold(gate))) for gate in gates]
    await settle()
    stopping = asyncio.create_task(system.stop(10))
    await settle()
    for gate in gates:
        gate.open.set()
    outcomes = await asyncio.gather(*held, return_exceptions=True)
    assert outcomes[:3] == ["held"] * 3
    assert isinstance(outcomes[3], ActorDown)
    await stopping


async def test_an_idle_actor_with_many_runners_stops(system: ActorSystem) -> None:
    ref = await system.spawn(Probe, name="probe", concurrency=10)
    gates = [Gate() for _ in range(10)]
    held = [asyncio.create_task(ref.ask(Hold(gate))) for gate in gates]
    await settle()
    for gate in gates:
        gate.open.set()
    await asyncio.gather(*held)
    await ref.ask(Finish(Exit("normal")))
    await settle()
    assert not ref.running


async def test_messages_of_one_sender_are_handled_in_order(system: ActorSystem) -> None:
    log: list[object] = []
    ref = await system.spawn(lambda: Probe(log), name="probe")

    async def send(sender: int) -> None:
        for number in range(50):
            if number % 3 == 0:
                assert await ref.ask(Echo(sender * 100 + number)) == sender * 100 + number
            else:
                ref.tell(Echo(sender * 100 + number))

    await asyncio.gather(*(send(sender) for sender in range(10)))
    await ref.ask(Echo(-1))
    handled = [value for value in log if isinstance(value, int) and value >= 0]
    assert len(handled) == 500
    for sender in range(10):
        assert [value % 100 for value in handled if value // 100 == sender] == list(range(50))


class Note(Message[None]):
    pass


class Signalled(Probe):
    @handles(Note)
    async def note(self, message: Note) -> None:
        self.log.append("signal")


async def test_a_signal_is_handled_before_all_waiting_messages_and_is_never_refused(system: ActorSystem) -> None:
    log: list[object] = []
    ref = await system.spawn(lambda: Signalled(log), name="probe", mailbox=2)
    cell = system.find_cell("probe")
    assert cell is not None
    gate = Gate()
    ref.tell(Hold(gate))
    await gate.entered.wait()
    ref.tell(Echo(1))
    ref.tell(Echo(2))
    for _ in range(3):
        cell.signal(Note())
    gate.open.set()
    await settle()
    assert log == ["started", "held", "signal", "signal", "signal", 1, 2]


async def test_a_flood_of_handlers_that_never_wait_lets_other_tasks_run(system: ActorSystem) -> None:
    log: list[object] = []
    ref = await system.spawn(lambda: Probe(log), name="probe")
    seen: list[int] = []

    async def watch() -> None:
        while len(log) < 1 + 10 * TURN:
            seen.append(len(log) - 1)  # without "started"
            await asyncio.sleep(0)

    for value in range(10 * TURN):
        ref.tell(Echo(value))
    await watch()
    steps = [after - before for before, after in pairwise(seen)]
    assert max(steps) == TURN
    assert len(seen) >= 10


async def test_an_actor_that_keeps_itself_busy_does_not_keep_the_others_out(system: ActorSystem) -> None:
    class Restless(Probe):
        async def echo(self, message: Echo) -> int:
            self.ref.tell(message)
            return message.value

    ref = await system.spawn(Restless, name="restless")
    ref.tell(Echo(1))
    other = await system.spawn(Probe, name="other")
    assert await other.ask(Echo(2)) == 2
    ref.kill(ValueError("enough"))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not ref.running
