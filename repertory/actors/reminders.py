"""Durable reminders: messages that outlive the life, the rest and the process that asked for them."""

import asyncio
import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from repertory.actors.envelope import Envelope, Item
from repertory.actors.message import Message
from repertory.errors import ActorDown
from repertory.events import ReminderFailed
from repertory.store import ReminderRow, ReminderRows

if TYPE_CHECKING:
    from repertory.actors.cell import Cell
    from repertory.actors.system import ActorSystem

LONGEST_WAIT = 60.0  # seconds; the timer runs on the loop's clock, and the one on the wall may be set meanwhile
VOID = 64  # entries of the queue that may be void before it is looked at whether most of them are


@dataclass(frozen=True, slots=True)
class Reminder(Message[None]):
    """What an actor asked to be reminded of.

    Attributes:
        due_at: When it was due, in seconds since the Unix epoch; it may come later, never earlier.
    """

    name: str
    due_at: float


class _Outcome(asyncio.Future[Any]):
    """What became of a reminder that was sent.

    Attributes:
        lost: Whether it failed in nobody's hands: its life ended before it was through with it.
    """

    def __init__(self, row: ReminderRow, cell: "Cell") -> None:
        super().__init__(loop=cell.system.loop)
        self.lost = False
        self.envelope = Envelope(Reminder(row.name, row.due_at), self, cell)

    def set_exception(self, exception: type | BaseException, /) -> None:
        """As `Future.set_exception`; what the handler raises comes while a runner is at work on it."""
        self.lost = self.envelope.runner is None and isinstance(exception, ActorDown)
        super().set_exception(exception)


def is_reminder(item: Item) -> bool:
    """Whether ``item`` is a reminder that is deleted once it has an outcome, so that it must not be dropped."""
    return type(item) is Envelope and type(item.outcome) is _Outcome


