"""One life of an actor: the object, and the tasks that run it from ``started`` to ``stopping``.

The life's own task runs ``started``, then handles messages as the first runner, then runs ``stopping``, so
that scopes opened in the one can be closed in the other. Where the cell allows more than one message at a
time, further runners come into being when messages wait and all present runners are busy.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from repertory.actors.actor import Actor
from repertory.actors.envelope import Envelope
from repertory.actors.exit import NORMAL, Exit
from repertory.actors.persistence import Persistence
from repertory.errors import ActorDown, UnhandledMessage

if TYPE_CHECKING:
    from repertory.actors.cell import Cell

GRACE = 1.0  # seconds a cancelled life has to leave its handler before it is left behind as stuck
TURN = 256  # messages handled in a row before other tasks get their turn, where no handler ever waits


class Life:
    """One incarnation.

    Invariant: once ``exit`` is set no further message is begun; every envelope in ``handling`` gets an outcome
    before the cell hears that the life has ended.
    """

    def __init__(self, cell: "Cell", factory: Callable[[], Actor[Any]], ready: asyncio.Future[None]) -> None:
        self.cell = cell
        self.exit: Exit | None = None
        self.handling: set[Envelope] = set()
        self.actor: Actor[Any]
        self._factory = factory
        self._ready = ready
        self._parked: deque[asyncio.Future[None]] = deque()
        self._runners: set[asyncio.Task[None]] = set()
        self._background: set[asyncio.Task[None]] = set()
        self._interrupted = False
        self._forced = False
        self._detached = False
        self._grace: asyncio.TimerHandle | None = None
        self.over: asyncio.Future[None] = cell.system.loop.create_future()
        self.task = cell.system.loop.create_task(self._live(), name=f"{cell.path}#{cell.incarnation}")

    # --- asked for from outside ---

    def wake(self) -> None:
        """A message has arrived: see that a runner takes it."""
        while self._parked:
            parked = self._parked.popleft()
            if not parked.done():
                parked.set_result(None)
                return
        if self.exit is None and 1 + len(self._runners) < self.cell.concurrency:
            runner = self.cell.system.loop.create_task(self._extra_runner(), name=f"{self.cell.path} runner")
            self._runners.add(runner)
            runner.add_done_callback(self._runners.discard)

    def finish(self, exit: Exit) -> None:
        """End after the messages being handled."""
        if self.exit is None:
            self.exit = exit
            while self._parked:
                self.wake()

    def interrupt(self, exit: Exit) -> None:
        """End now, cancelling the messages being handled; ``stopping`` may then take its time."""
        if self.exit is None:
            self.exit = exit
            self._cancel()

    def crash(self, error: BaseException) -> None:
        """End now, by ``error``; a life that was about to end well has not."""
        if self.exit is not None and not self.exit.abnormal:
            self.exit = Exit("error", error)
        self.interrupt(Exit("error", error))

    def force(self, exit: Exit) -> None:
        """End now, cancelling ``stopping`` too; an abnormal ``exit`` replaces one that was not."""
        if self.exit is None or (exit.abnormal and not self.exit.abnormal):
            self.exit = exit
        self._forced = True
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None
        self._cancel()

    def background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run ``work`` until this life ends; an error in it is a crash."""
        task = self.cell.system.loop.create_task(work, name=f"{self.cell.path} background")
        self._background.add(task)
        task.add_done_callback(self._background_done)
        return task

    # --- the life's own task ---

    async def _live(self) -> None:
        try:
            if await self._start():
                await self._serve()
        finally:
            self._end()

    async def _serve(self) -> None:
        """Handle messages until the life ends, and end it."""
        cell = self.cell
        cell.began(self)
        self._ready.set_result(None)
        for _ in range(min(len(cell.mailbox), cell.concurrency)):
            self.wake()
        try:
            await self._run()
            # A graceful end lets each runner finish its message.
            while self._runners and self.exit is not None and not self.exit.abnormal:
                await asyncio.wait(self._runners)
        except asyncio.CancelledError as error:
            if self.exit is None:
                self.exit = Exit("error", error)
            _forget_cancellation()
        exit = await self._stop()
        self._answer_unfinished()
        if not self._detached:
            cell.ended(self, exit)

    async def _start(self) -> bool:
        """Make the actor and run ``started``; return whether it now takes messages."""
        try:
            self.actor = actor = self._factory()
            actor._cell = self.cell
            actor._life = self
            if actor.state_model is not None:
                actor._persistence = Persistence(
                    self.cell.system.states, self.cell.path, actor.state_model, actor.schema_version
                )
                await actor._persistence.load(actor.migrations)
            await actor.started()
        except BaseException as error:
            await self._cancel_tasks()
            # A cancellation stands for what asked for it.
            asked_for = isinstance(error, asyncio.CancelledError) and self.exit is not None
            self._not_started(None if asked_for else error)
            if not isinstance(error, Exception | asyncio.CancelledError):
                raise
            return False
        if self.exit is not None:  # it stopped itself, or was stopped, while it started
            await self._stop()
            self._not_started(None)
            return False
        return True

    def _not_started(self, error: BaseException | None) -> None:
        """Tell whoever started the cell that it does not take messages: by ``error``, or by how the life ended."""
        if self._ready.done():
            return
        if error is None:
            error = (self.exit and self.exit.error) or ActorDown(f"{self.cell.path} stopped while it started")
        self._ready.set_exception(error)
        self._ready.exception()  # seen: whoever started the cell may have been cancelled

    async def _stop(self) -> Exit:
        """Run ``stopping``; return how the life ended in the end."""
        if self._grace is not None and not self._forced:
            self._grace.cancel()
        failure: BaseException | None = None
        try:
            await self._cancel_tasks()
            await self.actor.stopping(self.exit or NORMAL)
        except asyncio.CancelledError as error:
            _forget_cancellation()
            failure = error
        except Exception as error:  # noqa: BLE001  # whatever it is, it is how this life ended
            failure = error
        exit = self.exit or NORMAL
        return exit if failure is None or exit.abnormal else Exit("error", failure)

    async def _cancel_tasks(self) -> None:
        tasks = self._runners | self._background
        for task in tasks:
            task.cancel()
        if tasks:
            _, stuck = await asyncio.wait(tasks, timeout=GRACE)
            if stuck and not self._detached:
                self.cell.report_stuck()

    # --- runners ---

    async def _extra_runner(self) -> None:
        try:
            await self._run()
        except asyncio.CancelledError:
            if self.exit is None:  # nobody here asked for it
                self.crash(ActorDown(f"a runner of {self.cell.path} was cancelled"))
            raise

    async def _run(self) -> None:
        """Handle messages, one at a time, until the life ends."""
        task = asyncio.current_task()
        assert task is not None
        signals, mailbox = self.cell.signals, self.cell.mailbox
        in_a_row = 0
        while self.exit is None:
            if signals:
                envelope = signals.popleft()
            elif mailbox:
                envelope = mailbox.popleft()
            else:
                parked = self.cell.system.loop.create_future()
                self._parked.append(parked)
                await parked
                in_a_row = 0
                continue
            if envelope.withdrawn or envelope.settled:
                reason = "abandoned" if envelope.abandoned else "expired"
                self.cell.system.report_drop(self.cell.path, envelope.message, reason)
                continue
            await self._handle(envelope, task)
            in_a_row += 1
            if in_a_row >= TURN:
                in_a_row = 0
                await asyncio.sleep(0)

    async def _handle(self, envelope: Envelope, task: "asyncio.Task[Any]") -> None:
        actor = self.actor
        handler = actor.handlers.get(type(envelope.message))
        if handler is None:
            self._refuse(envelope)
            return
        envelope.runner = task
        self.handling.add(envelope)
        try:
            reply = await handler(actor, envelope.message)
        except actor.expected as error:
            envelope.fail(error)
            if envelope.outcome is None:
                self.cell.system.report_drop(self.cell.path, envelope.message, "failed")
        except asyncio.CancelledError as error:
            if self._interrupted:
                raise
            if not envelope.withdrawn:
                if task.cancelling():
                    raise
                # Raised by the handler itself: a cancellation nobody asked for is a crash.
                envelope.fail(ActorDown(f"{self.cell.path}: its handler was cancelled from within"))
                self.crash(error)
        except Exception as error:  # noqa: BLE001  # any error ends the life; the supervisor decides what follows
            envelope.fail(error)
            self.crash(error)
        else:
            envelope.reply(reply)
        finally:
            if envelope.outcome is None or envelope.outcome.done():
                self.handling.discard(envelope)
            envelope.runner = None
        if envelope.withdrawn and not self._interrupted:
            _forget_cancellation()

    def _refuse(self, envelope: Envelope) -> None:
        self.cell.system.report_drop(self.cell.path, envelope.message, "unhandled")
        message, actor = type(envelope.message).__name__, type(self.actor).__name__
        hint = f"Add a method marked @handles({message})."
        envelope.fail(UnhandledMessage(f"{actor} does not handle {message}", hint=hint))

    # --- endings ---

    def _cancel(self) -> None:
        self._interrupted = True
        # A life that ends itself is on its way out of its own handler; cancelling it would hit `stopping`.
        if asyncio.current_task() is not self.task:
            self.task.cancel()
            if self._grace is None:
                self._grace = self.cell.system.loop.call_later(GRACE, self._detach)

    def _detach(self) -> None:
        """Leave behind a life that withstands its cancellation: nothing it still does is heard of."""
        if self.task.done():
            return
        self._detached = True
        self._answer_unfinished()
        self.cell.report_stuck()
        self.cell.ended(self, self.exit or NORMAL)
        self._end()
        for task in (self.task, *self._runners, *self._background):
            task.cancel()

    def _end(self) -> None:
        self._not_started(None)
        if self._grace is not None:
            self._grace.cancel()
        if not self.over.done():
            self.over.set_result(None)

    def _answer_unfinished(self) -> None:
        """Tell whoever waits for a message this life was at work on that there will be no reply."""
        cause = self.exit.error if self.exit is not None else None
        for envelope in self.handling:
            error = ActorDown(f"{self.cell.path} ended while it handled {type(envelope.message).__name__}")
            error.__cause__ = cause
            envelope.fail(error)
        self.handling.clear()

    def _background_done(self, task: "asyncio.Task[None]") -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.crash(error)


def _forget_cancellation() -> None:
    """Take back the cancellation that has just been dealt with, so that later waits are not cut short."""
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()
