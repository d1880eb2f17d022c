import gc
import sys
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

import pytest

from repertory.errors import ConfigError, RuntimeClosed, StepCancelled, StepSkipped
from repertory.providers.messages import Priority
from repertory.runtime.failure_policy import STRICT, FailurePolicy, Fallback, Threshold, Tolerant
from repertory.runtime.scheduler import Closed, Consequences, Scheduler, SchedulerSnapshot
from repertory.runtime.step_graph import Step, StepGraph


def with_run(capacity: int = 100, policy: FailurePolicy = STRICT) -> Scheduler:
    scheduler = Scheduler(capacity)
    scheduler.open("run", policy=policy)
    return scheduler


def waiting(scheduler: Scheduler, run: str, steps: Iterable[int], priority: Priority = "normal") -> None:
    """A run all of whose steps wait for their turn."""
    scheduler.open(run, priority=priority)
    for step in steps:
        assert not scheduler.add(run, step)


def busy() -> Scheduler:
    """A scheduler with a single place, which is taken."""
    scheduler = Scheduler(1)
    scheduler.open("first")
    assert scheduler.add("first", 0)
    return scheduler


def in_turn(scheduler: Scheduler, steps: int) -> list[str]:
    """The runs whose steps start next, one after the other, each finished as soon as it has started."""
    scheduler.close("first")
    order = []
    for _ in range(steps):
        [(run, step)] = scheduler.take()
        order.append(run)
        scheduler.finish(run, step)
    return order


# --- what may start -------------------------------------------------------------------------------------------


def test_a_step_that_waits_for_nothing_starts_at_once() -> None:
    scheduler = with_run()
    assert scheduler.add("run", 0)
    assert scheduler.take() == []  # it has started


def test_a_step_starts_when_the_last_of_those_it_depends_on_has_finished() -> None:
    scheduler = with_run()
    for step in (0, 1, 2):
        assert scheduler.add("run", step)
    assert not scheduler.add("run", 3, after=(0, 1))
    scheduler.finish("run", 0)
    assert scheduler.take() == []
    scheduler.finish("run", 1)
    assert scheduler.take() == [("run", 3)]  # though 2, of the same level, is still under way


def test_a_dependency_named_twice_is_one() -> None:
    scheduler = with_run()
    scheduler.add("run", 0)
    assert not scheduler.add("run", 1, after=[0, 0])
    scheduler.finish("run", 0)
    assert scheduler.take() == [("run", 1)]


def test_what_finished_in_an_earlier_life_of_the_run_is_not_waited_for() -> None:
    scheduler = with_run()
    assert scheduler.add("run", 7, after=(2, 5))


def test_a_step_that_waits_for_others_takes_no_place() -> None:
    scheduler = with_run(capacity=2)
    scheduler.add("run", 0)
    assert not scheduler.add("run", 1, after=(0,))
    assert scheduler.add("run", 2)


def test_who_comes_later_does_not_overtake_who_waits() -> None:
    scheduler = busy()
    waiting(scheduler, "a", [0])
    scheduler.close("first")  # there is room, but a was here first
    scheduler.open("b", priority="interactive")
    assert not scheduler.add("b", 0)
    assert scheduler.take() == [("b", 0)]  # of those that wait, priority decides


@pytest.mark.parametrize("end", [Scheduler.finish, Scheduler.fail, Scheduler.cancel])
def test_however_a_step_ends_its_place_is_free(end: Callable[[Scheduler, str, int], object]) -> None:
    scheduler = busy()
    waiting(scheduler, "a", [0])
    end(scheduler, "first", 0)
    assert scheduler.take() == [("a", 0)]


def test_a_composite_step_takes_no_place_while_it_waits_for_those_it_began() -> None:
    scheduler = with_run(capacity=1)
    assert scheduler.add("run", 0, composite=True)
    assert scheduler.add("run", 1, composite=True, parent=0)
    assert scheduler.add("run", 2, parent=1)
    assert scheduler.snapshot() == SchedulerSnapshot(1, runs=1, blocked=0, ready=0, under_way=1, composite=2)


