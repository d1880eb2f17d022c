"""Ends at the worst moment: a life has one end, its keeper hears of it once, each asker gets an answer."""

import asyncio
import sys
from subprocess import run

import pytest

from repertory.actors import ActorSystem, Exit
from repertory.actors.cell import Cell
from repertory.actors.exit import SHUTDOWN
from repertory.actors.life import STOPPING
from repertory.actors.spec import ActorSpec
from repertory.errors import ActorDown, DeadlineExceeded, InjectedCrash, StartFailed
from repertory.events import ActorCrashed, ActorStarted, Event, Hooks, StuckChild
from tests.actors.kernel import Echo, Finish, Gate, Hold, Probe, Raise, Restarting, of, settle
from tests.actors.light import Light, Run, cleans_up
from tests.virtual_time import LoopClock

KINDS = pytest.mark.parametrize("kind", [Light, Probe])
CRASH = InjectedCrash("on purpose")


class NotForActors(BaseException):
    """An error that is no ``Exception``."""


def cell_of(system: ActorSystem, name: str) -> Cell:
    cell = system.find_cell(name)
    assert cell is not None
    return cell


# --- before the first step of a task -------------------------------------------------------------------------


@KINDS
@pytest.mark.parametrize("concurrency", [1, 3])
async def test_a_kill_in_the_turn_of_the_messages_that_it_was_to_handle(
    system: ActorSystem, kind: type[Light | Probe], concurrency: int
) -> None:
    exits: list[Exit] = []
    ref = await system.spawn(kind, name="actor", concurrency=concurrency, on_exit=exits.append)
    await settle()
    asks = [asyncio.create_task(ref.ask(Echo(number), timeout=None)) for number in range(3)]
    for number in range(3):
        ref.tell(Echo(number))
    ref.kill(CRASH)
    outcomes = await asyncio.gather(*asks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ActorDown] * 3
    assert exits == [Exit("error", CRASH)]
    await asyncio.sleep(5)
    assert len(exits) == 1


async def test_a_kill_before_the_first_step_of_a_life_with_stopping_still_runs_it(system: ActorSystem) -> None:
    class Ending(Light):
        async def stopping(self, exit: Exit) -> None:
            self.log.append(exit)

    log: list[object] = []
    ref = await system.spawn(lambda: Ending(log), name="ending")
    ref.kill(CRASH)
    await settle()
    assert log == [Exit("error", CRASH)]


@KINDS
async def test_a_keepers_end_in_the_turn_of_the_messages_keeps_them_for_the_next_life(
    system: ActorSystem, kind: type[Light | Probe]
) -> None:
    log: list[object] = []
    keeper = Restarting()
    cell = system.new_cell("actor", ActorSpec(start=lambda: kind(log), concurrency=2), keeper)
    await cell.start()
    for timeout in (0, 1, None):
        for number in range(4):
            cell.ref.tell(Echo(number))
        await cell.end(SHUTDOWN, timeout)
        await cell.start()
        assert await cell.ref.ask(Echo(4)) == 4
        assert cell.life is not None
        assert cell.free + len(cell.life.runners) == 2
        assert sorted(entry for entry in log if isinstance(entry, int)) == [0, 1, 2, 3, 4]
        log.clear()
    await cell.stop(SHUTDOWN, 5)
    assert keeper.exits == []


@pytest.mark.parametrize("timeout", [0, 5, None])
async def test_a_stop_before_the_first_step_of_a_start(system: ActorSystem, timeout: float | None) -> None:
    spawning = asyncio.create_task(system.spawn(Probe, name="probe"))
    await asyncio.sleep(0)
    await cell_of(system, "probe").stop(SHUTDOWN, timeout)
    with pytest.raises(StartFailed):
        await spawning


async def test_a_start_that_is_cancelled_before_its_first_step_is_undone_at_once(system: ActorSystem) -> None:
    spawning = asyncio.create_task(system.spawn(Probe, name="probe"))
    await asyncio.sleep(0)
    spawning.cancel()
    before = system.clock.monotonic()
    await asyncio.wait([spawning])
    assert system.clock.monotonic() - before < 0.1
    assert await (await system.spawn(Probe, name="probe")).ask(Echo(1)) == 1


async def test_a_start_that_is_cancelled_does_not_tell_the_keeper(system: ActorSystem) -> None:
    gate = Gate()

    class Slow(Probe):
        async def started(self) -> None:
            await cleans_up(gate, seconds=0.8)  # longer than who is cancelled waits for it

    keeper = Restarting()
    cell = system.new_cell("slow", ActorSpec(start=Slow), keeper)
    starting = asyncio.create_task(cell.start())
    await gate.entered.wait()
    starting.cancel()
    await asyncio.wait([starting])
    await asyncio.sleep(10)
    assert keeper.exits == []
    cell.close()


