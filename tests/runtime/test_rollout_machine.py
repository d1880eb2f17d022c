"""Whatever happens to a rollout: its weight only grows, its shares are exact, and what is over stays so."""

from random import Random

from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis.strategies import booleans, floats, integers, sampled_from

from repertory.runtime.rollout import Rollout, Side
from repertory.runtime.rollout_plan import RolloutPlan
from repertory.testing import FakeClock

PLAN = RolloutPlan(steps=(0.05, 0.3, 0.7, 1.0), seconds_per_step=10, min_runs=3)
SIDES = sampled_from(("old", "new"))


class RolloutMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.rollout = Rollout(PLAN, self.clock, Random(1))
        self.under_way: dict[Side, int] = {"old": 0, "new": 0}
        self.weights = [self.rollout.weight]
        self.owed = 0.0  # what the new version should have had of the runs without a key
        self.had = 0
        self.homes: dict[str, Side] = {}
        self.over = ""

    @rule(runs=integers(1, 30))
    def choose(self, runs: int) -> None:
        for _ in range(runs):
            # The model of the share: an even one exactly while the last step is compared.
            compared = "by turns" in self.rollout.verdict.reason or "Compared" in self.rollout.verdict.reason
            self.owed += 0.5 if compared else self.rollout.weight
            self.had += self.rollout.choose() == "new"

    @rule(key=integers(0, 20))
    def choose_for(self, key: int) -> None:
        side, before = self.rollout.choose(str(key)), self.homes.get(str(key))
        if self.rollout.verdict.state != "rolled_back":
            assert (before, side) != ("new", "old")
        self.homes[str(key)] = side

    @rule(side=SIDES, runs=integers(1, 10))
    def begin(self, side: Side, runs: int) -> None:
        for _ in range(runs):
            self.rollout.began(side)
        self.under_way[side] += runs

    @rule(side=SIDES, seconds=floats(0, 100), error=booleans(), runs=integers(1, 10))
    def end(self, side: Side, seconds: float, error: bool, runs: int) -> None:
        for _ in range(min(runs, self.under_way[side])):
            self.rollout.ended(side, seconds, error=error)
            self.under_way[side] -= 1

    @precondition(lambda self: any(self.under_way.values()))
    @rule(side=SIDES)
    def cancel(self, side: Side) -> None:
        if self.under_way[side]:
            self.rollout.cancelled(side)
            self.under_way[side] -= 1

    @rule(seconds=floats(0, 30))
    def wait_and_look(self, seconds: float) -> None:
        self.clock.advance(seconds)
        verdict = self.rollout.look()
        assert verdict == self.rollout.verdict
        if verdict.state == "advance":
            assert verdict.weight == PLAN.steps[PLAN.steps.index(self.weights[-1]) + 1]
        self.weights.append(verdict.weight)

    @rule(promote=booleans())
    @precondition(lambda self: len(self.weights) > 10)
    def decide(self, promote: bool) -> None:
        (self.rollout.promote if promote else self.rollout.roll_back)("by hand")
        self.weights.append(self.rollout.weight)

    @invariant()
    def the_weight_falls_only_by_a_rollback(self) -> None:
        grows = self.weights == sorted(self.weights)
        assert grows or (self.rollout.verdict.state == "rolled_back" and self.weights[-1] == 0)

    @invariant()
    def shares_are_exact_to_within_a_run(self) -> None:
        assert abs(self.had - self.owed) <= 1 + 1e-6

    @invariant()
    def runs_under_way_are_counted(self) -> None:
        shown = self.rollout.snapshot()
        assert {"old": shown.old.under_way, "new": shown.new.under_way} == self.under_way

    @invariant()
    def what_is_over_stays_over(self) -> None:
        if self.over:
            assert self.rollout.verdict.state == self.over
        self.over = self.rollout.verdict.state if self.rollout.over else ""


TestRollout = RolloutMachine.TestCase
TestRollout.settings = settings(max_examples=60, stateful_step_count=40)
