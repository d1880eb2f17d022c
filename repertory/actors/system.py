"""The actor system: paths, time, events and storage shared by the actors of one runtime."""

import asyncio
from collections.abc import Callable
from typing import Any

from repertory.actors.actor import Actor
from repertory.actors.cell import Cell
from repertory.actors.deadlines import Deadlines
from repertory.actors.envelope import Envelope
from repertory.actors.exit import SHUTDOWN, Exit
from repertory.actors.ref import ActorRef
from repertory.clock import Clock, SystemClock
from repertory.errors import NameTaken
from repertory.events import Hooks, MessageDropped
from repertory.store import StateTable


class ActorSystem:
    """Actors by path.

    Args:
        states: Where actors' states are kept; None keeps them in memory only.
    """

    def __init__(
        self, *, clock: Clock | None = None, hooks: Hooks | None = None, states: StateTable | None = None
    ) -> None:
        self.clock = clock or SystemClock()
        self.hooks = hooks if hooks is not None else Hooks()  # empty ones are false
        self.states = states
        self.loop = asyncio.get_running_loop()
        self._cells: dict[str, Cell] = {}
        self._spawned: dict[Cell, None] = {}  # those without a supervisor, in start order
        self._deadlines = Deadlines()
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._sweep_at: float | None = None  # on the clock; None: no sweep is due

    async def spawn(
        self,
        factory: Callable[[], Actor[Any]],
        *,
        name: str,
        concurrency: int = 1,
        mailbox: int = 10_000,
        start_timeout: float = 30.0,
        on_exit: Callable[[Exit], None] | None = None,
    ) -> ActorRef:
        """Start an actor that no supervisor restarts; when its life ends its address is gone.

        Args:
            on_exit: Told how the life ended.

        Raises NameTaken, and StartFailed with the cause if ``started`` raises or takes too long.
        """

        def close(cell: Cell, exit: Exit) -> None:
            self._spawned.pop(cell, None)
            cell.close()
            if on_exit is not None:
                on_exit(exit)

        cell = self.new_cell(name, factory, concurrency=concurrency, capacity=mailbox, on_exit=close)
        self._spawned[cell] = None
        try:
            await cell.start(start_timeout)
        except BaseException:
            self._spawned.pop(cell, None)
            cell.close()
            raise
        return cell.ref

    def new_cell(
        self,
        path: str,
        factory: Callable[[], Actor[Any]],
        *,
        concurrency: int,
        capacity: int,
        on_exit: Callable[[Cell, Exit], None],
    ) -> Cell:
        """Reserve ``path`` for an actor that is yet to start. Raises NameTaken."""
        if path in self._cells:
            raise NameTaken(f"an actor at {path!r} exists already", hint="Give each actor a name of its own.")
        cell = Cell(self, path, factory, concurrency=concurrency, capacity=capacity, on_exit=on_exit)
        self._cells[path] = cell
        return cell

    def ref(self, path: str) -> ActorRef:
        """A reference to whatever actor is at ``path`` when it is used."""
        return ActorRef(self, path)

    def find_cell(self, path: str) -> Cell | None:
        """The cell at ``path``, if there is one."""
        return self._cells.get(path)

    def forget(self, cell: Cell) -> None:
        """Free the path of a closed cell."""
        self._cells.pop(cell.path, None)

    def report_drop(self, path: str, message: object, reason: str) -> None:
        """State that ``message`` will never be handled."""
        if self.hooks:
            self.hooks.emit(MessageDropped(path, type(message), reason))

    def watch(self, envelope: Envelope, timeout: float) -> set[Envelope]:
        """Expire ``envelope`` ``timeout`` seconds from now, unless it is discarded from the returned set."""
        bucket = self._deadlines.bucket(self.clock.monotonic() + timeout)
        bucket.add(envelope)
        if self._sweep_at is None or len(bucket) == 1:
            self._arm()
        return bucket

    async def stop(self, timeout: float | None = 5.0) -> None:
        """Stop the actors that have no supervisor, latest first, each within ``timeout`` seconds."""
        while self._spawned:
            cell, _ = self._spawned.popitem()
            await cell.stop(SHUTDOWN, timeout)
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
            self._sweep_at = None

    def _arm(self) -> None:
        """Have the sweep run when the earliest deadline is due."""
        due = self._deadlines.next_due()
        if due == self._sweep_at:
            return
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        self._sweep_at = due
        if due is not None:
            self._sweep_timer = self.loop.call_later(max(0.0, due - self.clock.monotonic()), self._sweep)

    def _sweep(self) -> None:
        self._sweep_at = None
        for envelope in self._deadlines.expired(self.clock.monotonic()):
            envelope.expire()
        self._arm()
