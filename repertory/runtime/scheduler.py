"""The scheduler of steps: which steps of which runs may start.

A step starts when the steps it depends on have finished, never when a whole level of the graph has: Robert D.
Blumofe et al., "Cilk: An Efficient Multithreaded Runtime System", 1995, call such steps ready threads. Classes of
runs share turns by weight, and the runs of a class take turns, as in `FairQueue`.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from repertory.errors import ConfigError, RuntimeClosed
from repertory.providers.limits.fair_queue import FairQueue
from repertory.providers.messages import Priority
from repertory.runtime.failure_policy import STRICT, FailurePolicy
from repertory.runtime.ready_steps import ReadySteps
from repertory.runtime.step_graph import Fallen, Place, Step, StepGraph


@dataclass(frozen=True, slots=True)
class Consequences:
    """What follows from a step that failed or was given up. The steps named here have ended with it."""

    skipped: tuple[int, ...] = ()  # never to start: they depend on it
    cancelled: tuple[int, ...] = ()  # under way or waiting: whoever waits for them is to be told
    fails_run: bool = False  # said once a run
    use_fallback: bool = False  # the step itself has not ended: its fallback replaces it


@dataclass(frozen=True, slots=True)
class Closed:
    """The steps that a run left over."""

    under_way: tuple[int, ...] = ()  # to be cancelled
    waiting: tuple[int, ...] = ()  # never to start


@dataclass(frozen=True, slots=True)
class SchedulerSnapshot:
    """A scheduler's state as data."""

    capacity: int
    runs: int
    blocked: int  # steps that wait for other steps
    ready: int  # steps that wait for their turn
    under_way: int  # steps that take one of the places
    composite: int  # steps that only wait for those they began


NOTHING = Consequences()
NOTHING_LEFT = Closed()


