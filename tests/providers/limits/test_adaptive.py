import math

import pytest
from hypothesis import given
from hypothesis.strategies import integers, lists, sampled_from, tuples

from repertory.providers.limits.adaptive import SHARE, AdaptiveConcurrency
from repertory.providers.limits.slowness import ROW, WARM_UP


class Load:
    """Attempts let in as the limit allows, and answered one after the other."""

    def __init__(self, demand: int, ceiling: float = math.inf) -> None:
        self.concurrency = AdaptiveConcurrency(ceiling)
        self.demand = demand
        self.newest = 0
        self.flying: list[int] = []
        self.fill()

    def fill(self) -> None:
        while len(self.flying) < self.demand and len(self.flying) + 1 <= self.concurrency.limit:
            self.newest += 1
            self.flying.append(self.newest)

    def good(self, answers: int = 1, seconds: float = 1.0, tokens: int = 100) -> None:
        for _ in range(answers):
            in_flight = len(self.flying)
            self.concurrency.answered(self.flying.pop(0), seconds, tokens, in_flight, self.newest)
            self.fill()

    def bad(self, answers: int = 1) -> None:
        for _ in range(answers):
            in_flight = len(self.flying)
            self.concurrency.overloaded(self.flying.pop(0), in_flight, self.newest)
            self.fill()


def test_there_is_no_limit_before_there_is_a_sign_of_overload() -> None:
    load = Load(demand=400)
    assert len(load.flying) == 400
    load.good(1000)
    assert load.concurrency.limit == math.inf


def test_a_sign_of_overload_lets_a_share_of_what_was_in_flight_in() -> None:
    load = Load(demand=100)
    load.bad()
    assert load.concurrency.limit == 70
    assert SHARE == 0.7


def test_all_signs_of_one_round_trip_are_one() -> None:
    load = Load(demand=100)
    load.bad(100)
    assert load.concurrency.limit == 70
    load.bad()  # let in after the decrease
    assert load.concurrency.limit == 49


def test_each_round_of_good_answers_adds_one() -> None:
    load = Load(demand=100)
    load.bad()
    load.good(99)  # those from before the decrease say nothing
    assert load.concurrency.limit == 70
    load.good(71)
    assert 71 <= load.concurrency.limit < 71.1
    load.good(72)
    assert 72 <= load.concurrency.limit < 72.1


def test_a_limit_that_is_not_used_does_not_grow() -> None:
    load = Load(demand=100)
    load.bad()
    load.good(99)
    load.demand = 20
    load.good(500)
    assert load.concurrency.limit < 71


def test_a_limit_that_has_grown_to_twice_the_demand_is_forgotten() -> None:
    load = Load(demand=10)
    load.bad()
    for _ in range(30):
        load.good(20)
    assert load.concurrency.limit == math.inf


def test_the_demand_before_a_decrease_says_nothing_about_the_one_after() -> None:
    load = Load(demand=100)
    load.bad()
    load.good(200)
    load.demand = 10
    load.good(100)
    load.bad()
    assert load.concurrency.limit == 7
    load.good(400)
    assert load.concurrency.limit == math.inf


def test_a_limit_that_holds_calls_back_is_not_forgotten() -> None:
    load = Load(demand=1000)
    load.bad()
    while load.concurrency.limit > 1:
        load.bad(len(load.flying))
        load.bad()
    for _ in range(10_000):
        load.good()
        assert load.concurrency.limit < 1000


def test_it_never_falls_below_one() -> None:
    load = Load(demand=3)
    load.bad(100)
    assert load.concurrency.limit == 1


def test_one_attempt_alone_is_not_too_many() -> None:
    load = Load(demand=1)
    load.bad()
    assert load.concurrency.limit == math.inf


def test_it_never_rises_above_the_ceiling() -> None:
    load = Load(demand=100, ceiling=8)
    assert len(load.flying) == 8
    load.bad()
    assert load.concurrency.limit == 5
    load.good(200)
    assert load.concurrency.limit == 8


def test_a_row_of_slow_answers_is_a_sign_of_overload() -> None:
    load = Load(demand=50)
    load.good(WARM_UP + 100)
    load.good(ROW - 1, seconds=10)
    assert load.concurrency.limit == math.inf
    load.good(1, seconds=10)
    assert load.concurrency.limit == 35


def test_slow_answers_before_a_decrease_are_not_held_against_the_load_after_it() -> None:
    load = Load(demand=50)
    load.good(WARM_UP + 100)
    load.good(ROW - 1, seconds=10)
    load.bad()
    load.good(len(load.flying), seconds=10)  # let in before
    assert load.concurrency.limit == 35
    load.good(ROW - 1, seconds=10)
    assert load.concurrency.limit >= 35
    load.good(1, seconds=10)
    assert load.concurrency.limit == 24


def test_seconds_without_tokens_say_nothing() -> None:
    load = Load(demand=50)
    load.good(200, tokens=0)
    load.good(200, seconds=30, tokens=0)
    assert load.concurrency.limit == math.inf


@pytest.mark.parametrize("capacity", [3, 20, 150])
def test_it_settles_around_what_the_endpoint_can_take(capacity: int) -> None:
    """An endpoint that answers 429 to whatever exceeds its capacity."""
    load = Load(demand=400)
    seen = []
    for _ in range(20_000):
        if len(load.flying) > capacity:
            load.bad()
        else:
            load.good()
        seen.append(load.concurrency.limit)
    steady = seen[5000:]
    assert max(steady) <= capacity + 2
    assert min(steady) >= math.floor(SHARE * capacity)


@given(
    lists(tuples(sampled_from(["good", "bad", "demand"]), integers(1, 60)), max_size=200),
    sampled_from([math.inf, 1.0, 7.0]),
)
def test_whatever_happens_the_limit_stays_between_one_and_the_ceiling(
    steps: list[tuple[str, int]], ceiling: float
) -> None:
    load = Load(demand=5, ceiling=ceiling)
    for action, number in steps:
        if action == "demand":
            load.demand = number
            load.fill()
        elif action == "good":
            load.good(min(number, len(load.flying)))
        else:
            load.bad(min(number, len(load.flying)))
        assert 1 <= load.concurrency.limit <= ceiling
        assert load.flying
