"""A rollout decides which version gets a run, and by what its runs show, whether the new one may have more."""

from collections.abc import Iterable
from itertools import pairwise
from random import Random

import pytest

from repertory.runtime.rollout import Rollout, Side
from repertory.runtime.rollout_plan import RolloutPlan
from repertory.testing import FakeClock

PLAN = RolloutPlan(steps=(0.1, 0.5, 1.0), seconds_per_step=60, min_runs=20)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def rollout(clock: FakeClock) -> Rollout:
    return Rollout(PLAN, clock, Random(1))


def ends(
    rollout: Rollout, side: Side, runs: int, *, failed: int = 0, seconds: float = 1.0, metric: float | None = None
) -> None:
    """Let so many runs begin and end on a version, some of them badly."""
    for number in range(runs):
        rollout.began(side)
        rollout.ended(side, seconds, error=number < failed, metric=metric)


def passes_a_step(rollout: Rollout, clock: FakeClock, sides: Iterable[Side] = ("old", "new")) -> None:
    for side in sides:
        ends(rollout, side, 20)
    clock.advance(60)
    rollout.look()


# --- who gets a run ---


def test_the_new_version_gets_its_share_evenly_mixed(rollout: Rollout) -> None:
    chosen = [rollout.choose() for _ in range(100)]
    places = [place for place, side in enumerate(chosen) if side == "new"]
    assert len(places) == 10
    assert {after - before for before, after in pairwise(places)} == {10}


def test_a_sticky_key_moves_once_and_a_larger_share_takes_more_of_them(rollout: Rollout, clock: FakeClock) -> None:
    keys = [f"customer {number}" for number in range(1000)]
    moved: list[set[str]] = []
    for _ in range(3):
        moved.append({key for key in keys if rollout.choose(key) == "new"})
        passes_a_step(rollout, clock)
    assert moved[0] < moved[1] < moved[2] == set(keys)
    assert 70 < len(moved[0]) < 130
    assert 440 < len(moved[1]) < 560


def test_other_rollouts_try_their_version_on_other_customers(clock: FakeClock) -> None:
    one, other = (Rollout(PLAN, clock, Random(1), salt=salt) for salt in ("news@2", "news@3"))
    keys = [f"customer {number}" for number in range(1000)]
    first = {key for key in keys if one.choose(key) == "new"}
    second = {key for key in keys if other.choose(key) == "new"}
    assert len(first & second) < len(first) / 2


def test_once_it_is_over_one_version_gets_everything(clock: FakeClock) -> None:
    for decide, side in ((Rollout.promote, "new"), (Rollout.roll_back, "old")):
        rollout = Rollout(PLAN, clock, Random(1))
        decide(rollout, "by hand")
        assert {rollout.choose(key) for key in ("", "", "", "a", "b")} == {side}


# --- going on ---


def test_it_takes_the_steps_of_its_plan_each_in_its_time(rollout: Rollout, clock: FakeClock) -> None:
    weights = [rollout.weight]
    for _ in range(2):
        ends(rollout, "old", 20)
        ends(rollout, "new", 20)
        clock.advance(59.9)
        assert rollout.look().state == "stay"
        clock.advance(0.1)
        assert rollout.look().state == "advance"
        weights.append(rollout.weight)
    assert weights == [0.1, 0.5, 1.0]
    ends(rollout, "new", 20)
    clock.advance(60)
    assert rollout.look().state == "promoted"


@pytest.mark.parametrize(("short", "other"), [("old", "new"), ("new", "old")])
def test_with_too_few_runs_it_stays_as_long_as_it_takes_and_says_so(
    rollout: Rollout, clock: FakeClock, short: Side, other: Side
) -> None:
    ends(rollout, short, 19)
    ends(rollout, other, 1000)
    clock.advance(10 * 60)
    verdict = rollout.look()
    assert (verdict.state, verdict.weight) == ("stay", 0.1)
    assert verdict.reason == f"19 runs of the {short} version have ended in this step; it takes 20"
    ends(rollout, short, 1)
    assert rollout.look().state == "advance"


def test_runs_of_the_step_before_say_nothing_about_this_one(rollout: Rollout, clock: FakeClock) -> None:
    passes_a_step(rollout, clock)
    clock.advance(60)
    assert rollout.look().reason == "0 runs of the new version have ended in this step; it takes 20"


# --- errors ---


def test_certain_failures_end_it_at_once(rollout: Rollout) -> None:
    ends(rollout, "old", 180)
    ends(rollout, "new", 19, failed=19)
    assert rollout.look().state == "stay"
    ends(rollout, "new", 1, failed=1)
    verdict = rollout.look()
    assert (verdict.state, verdict.weight) == ("rolled_back", 0.0)
    assert verdict.reason == ("100.0% of its 20 runs failed, 0.0% of the old version's 180; allowed are 5.0%")


