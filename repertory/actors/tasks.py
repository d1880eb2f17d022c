"""The tasks of a life: its lead, the runners beside the lead, and its background work."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from repertory.actors.actor import Actor
from repertory.actors.envelope import Envelope, Item
from repertory.actors.exit import Exit
from repertory.actors.runner import GRACE, Runner, forget_cancellation
from repertory.errors import ActorDown, MailboxFull

if TYPE_CHECKING:
    from repertory.actors.cell import Cell


class LifeTasks(ABC):
    """What runs for one life, and the messages that it is at work on.

    Invariants: while there are runners, ``lead`` is one of them, until its task is over; while the life takes
    messages, ``cell.free`` and the runners add up to ``concurrency``; the system's residents know a runner no
    longer than it has a task.

    Attributes:
        exit: How the life is to end; None: it is not to.
        ended: Whether it has let go of everything, or has been left behind.
        unfinished: Asks whose runners are gone; they are answered when the life has ended.
    """

    __slots__ = ("actor", "background", "cell", "ended", "exit", "lead", "runners", "stashed", "unfinished")

    def __init__(self, cell: "Cell") -> None:
        self.cell = cell
        self.actor = _made_by(cell)
        self.exit: Exit | None = None
        self.ended = False
        self.lead: Runner | None = None
        self.runners: list[Runner] = []
        # All below come into being with their first use: an idle actor is to be small.
        self.background: set[asyncio.Task[None]] | None = None
        self.stashed: list[Item] | None = None
        self.unfinished: list[Envelope] | None = None

    # --- what the life makes of it ---

    @abstractmethod
    def crash(self, error: BaseException) -> None:
        """End now, by ``error``."""

    @abstractmethod
    def lead_lost(self) -> None:
        """The task of the lead is over before the life."""

    @abstractmethod
    async def _serve(self, runner: Runner) -> None:
        """What a lead does after a rest."""

    # --- runners ---

    @property
    def handling(self) -> list[Item]:
        """The messages being handled."""
        return [runner.item for runner in self.runners if runner.item is not None]

    def add_runner(self) -> None:
        """Have one more task take messages."""
        self.cell.free -= 1
        if self.lead is None:
            self._run(self._serve)
        else:
            self._employ(self._new_runner(), self._follow, "runner")

    def _run(self, work: "Callable[[Runner], Coroutine[Any, Any, None]]") -> None:
        """Give this life a lead that does ``work``."""
        self.lead = self._new_runner()
        self._employ(self.lead, work, f"life {self.cell.incarnation}")

    def _new_runner(self) -> Runner:
        life: Any = self
        runner = Runner(life)
        self.runners.append(runner)
        return runner

    def _employ(self, runner: Runner, work: "Callable[[Runner], Coroutine[Any, Any, None]]", name: str) -> None:
        runner.task = self.cell.system.new_task(work(runner), f"{self.cell.path} {name}", self._runner_done)
        self.cell.system.residents.works(runner)

    async def _follow(self, runner: Runner) -> None:
        """Serve beside the lead."""
        try:
            await runner.run()
        except asyncio.CancelledError:
            if self.exit is None:  # nobody here asked for it
                self.crash(ActorDown(f"a runner of {self.cell.path} was cancelled"))
            raise
        except BaseException as error:  # noqa: BLE001  # whatever it is, the life ends by it
            self.crash(error)
            self._hand_on(error)
        finally:
            self._dismiss(runner)
            if self.exit is None:
                self.cell.free += 1

    def _dismiss(self, runner: Runner) -> None:
        runner.leave()
        self.runners.remove(runner)
        self.cell.system.residents.leaves(runner)

    def _runner_done(self, task: "asyncio.Task[None]") -> None:
        """See to what a task leaves undone that was cancelled before its first step, or failed in its last."""
        runner = next((runner for runner in self.runners if runner.task is task), None)
        if runner is None:
            return
        self._dismiss(runner)
        if self.ended:
            return
        if runner is self.lead:
            self.lead = None
            self.lead_lost()
        elif self.exit is None:
            self.crash(ActorDown(f"a runner of {self.cell.path} was cancelled"))

    def _hand_on(self, error: BaseException) -> None:
        """Have the loop raise what is meant for the whole program; the life ends in its own time."""
        if isinstance(error, KeyboardInterrupt | SystemExit):
            self.cell.system.loop.call_soon(_raise, error)

    # --- background work ---

    def run_beside(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run ``work`` until this life ends; an error in it is a crash."""
        task = self.cell.system.new_task(work, f"{self.cell.path} background", self._background_done)
        if self.background is None:
            self.background = set()
        self.background.add(task)
        if self.ended:
            task.cancel()
        return task

    def _background_done(self, task: "asyncio.Task[None]") -> None:
        if self.background is not None:
            self.background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.crash(error)

    # --- ending them ---

    def _beside_the_lead(self) -> "set[asyncio.Task[None]]":
        return {runner.task for runner in self.runners if runner is not self.lead}

    async def _cancel_beside(self, stuck: "set[asyncio.Task[None]]") -> "set[asyncio.Task[None]]":
        """Cancel what runs beside the lead, and what that starts meanwhile, and wait for it.

        Returns those that withstand it, with the ``stuck`` ones, which did so before. A cancellation of the
        lead does not cut this short: it takes `GRACE` seconds at most.
        """
        loop = self.cell.system.loop
        until = loop.time() + GRACE
        cancelled = set(stuck)
        while tasks := (self._beside_the_lead() | (self.background or set())) - stuck:
            for task in tasks - cancelled:
                task.cancel()
            cancelled |= tasks
            left = until - loop.time()
            if left <= 0:
                return stuck | tasks
            try:
                await asyncio.wait(tasks, timeout=left)
            except asyncio.CancelledError:
                forget_cancellation()
        return stuck

    # --- messages at work ---

    def stash(self) -> None:
        """Set the message of the current task's runner aside."""
        task = asyncio.current_task()
        runner = next((runner for runner in self.runners if runner.task is task), None)
        if runner is None or runner.item is None:
            raise LookupError("there is no message to stash: call stash() in the handler's own task")
        if self.stashed is None:
            self.stashed = []
        if len(self.stashed) >= self.cell.spec.mailbox:
            raise MailboxFull(f"{self.cell.path}: {self.cell.spec.mailbox} messages are stashed already")
        self.stashed.append(runner.item)
        runner.item = None

    def unstash(self) -> None:
        """Put what was stashed before all messages that wait."""
        if self.stashed:
            stashed, self.stashed = self.stashed, None
            self.cell.put_back(stashed)

    @property
    def set_aside(self) -> int:
        """How many messages are stashed, without those whose askers are gone."""
        return sum(type(item) is not Envelope or not item.settled for item in self.stashed or ())

    def discard_stashed(self, item: Item) -> None:
        """The handler that set ``item`` aside has failed, and that was its outcome: it is not handled again."""
        stashed = self.stashed or []
        for position, other in enumerate(stashed):
            if other is item:
                del stashed[position]
                return

    def leave_unfinished(self, envelope: Envelope) -> None:
        """Its runner goes; whoever waits for it hears when the life has ended."""
        if self.unfinished is None:
            self.unfinished = []
        self.unfinished.append(envelope)

    def _answer_unfinished(self) -> None:
        """Tell whoever waits for a message this life was at work on that there will be no reply."""
        for runner in self.runners:
            runner.leave()
        cause = self.exit.error if self.exit is not None else None
        for envelope in self.unfinished or ():
            error = ActorDown(f"{self.cell.path} ended while it handled {type(envelope.message).__name__}")
            error.__cause__ = cause
            envelope.fail(error)
        self.unfinished = None
        self.unstash()


def _raise(error: BaseException) -> None:
    raise error


def _made_by(cell: "Cell") -> "Actor[Any]":
    """A new object for ``cell``. Raises TypeError for what is none."""
    actor: object = cell.spec.start()
    if not isinstance(actor, Actor):
        raise TypeError(f"start returned {actor!r}; it must return a new actor, such as the actor's class does")
    if getattr(actor, "_life", None) is not None:
        raise TypeError("start returned an object that has had a life already; each life needs a new one")
    return actor