@KINDS
async def test_a_task_cancelled_by_a_stranger_is_a_crash(system: ActorSystem, kind: type[Light | Probe]) -> None:
    exits: list[Exit] = []
    ref = await system.spawn(kind, name="actor", concurrency=2, on_exit=exits.append)
    ref.tell(Echo(1))
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await settle()
    assert [exit.kind for exit in exits] == ["error"]


# --- errors that are no Exception ----------------------------------------------------------------------------


@KINDS
@pytest.mark.parametrize("concurrency", [1, 2])
async def test_an_error_that_is_no_exception_is_a_crash_too(
    system: ActorSystem, kind: type[Light | Probe], concurrency: int
) -> None:
    exits: list[Exit] = []
    ref = await system.spawn(kind, name="actor", concurrency=concurrency, on_exit=exits.append)
    if concurrency == 2:
        ref.tell(Hold(Gate()))  # this is for the lead
    error = NotForActors("on purpose")
    with pytest.raises(ActorDown) as caught:
        await ref.ask(Raise(error))
    assert caught.value.__cause__ is error
    assert exits == [Exit("error", error)]


async def test_such_an_error_in_started_fails_the_start(system: ActorSystem) -> None:
    class Bad(Probe):
        async def started(self) -> None:
            raise NotForActors

    with pytest.raises(StartFailed) as caught:
        await system.spawn(Bad, name="bad")
    assert isinstance(caught.value.__cause__, NotForActors)


@pytest.mark.parametrize("hook", ["after_start", "stopping"])
async def test_such_an_error_in_another_hook_is_how_the_life_ends(system: ActorSystem, hook: str) -> None:
    async def fail(*_: object) -> None:
        raise NotForActors

    exits: list[Exit] = []
    ref = await system.spawn(type("Bad", (Probe,), {hook: fail}), name="bad", on_exit=exits.append)
    await settle()
    if hook == "stopping":
        await ref.stop()
    assert [type(exit.error) for exit in exits] == [NotForActors]


EXITING = """
import asyncio, sys
from repertory.actors import Actor, ActorSystem, Message, handles
class Leave(Message[None]): pass
class Leaving(Actor[None]):
    async def started(self):
        if sys.argv[1] == "started": sys.exit(7)
    async def stopping(self, exit):
        print("stopping:", exit.kind, flush=True)
    @handles(Leave)
    async def leave(self, message):
        sys.exit(7)
async def main():
    async with ActorSystem() as system:
        ref = await system.spawn(Leaving, name="leaving", concurrency=int(sys.argv[2]))
        try:
            await ref.ask(Leave())
        finally:
            print("told", flush=True)
asyncio.run(main())
"""