def test_a_composite_step_that_waited_for_others_starts_though_no_place_is_free() -> None:
    scheduler = with_run(capacity=1)
    scheduler.add("run", 0)
    assert not scheduler.add("run", 1, after=(0,), composite=True)
    waiting(scheduler, "a", [0])
    scheduler.finish("run", 0)
    assert scheduler.take() == [("run", 1), ("a", 0)]
    assert scheduler.take() == []


def test_a_step_that_turns_out_to_be_composite_gives_its_place_back() -> None:
    scheduler = with_run(capacity=1)
    assert scheduler.add("run", 0)
    assert scheduler.add("run", 1, parent=0)
    assert scheduler.snapshot().composite == 1


# --- in which order -------------------------------------------------------------------------------------------


def test_runs_take_turns_however_many_steps_they_have() -> None:
    scheduler = busy()
    waiting(scheduler, "a", range(10))
    waiting(scheduler, "b", range(2))
    waiting(scheduler, "c", range(2))
    assert "".join(in_turn(scheduler, 8)) == "abcabcaa"


def test_a_run_that_comes_later_waits_for_one_step_of_each_other_run() -> None:
    scheduler = busy()
    waiting(scheduler, "a", range(100))
    waiting(scheduler, "b", range(100))
    assert "".join(in_turn(scheduler, 1)) == "a"
    waiting(scheduler, "c", [0])
    assert "".join(in_turn(scheduler, 3)) == "bac"


def test_interactive_runs_come_first_and_batch_runs_do_not_starve() -> None:
    scheduler = busy()
    waiting(scheduler, "b", range(100), "batch")
    waiting(scheduler, "n", range(100), "normal")
    waiting(scheduler, "i", range(100), "interactive")
    order = "".join(in_turn(scheduler, 42))
    assert order.startswith("i")
    assert [order.count(run) for run in "inb"] == [32, 8, 2]


def test_the_steps_of_a_run_start_in_the_order_in_which_they_became_ready() -> None:
    scheduler = with_run(capacity=2)
    scheduler.add("run", 0)
    scheduler.add("run", 1)
    scheduler.add("run", 2, after=(1,))
    scheduler.add("run", 3, after=(0,))
    scheduler.add("run", 4)
    scheduler.finish("run", 0)
    assert scheduler.take() == [("run", 4)]
    scheduler.finish("run", 1)
    assert scheduler.take() == [("run", 3)]


def test_the_heaviest_step_of_a_run_starts_first() -> None:
    scheduler = with_run(capacity=1)
    scheduler.add("run", 0)
    for step, weight in enumerate([1.0, 5.0, 2.0], start=1):
        scheduler.add("run", step, weight=weight)
    scheduler.finish("run", 0)
    assert scheduler.take() == [("run", 2)]


# --- what follows from a failure ------------------------------------------------------------------------------


def test_strict_cancels_the_siblings_of_a_failed_step_under_way_or_waiting() -> None:
    scheduler = with_run(capacity=2)
    scheduler.add("run", 0)
    scheduler.add("run", 1)
    scheduler.add("run", 2)  # waits for its turn
    scheduler.add("run", 3, after=(1,))  # waits for a sibling
    scheduler.add("run", 4, after=(0,))
    scheduler.add("run", 5, after=(4,))
    assert scheduler.fail("run", 0) == Consequences((4, 5), (1, 2, 3), fails_run=True)
    assert scheduler.take() == []
    assert scheduler.close("run") == Closed()


def test_a_run_that_failed_begins_no_step_and_names_the_one_that_failed() -> None:
    scheduler = with_run()
    scheduler.add("run", 0)
    scheduler.fail("run", 0)
    with pytest.raises(StepCancelled, match="step 1 was cancelled because step 0"):
        scheduler.add("run", 1)


def test_the_failure_of_one_run_is_none_of_another() -> None:
    scheduler = with_run()
    scheduler.add("run", 0)
    scheduler.open("other")
    scheduler.add("other", 0)
    assert scheduler.fail("run", 0) == Consequences(fails_run=True)
    assert scheduler.close("other") == Closed(under_way=(0,))