class Scheduler:
    """Which steps of which runs may start; whoever drives it starts and cancels them.

    After all that may make room or make a step ready (that is, all but an `add` that said True), the driver asks
    `take` what to start. Reports and cancellations cross: a report on a step that has ended, or of a run that was
    closed, changes nothing.

    Invariants: at most ``capacity`` steps are "running", and none of them has begun others, so that nested steps
    never wait for each other's places. A run is in the queue, once, exactly while it has steps that are "ready".
    ``_count`` says how many steps are in each place.

    Args:
        capacity: Steps that may be under way at a time, over all runs, from 1.
    """

    __slots__ = ("_capacity", "_count", "_queue", "_released", "_runs")

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ConfigError(f"scheduler: capacity = {capacity}: expected 1 or more steps at a time")
        self._capacity = capacity
        self._runs: dict[str, _Run] = {}
        self._queue: FairQueue[_Run] = FairQueue()
        self._released: dict[tuple[str, int], Step] = {}  # composite steps that may start; they need no turn
        self._count: dict[Place, int] = dict.fromkeys(("blocked", "ready", "released", "running", "composite"), 0)

    def open(self, run: str, *, priority: Priority = "normal", policy: FailurePolicy = STRICT) -> None:
        """Begin a run.

        Args:
            run: Not the name of a closed one whose steps may still report: they would be taken for this one's.

        Raises:
            ValueError: A run of this name is open.
        """
        if run in self._runs:
            raise ValueError(f"run {run} is open already; close it first")
        self._runs[run] = _Run(run, priority, policy)

    def add(
        self,
        run: str,
        step: int,
        after: Collection[int] = (),
        *,
        parent: int | None = None,
        composite: bool = False,
        has_fallback: bool = False,
        weight: float = 0.0,
    ) -> bool:
        """Let there be a step; return whether it starts now, and is under way from here on.

        Args:
            step: Its number, higher than those of the steps it depends on.
            after: The steps it waits for. One that was never added has finished, in an earlier life of the run.
            parent: The step that begins it, which counts towards the capacity no more.
            composite: Whether it will only wait for steps that it begins, so that it never counts.
            has_fallback: Whether something can replace it when it fails; asked where the policy is `Fallback`.
            weight: Of a run's steps that are ready the heaviest starts first. Where the graph is known, the length
                of the longest path to its end.

        Raises:
            StepSkipped: A step it depends on did not finish.
            StepCancelled: A failed step failed its run, or the step that begins it.
            RuntimeClosed: The run is closed, or the step that begins it has ended.
            ValueError: The run has a step of this number; it would come after itself or a later one; the step that
                begins it has not started.
        """
        known = self._runs.get(run)
        if known is None:
            raise RuntimeClosed(f"step {step}: run {run} is not open", hint="Await all that forward begins.")
        added = known.graph.add(step, after, parent, composite, has_fallback, weight)
        if added.parent is not None and added.parent.place == "running":
            self._move(added.parent, "composite")
        if added.missing:
            self._count["blocked"] += 1
            return False
        if composite:
            place: Place = "composite"
        elif self._count["running"] < self._capacity and not len(self._queue):
            place = "running"
        else:
            self._enqueue(known, added)
            place = "ready"
        added.place = place
        self._count[place] += 1
        return place != "ready"

    def take(self) -> list[tuple[str, int]]:
        """The steps that may start now, as (run, step), in this order; they are under way from here on."""
        started: list[tuple[str, int]] = []
        if self._released:
            for key, step in self._released.items():
                self._move(step, "composite")
                started.append(key)
            self._released.clear()
        queue = self._queue
        while len(queue) and self._count["running"] < self._capacity:
            run = queue.pop()
            assert run.ready is not None
            step = run.ready.pop()
            if run.ready:
                queue.add(run, run.name, run.priority)
            self._move(step, "running")
            started.append((run.name, step.number))
        return started

    def finish(self, run: str, step: int) -> bool:
        """The step has its outcome; return whether it counts: not if the step had ended before."""
        known = self._runs.get(run)
        if known is None or (ended := known.graph.steps.get(step)) is None:
            return False
        for each in known.graph.finish(ended):
            if each.composite:
                self._released[run, each.number] = each
                self._move(each, "released")
            else:
                self._enqueue(known, each)
                self._move(each, "ready")
        self._vacate(known, ended)  # after that: a run that has steps to start all along keeps its turn
        return True

    def fail(self, run: str, step: int) -> Consequences:
        """The step failed; return what follows by the run's policy.

        A step that fails after one that it began is taken to pass that failure on: it is not counted again. A step
        that is to be replaced begins its fallback, as a step with it as ``parent``; if it has begun none before,
        it may as well go on as its fallback itself. When it fails again, it has no fallback any more.
        """
        known = self._runs.get(run)
        if known is None or (failed := known.graph.steps.get(step)) is None:
            return NOTHING
        fallen = known.graph.fail(failed)
        if not fallen.replaced:
            self._vacate(known, failed)
        return self._consequences(known, fallen)

    def cancel(self, run: str, step: int) -> Consequences:
        """The program gave the step up; what depends on it is skipped, what it began is cancelled."""
        known = self._runs.get(run)
        if known is None or (given_up := known.graph.steps.get(step)) is None:
            return NOTHING
        fallen = known.graph.cancel(given_up)
        self._vacate(known, given_up)
        return self._consequences(known, fallen)

    def close(self, run: str) -> Closed:
        """Forget the run; return the steps that have not ended, which are to be cancelled."""
        known = self._runs.pop(run, None)
        if known is None or not known.graph.steps:
            return NOTHING_LEFT
        under_way: list[int] = []
        waiting: list[int] = []
        for step in known.graph.steps.values():
            (under_way if step.under_way else waiting).append(step.number)
            self._vacate(known, step)
        return Closed(tuple(under_way), tuple(waiting))

    def snapshot(self) -> SchedulerSnapshot:
        """Return the present state."""
        count = self._count
        return SchedulerSnapshot(
            capacity=self._capacity,
            runs=len(self._runs),
            blocked=count["blocked"],
            ready=count["ready"] + count["released"],
            under_way=count["running"],
            composite=count["composite"],
        )

    def _consequences(self, run: "_Run", fallen: Fallen) -> Consequences:
        for steps in (fallen.skipped, fallen.cancelled):
            for step in steps:
                self._vacate(run, step)
        return Consequences(
            _numbers(fallen.skipped), _numbers(fallen.cancelled), fallen.fails_run, fallen.replaced
        )

    def _enqueue(self, run: "_Run", step: Step) -> None:
        """Have the step wait for a turn of its run."""
        if run.ready is None:
            run.ready = ReadySteps()
        if not run.ready:
            self._queue.add(run, run.name, run.priority)
        run.ready.add(step, step.weight)

    def _vacate(self, run: "_Run", step: Step) -> None:
        """The step has ended and leaves the place where it is."""
        place = step.place
        self._count[place] -= 1
        if place == "ready":
            assert run.ready is not None
            run.ready.remove(step, step.weight)
            if not run.ready:
                self._queue.remove(run, run.name, run.priority)
        elif place == "released":
            del self._released[run.name, step.number]

    def _move(self, step: Step, place: Place) -> None:
        self._count[step.place] -= 1
        self._count[place] += 1
        step.place = place


class _Run:
    __slots__ = ("graph", "name", "priority", "ready")

    def __init__(self, name: str, priority: Priority, policy: FailurePolicy) -> None:
        self.name = name
        self.priority: Priority = priority
        self.graph = StepGraph(policy)
        self.ready: ReadySteps[Step] | None = None


def _numbers(steps: Sequence[Step]) -> tuple[int, ...]:
    return tuple(sorted(step.number for step in steps))
