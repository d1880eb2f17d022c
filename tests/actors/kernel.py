"""What the tests of actors and supervisors share: an actor to do things to, and a system that must end clean."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

import pytest

from repertory.actors import Actor, ActorSystem, Cell, Exit, Message, handles
from repertory.errors import RepertoryError
from repertory.events import Event, Hooks
from tests.virtual_time import LoopClock, VirtualTimeLoop

EventT = TypeVar("EventT", bound=Event)


class Declined(RepertoryError):
    """An error that a Probe gives as an answer."""


@dataclass(eq=False, slots=True)
class Gate:
    """Where a handler waits until the test lets it go on."""

    entered: asyncio.Event = field(default_factory=asyncio.Event)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class Echo(Message[int]):
    value: int


@dataclass(frozen=True, slots=True)
class Hold(Message[str]):
    gate: Gate


@dataclass(frozen=True, slots=True)
class Raise(Message[None]):
    error: BaseException


@dataclass(frozen=True, slots=True)
class Finish(Message[None]):
    exit: Exit


@dataclass(frozen=True, slots=True)
class Withstand(Message[None]):
    """Be handled until the gate opens, whatever is cancelled meanwhile."""

    gate: Gate


@dataclass(frozen=True, slots=True)
class Unknown(Message[None]):
    pass


class Probe(Actor[None]):
    """Does what it is told, and writes down what happened to it."""

    expected: ClassVar[tuple[type[Exception], ...]] = (Declined,)

    def __init__(self, log: list[object] | None = None) -> None:
        self.log: list[object] = [] if log is None else log

    async def started(self) -> None:
        self.log.append("started")

    async def stopping(self, exit: Exit) -> None:
        self.log.append(f"stopping: {exit.kind}")

    @handles(Echo)
    async def echo(self, message: Echo) -> int:
        self.log.append(message.value)
        return message.value

    @handles(Hold)
    async def hold(self, message: Hold) -> str:
        message.gate.entered.set()
        try:
            await message.gate.open.wait()
        except asyncio.CancelledError:
            message.gate.cancelled = True
            raise
        self.log.append("held")
        return "held"

    @handles(Raise)
    async def raise_(self, message: Raise) -> None:
        raise message.error

    @handles(Finish)
    async def finish(self, message: Finish) -> None:
        self.stop(message.exit)

    @handles(Withstand)
    async def withstand(self, message: Withstand) -> None:
        message.gate.entered.set()
        while not message.gate.open.is_set():
            try:
                await message.gate.open.wait()
            except asyncio.CancelledError:
                message.gate.cancelled = True


class Restarting:
    """A keeper that leaves the cell, and what waits in it, for another life."""

    def __init__(self) -> None:
        self.exits: list[Exit] = []

    def child_ended(self, cell: Cell, exit: Exit) -> None:
        self.exits.append(exit)


async def settle() -> None:
    """Return when everything that can go on without time passing has gone on (in virtual time)."""
    await asyncio.sleep(0.001)


def of(kind: type[EventT], events: list[Event]) -> list[EventT]:
    return [event for event in events if isinstance(event, kind)]


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
async def nothing_left_behind() -> AsyncIterator[None]:
    """At the end no task is left, and the loop has nothing to complain of."""
    complaints: list[Mapping[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    yield
    await asyncio.sleep(0)  # what was cancelled last ends now
    gc.collect()  # an exception that nobody retrieved is reported when its future is collected
    assert complaints == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.fixture
async def system(events: list[Event], nothing_left_behind: None) -> AsyncIterator[ActorSystem]:
    system = ActorSystem(clock=LoopClock(), hooks=Hooks([events.append]))
    yield system
    await system.stop()


def loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Time is virtual, but not for who touches the disk: other threads' work takes real time."""
    on_disk = "tmp_path" in getattr(item, "fixturenames", ())
    return {"loop": asyncio.SelectorEventLoop if on_disk else VirtualTimeLoop}