def test_tolerant_skips_what_depends_on_a_failed_step_and_nothing_else() -> None:
    scheduler = with_run(policy=Tolerant())
    scheduler.add("run", 0)
    scheduler.add("run", 1)
    scheduler.add("run", 2, after=(0, 1))
    scheduler.add("run", 3, after=(2,))
    scheduler.add("run", 4, after=(1,))
    assert scheduler.fail("run", 0) == Consequences(skipped=(2, 3))
    with pytest.raises(StepSkipped, match="step 5 was skipped: it depends on step 0"):
        scheduler.add("run", 5, after=(3,))
    scheduler.finish("run", 1)
    assert scheduler.take() == [("run", 4)]


def test_a_threshold_bears_so_many_failed_steps_and_skipped_ones_do_not_count() -> None:
    scheduler = with_run(policy=Threshold(2))
    for step in range(5):
        scheduler.add("run", step)
    scheduler.add("run", 5, after=(0,))
    scheduler.add("run", 6, after=(0,))
    assert scheduler.fail("run", 0) == Consequences(skipped=(5, 6))
    assert scheduler.fail("run", 1) == Consequences()
    assert scheduler.fail("run", 2) == Consequences(cancelled=(3, 4), fails_run=True)


def test_a_failure_that_passes_through_the_steps_around_it_counts_once() -> None:
    scheduler = with_run(policy=Threshold(1))
    scheduler.add("run", 0, composite=True)
    scheduler.add("run", 1, composite=True, parent=0)
    scheduler.add("run", 2, parent=1)
    scheduler.add("run", 3)
    for step in (2, 1, 0):
        assert scheduler.fail("run", step) == Consequences()
    assert scheduler.fail("run", 3) == Consequences(fails_run=True)


def test_a_step_that_fails_because_it_gave_one_of_its_own_up_has_failed_by_itself() -> None:
    scheduler = with_run(policy=Threshold(0))
    scheduler.add("run", 0, composite=True)
    scheduler.add("run", 1, parent=0)
    assert scheduler.cancel("run", 1) == Consequences()  # such as at the end of a timeout in `forward`
    assert scheduler.fail("run", 0) == Consequences(fails_run=True)


def test_the_steps_around_a_failed_one_are_not_cancelled_as_its_error_is_theirs() -> None:
    scheduler = with_run()
    scheduler.add("run", 0, composite=True)
    scheduler.add("run", 1, parent=0)
    scheduler.add("run", 2, parent=0)
    scheduler.add("run", 3)
    assert scheduler.fail("run", 1) == Consequences(cancelled=(2, 3), fails_run=True)
    assert scheduler.fail("run", 0) == Consequences()  # the run has failed already


def test_what_a_failed_or_cancelled_step_began_is_cancelled() -> None:
    for end in (Scheduler.fail, Scheduler.cancel):
        scheduler = with_run(policy=Tolerant())
        scheduler.add("run", 0)
        scheduler.add("run", 1, parent=0)
        scheduler.add("run", 2, parent=1)
        scheduler.add("run", 3)
        scheduler.add("run", 4, after=(2,))
        assert end(scheduler, "run", 0) == Consequences(skipped=(4,), cancelled=(1, 2))
        assert scheduler.snapshot().under_way == 1


def test_what_a_finished_step_left_behind_goes_on() -> None:
    scheduler = with_run(policy=Tolerant())
    scheduler.add("run", 0)
    scheduler.add("run", 1, parent=0)
    scheduler.add("run", 2, parent=1)
    scheduler.finish("run", 1)
    assert scheduler.fail("run", 0) == Consequences(cancelled=(2,))  # by whoever began who began it


def test_a_step_given_up_by_the_program_fails_nothing() -> None:
    scheduler = with_run()
    scheduler.add("run", 0)
    scheduler.add("run", 1)
    scheduler.add("run", 2, after=(0,))
    assert scheduler.cancel("run", 0) == Consequences(skipped=(2,))
    assert scheduler.add("run", 3)


# --- fallbacks ------------------------------------------------------------------------------------------------


def test_a_failed_step_is_replaced_by_its_fallback_once() -> None:
    scheduler = with_run(policy=Fallback())
    scheduler.add("run", 0, has_fallback=True)
    scheduler.add("run", 1, after=(0,))
    scheduler.add("run", 2)
    assert scheduler.fail("run", 0) == Consequences(use_fallback=True)
    assert scheduler.fail("run", 0) == Consequences((1,), (2,), fails_run=True)


