"""When a pool grows and shrinks, without a loop or an actor."""

import pytest
from hypothesis import given
from hypothesis.strategies import booleans, floats, integers, lists, tuples

from repertory.errors import ConfigError
from repertory.supervisors import Autoscaler, Scaling
from repertory.testing import FakeClock


def scaler(clock: FakeClock, minimum: int = 1, maximum: int = 4) -> Autoscaler:
    return Autoscaler(Scaling(high=2, low=0.5, up_after=1, down_after=10), minimum, maximum, clock)


def looks(autoscaler: Autoscaler, clock: FakeClock, number: int, replicas: int, waiting: int) -> list[int]:
    """What is decided in so many looks, 0.5 s apart."""
    steps = []
    for _ in range(number):
        steps.append(int(autoscaler.look(replicas, waiting, idle=1)))
        clock.advance(0.5)
    return steps


def test_grows_after_too_many_have_waited_for_a_while() -> None:
    clock = FakeClock()
    assert looks(scaler(clock), clock, 3, replicas=2, waiting=5) == [0, 0, 1]


def test_each_further_step_takes_as_long_again() -> None:
    clock = FakeClock()
    assert looks(scaler(clock), clock, 7, replicas=2, waiting=100) == [0, 0, 1, 0, 0, 1, 0]


def test_a_short_rush_changes_nothing() -> None:
    clock = FakeClock()
    autoscaler = scaler(clock)
    for _ in range(10):
        assert looks(autoscaler, clock, 2, replicas=2, waiting=5) == [0, 0]
        assert looks(autoscaler, clock, 1, replicas=2, waiting=4) == [0]


def test_shrinks_after_too_few_have_waited_for_longer() -> None:
    clock = FakeClock()
    assert looks(scaler(clock), clock, 21, replicas=2, waiting=0) == [0] * 20 + [-1]


def test_does_not_shrink_while_all_are_at_work() -> None:
    clock = FakeClock()
    autoscaler = scaler(clock)
    for _ in range(100):
        assert autoscaler.look(2, waiting=0, idle=0) == 0
        clock.advance(1)


def test_between_the_two_bounds_nothing_changes() -> None:
    clock = FakeClock()
    assert set(looks(scaler(clock), clock, 100, replicas=2, waiting=2)) == {0}


def test_keeps_within_its_numbers() -> None:
    clock = FakeClock()
    autoscaler = scaler(clock, minimum=2, maximum=3)
    assert set(looks(autoscaler, clock, 100, replicas=3, waiting=1000)) == {0}
    assert set(looks(autoscaler, clock, 100, replicas=2, waiting=0)) == {0}


@given(
    seen=lists(tuples(floats(0, 5), integers(0, 40), booleans()), max_size=60),
    minimum=integers(1, 3),
    more=integers(0, 5),
)
def test_follows_its_rule_over_any_history(seen: list[tuple[float, int, bool]], minimum: int, more: int) -> None:
    """A step is taken exactly when all looks since the last one, for long enough, found the same."""
    clock = FakeClock()
    autoscaler = scaler(clock, minimum, minimum + more)
    replicas = minimum
    row: list[tuple[float, int]] = []  # since the last step: when, and which way it pulled
    for gap, waiting, idle in seen:
        clock.advance(gap)
        mean = waiting / replicas
        pull = 1 if mean > 2 and replicas < minimum + more else 0
        if mean < 0.5 and idle and replicas > minimum:
            pull = -1
        row.append((clock.monotonic(), pull))
        same = len(row)
        while same and row[same - 1][1] == pull:
            same -= 1
        lasted = clock.monotonic() - row[same][0]
        expected = pull if pull and lasted >= (1 if pull > 0 else 10) else 0
        assert autoscaler.look(replicas, waiting, int(idle)) == expected
        if expected:
            row.clear()
        replicas += expected
        assert minimum <= replicas <= minimum + more


@pytest.mark.parametrize(
    ("argument", "value"),
    [("high", 0), ("low", 2), ("low", 0), ("up_after", -1), ("down_after", -1), ("every", 0)],
)
def test_rules_that_make_no_sense_are_refused(argument: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"Scaling: {argument} = {value!r}"):
        Scaling(**{argument: value})