class Reminders:
    """All reminders of a system, and the one timer that waits for the next of them.

    Invariants: a reminder is in the store until it has been handled; of each at most one waits in a mailbox.
    One whose handling the life or the process did not survive is sent again: at least once, not exactly once.
    One whose handler failed has been handled. One that falls due while there is no actor at its path waits for it.
    """

    def __init__(self, system: "ActorSystem", rows: ReminderRows) -> None:
        self._system = system
        self._rows = rows
        self._known: dict[tuple[str, str], ReminderRow] = {}
        self._queue: list[tuple[float, str, str]] = []  # a heap; entries that `_known` contradicts are void
        self._missed: dict[str, set[str]] = {}  # due, by path, while nobody is there
        self._underway: dict[tuple[str, str], _Outcome] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0  # on the clock
        self._stopped = False

    async def load(self) -> None:
        """Take up what earlier processes left. Raises StoreError."""
        for row in await self._rows.all():
            if (row.path, row.name) not in self._known:
                self._known[row.path, row.name] = row
                self._schedule(row)

    async def remind(self, path: str, name: str, *, after: float, every: float | None) -> None:
        """Remind the actor at ``path`` in ``after`` seconds, then ``every`` so many; on disk before this returns.

        It takes the place of one of the same name, even if that waits in the mailbox already.

        Raises ValueError, and StoreError, in which case the one of the same name stays.
        """
        if not after >= 0 or (every is not None and not every > 0):
            wrong = f"every = {every!r}" if after >= 0 else f"after = {after!r}"
            raise ValueError(f"reminder {name!r}: {wrong}; it must be 0 or more seconds, above 0 where repeated")
        key = (path, name)
        row = ReminderRow(path, name, self._system.clock.time() + after, every)
        before = self._known.get(key)
        # Known before it is on disk: nothing that is still to be written of the one before may come after it.
        self._known[key] = row
        try:
            await self._rows.put(path, name, row.due_at, every)
        except Exception:
            self._restore(key, row, before)
            raise
        except asyncio.CancelledError:
            self._schedule(row)  # it may be on disk
            raise
        self._withdraw(key)
        self._schedule(row)

    async def forget(self, path: str, name: str) -> None:
        """Remind of this no more. Raises StoreError, in which case nothing has changed.

        Nor has it where the caller is cancelled meanwhile, but that the next process may know nothing of it.
        """
        key = (path, name)
        before = self._known.pop(key, None)
        try:
            await self._rows.delete(path, name)
        except BaseException:  # cancelled, too: it may be on disk still, and must then be known and come
            self._restore(key, None, before)
            raise
        self._withdraw(key)

    def appeared(self, path: str) -> None:
        """There is an actor at ``path`` again."""
        for name in self._missed.pop(path, ()) if self._missed else ():
            if (row := self._known.get((path, name))) is not None:
                self._schedule(row)

    async def stop(self) -> None:
        """Send no more, and finish what is being written."""
        self._stopped = True
        self._disarm()
        while self._tasks:
            await asyncio.wait(self._tasks)

    # --- when ---

    def _schedule(self, row: ReminderRow) -> None:
        """Send ``row`` when it is due, unless another has taken its place."""
        if self._known.get((row.path, row.name)) is not row:
            return
        heapq.heappush(self._queue, (row.due_at, row.path, row.name))
        if len(self._queue) > 2 * len(self._known) + VOID:  # one that is put off again and again leaves many
            self._queue = [(row.due_at, row.path, row.name) for row in self._known.values()]
            heapq.heapify(self._queue)
        self._arm()

    def _arm(self) -> None:
        if not self._queue or self._stopped:
            return
        due = self._queue[0][0]
        if self._timer is not None:
            if self._timer_due <= due:
                return
            self._timer.cancel()
        self._timer_due = due
        wait = min(max(0.0, due - self._system.clock.time()), LONGEST_WAIT)
        self._timer = self._system.loop.call_later(wait, self._fire)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        self._timer = None
        now = self._system.clock.time()
        while self._queue and self._queue[0][0] <= now:
            due_at, path, name = heapq.heappop(self._queue)
            row = self._known.get((path, name))
            if row is not None and row.due_at == due_at and (path, name) not in self._underway:
                self._send(row)
        self._arm()

    # --- what became of it ---

    def _send(self, row: ReminderRow) -> None:
        cell = self._system.find_cell(row.path)
        if cell is None:
            self._missed.setdefault(row.path, set()).add(row.name)
            return
        outcome = self._underway[row.path, row.name] = _Outcome(row, cell)
        outcome.add_done_callback(lambda _: self._settled(row, outcome))
        cell.accept([outcome.envelope])

    def _settled(self, row: ReminderRow, outcome: _Outcome) -> None:
        key = (row.path, row.name)
        del self._underway[key]
        error = None if outcome.cancelled() else outcome.exception()
        known = self._known.get(key)
        if known is not row:
            if known is not None:  # it may have fallen due while this one was underway
                self._schedule(known)
        elif not outcome.lost:
            self._handled(row, error)
        elif self._stopped or self._system.find_cell(row.path) is None:
            self._missed.setdefault(row.path, set()).add(row.name)
        else:
            self._schedule(row)

    def _handled(self, row: ReminderRow, error: BaseException | None) -> None:
        key = (row.path, row.name)
        cell = self._system.find_cell(row.path)
        if error is not None and cell is not None and cell.actor and isinstance(error, cell.actor.expected):
            cell.report_drop(Reminder(row.name, row.due_at), "failed")  # nobody waits for this answer
        following: ReminderRow | None = None
        if row.every is None:
            del self._known[key]
        else:
            # What was missed while nobody could be reminded is not made up for one by one.
            missed = max(0.0, self._system.clock.time() - row.due_at) // row.every
            following = ReminderRow(row.path, row.name, row.due_at + (missed + 1) * row.every, row.every)
            self._known[key] = following
            self._schedule(following)
        task = self._system.new_task(self._write_down(row, following), "reminder")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _withdraw(self, key: tuple[str, str]) -> None:
        """Take back the one that waits; one that is being handled has come."""
        outcome = self._underway.get(key)
        if outcome is not None and outcome.envelope.runner is None and not outcome.done():
            outcome.cancel()
            outcome.envelope.withdraw()

    def _restore(self, key: tuple[str, str], row: ReminderRow | None, before: ReminderRow | None) -> None:
        """What should have taken the place of ``before`` could not be written."""
        if self._known.get(key) is not row:
            return
        if before is None:
            self._known.pop(key, None)
        else:
            self._known[key] = before
            self._schedule(before)

    async def _write_down(self, row: ReminderRow, following: ReminderRow | None) -> None:
        """Write that ``row`` has been handled, unless another has taken its place meanwhile."""
        key = (row.path, row.name)
        if self._known.get(key) is not following:
            return
        try:
            if following is None:
                await self._rows.delete(row.path, row.name, row.due_at)
            else:
                await self._rows.put(row.path, row.name, following.due_at, following.every)
        except Exception as error:  # noqa: BLE001  # whatever it is, all that can be done is to say so
            if self._system.hooks:
                self._system.hooks.emit(ReminderFailed(row.path, row.name, error))