def test_what_depends_on_a_replaced_step_starts_when_its_fallback_finished() -> None:
    scheduler = with_run(policy=Fallback())
    scheduler.add("run", 0, has_fallback=True)
    scheduler.add("run", 1, after=(0,))
    scheduler.fail("run", 0)
    assert scheduler.finish("run", 0)
    assert scheduler.take() == [("run", 1)]


def test_a_fallback_is_a_step_of_the_one_it_replaces_and_has_its_place() -> None:
    scheduler = with_run(capacity=1, policy=Fallback())
    scheduler.add("run", 0, has_fallback=True)
    assert scheduler.fail("run", 0).use_fallback
    assert scheduler.add("run", 1, parent=0, composite=True)
    assert scheduler.add("run", 2, parent=1)
    assert scheduler.fail("run", 2) == Consequences(fails_run=True)


def test_a_step_without_fallback_fails_as_under_strict() -> None:
    scheduler = with_run(policy=Fallback())
    scheduler.add("run", 0)
    scheduler.add("run", 1)
    assert scheduler.fail("run", 0) == Consequences(cancelled=(1,), fails_run=True)


@pytest.mark.parametrize("policy", [STRICT, Tolerant(), Threshold(0)], ids=str)
def test_no_other_policy_asks_for_a_fallback(policy: FailurePolicy) -> None:
    scheduler = with_run(policy=policy)
    scheduler.add("run", 0, has_fallback=True)
    scheduler.add("run", 1, parent=0, has_fallback=True)
    assert scheduler.fail("run", 1) == Consequences(fails_run=policy != Tolerant())
    assert scheduler.fail("run", 0) == Consequences()


def test_what_a_replaced_step_had_begun_is_cancelled() -> None:
    scheduler = with_run(policy=Fallback())
    scheduler.add("run", 0, has_fallback=True)
    scheduler.add("run", 1, parent=0)
    scheduler.add("run", 2)
    scheduler.add("run", 3, after=(1,))
    assert scheduler.fail("run", 0) == Consequences(skipped=(3,), cancelled=(1,), use_fallback=True)


def test_a_step_that_fails_before_it_started_is_not_replaced() -> None:
    scheduler = with_run(policy=Fallback())
    scheduler.add("run", 0)
    scheduler.add("run", 1, after=(0,), has_fallback=True)
    assert scheduler.fail("run", 1) == Consequences(cancelled=(0,), fails_run=True)


def test_a_failure_within_a_step_that_has_a_fallback_stays_within_it() -> None:
    scheduler = with_run(policy=Fallback())
    scheduler.add("run", 0)
    scheduler.add("run", 1, composite=True, has_fallback=True)
    scheduler.add("run", 2, composite=True, parent=1)
    scheduler.add("run", 3, parent=2)
    scheduler.add("run", 4, parent=1)
    assert scheduler.fail("run", 3) == Consequences(cancelled=(4,))
    with pytest.raises(StepCancelled, match="because step 3"):
        scheduler.add("run", 5, parent=2)
    assert scheduler.fail("run", 2) == Consequences()
    assert scheduler.fail("run", 1) == Consequences(use_fallback=True)
    assert scheduler.add("run", 6, parent=1)
    assert scheduler.fail("run", 6) == Consequences(cancelled=(0,), fails_run=True)


# --- reports that cross, and mistakes -------------------------------------------------------------------------


def test_a_report_on_a_step_that_was_cancelled_meanwhile_changes_nothing() -> None:
    scheduler = with_run()
    scheduler.add("run", 0)
    scheduler.add("run", 1)
    scheduler.fail("run", 0)
    before = scheduler.snapshot()
    assert not scheduler.finish("run", 1)
    assert scheduler.fail("run", 1) == scheduler.cancel("run", 1) == Consequences()
    assert scheduler.snapshot() == before


def test_a_step_finishes_once() -> None:
    scheduler = with_run()
    scheduler.add("run", 0)
    assert scheduler.finish("run", 0)
    assert not scheduler.finish("run", 0)


