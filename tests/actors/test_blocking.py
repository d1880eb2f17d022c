"""Work that blocks: in a thread, and in a process that can be ended. Time is real here."""

import asyncio
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

from repertory.actors import Actor, ActorSystem, Exit, Message, blocking, handles, in_process
from repertory.errors import ActorDown, ActorError, DeadlineExceeded
from repertory.events import CancellationIgnored, Event, Hooks, StuckChild
from tests.actors.kernel import Declined, Echo, Probe, of

pytestmark = pytest.mark.usefixtures("tmp_path")  # a thread's work takes real time: no virtual time here


def _interrupt() -> None:
    raise KeyboardInterrupt


@dataclass(eq=False, slots=True)
class Doorway:
    """Where a thread waits until the test lets it go on."""

    entered: threading.Event = field(default_factory=threading.Event)
    open: threading.Event = field(default_factory=threading.Event)

    async def wait_entered(self) -> None:
        assert await asyncio.to_thread(self.entered.wait, 10)


@dataclass(frozen=True, slots=True)
class Where(Message[int]):
    pass


@dataclass(frozen=True, slots=True)
class Fail(Message[None]):
    error: Exception


@dataclass(frozen=True, slots=True)
class Block(Message[str]):
    doorway: Doorway


@dataclass(frozen=True, slots=True)
class Compute(Message[Any]):
    function: Callable[..., Any]
    arguments: tuple[Any, ...] = ()


class Worker(Probe):
    expected: ClassVar[tuple[type[Exception], ...]] = (Declined,)

    @handles(Where)
    @blocking
    def where(self, message: Where) -> int:
        return threading.get_ident()

    @handles(Fail)
    @blocking
    def fail(self, message: Fail) -> None:
        raise message.error

    @handles(Block)
    @blocking
    def block(self, message: Block) -> str:
        message.doorway.entered.set()
        message.doorway.open.wait(10)
        return "through"

    @handles(Compute)
    async def compute(self, message: Compute) -> Any:
        return await in_process(message.function, *message.arguments)


@pytest.fixture
async def system(events: list[Event]) -> AsyncIterator[ActorSystem]:
    """As elsewhere, but the processes that are kept have a task of their own until the loop ends."""
    system = ActorSystem(hooks=Hooks([events.append]))
    yield system
    await system.stop()


# --- in a thread ---------------------------------------------------------------------------------------------


async def test_a_blocking_handler_replies_from_another_thread(system: ActorSystem) -> None:
    ref = await system.spawn(Worker, name="worker")
    assert await ref.ask(Where()) != threading.get_ident()


async def test_the_loop_goes_on_and_the_next_message_waits(system: ActorSystem) -> None:
    ref, other = [await system.spawn(Worker, name=name) for name in ("worker", "other")]
    doorway = Doorway()
    blocked = asyncio.create_task(ref.ask(Block(doorway)))
    await doorway.wait_entered()
    behind = asyncio.create_task(ref.ask(Echo(1)))
    assert await other.ask(Echo(2)) == 2
    assert not behind.done()
    doorway.open.set()
    assert await blocked == "through"
    assert await behind == 1


async def test_an_expected_error_in_the_thread_is_an_answer_and_any_other_a_crash(system: ActorSystem) -> None:
    exits: list[Exit] = []
    ref = await system.spawn(Worker, name="worker", on_exit=exits.append)
    with pytest.raises(Declined):
        await ref.ask(Fail(Declined("no")))
    assert exits == []
    error = ValueError("broken")
    with pytest.raises(ValueError, match="broken"):
        await ref.ask(Fail(error))
    await ref.ended()
    assert exits == [Exit("error", error)]


@pytest.mark.parametrize("gone", ["cancelled", "expired"])
async def test_a_thread_whose_asker_is_gone_is_left_to_itself_and_reported(
    system: ActorSystem, events: list[Event], gone: str
) -> None:
    ref = await system.spawn(Worker, name="worker")
    doorway = Doorway()
    blocked = asyncio.create_task(ref.ask(Block(doorway), timeout=0.2 if gone == "expired" else None))
    await doorway.wait_entered()
    if gone == "cancelled":
        blocked.cancel()
        await asyncio.wait([blocked])
    else:
        with pytest.raises(DeadlineExceeded):
            await blocked
    assert await ref.ask(Echo(1)) == 1
    assert of(CancellationIgnored, events) == [CancellationIgnored("worker", 1, Block)]
    doorway.open.set()


async def test_a_stop_does_not_wait_for_a_thread_longer_than_it_may(
    system: ActorSystem, events: list[Event]
) -> None:
    ref = await system.spawn(Worker, name="worker")
    doorway = Doorway()
    blocked = asyncio.create_task(ref.ask(Block(doorway)))
    await doorway.wait_entered()
    await ref.stop(timeout=0.05)
    with pytest.raises(ActorDown):
        await blocked
    assert of(CancellationIgnored, events) == [CancellationIgnored("worker", 1, Block)]
    assert of(StuckChild, events) == []  # the actor itself is not stuck
    doorway.open.set()


