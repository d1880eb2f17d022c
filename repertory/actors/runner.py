"""A runner: a task that takes an actor's messages and runs their handlers.

A runner comes into being when a message finds none free, serves as long as messages come, and goes to rest
when none has come for a while: an idle actor has no task. Per message there is no task, no lock and no timer.
"""

import asyncio
from typing import TYPE_CHECKING, Any

from repertory.actors.envelope import Envelope, Item, being_handled
from repertory.actors.residents import Idle
from repertory.errors import ActorDown, UnhandledMessage
from repertory.events import CancellationIgnored

if TYPE_CHECKING:
    from repertory.actors.life import Life

GRACE = 1.0  # seconds a cancelled handler has to end before it is reported, or left behind, as stuck
WAKE, REST, IDLE = range(3)  # what a parked runner is told
TURN = 256  # messages handled in a row before other tasks get their turn, where no handler ever waits


class Runner:
    """One at a time of a life's messages.

    Invariant: ``item`` is the message being handled; an ask's envelope knows its runner exactly as long.

    Attributes:
        parked: What it waits on while there is nothing to do; resolved with what it is to do next.
        seen: The ``parked`` that the system saw last: the same one twice, and it has been idle in between.
        seen_at: When it was first seen, on the clock.
        idled: Whether the actor has been told that it is idle, and nothing has come since.
    """

    __slots__ = ("idled", "item", "life", "parked", "seen", "seen_at", "task", "tells")

    def __init__(self, life: "Life") -> None:
        self.life = life
        self.item: Item | None = None
        self.parked: asyncio.Future[int] | None = None
        self.seen: asyncio.Future[int] | None = None
        self.seen_at = 0.0
        self.idled = False
        self.tells = Envelope(None, None, life.cell)
        self.tells.runner = self
        self.task: asyncio.Task[None]

    async def run(self) -> None:
        """Handle messages, one at a time, until the life ends or this runner is to rest."""
        life, cell = self.life, self.life.cell
        actor, tells = life.actor, self.tells
        mailbox = cell.open_mailbox()
        parked_runners = cell.open_parked()
        create_future = cell.system.create_future
        # Whether the context stands at `tells`; setting it costs more than handling a tell does otherwise.
        at_tells = False
        in_a_row = 0
        while life.exit is None:
            if in_a_row >= TURN:
                in_a_row = 0
                self.idled = False
                await asyncio.sleep(0)
                continue
            if cell.signals:
                item = cell.signals.popleft()
            elif mailbox:
                item = mailbox.popleft()
            else:
                if self.idled and in_a_row != 1:  # more was handled than `Idle`
                    self.idled = False
                in_a_row = 0
                parked = self.parked = create_future()
                parked_runners.append(parked)
                told = await parked
                self.parked = None
                if told and not mailbox and not cell.signals and life.exit is None:
                    if told == IDLE:
                        self.idled = True
                        cell.signal(Idle())
                    elif self._may_rest():
                        return
                else:
                    self.idled = False
                continue
            in_a_row += 1
            message: Any
            envelope: Envelope | None
            if type(item) is Envelope:
                envelope = item
                if envelope.settled:
                    cell.skip(envelope)
                    cell.admit()
                    continue
                envelope.queued = False
                message = envelope.message
                envelope.runner = self
                being_handled.set(envelope)
                at_tells = False
            else:
                envelope = None
                message = item
                if not at_tells:
                    being_handled.set(tells)
                    at_tells = True
            if cell.crowd is not None:
                cell.admit()
            handler = life.handlers.get(type(message))
            if handler is None:
                self._refuse(item)
                continue
            self.item = item
            try:
                reply = await handler(actor, message)
            except BaseException as error:
                if not self._failed(item, error):
                    self.leave()  # or its asker, going now, would have what follows cancelled
                    raise
            else:
                if envelope is not None and self.item is not None:  # and has not been stashed
                    outcome = envelope.outcome
                    if not outcome.done():  # type: ignore[union-attr]  # an ask has one
                        outcome.set_result(reply)  # type: ignore[union-attr]  # an ask has one
            self.item = None
            if envelope is not None:
                if envelope.runner is self:  # else it has been stashed, unstashed and taken by another
                    envelope.runner = None
                if envelope.withdrawn and not life.interrupted:
                    forget_cancellation()

    @property
    def asking(self) -> list[Envelope]:
        """The asks that what it is at work on waits for."""
        handling = (self.tells, self.item) if isinstance(self.item, Envelope) else (self.tells,)
        return [asked for envelope in handling for asked in envelope.awaits or ()]

    def interrupt(self, envelope: Envelope) -> None:
        """Cancel the handling of ``envelope``, whose asker is gone, and tell if it withstands that."""
        loop = self.life.cell.system.loop
        self.task.cancel()
        loop.call_later(GRACE, self._check_interrupted, envelope)

    def rest(self) -> None:
        """Have a parked runner go, unless a message comes before it does."""
        if self._may_rest():
            self._tell(REST)

    def tell_idle(self) -> None:
        """Have a parked runner call the actor's ``idle``."""
        self._tell(IDLE)

    def leave(self) -> None:
        """The task is to end: whoever waits for what it was at work on hears of the life's end."""
        if isinstance(self.item, Envelope):
            self.life.leave_unfinished(self.item)
            self.item.runner = None
        self.item = None

    def _may_rest(self) -> bool:
        """The lead goes last."""
        return self is not self.life.lead or len(self.life.runners) == 1

    def _tell(self, what: int) -> None:
        parked = self.parked
        if parked is not None and not parked.done():
            self.life.cell.open_parked().remove(parked)
            parked.set_result(what)

    def _failed(self, item: Item, error: BaseException) -> bool:
        """Deal with what a handler raised; return whether that has been done, else it is to be raised again."""
        life = self.life
        envelope = item if type(item) is Envelope else None
        if isinstance(error, life.actor.expected):
            self._conclude(item, error)
            if envelope is None:
                life.cell.report_drop(item, "failed")
            return True
        if isinstance(error, asyncio.CancelledError):
            if life.interrupted:
                return False
            if envelope is not None and envelope.withdrawn:
                return True
            if self.task.cancelling():
                return False
            # Raised by the handler itself: a cancellation nobody asked for is a crash.
            answer: BaseException = ActorDown(f"{life.cell.path}: its handler was cancelled from within")
        elif isinstance(error, Exception):
            answer = error
        else:
            return False
        self._conclude(item, answer)
        life.crash(error)
        return True

    def _conclude(self, item: Item, error: BaseException) -> None:
        """``error`` is the outcome of ``item``, even if its handler has set it aside."""
        if self.item is None:
            self.life.discard_stashed(item)
        if type(item) is Envelope:
            item.fail(error)

    def _refuse(self, item: Item) -> None:
        cell = self.life.cell
        cell.report_drop(item, "unhandled")
        if type(item) is Envelope:
            item.runner = None
            message, actor = type(item.message).__name__, type(self.life.actor).__name__
            now = f" while it is {self.life.behaviour!r}" if self.life.behaviour else ""
            hint = f"Add a method marked @handles({message})."
            item.fail(UnhandledMessage(f"{actor} does not handle {message}{now}", hint=hint))

    def _check_interrupted(self, envelope: Envelope) -> None:
        cell = self.life.cell
        if envelope.runner is self and cell.system.hooks:
            cell.system.hooks.emit(CancellationIgnored(cell.path, cell.incarnation, type(envelope.message)))


def forget_cancellation() -> None:
    """Take back the cancellation that has just been dealt with, so that later waits are not cut short."""
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()
