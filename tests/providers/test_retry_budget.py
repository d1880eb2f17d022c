import math
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from hypothesis.strategies import floats, integers, lists, sampled_from, tuples

from repertory.errors import ConfigError
from repertory.providers.retry_budget import SLICES, RetryBudget
from repertory.testing import FakeClock

WINDOW = float(SLICES)  # seconds: a slice is one second, and whole seconds are exact


def granted(budget: RetryBudget, asked: int) -> int:
    return sum(budget.take() for _ in range(asked))


def test_grants_a_share_of_the_calls_and_the_floor(clock: FakeClock) -> None:
    budget = RetryBudget(clock, share=0.1, floor=3)
    assert granted(budget, 100) == 3
    for _ in range(9):
        budget.note_call()
    assert granted(budget, 100) == 0  # nine tenths of a retry are none
    budget.note_call()
    assert granted(budget, 100) == 1


@pytest.mark.parametrize("share", [0.07, 0.1, 0.29, 0.57, 1 / 3, 1.0])
def test_a_share_is_the_decimal_fraction_it_is_written_as(clock: FakeClock, share: float) -> None:
    budget = RetryBudget(clock, share=share, floor=0)
    for _ in range(100):
        budget.note_call()
    assert granted(budget, 200) == math.floor(Fraction(str(share)) * 100)  # 29 of 100, though 0.29 * 100 < 29


def test_a_quiet_endpoint_can_always_retry(clock: FakeClock) -> None:
    budget = RetryBudget(clock)
    for _ in range(1000):  # a call a minute, all of them failing
        budget.note_call()
        assert granted(budget, 2) == 2
        clock.advance(60)


def test_calls_that_left_the_window_pay_for_nothing(clock: FakeClock) -> None:
    budget = RetryBudget(clock, floor=2, window_seconds=WINDOW)
    for _ in range(1000):
        budget.note_call()
    clock.advance(WINDOW - 1)
    assert budget.snapshot().left == 102
    clock.advance(1)
    assert budget.snapshot().left == 2


def test_retries_that_left_the_window_are_forgotten(clock: FakeClock) -> None:
    budget = RetryBudget(clock, floor=2, window_seconds=WINDOW)
    assert granted(budget, 5) == 2
    clock.advance(WINDOW - 1)
    assert granted(budget, 5) == 0
    clock.advance(1)
    assert granted(budget, 5) == 2


def test_a_retry_that_outlives_its_call_is_still_counted(clock: FakeClock) -> None:
    budget = RetryBudget(clock, floor=2, window_seconds=WINDOW)
    for _ in range(100):
        budget.note_call()
    clock.advance(WINDOW - 1)
    assert granted(budget, 100) == 12
    clock.advance(1)  # the calls are gone, their retries are not
    assert granted(budget, 100) == 0
    assert budget.snapshot().left == 0


def test_ten_thousand_calls_in_a_total_outage_make_at_most_a_tenth_more_attempts(clock: FakeClock) -> None:
    budget = RetryBudget(clock, floor=10)
    attempts = 0
    for _ in range(10_000):
        clock.advance(0.005)
        budget.note_call()
        attempts += 1 + granted(budget, 2)
    assert attempts / 10_000 <= 1.1 + 10 / 10_000
    assert attempts == 11_010  # and what is granted is granted in full


def test_it_tells_its_state(clock: FakeClock) -> None:
    budget = RetryBudget(clock, floor=2)
    for _ in range(20):
        budget.note_call()
    granted(budget, 3)
    seen = budget.snapshot()
    assert (seen.calls, seen.retries, seen.left, seen.refused) == (20, 3, 1, 0)
    granted(budget, 5)
    clock.advance(60)
    seen = budget.snapshot()
    assert (seen.calls, seen.retries, seen.left, seen.refused) == (0, 0, 2, 4)


@pytest.mark.parametrize(
    ("name", "value"), [("share", -0.1), ("share", 10), ("share", math.nan), ("floor", -1), ("window_seconds", 0)]
)
def test_what_means_nothing_is_refused_by_name(clock: FakeClock, name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"^retry budget: {name} = {value}: "):
        RetryBudget(clock, **{name: value})  # type: ignore[arg-type]  # ints too


@given(
    steps=lists(tuples(sampled_from(["call", "retry", "wait"]), floats(0, 1)), max_size=300),
    share=sampled_from([0.0, 0.1, 0.25, 1.0]),
    floor=integers(0, 3),
)
def test_no_history_breaks_the_bound(steps: list[tuple[str, float]], share: float, floor: int) -> None:
    clock = FakeClock()
    budget = RetryBudget(clock, share=share, floor=floor, window_seconds=4)
    started = clock.monotonic()
    calls = retries = 0
    for action, number in steps:
        if action == "wait":
            clock.advance(number)
        elif action == "call":
            budget.note_call()
            calls += 1
        else:
            retries += granted(budget, 5)
        lasted = clock.monotonic() - started
        assert retries <= Fraction(str(share)) * calls + floor * (1 + lasted // 4)


def test_no_long_history_breaks_the_bound() -> None:
    rng = Random(7)
    clock = FakeClock()
    budget = RetryBudget(clock, floor=5)
    calls = retries = 0
    for _ in range(50_000):
        clock.advance(rng.expovariate(10))
        for _ in range(rng.choice([0, 0, 0, 1, 20])):
            budget.note_call()
            calls += 1
        retries += granted(budget, rng.choice([0, 1, 50]))
        assert retries <= calls // 10 + 5 * (1 + (clock.monotonic() - 1000) // 60)
    assert retries > calls // 10 + 5  # the floor was renewed: the bound is not met by refusing all


class RetryHistory(RuleBasedStateMachine):
    """The budget against lists of all that happened, recounted at every question."""

    @initialize(share=sampled_from([0.0, 0.1, 0.25, 0.3, 1.0]), floor=integers(0, 3))
    def make(self, share: float, floor: int) -> None:
        self.share, self.floor = Fraction(str(share)), floor
        self.clock = FakeClock(monotonic=0.0)
        self.budget = RetryBudget(self.clock, share=share, floor=floor, window_seconds=WINDOW)
        self.calls: list[int] = []  # the second each came in
        self.retries: list[int] = []

    def lately(self, seconds: list[int]) -> int:
        return sum(second > int(self.clock.monotonic()) - SLICES for second in seconds)

    @rule(quarters=integers(0, 100))
    def wait(self, quarters: int) -> None:
        self.clock.advance(quarters / 4)

    @rule(calls=integers(1, 20))
    def call(self, calls: int) -> None:
        for _ in range(calls):
            self.budget.note_call()
            self.calls.append(int(self.clock.monotonic()))

    @rule(retries=integers(1, 5))
    def retry(self, retries: int) -> None:
        for _ in range(retries):
            allowed = self.lately(self.retries) + 1 <= self.floor + self.share * self.lately(self.calls)
            assert self.budget.take() == allowed
            if allowed:
                self.retries.append(int(self.clock.monotonic()))

    @invariant()
    def agree(self) -> None:
        seen = self.budget.snapshot()
        assert (seen.calls, seen.retries) == (self.lately(self.calls), self.lately(self.retries))


TestRetryHistory = RetryHistory.TestCase
TestRetryHistory.settings = settings(max_examples=60, stateful_step_count=60)
