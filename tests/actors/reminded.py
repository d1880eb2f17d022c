"""An actor that is reminded of things, and disks for its reminders."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, ClassVar

from repertory.actors import Actor, ActorSystem, Message, Reminder, handles
from repertory.errors import StoreError
from repertory.events import Event, Hooks
from repertory.store import MemoryReminders
from tests.actors.kernel import Declined
from tests.virtual_time import LoopClock

Log = list[tuple[float, str]]


@dataclass(frozen=True, slots=True)
class Do(Message[Any]):
    what: Callable[["Forgetful"], Coroutine[Any, Any, Any]]


class Forgetful(Actor[None]):
    """Writes down when it was reminded of what, and does what the test says to each."""

    expected: ClassVar[tuple[type[Exception], ...]] = (Declined, StoreError)

    def __init__(self, log: Log, then: Callable[["Forgetful", Reminder], Coroutine[Any, Any, None]] | None = None):
        self.log = log
        self.then = then

    @handles(Do)
    async def do(self, message: Do) -> Any:
        return await message.what(self)

    @handles(Reminder)
    async def reminded(self, message: Reminder) -> None:
        self.log.append((round(self.system.clock.time(), 1), message.name))
        if self.then is not None:
            await self.then(self, message)


class FailingRows(MemoryReminders):
    """Rows on a disk that may be full."""

    def __init__(self) -> None:
        super().__init__()
        self.full = False

    async def put(self, path: str, name: str, due_at: float, every: float | None) -> None:
        await self._write()
        await super().put(path, name, due_at, every)

    async def delete(self, path: str, name: str, due_at: float | None = None) -> None:
        await self._write()
        await super().delete(path, name, due_at)

    async def _write(self) -> None:
        if self.full:
            await asyncio.sleep(0)
            raise StoreError("disk full")


class SlowRows(MemoryReminders):
    """Rows on a disk that takes a second for each change, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self._order = asyncio.Lock()

    async def put(self, path: str, name: str, due_at: float, every: float | None) -> None:
        async with self._order:
            await asyncio.sleep(1)
            await super().put(path, name, due_at, every)

    async def delete(self, path: str, name: str, due_at: float | None = None) -> None:
        async with self._order:
            await asyncio.sleep(1)
            await super().delete(path, name, due_at)


def process(rows: MemoryReminders, events: list[Event] | None = None) -> ActorSystem:
    """A system over ``rows``, as another process would make it."""
    return ActorSystem(
        clock=LoopClock(), reminders=rows, hooks=Hooks([events.append] if events is not None else [])
    )


def remind(name: str, after: float, every: float | None = None) -> Do:
    return Do(lambda actor: actor.remind(name, after=after, every=every))


def forget(name: str) -> Do:
    return Do(lambda actor: actor.forget_reminder(name))