@pytest.mark.parametrize(("where", "said"), [("handler", {"stopping: error", "told"}), ("started", set())])
@pytest.mark.parametrize("concurrency", [1, 2])
def test_an_exit_within_an_actor_ends_the_program_and_the_actor(
    where: str, said: set[str], concurrency: int
) -> None:
    program = [sys.executable, "-W", "always", "-c", EXITING, where, str(concurrency)]
    ended = run(program, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 7, ended.stderr
    assert ended.stderr == ""
    assert set(ended.stdout.splitlines()) == said


# --- while it ends -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scoped", [True, False])
async def test_a_life_forced_while_its_background_work_cleans_up_is_known_to_have_ended(
    system: ActorSystem, scoped: bool
) -> None:
    gate = Gate()
    tasks: list[object] = []

    class Working(Light):
        async def started(self) -> None:
            tasks.append(asyncio.current_task())
            self.background(cleans_up(gate, seconds=0.5))

    class Scoped(Working):
        async def stopping(self, exit: Exit) -> None:
            tasks.append(asyncio.current_task())

    exits: list[Exit] = []
    ref = await system.spawn(Scoped if scoped else Working, name="actor", on_exit=exits.append)
    await gate.entered.wait()
    await asyncio.sleep(5)
    await ref.stop(timeout=0.1)
    assert [type(exit.error) for exit in exits] == [TimeoutError]
    assert system.find_cell("actor") is None
    assert len(tasks) == 1 + scoped
    assert len(set(tasks)) == 1


async def test_an_asker_that_gives_up_while_the_actor_stops_does_not_disturb_it(system: ActorSystem) -> None:
    cleaned: list[bool] = []

    class Slow(Probe):
        async def stopping(self, exit: Exit) -> None:
            await asyncio.sleep(10)
            cleaned.append(True)

    exits: list[Exit] = []
    ref = await system.spawn(Slow, name="slow", on_exit=exits.append)
    cell = cell_of(system, "slow")
    gate = Gate()
    asked = asyncio.create_task(ref.ask(Hold(gate), timeout=2))
    await gate.entered.wait()
    ref.kill(CRASH)
    with pytest.raises(DeadlineExceeded):
        await asked
    await asyncio.sleep(20)
    assert cleaned == [True]
    assert exits == [Exit("error", CRASH)]
    assert cell.withdrawn == 0


async def test_stopping_may_ask_although_the_deadline_of_what_was_handled_has_passed(system: ActorSystem) -> None:
    other = await system.spawn(Light, name="other")
    replies: list[int] = []

    class Saying(Probe):
        async def stopping(self, exit: Exit) -> None:
            await asyncio.sleep(5)
            replies.append(await other.ask(Echo(1)))

    ref = await system.spawn(Saying, name="saying")
    gate = Gate()
    asked = asyncio.create_task(ref.ask(Hold(gate), timeout=2))
    await gate.entered.wait()
    ref.kill(CRASH)
    await asyncio.wait([asked])
    await asyncio.sleep(10)
    assert replies == [1]
    assert asked.exception() is not None


async def test_a_cancellation_that_a_handler_swallowed_does_not_show_in_stopping(system: ActorSystem) -> None:
    caught: list[type[BaseException]] = []
    cancelling: list[int] = []

    class Careful(Probe):
        async def hold(self, message: Hold) -> str:
            try:
                return await super().hold(message)
            except asyncio.CancelledError:
                return "swallowed"

        async def stopping(self, exit: Exit) -> None:
            task = asyncio.current_task()
            assert task is not None
            cancelling.append(task.cancelling())
            try:
                async with asyncio.timeout(1):
                    await asyncio.sleep(5)
            except BaseException as error:
                caught.append(type(error))
                raise

    ref = await system.spawn(Careful, name="careful")
    gate = Gate()
    ref.tell(Hold(gate))
    await gate.entered.wait()
    ref.kill(CRASH)
    await asyncio.sleep(5)
    assert caught == [TimeoutError]
    assert cancelling == [0]


async def test_nothing_changes_a_life_that_has_ended(system: ActorSystem, events: list[Event]) -> None:
    keeper = Restarting()
    cell = system.new_cell("light", ActorSpec(start=Light, concurrency=2), keeper)
    await cell.start()
    life = cell.life
    assert life is not None
    await cell.end(SHUTDOWN, 5)
    await cell.start()
    life.force(Exit("error", CRASH))
    life.crash(CRASH)
    life.finish(Exit("normal"))
    life.interrupt(Exit("normal"))
    late = life.run_beside(asyncio.sleep(1000))
    await asyncio.sleep(5)
    assert late.cancelled()
    assert life.exit == SHUTDOWN
    assert cell.free == 2
    assert await cell.ref.ask(Echo(1)) == 1
    assert of(ActorCrashed, events) == []
    await cell.stop(SHUTDOWN, 5)
    assert keeper.exits == []


@KINDS
@pytest.mark.parametrize("how", ["kill", "stop"])
async def test_a_life_ended_by_who_hears_of_its_beginning(
    nothing_left_behind: None, kind: type[Light | Probe], how: str
) -> None:
    def end(event: Event) -> None:
        life = cell.life
        if isinstance(event, ActorStarted) and life is not None:
            life.crash(CRASH) if how == "kill" else life.finish(SHUTDOWN)

    system = ActorSystem(clock=LoopClock(), hooks=Hooks([end]))
    keeper = Restarting()
    cell = system.new_cell("actor", ActorSpec(start=kind, concurrency=3), keeper)
    cell.ref.tell(Echo(1))
    assert await cell.start()
    await settle()
    assert [exit.kind for exit in keeper.exits] == ["error" if how == "kill" else "shutdown"]
    assert cell.free == 0
    assert cell.depth == 1
    cell.close()
    await system.stop()


async def test_an_error_that_comes_in_the_turn_its_asker_is_cancelled_is_not_complained_of(
    system: ActorSystem,
) -> None:
    ref = await system.spawn(Light, name="light")
    gate = Gate()

    async def fail(_: Light) -> None:
        gate.entered.set()
        await gate.open.wait()
        asker.cancel()  # comes after the error, before the asker has gone on
        raise CRASH

    async def fail_first(actor: Light) -> None:
        asyncio.get_running_loop().call_soon(asker.cancel)
        raise CRASH

    for what in (fail, fail_first):
        asker = asyncio.create_task(ref.ask(Run(what)))
        gate.open.set()
        await asyncio.wait([asker])
        assert asker.cancelled()
        await settle()
        ref = await system.spawn(Light, name=f"light after {what.__name__}")


async def test_many_signals_that_wait_at_the_start_are_handled_side_by_side(system: ActorSystem) -> None:
    cell = system.new_cell("light", ActorSpec(start=Light, concurrency=3), system)
    gates = [Gate() for _ in range(3)]
    for gate in gates:
        cell.signal(Hold(gate))
    await cell.start()
    for gate in gates:
        await gate.entered.wait()
    for gate in gates:
        gate.open.set()
    await cell.stop(SHUTDOWN, 5)


# --- a graceful end cut short --------------------------------------------------------------------------------


@KINDS
async def test_a_kill_while_a_graceful_end_waits_for_the_handler_cancels_it(
    system: ActorSystem, kind: type[Light | Probe]
) -> None:
    exits: list[Exit] = []
    ref = await system.spawn(kind, name="actor", on_exit=exits.append)
    gate = Gate()
    held = asyncio.create_task(ref.ask(Hold(gate), timeout=None))
    await gate.entered.wait()
    stopping = asyncio.create_task(ref.stop(timeout=None))
    await settle()
    assert not gate.cancelled
    ref.kill(CRASH)
    await stopping
    assert gate.cancelled
    assert exits == [Exit("error", CRASH)]
    with pytest.raises(ActorDown):
        await held


@pytest.mark.parametrize("handler_is_lead", [True, False])
async def test_a_crash_beside_a_handler_that_a_graceful_end_waits_for_cancels_that(
    system: ActorSystem, handler_is_lead: bool
) -> None:
    exits: list[Exit] = []
    ref = await system.spawn(Light, name="actor", concurrency=2, on_exit=exits.append)
    gates = [Gate(), Gate()]

    async def crash(gate: Gate) -> None:
        gate.entered.set()
        await gate.open.wait()
        raise CRASH

    messages = [Hold(gates[0]), Run(lambda _: crash(gates[1]))]
    if not handler_is_lead:
        messages.reverse()
    asks = [asyncio.create_task(ref.ask(message, timeout=None)) for message in messages]
    for gate in gates:
        await gate.entered.wait()
    stopping = asyncio.create_task(ref.stop(timeout=None))
    await settle()
    gates[1].open.set()
    await stopping
    assert gates[0].cancelled
    assert exits == [Exit("error", CRASH)]
    assert {type(outcome) for outcome in await asyncio.gather(*asks, return_exceptions=True)} == {
        ActorDown,
        InjectedCrash,
    }


async def test_a_kill_during_stopping_lets_it_finish(system: ActorSystem) -> None:
    gate = Gate()
    exits: list[Exit] = []

    class Ending(Light):
        async def stopping(self, exit: Exit) -> None:
            await self.hold(Hold(gate))

    ref = await system.spawn(Ending, name="actor", on_exit=exits.append)
    stopping = asyncio.create_task(ref.stop(timeout=None))
    await gate.entered.wait()
    ref.kill(CRASH)
    ref.kill(CRASH)
    await settle()
    assert not gate.cancelled
    gate.open.set()
    await stopping
    assert exits == [Exit("error", CRASH)]


async def test_a_kill_during_a_start_that_has_stopped_itself_cancels_it(system: ActorSystem) -> None:
    gate = Gate()

    class Unsure(Light):
        async def started(self) -> None:
            self.stop()
            await self.hold(Hold(gate))

    starting = asyncio.create_task(system.spawn(Unsure, name="actor"))
    await gate.entered.wait()
    system.ref("actor").kill(CRASH)
    with pytest.raises(StartFailed):
        await starting
    assert gate.cancelled


async def test_an_actor_that_kills_itself_is_cancelled_where_it_goes_on(system: ActorSystem) -> None:
    exits: list[Exit] = []
    ref = await system.spawn(Light, name="actor", on_exit=exits.append)
    gate = Gate()

    async def kill(light: Light) -> None:
        light.ref.kill(CRASH)
        await light.hold(Hold(gate))

    with pytest.raises(ActorDown):
        await ref.ask(Run(kill), timeout=None)
    assert gate.cancelled
    assert exits == [Exit("error", CRASH)]


async def test_an_end_nobody_waits_for_has_a_bound(system: ActorSystem) -> None:
    gate = Gate()
    exits: list[Exit] = []

    class Ending(Probe):
        async def stopping(self, exit: Exit) -> None:
            await self.hold(Hold(gate))

    ref = await system.spawn(Ending, name="actor", on_exit=exits.append)
    await ref.ask(Finish(Exit("normal")))
    await asyncio.sleep(STOPPING - 1)
    assert exits == []
    await asyncio.sleep(2)
    assert gate.cancelled
    assert isinstance(exits[0].error, TimeoutError)


async def test_a_forced_end_cuts_stopping_short_and_is_no_reason_to_call_it_stuck(
    system: ActorSystem, events: list[Event]
) -> None:
    gate = Gate()

    class Ending(Probe):
        async def stopping(self, exit: Exit) -> None:
            await self.hold(Hold(gate))

    ref = await system.spawn(Ending, name="actor")
    await ref.stop(timeout=0)
    assert gate.cancelled
    assert of(StuckChild, events) == []
