"""References: how actors are spoken to."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from repertory.actors import bonds
from repertory.actors.envelope import Envelope, being_handled
from repertory.actors.exit import SHUTDOWN, Exit, check_exit
from repertory.actors.info import MailboxStats
from repertory.actors.message import Message
from repertory.errors import ActorDown, AskCycle, DeadlineExceeded

if TYPE_CHECKING:
    from repertory.actors.cell import Cell
    from repertory.actors.runner import Runner
    from repertory.actors.system import ActorSystem

ReplyT = TypeVar("ReplyT")

DEFAULT_TIMEOUT = 5.0  # seconds, as in OTP's gen_server:call


class ActorRef:
    """A stable address: it outlives the lives, and the restarts of the supervisors, of the actor at its path."""

    __slots__ = ("_cell", "_system", "path")

    def __init__(self, system: "ActorSystem", path: str, cell: "Cell | None" = None) -> None:
        self._system = system
        self.path = path
        self._cell = cell

    def __repr__(self) -> str:
        return f"<ActorRef {self.path}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActorRef) and self.path == other.path and self._system is other._system

    def __hash__(self) -> int:
        return hash(self.path)

    async def ask(self, message: Message[ReplyT], *, timeout: float | None = DEFAULT_TIMEOUT) -> ReplyT:
        """Send ``message`` and wait for the reply: exactly one outcome.

        Cancelling the caller, or the passing of ``timeout`` seconds (None: no limit), withdraws the message;
        a handler at work on it is cancelled. An ask from within a handler ends with the deadline of what is
        being handled, if that comes first.

        Raises:
            The handler's own error; ActorDown if the life that held the message ended; DeadlineExceeded;
            MailboxFull; AskCycle if the asked actor waits for this very ask.
        """
        system = self._system
        cell = self._cell
        if cell is None or cell.closed:
            cell = self._live_cell()
        outcome: asyncio.Future[Any] = system.create_future()
        envelope = Envelope(message, outcome, cell)
        if (current := being_handled.get()) is not None:
            timeout = _within(current, envelope, timeout)
        watched_in = system.watch(envelope, timeout) if timeout is not None else None
        try:
            cell.post(envelope)
            return await outcome  # type: ignore[no-any-return]  # what the handler of Message[ReplyT] returned
        except asyncio.CancelledError:
            if outcome.cancelled() and not envelope.withdrawn:
                envelope.withdraw()
            raise
        finally:
            if watched_in is not None:
                watched_in.discard(envelope)
            if (asker := envelope.asker) is not None and asker.awaits is not None:
                asker.awaits.discard(envelope)

    def tell(self, message: Message[Any]) -> None:
        """Send ``message`` and go on at once.

        What is sent to an actor that is no more is dropped and reported as an event. Where the mailbox is full
        its policy decides: MailboxFull is raised under ``reject`` and ``wait``.
        """
        cell = self._cell
        if cell is None or cell.closed:
            cell = self.find_cell()
            if cell is None:
                self._system.report_drop(self.path, message, "down")
                return
        cell.post(message)

    @property
    def load(self) -> int:
        """Messages waiting, set aside or being handled; 0 if the actor is gone."""
        cell = self.find_cell()
        return cell.load if cell is not None else 0

    @property
    def stats(self) -> MailboxStats:
        """How full its mailbox is, and was; all zeros if the actor is gone."""
        cell = self.find_cell()
        return cell.stats if cell is not None else MailboxStats(0, 0, 0, 0)

    @property
    def running(self) -> bool:
        """Whether a life of the actor takes messages right now."""
        cell = self.find_cell()
        return cell is not None and cell.running

    def kill(self, error: BaseException) -> None:
        """End the actor's current life with ``error``, as if it had crashed; nothing happens between lives."""
        self._live_cell().kill(error)

    async def stop(self, exit: Exit = SHUTDOWN, *, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        """End the actor's current life and return when it has; one without a supervisor is then gone.

        It may finish the message it is at work on for ``timeout`` seconds (None: as long as it takes), then it
        is cancelled. What a supervisor does about it is its child's ``restart``. Between lives nothing happens.

        Raises AskCycle if the actor waits for the very handler that calls this.
        """
        check_exit(exit)
        cell = self._live_cell()
        current = being_handled.get()
        runner = current.runner if current is not None else None
        if runner is not None and asyncio.current_task() is runner.task:
            _refuse_cycle("it would wait for its own end", runner, cell, cell.runners)
        await cell.end_life(exit, timeout)

    async def ended(self) -> Exit:
        """Wait for the end of the actor's present life and return how it ended; at once if it has none."""
        return await bonds.ended(self)

    def find_cell(self) -> "Cell | None":
        """Where the actor lives, if it does."""
        if self._cell is None or self._cell.closed:
            # Its supervisor may have been restarted, and has then made a new cell at the same path.
            self._cell = self._system.find_cell(self.path)
        return self._cell

    def _live_cell(self) -> "Cell":
        cell = self.find_cell()
        if cell is None:
            raise ActorDown(f"there is no actor at {self.path!r}")
        return cell


def _within(current: Envelope, envelope: Envelope, timeout: float | None) -> float | None:
    """Make ``envelope`` an ask of the handler of ``current``; return the seconds that leaves it.

    Raises AskCycle, and DeadlineExceeded if they are over already.
    """
    runner = current.runner
    if runner is None:  # what was being handled is done with; this is work it left behind
        return timeout
    if current.outcome is None and asyncio.current_task() is not runner.task:
        return timeout  # nothing tells whether the handler of a tell still waits for this task
    target = envelope.cell
    name = type(envelope.message).__name__
    _refuse_cycle(f"{name} would wait for itself", runner, target, target.runners_in_the_way)
    left = timeout
    if current.deadline is not None:
        left = current.deadline - target.system.clock.monotonic()
        if left <= 0:
            raise DeadlineExceeded(f"{target.path}: the deadline had passed before {name} was asked")
        left = left if timeout is None else min(left, timeout)
    envelope.asker = current
    if current.awaits is None:
        current.awaits = set()
    current.awaits.add(envelope)
    return left


def _refuse_cycle(what: str, asker: "Runner", target: "Cell", runners: "Iterable[Runner]") -> None:
    """Raise if ``runners`` of ``target`` wait, through a chain of asks, for ``asker``, who is to wait for them."""
    waits_for_it: dict[Runner, Runner | None] = dict.fromkeys(runners)  # by who is waited for
    todo = list(waits_for_it)
    while todo:
        runner = todo.pop()
        if runner is asker:
            raise AskCycle(
                f"{what}: {' -> '.join((*_way_to(runner, waits_for_it), target.path))}",
                hint="Tell instead of asking, or let `background` work ask; an actor ends itself by `stop()`.",
            )
        for asked in runner.asking:
            for other in (asked.runner,) if asked.runner is not None else asked.cell.runners_in_the_way:
                if other not in waits_for_it:
                    waits_for_it[other] = runner
                    todo.append(other)


def _way_to(runner: "Runner", waits_for_it: "Mapping[Runner, Runner | None]") -> list[str]:
    """The paths of those that wait for each other, ``runner`` the last of them."""
    way = []
    waiting: Runner | None = runner
    while waiting is not None:
        way.append(waiting.life.cell.path)
        waiting = waits_for_it[waiting]
    return way[::-1]
