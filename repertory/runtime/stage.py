"""The stage: where the steps of all runs wait for their turn, as the scheduler gives it."""

import asyncio
from collections.abc import Collection

from repertory.providers.messages import Priority
from repertory.runtime.failure_policy import FailurePolicy
from repertory.runtime.scheduler import Consequences, Scheduler, SchedulerSnapshot


class Stage:
    """Drives a `Scheduler`.

    Invariant: ``_turns`` has one future for each step that may not start yet, which is done when it may, or when
    that is known never to be.
    """

    def __init__(self, capacity: int) -> None:
        self._scheduler = Scheduler(capacity)
        self._turns: dict[tuple[str, int], asyncio.Future[None]] = {}

    def open(self, run: str, priority: Priority, policy: FailurePolicy) -> None:
        """Begin a run."""
        self._scheduler.open(run, priority=priority, policy=policy)

    def enter(
        self,
        run: str,
        step: int,
        after: Collection[int] = (),
        *,
        parent: int | None = None,
        composite: bool = False,
        has_fallback: bool = False,
    ) -> "asyncio.Future[None] | None":
        """Let there be a step: its turn, or None where it starts at once. Raises as `Scheduler.add`."""
        turn = None
        if not self._scheduler.add(
            run, step, after, parent=parent, composite=composite, has_fallback=has_fallback
        ):
            turn = self._turns[run, step] = asyncio.get_running_loop().create_future()
        if parent is not None and self._turns:
            self._give_turns()  # it takes no place any more
        return turn

    def finish(self, run: str, step: int) -> None:
        """A step has its outcome."""
        self._scheduler.finish(run, step)
        if self._turns:
            self._give_turns()

    def fail(self, run: str, step: int, error: BaseException) -> Consequences:
        """A step failed; those that depend on it fail in the same way, unless its fallback is to replace it."""
        consequences = self._scheduler.fail(run, step)
        self._let_go(run, consequences, error)
        return consequences

    def cancel(self, run: str, step: int, error: BaseException) -> Consequences:
        """A step was given up; those that depend on it fail with ``error``."""
        self._turns.pop((run, step), None)
        consequences = self._scheduler.cancel(run, step)
        self._let_go(run, consequences, error)
        return consequences

    def close(self, run: str) -> None:
        """The run has ended; what waits of it waits no more."""
        for step in self._scheduler.close(run).waiting:
            if (turn := self._turns.pop((run, step), None)) is not None:
                turn.cancel()
        if self._turns:
            self._give_turns()

    def snapshot(self) -> SchedulerSnapshot:
        """Return the present state."""
        return self._scheduler.snapshot()

    def _let_go(self, run: str, consequences: Consequences, error: BaseException) -> None:
        for step in consequences.skipped:
            if (turn := self._turns.pop((run, step), None)) is not None and not turn.done():
                turn.set_exception(error)
        if self._turns:
            self._give_turns()

    def _give_turns(self) -> None:
        for place in self._scheduler.take():
            turn = self._turns.pop(place, None)
            if turn is not None and not turn.done():
                turn.set_result(None)
