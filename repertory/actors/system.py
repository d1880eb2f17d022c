"""The actor system: paths, time, events and storage shared by the actors of one runtime."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextvars import copy_context
from math import isnan
from typing import Any, Self

from repertory.actors.actor import Actor
from repertory.actors.cell import Cell, Keeper
from repertory.actors.deadlines import NEAR, NEVER, Deadlines, doublings_for
from repertory.actors.envelope import Envelope, being_handled
from repertory.actors.exit import SHUTDOWN, Exit
from repertory.actors.ref import ActorRef
from repertory.actors.registry import Registry
from repertory.actors.reminders import Reminders
from repertory.actors.residents import Residents, resident_bytes
from repertory.actors.spec import ActorSpec, Overflow, is_name, refuse
from repertory.clock import Clock, SystemClock
from repertory.errors import NameTaken, StartFailed
from repertory.events import Hooks, MessageDropped
from repertory.store import MemoryReminders, MemoryStates, ReminderRows, States


class ActorSystem:
    """Actors by path. As an async context manager it takes up stored reminders, and stops all at the end.

    Args:
        states: Where actors' states are kept; None keeps them in memory, where they outlive a life but not
            the process.
        reminders: Where durable reminders are kept; None likewise.
        resident_limit: How many of the actors that may be passivated keep their objects at most, as far as
            they have nothing to do; None: any number.
        memory_limit: Bytes of the process above which actors at rest are passivated early; None: no limit.
        memory: Tells those bytes.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        hooks: Hooks | None = None,
        states: States | None = None,
        reminders: ReminderRows | None = None,
        resident_limit: int | None = None,
        memory_limit: int | None = None,
        memory: Callable[[], int] = resident_bytes,
    ) -> None:
        self.clock = clock or SystemClock()
        self.hooks = hooks if hooks is not None else Hooks()  # empty ones are false
        self.states = states if states is not None else MemoryStates()
        self.loop = asyncio.get_running_loop()
        self.create_future: Callable[[], asyncio.Future[Any]] = self.loop.create_future
        self.registry = Registry()
        self.residents = Residents(
            self.loop, self.clock, limit=resident_limit, memory_limit=memory_limit, memory=memory
        )
        self.reminders = Reminders(self, reminders if reminders is not None else MemoryReminders())
        self._cells: dict[str, Cell] = {}
        self._roots: dict[Cell, Callable[[Exit], None] | None] = {}  # those without a supervisor, in start order
        self._deadlines = Deadlines()
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._sweep_at: float | None = None  # on the clock; None: no sweep is due
        # Actors work for many callers; none of them leaves its context variables behind in another's work.
        self._context = copy_context()
        self._context.run(being_handled.set, None)

    async def __aenter__(self) -> Self:
        await self.reminders.load()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def spawn(
        self,
        start: Callable[[], Actor[Any]],
        *,
        name: str,
        concurrency: int = 1,
        mailbox: int = 10_000,
        overflow: Overflow = "reject",
        start_timeout: float = 30.0,
        passivate_after: float | None = None,
        lazy: bool = False,
        on_exit: Callable[[Exit], None] | None = None,
    ) -> ActorRef:
        """Start an actor that no supervisor restarts; when its life ends its address is gone.

        Args:
            start: Makes the actor object. The other arguments are those of `ActorSpec`.
            name: Its path.
            on_exit: Told how the life ended.

        Raises ConfigError naming the argument, NameTaken, and StartFailed with the cause if ``started`` raises or
        takes too long.
        """
        if not is_name(name):
            refuse("spawn", "name", name, "a text that is not empty")
        if on_exit is not None and not callable(on_exit):
            refuse("spawn", "on_exit", on_exit, "a function that takes an Exit, or None")
        spec = ActorSpec(
            start=start,
            start_timeout=start_timeout,
            concurrency=concurrency,
            mailbox=mailbox,
            overflow=overflow,
            passivate_after=passivate_after,
            lazy=lazy,
        )
        cell = self.new_cell(name, spec, self)
        ref = cell.ref
        self._roots[cell] = on_exit
        try:
            if not await cell.start():
                raise StartFailed(f"{name} stopped while it started")
        except BaseException:
            self._roots.pop(cell, None)
            cell.close()
            raise
        return ref

    def child_ended(self, cell: Cell, exit: Exit) -> None:
        """An actor without supervisor has ended."""
        self._gone(cell, exit)

    def roots(self) -> tuple[Cell, ...]:
        """The actors without supervisor, in start order."""
        return tuple(self._roots)

    def new_cell(self, path: str, spec: ActorSpec, keeper: Keeper) -> Cell:
        """Reserve ``path`` for an actor that is yet to start. Raises NameTaken."""
        if path in self._cells:
            raise NameTaken(f"an actor at {path!r} exists already", hint="Give each actor a name of its own.")
        cell = self._cells[path] = Cell(self, path, spec, keeper)
        self.reminders.appeared(path)
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

    def new_task(
        self, work: Coroutine[Any, Any, None], name: str, done: Callable[[asyncio.Task[None]], None] | None = None
    ) -> asyncio.Task[None]:
        """A task of an actor, with the system's context and not that of whoever happens to send it a message."""
        context = self._context.copy()
        task = self.loop.create_task(work, name=name, context=context)
        if done is not None:
            task.add_done_callback(done, context=context)
        return task

    def run_apart(self, work: Callable[[], object]) -> None:
        """Call ``work`` with the system's context, for the same reason."""
        self._context.copy().run(work)

    def passivate_idle(self, share: float) -> int:
        """Passivate ``share`` (0..1) of the actors that may be before their time, those idle longest first.

        Actors with something to do stay, whatever the share. Return how many went, at least one if any may.
        """
        return self.residents.passivate(share)

    def watch(self, envelope: Envelope, timeout: float) -> set[Envelope]:
        """Expire ``envelope`` ``timeout`` seconds from now, unless it is discarded from the returned set.

        It may expire later, by 20 ms or 0.2 % of the timeout, whichever is larger, but not earlier; never where
        the timeout is `math.inf`, or `NEVER` and more. Raises ValueError for a timeout that is no number.
        """
        doublings = 0
        if not 0 <= timeout < NEAR:
            if isnan(timeout):
                raise ValueError(f"timeout = {timeout!r}; it must be seconds, math.inf or None")
            if timeout >= NEVER:
                return set()
            timeout = max(-NEVER, timeout)
            doublings = doublings_for(timeout)
        envelope.deadline = deadline = self.clock.monotonic() + timeout
        bucket = self._deadlines.bucket(deadline, doublings)
        bucket.add(envelope)
        if self._sweep_at is None or len(bucket) == 1:
            self._arm()
        return bucket

    async def stop(self, timeout: float | None = 5.0) -> None:
        """Stop the actors that have no supervisor, latest first, each within ``timeout`` seconds.

        One that is itself a supervisor takes as long as its children may. Cancelling the caller ends all at once.
        """
        await self.reminders.stop()
        try:
            while self._roots:
                cell, on_exit = self._roots.popitem()
                exit = await cell.stop(SHUTDOWN, None if cell.has_children else timeout)
                self._tell_exit(cell, on_exit, exit)
        except asyncio.CancelledError:
            for cell in self._roots:
                cell.force(SHUTDOWN)
            while self._roots:
                cell, on_exit = self._roots.popitem()
                self._tell_exit(cell, on_exit, await cell.stop(SHUTDOWN, 0))
            raise
        finally:
            self.residents.stop()
            if self._sweep_timer is not None:
                self._sweep_timer.cancel()
                self._sweep_at = None
        await self.reminders.stop()  # what was handled meanwhile is written down

    def _gone(self, cell: Cell, exit: Exit) -> None:
        on_exit = self._roots.pop(cell, None)
        cell.close()
        self._tell_exit(cell, on_exit, exit)

    def _tell_exit(self, cell: Cell, on_exit: Callable[[Exit], None] | None, exit: Exit) -> None:
        try:
            if on_exit is not None:
                on_exit(exit)
        except Exception as error:  # noqa: BLE001  # a callback's error must not keep others from ending
            self.loop.call_exception_handler({"message": f"on_exit of {cell.path} failed", "exception": error})

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
        # Askers before those they ask: a handler whose own time is over is to be cancelled for that, and not to
        # fail by the end of an ask that it made within the same time.
        due = sorted(self._deadlines.expired(self.clock.monotonic()), key=_depth)
        self._arm()
        self._expire(iter(due))

    def _expire(self, envelopes: Iterator[Envelope]) -> None:
        try:
            for envelope in envelopes:
                envelope.expire()
        except BaseException:  # that of one must not cost the others their outcomes
            self.loop.call_soon(self._expire, envelopes)
            raise


def _depth(envelope: Envelope) -> int:
    """How many wait for each other's answers, from the first asker down to this one."""
    depth = 0
    while (asker := envelope.asker) is not None:
        envelope = asker
        depth += 1
    return depth