def test_failures_that_may_be_chance_hold_it_up_and_no_more(rollout: Rollout, clock: FakeClock) -> None:
    ends(rollout, "old", 180)
    ends(rollout, "new", 30, failed=3)
    clock.advance(120)
    verdict = rollout.look()
    assert verdict.state == "stay"
    assert verdict.reason.startswith("10.0% of its 30 runs failed, 0.0% of the old version's 180")
    ends(rollout, "new", 60)
    assert rollout.look().state == "advance"


def test_failures_that_the_old_version_has_too_are_not_the_new_ones(rollout: Rollout, clock: FakeClock) -> None:
    ends(rollout, "old", 200, failed=120)
    ends(rollout, "new", 100, failed=60)
    clock.advance(60)
    assert rollout.look().state == "advance"


def test_where_both_fail_too_often_a_little_more_is_no_proof(rollout: Rollout, clock: FakeClock) -> None:
    ends(rollout, "old", 200, failed=120)
    ends(rollout, "new", 100, failed=70)
    clock.advance(60)
    verdict = rollout.look()
    assert verdict.state == "stay"
    assert verdict.reason.startswith("70.0% of its 100 runs failed, 60.0% of the old version's 200")


def test_a_failure_all_share_is_no_time_to_go_on(rollout: Rollout, clock: FakeClock) -> None:
    ends(rollout, "old", 200, failed=200)
    ends(rollout, "new", 100, failed=100)
    clock.advance(60)
    verdict = rollout.look()
    assert verdict.state == "stay"
    assert verdict.reason == "0 runs of the new version were answered in this step; it takes 20"


def test_fewer_errors_than_are_allowed_are_no_matter_though_the_old_version_has_none(
    rollout: Rollout, clock: FakeClock
) -> None:
    ends(rollout, "old", 10_000)
    ends(rollout, "new", 1000, failed=50)
    clock.advance(60)
    assert rollout.look().state == "advance"


def test_cancelled_runs_do_not_count(rollout: Rollout, clock: FakeClock) -> None:
    for _ in range(100):
        rollout.began("new")
        rollout.cancelled("new")
    assert rollout.snapshot().new.ended == 0
    assert rollout.look().state == "stay"
    assert rollout.snapshot().new.under_way == 0


# --- latency, throughput, metric ---


def test_a_version_that_is_too_slow_is_rolled_back(rollout: Rollout) -> None:
    ends(rollout, "old", 400, seconds=1.0)
    ends(rollout, "new", 40, seconds=2.0)
    verdict = rollout.look()
    assert verdict.state == "rolled_back"
    assert verdict.reason == "its median run takes 2 s, the old version's 1 s; allowed is 1.5x"


def test_one_that_is_slower_than_before_but_not_too_slow_goes_on(rollout: Rollout, clock: FakeClock) -> None:
    ends(rollout, "old", 400, seconds=1.0)
    ends(rollout, "new", 40, seconds=1.5)
    clock.advance(60)
    assert rollout.look().state == "advance"


def test_a_few_slow_runs_are_not_the_median(rollout: Rollout, clock: FakeClock) -> None:
    ends(rollout, "old", 400, seconds=1.0)
    ends(rollout, "new", 15, seconds=100.0)
    ends(rollout, "new", 16, seconds=1.0)
    clock.advance(60)
    assert rollout.look().state == "advance"


def test_a_version_whose_runs_hang_is_found_by_what_it_does_not_end(rollout: Rollout, clock: FakeClock) -> None:
    ends(rollout, "old", 270)
    for _ in range(30):
        rollout.began("new")
    clock.advance(60)
    verdict = rollout.look()
    assert verdict.state == "rolled_back"
    assert verdict.reason == "it ended 0% of the runs it should have, the old version 102%; allowed is 0.8x"


def test_runs_that_may_still_be_under_way_are_not_missed(rollout: Rollout, clock: FakeClock) -> None:
    ends(rollout, "old", 270, seconds=50.0)
    for _ in range(30):
        rollout.began("new")
    clock.advance(60)
    assert rollout.look().reason.startswith("0 runs of the new version have ended")


METRIC = RolloutPlan(steps=(0.5, 1.0), min_metric_ratio=0.9)


@pytest.mark.parametrize(("metric", "state"), [(0.95, "advance"), (0.5, "rolled_back")])
def test_the_metric_may_not_fall_below_its_share(clock: FakeClock, metric: float, state: str) -> None:
    rollout = Rollout(METRIC, clock, Random(1))
    ends(rollout, "old", 50, metric=1.0)
    ends(rollout, "new", 50, metric=metric)
    clock.advance(60)
    assert rollout.look().state == state


def test_a_metric_that_varies_has_to_be_lower_for_certain(clock: FakeClock) -> None:
    rollout = Rollout(METRIC, clock, Random(1))
    ends(rollout, "old", 50, metric=1.0)
    ends(rollout, "new", 17, metric=1.0)
    ends(rollout, "new", 3, metric=0.0)
    clock.advance(60)
    assert rollout.look().reason == "its mean metric is 0.85, the old version's 1; allowed is 0.9x"
    assert rollout.look().state == "stay"


