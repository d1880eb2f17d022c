"""A cell: the place at a path where one actor lives its successive lives.

The cell keeps what outlives a life (path, mailbox, incarnation number); `Life` is one actor object with the
tasks that run it. Per message there is no task, no lock and no timer.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from repertory.actors.actor import Actor
from repertory.actors.envelope import Envelope
from repertory.actors.exit import SHUTDOWN, Exit
from repertory.actors.life import GRACE, Life
from repertory.actors.ref import ActorRef
from repertory.errors import ActorDown, MailboxFull, StartFailed
from repertory.events import ActorCrashed, ActorStarted, ActorStopped, StuckChild

if TYPE_CHECKING:
    from repertory.actors.system import ActorSystem

HURRY = GRACE / 2  # seconds a caller that is itself cancelled waits for the life it has just cancelled


class Cell:
    """One address and its mailbox.

    Invariants: at most one life is attached; messages wait in ``signals`` and ``mailbox`` between lives; once
    closed the cell has no life, no message waits in it, and its path is free.
    """

    def __init__(
        self,
        system: "ActorSystem",
        path: str,
        factory: Callable[[], Actor[Any]],
        *,
        concurrency: int,
        capacity: int,
        on_exit: Callable[["Cell", Exit], None],
    ) -> None:
        self.system = system
        self.path = path
        self.concurrency = concurrency
        self.capacity = capacity
        self.signals: deque[Envelope] = deque()  # the system lane: unbounded, handled first
        self.mailbox: deque[Envelope] = deque()
        self.closed = False  # whether the actor is gone for good
        self.incarnation = 0
        self.life: Life | None = None  # the one that takes messages
        self._starting: Life | None = None
        self.ref = ActorRef(system, path)
        self._factory = factory
        self._on_exit = on_exit

    @property
    def running(self) -> bool:
        """Whether a life takes messages and is not about to end."""
        return self.life is not None and self.life.exit is None

    @property
    def load(self) -> int:
        """Messages waiting or being handled."""
        return len(self.mailbox) + (len(self.life.handling) if self.life is not None else 0)

    def deliver(self, envelope: Envelope) -> None:
        """Put a message into the mailbox; it waits there between lives. Raises ActorDown, MailboxFull."""
        if self.closed:
            raise ActorDown(f"{self.path} has stopped")
        if len(self.mailbox) >= self.capacity:
            raise MailboxFull(
                f"{self.path}: {self.capacity} messages wait already",
                hint="Send more slowly, or raise the actor's mailbox bound.",
            )
        self.mailbox.append(envelope)
        if self.life is not None:
            self.life.wake()

    def signal(self, message: Any) -> None:
        """Put a message into the system lane: handled before all others, never refused."""
        if self.closed:
            return
        self.signals.append(Envelope(message, None))
        if self.life is not None:
            self.life.wake()

    def defer(self, message: Any) -> None:
        """Put a message behind all that wait, without regard to the bound."""
        if not self.closed:
            self.mailbox.append(Envelope(message, None))
            if self.life is not None:
                self.life.wake()

    async def start(self, timeout: float) -> None:
        """Begin a new life and return when it takes messages.

        Raises StartFailed with the cause if ``started`` raises or does not return within ``timeout`` seconds.
        """
        self.incarnation += 1
        ready: asyncio.Future[None] = self.system.loop.create_future()
        life = self._starting = Life(self, self._factory, ready)
        patience: float | None = HURRY
        try:
            await asyncio.wait({ready}, timeout=timeout)
            patience = None
            if not ready.done():
                error = TimeoutError(f"`started` took longer than {timeout:g} s")
                raise StartFailed(f"{self.path} did not start within {timeout:g} s") from error
            if (failure := ready.exception()) is not None:
                raise StartFailed(f"{self.path} did not start: {failure}") from failure
        except BaseException:
            if not life.over.done():
                life.force(SHUTDOWN)
                await asyncio.wait({life.over}, timeout=patience)
            raise
        finally:
            self._starting = None

    async def stop(self, exit: Exit, timeout: float | None) -> None:
        """End the current life, if any, and close the cell.

        The life may finish the message it is at work on for ``timeout`` seconds (None: as long as it takes),
        then it is cancelled; one that withstands even that is reported as `StuckChild` and left behind.
        """
        life = self.life or self._starting
        try:
            if life is not None:
                await self._end(life, exit, timeout)
        finally:
            self.close()

    async def _end(self, life: Life, exit: Exit, timeout: float | None) -> None:
        if life is self._starting or life.actor.interrupt_on_stop:
            life.interrupt(exit)
        else:
            life.finish(exit)
        try:
            await asyncio.wait({life.over}, timeout=timeout)
        except asyncio.CancelledError:
            life.force(exit)
            await asyncio.wait({life.over}, timeout=HURRY)
            raise
        if not life.over.done():
            life.force(Exit("error", TimeoutError(f"{self.path} did not stop within {timeout} s")))
            await asyncio.wait({life.over})

    def kill(self, error: BaseException) -> None:
        """End the current life as a crash with ``error``."""
        if self.life is not None:
            self.life.crash(error)

    def close(self) -> None:
        """Take no more messages; whoever waits for one of them gets ActorDown."""
        if self.closed:
            return
        self.closed = True
        self.signals.clear()
        while self.mailbox:
            envelope = self.mailbox.popleft()
            if envelope.outcome is None:
                self.system.report_drop(self.path, envelope.message, "down")
            envelope.fail(ActorDown(f"{self.path} has stopped"))
        self.system.forget(self)

    # --- called by the life ---

    def began(self, life: Life) -> None:
        """``life`` finished ``started``."""
        self.life = life
        if self.system.hooks:
            self.system.hooks.emit(ActorStarted(self.path, self.incarnation))

    def report_stuck(self) -> None:
        """Part of the current life withstands its cancellation."""
        if self.system.hooks:
            self.system.hooks.emit(StuckChild(self.path, self.incarnation))

    def ended(self, life: Life, exit: Exit) -> None:
        """``life``, which had begun, has let go of everything."""
        if self.life is not life:
            return
        self.life = None
        if hooks := self.system.hooks:
            if exit.abnormal and exit.error is not None:
                hooks.emit(ActorCrashed(self.path, self.incarnation, exit.error))
            else:
                hooks.emit(ActorStopped(self.path, self.incarnation))
        self._on_exit(self, exit)
