"""What the scheduler promises, computed anew from the whole history each time."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from repertory.providers.messages import Priority
from repertory.runtime.scheduler import SchedulerSnapshot

LIVE = ("waiting", "under way")
LOST = ("failed", "skipped", "cancelled")


@dataclass(eq=False)
class StepModel:
    number: int
    after: tuple[int, ...]
    parent: int | None
    composite: bool  # does not count, or does not count any more
    has_fallback: bool
    weight: float
    ready_since: int  # of two steps that wait for a turn, the lower has waited longer; 0: not ready
    state: str = "waiting"
    hurt: bool = False
    failed_by: int | None = None
    because: int | None = None  # the first of the steps that fell with it
    failure: bool = False  # whether that one failed


@dataclass(eq=False)
class RunModel:
    """One run. Every step that ever was is in ``steps``."""

    name: str
    priority: Priority
    bears: int | None  # failed steps before the run fails; None: any number
    replaces: bool
    steps: dict[int, StepModel] = field(default_factory=dict)
    failures: int = 0
    failed_by: int | None = None

    def live(self) -> list[StepModel]:
        return [step for step in self.steps.values() if step.state in LIVE]

    def around(self, step: StepModel) -> Iterator[StepModel]:
        """The steps that began it, and theirs, the nearest first, ended or not."""
        parent = step.parent
        while parent is not None:
            yield self.steps[parent]
            parent = self.steps[parent].parent

    def within(self, outer: StepModel) -> list[StepModel]:
        return [step for step in self.live() if outer in self.around(step)]

    def free(self, step: StepModel) -> bool:
        """Whether it waits for no other step."""
        return all(self.steps[number].state == "finished" for number in step.after)


Outcome = tuple[
    tuple[int, ...], tuple[int, ...], bool, bool
]  # skipped, cancelled, fails the run, use the fallback


class SchedulerModel:
    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.runs: dict[str, RunModel] = {}
        self.ticks = 0

    def tick(self) -> int:
        self.ticks += 1
        return self.ticks

    def counted(self) -> int:
        return self._count(lambda _, step: step.state == "under way" and not step.composite)

    def queued(self, run: RunModel) -> list[StepModel]:
        """Steps that wait for a turn, in the order in which they are to get it."""
        ready = [step for step in run.live() if step.state == "waiting" and run.free(step) and not step.composite]
        return sorted(ready, key=lambda step: (-step.weight, step.ready_since))

    def released(self) -> set[tuple[str, int]]:
        """Composite steps that may start."""
        return {
            (run.name, step.number)
            for run in self.runs.values()
            for step in run.live()
            if step.state == "waiting" and run.free(step) and step.composite
        }

    def add(self, run: RunModel, step: StepModel) -> bool | tuple[str, int]:
        """Whether it starts; or what became of it instead, and because of which step."""
        around = [run.steps[step.parent]] if step.parent is not None else []
        for failed_by in (run.failed_by, *(outer.failed_by for outer in around)):
            if failed_by is not None:
                return "cancelled", failed_by
        run.steps[step.number] = step
        for number in step.after:
            cause = run.steps[number].because
            if cause is not None:
                self._lose(run, step, "skipped", cause)
                return "skipped", cause
        for outer in around:
            outer.composite = True
        if not run.free(step):
            return False
        idle = not any(self.queued(other) for other in self.runs.values() if other is not run)
        alone = idle and self.queued(run) == ([] if step.composite else [step])
        if step.composite or (alone and self.counted() < self.capacity):
            step.state = "under way"
            return True
        step.ready_since = self.tick()
        return False

    def finish(self, run: RunModel, step: StepModel) -> bool:
        if step.state not in LIVE:
            return False
        blocked = [other for other in run.live() if not run.free(other)]
        step.state = "finished"
        for other in blocked:
            if run.free(other):
                other.ready_since = self.tick()
        return True

    def fail(self, run: RunModel, step: StepModel) -> Outcome:
        if step.state not in LIVE:
            return (), (), False, False
        before = {each.number: each.state for each in run.steps.values()}
        if run.replaces and step.has_fallback and step.state == "under way":
            step.has_fallback, step.failed_by = False, None
            self._cancel(run, run.within(step), step.number)
            return *self._changes(run, before, but=step), False, True
        run.failures += not step.hurt
        self._lose(run, step, "failed", step.number)
        self._skip(run, step.number)
        self._cancel(run, run.within(step), step.number)
        fails_run = False
        if run.failed_by is None and run.bears is not None and run.failures > run.bears:
            scope = None
            spared = []
            for outer in run.around(step):
                if outer.state in LIVE:
                    outer.failed_by = step.number
                    if run.replaces and outer.has_fallback:
                        scope = outer
                        break
                    spared.append(outer)
            doomed = run.live() if scope is None else run.within(scope)
            self._cancel(run, [each for each in doomed if each not in spared], step.number)
            if scope is None:
                run.failed_by, fails_run = step.number, True
        return *self._changes(run, before, but=step), fails_run, False

    def cancel(self, run: RunModel, step: StepModel) -> Outcome:
        if step.state not in LIVE:
            return (), (), False, False
        before = {each.number: each.state for each in run.steps.values()}
        self._lose(run, step, "cancelled", step.number)
        self._skip(run, step.number)
        self._cancel(run, run.within(step), step.number)
        return *self._changes(run, before, but=step), False, False

    def snapshot(self) -> SchedulerSnapshot:
        return SchedulerSnapshot(
            capacity=self.capacity,
            runs=len(self.runs),
            blocked=self._count(lambda run, step: step.state == "waiting" and not run.free(step)),
            ready=self._count(lambda run, step: step.state == "waiting" and run.free(step)),
            under_way=self.counted(),
            composite=self._count(lambda _, step: step.state == "under way" and step.composite),
        )

    def _count(self, which: Callable[[RunModel, StepModel], bool]) -> int:
        return sum(which(run, step) for run in self.runs.values() for step in run.live())

    def _lose(self, run: RunModel, step: StepModel, how: str, because: int) -> None:
        step.state, step.because = how, because
        step.failure = how == "failed" or run.steps[because].failure
        for outer in run.around(step):
            if outer.state in LIVE:
                outer.hurt |= step.failure
                break

    def _cancel(self, run: RunModel, steps: Iterable[StepModel], because: int) -> None:
        for step in steps:
            self._lose(run, step, "cancelled", because)
        self._skip(run, because)

    def _skip(self, run: RunModel, because: int) -> None:
        while True:
            hopeless = [s for s in run.live() if any(run.steps[number].state in LOST for number in s.after)]
            if not hopeless:
                return
            for step in hopeless:
                self._lose(run, step, "skipped", because)

    def _changes(
        self, run: RunModel, before: dict[int, str], but: StepModel
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        changed = [s for s in run.steps.values() if before[s.number] != s.state and s is not but]
        skipped = tuple(sorted(step.number for step in changed if step.state == "skipped"))
        return skipped, tuple(sorted(step.number for step in changed if step.state == "cancelled"))