async def test_what_never_got_a_thread_has_ignored_nothing(system: ActorSystem, events: list[Event]) -> None:
    from anyio import to_thread

    limiter = to_thread.current_default_thread_limiter()
    before, limiter.total_tokens = limiter.total_tokens, 1
    try:
        first, second = [await system.spawn(Worker, name=name) for name in ("first", "second")]
        doorways = [Doorway(), Doorway()]
        holding = asyncio.create_task(first.ask(Block(doorways[0])))
        await doorways[0].wait_entered()
        with pytest.raises(DeadlineExceeded):
            await second.ask(Block(doorways[1]), timeout=0.05)
        assert await second.ask(Echo(1)) == 1
        doorways[0].open.set()
        assert await holding == "through"
    finally:
        limiter.total_tokens = before
    assert of(CancellationIgnored, events) == []
    assert not doorways[1].entered.is_set()


def test_a_method_that_is_asynchronous_already_is_refused() -> None:
    async def method(actor: Actor[None], message: Echo) -> int:
        return message.value

    with pytest.raises(TypeError, match=r"@blocking: .*method is asynchronous already"):
        blocking(method)


async def test_the_order_of_the_two_marks_is_refused_where_it_is_wrong() -> None:
    with pytest.raises(TypeError, match="mark it @blocking too"):

        class Swapped(Actor[None]):
            @blocking  # type: ignore[type-var]  # the point of the test
            @handles(Where)
            def where(self, message: Where) -> int:
                return 1


# --- in a process --------------------------------------------------------------------------------------------


def which_process() -> int:
    return os.getpid()


def refuse(reason: str) -> None:
    raise Declined(reason)


def break_down() -> None:
    raise ValueError("broken")


def leave_a_trace_and_sleep(trace: str) -> None:
    Path(trace).write_text(str(os.getpid()), encoding="ascii")
    time.sleep(60)


def die() -> None:
    os._exit(3)


def traced(trace: Path) -> int:
    """The id of the process that left the trace, once it has."""
    while not (trace.exists() and (written := trace.read_text(encoding="ascii"))):
        time.sleep(0.01)
    return int(written)


def wait_gone(pid: int) -> None:
    """Return when the process is no more."""
    with suppress(ProcessLookupError):
        while True:
            os.kill(pid, 0)
            time.sleep(0.01)


async def test_a_process_replies_and_is_used_again(system: ActorSystem) -> None:
    ref = await system.spawn(Worker, name="worker")
    first, second = [await ref.ask(Compute(which_process), timeout=60) for _ in range(2)]
    assert first == second != os.getpid()


async def test_an_error_in_the_process_is_raised_here(system: ActorSystem) -> None:
    ref = await system.spawn(Worker, name="worker")
    with pytest.raises(Declined, match="not today"):
        await ref.ask(Compute(refuse, ("not today",)), timeout=60)
    with pytest.raises(ValueError, match="broken"):
        await ref.ask(Compute(break_down), timeout=60)


@pytest.mark.parametrize("ending", ["cancel", "stop", "kill"])
async def test_the_process_is_killed_when_its_caller_is_cancelled(
    system: ActorSystem, events: list[Event], tmp_path: Path, ending: str
) -> None:
    trace = tmp_path / "trace"
    ref = await system.spawn(Worker, name="worker")
    asked = asyncio.create_task(ref.ask(Compute(leave_a_trace_and_sleep, (str(trace),)), timeout=60))
    pid = await asyncio.to_thread(traced, trace)
    if ending == "cancel":
        asked.cancel()
    elif ending == "stop":
        await ref.stop(timeout=0)
    else:
        ref.kill(ValueError("on purpose"))
    await asyncio.wait([asked])
    await asyncio.wait_for(asyncio.to_thread(wait_gone, pid), 10)
    assert asked.cancelled() or isinstance(asked.exception(), ActorDown)
    if ending == "cancel":
        assert await ref.ask(Echo(1)) == 1
    assert of(StuckChild, events) == []
    assert of(CancellationIgnored, events) == []


async def test_the_process_is_killed_by_the_deadline(
    system: ActorSystem, events: list[Event], tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    ref = await system.spawn(Worker, name="worker")
    await ref.ask(Compute(which_process), timeout=60)  # one is there: the deadline is not spent on its start
    asked = asyncio.create_task(ref.ask(Compute(leave_a_trace_and_sleep, (str(trace),)), timeout=2))
    pid = await asyncio.to_thread(traced, trace)
    with pytest.raises(DeadlineExceeded):
        await asked
    await asyncio.wait_for(asyncio.to_thread(wait_gone, pid), 10)
    assert await ref.ask(Echo(1)) == 1
    assert await ref.ask(Compute(which_process), timeout=60) != pid
    assert of(CancellationIgnored, events) == []


async def test_a_process_that_dies_is_an_error_of_its_handler(system: ActorSystem) -> None:
    exits: list[Exit] = []
    ref = await system.spawn(Worker, name="worker", on_exit=exits.append)
    with pytest.raises(ActorError, match="the process that ran die ended before it replied") as caught:
        await ref.ask(Compute(die), timeout=60)
    await ref.ended()
    assert exits == [Exit("error", caught.value)]


@pytest.mark.parametrize("how", [sys.exit, _interrupt])
async def test_what_would_end_the_process_ends_only_the_one_it_runs_in(how: Callable[[], None]) -> None:
    with pytest.raises(ActorError, match="ended its process by"):
        await in_process(how)
    assert await in_process(os.getpid) != os.getpid()
