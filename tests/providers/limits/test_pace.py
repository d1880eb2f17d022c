import pytest

from repertory.providers.limits.pace import Pace
from repertory.testing import FakeClock


def paced(clock: FakeClock, turns: int, seconds: float) -> Pace:
    pace = Pace(clock)
    for _ in range(turns):
        pace.note()
        clock.advance(seconds)
    return pace


def test_few_turns_foretell_nothing(clock: FakeClock) -> None:
    pace = paced(clock, turns=4, seconds=1)
    assert pace.seconds_for(100) == pace.at_least_for(100) == 0


def test_a_steady_pace_foretells_the_wait(clock: FakeClock) -> None:
    assert paced(clock, turns=10, seconds=2).seconds_for(7) == pytest.approx(14)


def test_a_refusal_goes_by_a_hopeful_forecast_that_comes_closer_the_more_was_seen(clock: FakeClock) -> None:
    few, many = paced(clock, turns=10, seconds=1), paced(clock, turns=100, seconds=1)
    assert few.at_least_for(100) == pytest.approx(100 * 9 / (9 + 2 * 3))
    assert few.at_least_for(100) < many.at_least_for(100) < 100


def test_only_the_latest_turns_count(clock: FakeClock) -> None:
    pace = paced(clock, turns=50, seconds=10)
    for _ in range(33):
        pace.note()
        clock.advance(1)
    assert pace.seconds_for(1) == pytest.approx(1)


def test_silence_does_not_slow_the_pace(clock: FakeClock) -> None:
    pace = paced(clock, turns=10, seconds=1)
    before = pace.at_least_for(10)
    clock.advance(1000)
    assert pace.at_least_for(10) == before


def test_turns_from_before_there_was_nobody_waiting_are_forgotten(clock: FakeClock) -> None:
    pace = paced(clock, turns=10, seconds=1)
    pace.forget()
    assert pace.seconds_for(10) == 0
