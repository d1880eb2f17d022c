"""One life of an actor: how it begins and how it ends.

A life whose class has something to do in ``stopping`` keeps one task, its lead, from the first moment to the
last, so that a scope opened in ``started`` can be closed in ``stopping``. Any other life has a task only while
there is something to do; its lead is then the first of its runners.
"""

import asyncio
from typing import TYPE_CHECKING, Any

from repertory.actors.envelope import being_handled
from repertory.actors.exit import NORMAL, Exit
from repertory.actors.persistence import Persistence
from repertory.actors.runner import GRACE, Runner, forget_cancellation
from repertory.actors.tasks import LifeTasks
from repertory.errors import ActorDown

if TYPE_CHECKING:
    from repertory.actors.cell import Cell

HURRY = GRACE / 2  # seconds for ``stopping`` in a life that is forced to end, and for who waits for it in a hurry
PARENTS_GRACE = 2 * GRACE  # seconds one with children has to end, since each of them has `GRACE`
STOPPING = 30.0  # seconds ``stopping`` may take where nobody waits for it: after a crash, or before a rest


class Life(LifeTasks):
    """One incarnation.

    Invariants: once ``exit`` is set no further message is begun; every ask that was being handled gets an
    outcome before the cell hears that the life has ended, and the cell hears that once; once ``ended`` nothing
    changes any more.

    Attributes:
        began_at: On the clock; None: it has not finished ``started``.
        interrupted: Whether its tasks have been cancelled.
        letting_go: Whether it is past its messages: what is left ends, then comes ``stopping``.
        forced: Whether even ``stopping`` has been.
        detached: Whether it has been left behind, at work.
        ready: Resolved for who waits for its beginning: True once it takes messages, False if it is not wanted.
        unkept: Whether it is being ended by its keeper, who need not be told.
        bound: Cuts short what takes too long just now: ``started``, or what has been cancelled.
    """

    __slots__ = (
        "began_at",
        "behaviour",
        "bound",
        "detached",
        "forced",
        "handlers",
        "interrupted",
        "letting_go",
        "over",
        "persistence",
        "ready",
        "timers",
        "unkept",
    )

    def __init__(self, cell: "Cell") -> None:
        super().__init__(cell)
        self.began_at: float | None = None
        self.ready: asyncio.Future[bool] | None = None
        self.unkept = False
        self.interrupted = False
        self.letting_go = False
        self.forced = False
        self.detached = False
        self.behaviour = ""
        self.timers: set[Any] | None = None
        self.over: asyncio.Future[None] | None = None
        self.bound: asyncio.TimerHandle | None = None
        self.persistence: Persistence[Any] | None = None
        self.actor._life = self
        self.handlers = self.actor.handlers

    # --- beginning ---

    def begin(self) -> bool:
        """Begin; return whether it takes messages already, since nothing in its start has to be waited for."""
        actor = self.actor
        if actor.state_model is None and not actor.has_started:
            self._begun()
            return True
        self.bound = self.cell.system.loop.call_later(self.cell.spec.start_timeout, self._start_expired)
        self._run(self._live)
        return False

    def _begun(self) -> None:
        """``started`` is done: take messages."""
        self._unbind()
        cell = self.cell
        self.began_at = cell.system.clock.monotonic()
        cell.began(self)
        if self.exit is not None:  # whoever was told of it has ended it
            return
        actor = self.actor
        if self.lead is None and (actor.has_stopping or actor.has_after_start or actor.idle_after is not None):
            self._run(self._live)
        if not actor.has_after_start:
            self._open()

    def _open(self) -> None:
        """Take messages, as many at a time as it may."""
        cell = self.cell
        waiting = len(cell.mailbox or ()) + len(cell.signals or ()) - len(self.runners)
        if self.lead is None and waiting == 0:
            cell.rests()
            return
        cell.free = cell.spec.concurrency - len(self.runners)
        for _ in range(min(waiting, cell.free)):
            self.add_runner()

    def _start_expired(self) -> None:
        timeout = self.cell.spec.start_timeout
        self.interrupt(Exit("error", TimeoutError(f"its start took longer than {timeout:g} s")))

    # --- what it may do ---

    def present_cell(self) -> "Cell":
        """Where it lives. Raises ActorDown for one that has ended, or was left behind: its place is another's."""
        if self.ended:
            raise ActorDown(f"this life of {self.cell.path} has ended")
        return self.cell

    @property
    def dispensable(self) -> bool:
        """Whether the object may be dropped: it has nothing to do and nothing that would be lost."""
        cell = self.cell
        return not (
            self.exit is not None
            or self.actor.stays
            or any(runner.parked is None for runner in self.runners)
            or cell.mailbox
            or cell.signals
            or self.stashed
            or self.timers
            or self.background
            or (cell.bonds is not None and cell.bonds.links)
        )

    # --- asked for from outside ---

    def finish(self, exit: Exit) -> None:
        """End after the messages being handled."""
        if not self._ends_already(exit):
            self._ending(exit)
            if self.lead is None:
                self._end_at_rest()
            else:
                self.cell.wake_all()

    def interrupt(self, exit: Exit) -> None:
        """End now, cancelling the messages being handled; ``stopping`` may then take its time."""
        if self.ended:
            return
        if not self._ends_already(exit):
            self._ending(exit)
        elif self.letting_go or self.interrupted:
            return
        self._cancel()

    def crash(self, error: BaseException) -> None:
        """End now, by ``error``."""
        self.interrupt(Exit("error", error))

    def force(self, exit: Exit) -> None:
        """End now, cancelling ``stopping`` too."""
        if self.ended or (self.forced and self.bound is not None):  # once is enough
            return
        if not self._ends_already(exit):
            self._ending(exit)
        self.forced = True
        self._cancel()

    async def stop(self, exit: Exit, timeout: float | None) -> None:
        """End, and return when that is done.

        The messages being handled may be finished for ``timeout`` seconds (None: as long as it takes; 0: they
        may not), then they are cancelled; what withstands even that is reported as `StuckChild` and left behind.
        """
        if timeout == 0:
            self.force(exit)
            timeout = None
        elif self.began_at is None or self.actor.interrupt_on_stop:
            self.interrupt(exit)
        else:
            self.finish(exit)
        if not await self.wait_over(timeout):
            self.force(Exit("error", TimeoutError(f"{self.cell.path} did not stop within {timeout} s")))
            await self.wait_over(None)

    async def wait_over(self, timeout: float | None) -> bool:
        """Return once the life has let go of everything, or ``timeout`` seconds have passed: whether it has."""
        if not self.ended:
            if self.over is None:
                self.over = self.cell.system.create_future()
            await asyncio.wait({self.over}, timeout=timeout)
        return self.ended

    # --- the lead ---

    async def _live(self, runner: Runner) -> None:
        """Lead from the first moment."""
        being_handled.set(runner.tells)  # what it asks now, it asks as this actor
        if self.began_at is None and not await self._start():
            self._end()
            return
        if self.actor.has_after_start and self.exit is None:
            await self._after_start()
            if self.exit is None:
                self._open()
        await self._serve(runner)

    async def _serve(self, runner: Runner) -> None:
        """Handle messages until there are none for a while, or the life ends; then end it."""
        try:
            await runner.run()
            if self.exit is None:
                self._rest(runner)
                return
            # A graceful end lets each runner finish its message.
            while not self.exit.abnormal and (others := self._beside_the_lead()):
                await asyncio.wait(others)
        except asyncio.CancelledError as error:
            if self.exit is None:  # nobody here asked for it
                self._ending(Exit("error", error))
        except BaseException as error:  # noqa: BLE001  # whatever it is, the life ends by it
            self.crash(error)
            self._hand_on(error)
        await self._finish(runner)

    async def _start(self) -> bool:
        """Run ``started``; return whether it now takes messages."""
        try:
            if self.actor.state_model is not None:
                self.persistence = self.actor.new_persistence(self.cell.system.states)
                await self.persistence.load(self.actor.migrations)
            await self.actor.started()
        except BaseException as error:  # noqa: BLE001  # whatever it is, the start fails by it
            forget_cancellation()
            self._report(await self._cancel_beside(set()))
            # A cancellation stands for what asked for it.
            asked_for = isinstance(error, asyncio.CancelledError) and self.exit is not None
            self._not_begun(None if asked_for else error)
            self._hand_on(error)
            return False
        if self.exit is not None:  # it stopped itself, or was stopped, while it started
            forget_cancellation()
            await self._stop()
            if self.exit.abnormal or self.interrupted:
                self._not_begun(None)
            else:
                self.cell.ignored(self)
            return False
        self._begun()
        return True

    def _not_begun(self, error: BaseException | None) -> None:
        """Tell the cell that this life does not take messages: by ``error``, or by how it ended."""
        if error is None:
            error = (self.exit and self.exit.error) or ActorDown(f"{self.cell.path} stopped while it started")
        self._cancel_timers()
        self.cell.not_begun(self, error)

    async def _after_start(self) -> None:
        try:
            await self.actor.after_start()
        except BaseException as error:  # noqa: BLE001  # any error ends the life; the supervisor decides what follows
            if self.exit is None or not isinstance(error, asyncio.CancelledError):
                self.crash(error)
            self._hand_on(error)

    def _rest(self, runner: Runner) -> None:
        """The last runner goes: no message waits, and none has come for a while."""
        self._dismiss(runner)
        self.lead = None
        self.cell.rests()

    def lead_lost(self) -> None:
        """The task of the lead is over before the life, as where it was cancelled before its first step."""
        if self.exit is None:
            self._ending(Exit("error", ActorDown(f"the task of {self.cell.path} was cancelled")))
        if self.began_at is None:
            self._end()
        else:
            self._end_at_rest()

    # --- endings ---

    def _ends_already(self, exit: Exit) -> bool:
        """Whether the life is about to end, or has; then ``exit`` may still count.

        A failure counts more than what is none, and anything more than that the object was only to be dropped.
        """
        now = self.exit
        if now is None:
            return False
        if not self.ended and (now.kind == "passivated" or (exit.abnormal and not now.abnormal)):
            self.exit = exit
        return True

    def _ending(self, exit: Exit) -> None:
        self.exit = exit
        self.cell.free = 0

    def _end_at_rest(self) -> None:
        """End a life that has no lead: nothing is under way but what runs beside it."""
        if self.background or self.runners or self.actor.has_stopping:
            self._run(self._finish)
        else:
            self._conclude(self.exit or NORMAL)

    async def _finish(self, runner: Runner) -> None:
        being_handled.set(runner.tells)
        self._conclude(await self._stop())

    async def _stop(self) -> Exit:
        """Let go of what runs; return how the life ended in the end."""
        self.letting_go = True
        if self.interrupted:
            forget_cancellation()
            if not self.forced:
                self._unbind()
        self._cancel_timers()
        stuck: set[asyncio.Task[None]] = set()
        if self.background or len(self.runners) > 1:
            stuck = await self._cancel_beside(stuck)
            self._report(stuck)
        failure = await self._stopping() if self.actor.has_stopping else None
        if self.background:
            more = await self._cancel_beside(stuck) - stuck
            if not stuck:
                self._report(more)
        exit = self.exit or NORMAL
        return exit if failure is None or exit.abnormal else Exit("error", failure)

    async def _stopping(self) -> BaseException | None:
        """Run ``stopping``; return what it failed by."""
        exit = self.exit or NORMAL
        bound = self._bound_of_stopping(exit)
        try:
            await self.actor.stopping(exit)
        except BaseException as error:  # noqa: BLE001  # whatever it is, it is how this life ended
            forget_cancellation()
            self._hand_on(error)
            return error
        finally:
            if bound is not None:
                bound.cancel()
        return None

    def _bound_of_stopping(self, exit: Exit) -> asyncio.TimerHandle | None:
        """What cuts ``stopping`` short where nobody else does."""
        assert self.lead is not None
        later, has_children = self.cell.system.loop.call_later, self.actor.has_children
        if self.forced:  # children that are forced have their own bound
            return None if has_children else later(HURRY, self.lead.task.cancel)
        # Whoever waits for a stop has a timeout for it, and each child a time of its own.
        attended = has_children or self.over is not None
        if attended and not exit.abnormal and exit.kind != "passivated":
            return None
        return later(STOPPING, self._stopping_expired)

    def _stopping_expired(self) -> None:
        self.force(Exit("error", TimeoutError(f"its end took longer than {STOPPING:g} s")))

    def _cancel(self) -> None:
        self.interrupted = True
        if self.lead is None:
            self._end_at_rest()
        elif asyncio.current_task() is self.lead.task:
            # It may be on its way out of its own handler; cancelling it now would hit `stopping`.
            self.cell.system.loop.call_soon(self._cancel_lead_at_work)
        else:
            self._cancel_lead()

    def _cancel_lead_at_work(self) -> None:
        if self.lead is not None and not self.letting_go and not self.ended:
            self._cancel_lead()

    def _cancel_lead(self) -> None:
        assert self.lead is not None
        self.lead.task.cancel()
        self._unbind()
        later = self.cell.system.loop.call_later
        if not self.actor.has_children:
            self.bound = later(GRACE, self._detach)
        elif self.forced:
            self.bound = later(PARENTS_GRACE, self._detach)
        else:  # it stops them first, each in its own time
            self.bound = later(STOPPING, self._stopping_expired)

    def _detach(self) -> None:
        """Leave behind a life that withstands its cancellation: nothing it still does is heard of."""
        self.detached = True
        self._cancel_timers()
        if self.persistence is not None:
            self.persistence.fence()
        self.cell.report_stuck()
        tasks = [*(runner.task for runner in self.runners), *(self.background or ())]
        self._answer_unfinished()
        self.cell.ended(self, self.exit or NORMAL)
        self._end()
        for task in tasks:
            task.cancel()

    def _conclude(self, exit: Exit) -> None:
        """It has let go of everything: answer, and tell the cell, unless that was done when it was left behind."""
        self.exit = exit
        self._cancel_timers()  # `stopping` may have begun some
        try:
            self._answer_unfinished()
            if not self.detached:
                self.cell.ended(self, exit)
        finally:
            self._end()

    def _end(self) -> None:
        """The very last."""
        self._unbind()
        if self.began_at is None:
            self._not_begun(None)
        self.ended = True
        for runner in self.runners:
            self.cell.system.residents.leaves(runner)
        if self.over is not None and not self.over.done():
            self.over.set_result(None)

    def _unbind(self) -> None:
        if self.bound is not None:
            self.bound.cancel()
            self.bound = None

    def _cancel_timers(self) -> None:
        while self.timers:
            self.timers.pop().cancel()

    def _report(self, stuck: "set[asyncio.Task[None]]") -> None:
        if stuck and not self.detached:
            self.cell.report_stuck()