def test_a_metric_that_is_asked_for_and_not_given_holds_it_up(clock: FakeClock) -> None:
    rollout = Rollout(METRIC, clock, Random(1))
    ends(rollout, "old", 50, metric=1.0)
    ends(rollout, "new", 50)
    clock.advance(60)
    assert rollout.look().reason == "0 runs of the new version have a metric in this step; it takes 20"
    assert not rollout.over


# --- the last step, at which the old version gets no runs ---


@pytest.fixture
def at_the_last_step(rollout: Rollout, clock: FakeClock) -> Rollout:
    passes_a_step(rollout, clock)
    passes_a_step(rollout, clock)
    assert rollout.weight == 1.0
    return rollout


def test_what_looks_bad_at_the_last_step_is_compared_before_it_is_judged(at_the_last_step: Rollout) -> None:
    rollout = at_the_last_step
    assert {rollout.choose() for _ in range(50)} == {"new"}
    ends(rollout, "new", 40, failed=40)
    verdict = rollout.look()
    assert (verdict.state, verdict.weight) == ("stay", 1.0)
    assert "Runs go to both versions by turns" in verdict.reason
    assert [rollout.choose() for _ in range(20)].count("old") == 10
    assert {rollout.choose(str(key)) for key in range(20)} == {"new"}, "a sticky key does not move back"


def test_where_the_old_version_does_better_then_it_is_rolled_back(at_the_last_step: Rollout) -> None:
    rollout = at_the_last_step
    ends(rollout, "new", 40, failed=40)
    rollout.look()
    ends(rollout, "old", 20)
    ends(rollout, "new", 20, failed=20)
    assert rollout.look().state == "rolled_back"


def test_where_it_does_no_better_the_step_begins_again(at_the_last_step: Rollout, clock: FakeClock) -> None:
    rollout = at_the_last_step
    ends(rollout, "new", 40, failed=40)
    rollout.look()
    ends(rollout, "old", 40, failed=20)
    ends(rollout, "new", 40, failed=20)
    assert rollout.look().state == "stay"
    assert {rollout.choose() for _ in range(50)} == {"new"}
    ends(rollout, "new", 20)
    clock.advance(59)
    assert rollout.look().state == "stay"
    clock.advance(1)
    assert rollout.look().state == "promoted"


def test_where_the_old_version_gets_no_runs_even_then_the_suspicion_decides(
    at_the_last_step: Rollout, clock: FakeClock
) -> None:
    """As where all runs have sticky keys."""
    rollout = at_the_last_step
    ends(rollout, "new", 40, failed=40)
    rollout.look()
    clock.advance(59)
    ends(rollout, "new", 40, failed=40)
    assert rollout.look().state == "stay"
    clock.advance(1)
    verdict = rollout.look()
    assert verdict.state == "rolled_back"
    assert verdict.reason.startswith("100.0% of its 40 runs failed")
    assert verdict.reason.endswith("The old version got too few runs to compare it with")


def test_runs_that_end_late_on_the_old_version_do_not_touch_its_last_figures(at_the_last_step: Rollout) -> None:
    rollout = at_the_last_step
    before = rollout.snapshot().old
    rollout.began("old")
    rollout.ended("old", 1000.0, error=True)
    assert (rollout.snapshot().old.ended, rollout.snapshot().old.p50) == (before.ended, before.p50)


# --- what operators see ---


def test_the_snapshot_shows_both_versions(rollout: Rollout, clock: FakeClock) -> None:
    ends(rollout, "old", 90, failed=9, seconds=1.0)
    ends(rollout, "new", 10, seconds=2.0, metric=0.5)
    rollout.began("new")
    clock.advance(10)
    rollout.look()
    shown = rollout.snapshot()
    assert (shown.state, shown.weight, shown.step, shown.steps, shown.since) == ("stay", 0.1, 1, 3, 10.0)
    assert shown.reason == "10 runs of the new version have ended in this step; it takes 20"
    assert (shown.old.begun, shown.old.ended, shown.old.under_way, shown.old.error_rate) == (90, 90, 0, 0.1)
    assert (shown.new.begun, shown.new.ended, shown.new.under_way) == (11, 10, 1)
    assert (shown.new.p50, shown.new.p95, shown.new.metric, shown.old.metric) == (2.0, 2.0, 0.5, None)
    assert shown.old.throughput == pytest.approx(10.0)
    assert shown.new.throughput == pytest.approx(10.0)


def test_by_hand_it_ends_at_once_and_for_good(rollout: Rollout) -> None:
    assert rollout.roll_back("the night is over").reason == "the night is over"
    assert rollout.promote("after all").state == "rolled_back"
    ends(rollout, "new", 100)
    assert rollout.look().reason == "the night is over"
