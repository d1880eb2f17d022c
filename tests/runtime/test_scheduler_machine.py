"""The scheduler under any history of runs, held against a model that recomputes everything."""

from collections import Counter
from typing import Literal

import pytest
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from hypothesis.strategies import DataObject, booleans, data, integers, lists, sampled_from, tuples

from repertory.errors import StepCancelled, StepSkipped
from repertory.providers.messages import Priority
from repertory.runtime.failure_policy import STRICT, FailurePolicy, Fallback, Threshold, Tolerant
from repertory.runtime.scheduler import Closed, Consequences, Scheduler, SchedulerSnapshot
from tests.runtime.scheduler_model import LIVE, RunModel, SchedulerModel, StepModel

PRIORITIES: tuple[Priority, ...] = ("interactive", "normal", "batch")
POLICIES: tuple[FailurePolicy, ...] = (STRICT, Tolerant(), Threshold(1), Fallback(), Fallback())
WEIGHTS = sampled_from([0.0, 0.0, 1.0, 2.5])
BEARS = {"strict": 0, "tolerant": None, "threshold(1)": 1, "fallback": 0}


class Scheduling(RuleBasedStateMachine):
    """Drives a scheduler as a runtime would, reports that come too late included."""

    def __init__(self) -> None:
        super().__init__()
        self.names = 0
        self.ends: Counter[tuple[str, int]] = Counter()  # of steps, by what the scheduler said
        self.turns_left: dict[str, int] = {}  # starts of its class until a waiting run must have had its turn
        self.since: Counter[Priority] = Counter()  # starts of other classes while this one waited

    @initialize(capacity=integers(1, 4), policies=lists(sampled_from(POLICIES), min_size=1, max_size=4))
    def begin(self, capacity: int, policies: list[FailurePolicy]) -> None:
        self.subject = Scheduler(capacity)
        self.model = SchedulerModel(capacity)
        for policy in policies:
            self.open("normal", policy)

    @precondition(lambda self: len(self.model.runs) < 5)
    @rule(priority=sampled_from(PRIORITIES), policy=sampled_from(POLICIES))
    def open(self, priority: Priority, policy: FailurePolicy) -> None:
        self.names += 1
        name = f"run {self.names}"
        self.subject.open(name, priority=priority, policy=policy)
        self.model.runs[name] = RunModel(name, priority, BEARS[str(policy)], isinstance(policy, Fallback))

    @precondition(lambda self: self.model.runs)
    @rule(data=data(), kinds=lists(tuples(booleans(), booleans(), WEIGHTS), min_size=1, max_size=8))
    def add(self, data: DataObject, kinds: list[tuple[bool, bool, float]]) -> None:
        run = self.draw_run(data)
        for composite, has_fallback, weight in kinds:
            self.add_one(data, run, composite, has_fallback, weight)

    @precondition(lambda self: self.startable())
    @rule()
    def take(self) -> None:
        released = self.model.released()
        started = self.subject.take()
        assert set(started[: len(released)]) == released
        for name, number in started[: len(released)]:
            self.model.runs[name].steps[number].state = "under way"
        for name, number in started[len(released) :]:
            self.start_in_turn(self.model.runs[name], number)
        assert not self.model.released()
        waiting = [step for run in self.model.runs.values() for step in self.model.queued(run)]
        assert not waiting or self.model.counted() == self.model.capacity

    @precondition(lambda self: any(run.steps for run in self.model.runs.values()))
    @rule(data=data(), late=booleans(), steps=integers(1, 4))
    def finish(self, data: DataObject, late: bool, steps: int) -> None:
        for _ in range(steps):
            self.finish_one(*self.draw_step(data, late))

    @precondition(lambda self: any(run.steps for run in self.model.runs.values()))
    @rule(data=data(), late=booleans(), outward=integers(0, 3))
    def fail(self, data: DataObject, late: bool, outward: int) -> None:
        """A step fails, and so do some of those around it as its error passes through them."""
        run, step = self.draw_step(data, late)
        for failed in (step, *list(run.around(step))[:outward]):
            self.end_badly(run, failed, "fail")

    @precondition(lambda self: any(run.steps for run in self.model.runs.values()))
    @rule(data=data(), late=booleans())
    def cancel(self, data: DataObject, late: bool) -> None:
        run, step = self.draw_step(data, late)
        self.end_badly(run, step, "cancel")

    @precondition(lambda self: self.model.runs)
    @rule(data=data())
    def close(self, data: DataObject) -> None:
        run = self.draw_run(data)
        del self.model.runs[run.name]
        left = self.subject.close(run.name)
        assert left.under_way == tuple(step.number for step in run.live() if step.state == "under way")
        assert left.waiting == tuple(step.number for step in run.live() if step.state == "waiting")
        assert not self.subject.finish(run.name, 0)
        assert self.subject.fail(run.name, 0) == Consequences()
        self.note_waiting()

    @invariant()
    def counts_agree(self) -> None:
        if hasattr(self, "subject"):
            assert self.subject.snapshot() == self.model.snapshot()
            assert self.subject.snapshot().under_way <= self.model.capacity

    def teardown(self) -> None:
        """Whatever has happened: when all that is under way finishes, every step has ended once."""
        if not hasattr(self, "subject"):
            return
        while (
            under_way := [
                (run, step) for run in self.model.runs.values() for step in run.live() if step.state == "under way"
            ]
            or self.startable()
        ):
            for run, step in under_way:
                if step.state == "under way":
                    self.finish_one(run, step)
            self.take()
        for name, run in self.model.runs.items():
            assert [self.ends[name, number] for number in run.steps] == [1] * len(run.steps)
            assert self.subject.close(name) == Closed()
        assert self.subject.snapshot() == SchedulerSnapshot(self.model.capacity, 0, 0, 0, 0, 0)

    def startable(self) -> list[tuple[RunModel, StepModel]]:
        return [
            (run, step)
            for run in self.model.runs.values()
            for step in run.live()
            if step.state == "waiting" and run.free(step)
        ]

    def draw_run(self, data: DataObject) -> RunModel:
        return self.model.runs[data.draw(sampled_from(sorted(self.model.runs)))]

    def draw_step(self, data: DataObject, late: bool) -> tuple[RunModel, StepModel]:
        """A step to report on; where the report is late, any that ever was."""
        steps = [(run, step) for run in self.model.runs.values() for step in run.steps.values()]
        live = [(run, step) for run, step in steps if step.state in LIVE]
        return data.draw(sampled_from(live if live and not late else steps))

    def add_one(self, data: DataObject, run: RunModel, composite: bool, has_fallback: bool, weight: float) -> None:
        number = len(run.steps)
        after = data.draw(lists(integers(0, number - 1), max_size=3)) if number else []
        parents = [step.number for step in run.live() if step.state == "under way"]
        parent = data.draw(sampled_from([None, *parents]))
        step = StepModel(number, tuple(after), parent, composite, has_fallback, weight, 0)
        expected = self.model.add(run, step)
        said: bool | tuple[str, int]
        try:
            said = self.subject.add(
                run.name,
                number,
                after,
                parent=parent,
                composite=composite,
                has_fallback=has_fallback,
                weight=weight,
            )
        except StepCancelled as error:
            said = "cancelled", error.failed
        except StepSkipped as error:
            said = "skipped", error.failed
            self.ends[run.name, number] += 1
        assert said == expected
        self.note_waiting()

    def finish_one(self, run: RunModel, step: StepModel) -> None:
        counts = self.model.finish(run, step)
        assert self.subject.finish(run.name, step.number) == counts
        self.ends[run.name, step.number] += counts
        self.note_waiting()

    def end_badly(self, run: RunModel, step: StepModel, how: Literal["fail", "cancel"]) -> None:
        ends = step.state in LIVE
        if how == "fail":
            expected, said = self.model.fail(run, step), self.subject.fail(run.name, step.number)
        else:
            expected, said = self.model.cancel(run, step), self.subject.cancel(run.name, step.number)
        assert said == Consequences(*expected)
        for number in (*said.skipped, *said.cancelled):
            self.ends[run.name, number] += 1
        self.ends[run.name, step.number] += ends and not said.use_fallback
        self.note_waiting()

    def start_in_turn(self, run: RunModel, number: int) -> None:
        step = run.steps[number]
        assert step is self.model.queued(run)[0]
        assert self.model.counted() < self.model.capacity
        waiting = [other for other in self.model.runs.values() if self.model.queued(other)]
        for other in waiting:
            if other.priority == run.priority:
                self.turns_left[other.name] -= 1
                assert self.turns_left[other.name] > 0 or other is run
        for priority in {other.priority for other in waiting}:
            self.since[priority] = 0 if priority == run.priority else self.since[priority] + 1
        assert self.since["batch"] <= 22  # as FairQueue's own tests derive it
        assert self.since["normal"] <= 6
        step.state = "under way"
        del self.turns_left[run.name]
        self.note_waiting()

    def note_waiting(self) -> None:
        """A run that begins to wait has as many starts of its class to wait for as runs then wait there."""
        waiting = {name: run for name, run in self.model.runs.items() if self.model.queued(run)}
        self.turns_left = {name: left for name, left in self.turns_left.items() if name in waiting}
        for name, run in waiting.items():
            peers = sum(other.priority == run.priority for other in waiting.values())
            self.turns_left.setdefault(name, peers)
        for priority in PRIORITIES:
            if all(run.priority != priority for run in waiting.values()):
                self.since[priority] = 0


TestScheduling = Scheduling.TestCase
TestScheduling.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


@pytest.mark.slow
def test_scheduling_soak() -> None:
    run_state_machine_as_test(
        Scheduling, settings=settings(max_examples=3000, stateful_step_count=60, deadline=None)
    )