def test_reports_on_a_closed_run_change_nothing_and_it_begins_no_step() -> None:
    scheduler = with_run()
    scheduler.add("run", 0)
    scheduler.close("run")
    assert not scheduler.finish("run", 0)
    assert scheduler.fail("run", 0) == Consequences()
    assert scheduler.close("run") == Closed()
    with pytest.raises(RuntimeClosed, match="run is not open"):
        scheduler.add("run", 1)


def test_what_a_finished_step_begins_is_refused() -> None:
    scheduler = with_run()
    scheduler.add("run", 0)
    scheduler.finish("run", 0)
    with pytest.raises(RuntimeClosed, match="step 1: step 0, which begins it, has ended"):
        scheduler.add("run", 1, parent=0)


def test_mistakes_of_the_driver_are_told() -> None:
    with pytest.raises(ConfigError, match="capacity = 0"):
        Scheduler(0)
    scheduler = with_run(capacity=1)
    with pytest.raises(ValueError, match="run is open already"):
        scheduler.open("run")
    scheduler.add("run", 0)
    with pytest.raises(ValueError, match="step 0 is there already"):
        scheduler.add("run", 0)
    with pytest.raises(ValueError, match="step 1 cannot come after step 1"):
        scheduler.add("run", 1, after=(0, 1))
    scheduler.add("run", 2)
    with pytest.raises(ValueError, match="by step 2, which has not started"):
        scheduler.add("run", 3, parent=2)
    assert scheduler.close("run") == Closed(under_way=(0,), waiting=(2,))


# --- what it costs --------------------------------------------------------------------------------------------


def living() -> int:
    """How many steps and graphs there are in the process."""
    gc.collect()
    return sum(isinstance(each, Step | StepGraph) for each in gc.get_objects())


def test_a_closed_run_leaves_nothing_behind() -> None:
    before = living()
    scheduler = busy()
    for number in range(50):
        run = f"run {number}"
        scheduler.open(run)
        scheduler.add(run, 0, composite=True)
        scheduler.add(run, 1, parent=0)
        scheduler.add(run, 2, after=(0, 1))
        scheduler.add(run, 3, after=(1,), composite=True)
        scheduler.finish(run, 1)
        assert scheduler.close(run) == Closed(under_way=(0,), waiting=(2, 3))
    assert scheduler.take() == []
    assert scheduler.snapshot() == SchedulerSnapshot(1, runs=1, blocked=0, ready=0, under_way=1, composite=0)
    scheduler.close("first")
    assert living() == before


def test_finished_steps_are_not_remembered() -> None:
    scheduler = with_run()
    before = living()
    for step in range(1000):
        scheduler.add("run", step, after=(step - 1,) if step else ())
        scheduler.finish("run", step)
    assert living() == before


def lines_executed(act: Callable[[], object]) -> int:
    """How many lines of Python it takes."""
    lines = 0

    def trace(_frame: FrameType, event: str, _: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    outer = sys.gettrace()
    gc.disable()  # what it collects may be others', with finalizers in Python
    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(outer)
        gc.enable()
    return lines


@pytest.mark.parametrize(
    "act",
    [
        lambda scheduler: scheduler.add("mine", 9),
        lambda scheduler: scheduler.finish("mine", 0),
        lambda scheduler: (scheduler.finish("mine", 0), scheduler.take()),
        lambda scheduler: scheduler.fail("mine", 0),
        lambda scheduler: scheduler.cancel("mine", 1),
        lambda scheduler: scheduler.close("mine"),
        lambda scheduler: scheduler.snapshot(),
    ],
    ids=["add", "finish", "take", "fail", "cancel", "close", "snapshot"],
)
def test_other_runs_do_not_make_an_operation_longer(act: Callable[[Scheduler], object]) -> None:
    def lines(runs: int) -> int:
        scheduler = Scheduler(1)
        scheduler.open("mine")
        for step in range(3):
            scheduler.add("mine", step)
        for run in range(runs):
            waiting(scheduler, f"run {run}", range(10))
        return lines_executed(lambda: act(scheduler))

    assert lines(1000) == lines(10)
