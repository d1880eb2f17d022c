"""Restart intensity: the sliding window."""

from hypothesis import given
from hypothesis.strategies import integers, lists, sampled_from

from repertory.supervisors import RestartIntensity
from repertory.testing import FakeClock


def test_tolerates_limit_restarts_within_the_period() -> None:
    intensity = RestartIntensity(limit=2, period=5, clock=FakeClock())
    assert [intensity.record(), intensity.record(), intensity.record()] == [True, True, False]


def test_a_limit_of_zero_gives_up_at_the_first_restart() -> None:
    assert not RestartIntensity(limit=0, period=5, clock=FakeClock()).record()


def test_a_restart_exactly_as_old_as_the_period_no_longer_counts() -> None:
    clock = FakeClock()
    intensity = RestartIntensity(limit=1, period=5, clock=clock)
    assert intensity.record()
    clock.advance(5)
    assert intensity.record()


def test_a_restart_a_little_younger_than_the_period_still_counts() -> None:
    clock = FakeClock()
    intensity = RestartIntensity(limit=1, period=5, clock=clock)
    assert intensity.record()
    clock.advance(5 - 2**-10)
    assert not intensity.record()


def test_a_steady_rate_at_the_limit_is_tolerated_for_ever() -> None:
    clock = FakeClock()
    intensity = RestartIntensity(limit=2, period=5, clock=clock)
    for _ in range(1000):
        assert intensity.record()
        clock.advance(2.5)


@given(gaps=lists(sampled_from([0, 0.25, 1, 2, 3, 4.75, 5, 7])), limit=integers(0, 5))
def test_agrees_with_a_recount_of_the_whole_history(gaps: list[float], limit: int) -> None:
    clock = FakeClock()
    intensity = RestartIntensity(limit=limit, period=5, clock=clock)
    history: list[float] = []
    for gap in gaps:
        clock.advance(gap)
        now = clock.monotonic()
        history.append(now)
        assert intensity.record() == (sum(now - time < 5 for time in history) <= limit)
