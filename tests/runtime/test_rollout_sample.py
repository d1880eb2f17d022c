"""One version's runs in a step: bounds that are right as often as they claim, in memory that is bounded."""

from random import Random
from statistics import fmean, median, stdev

import pytest
from hypothesis import given
from hypothesis.strategies import floats, integers, lists

from repertory.runtime.rollout_sample import RESERVOIR, Sample, wilson


def a_sample(seed: int = 1) -> Sample:
    return Sample(0.0, 0.5, 0, Random(seed))


# By hand, of the roots of (p - share)^2 = z^2 p (1 - p) / n.
@pytest.mark.parametrize(
    ("count", "of", "z", "low", "high"),
    [(0, 10, 1.96, 0.0, 0.27754), (10, 10, 3.0, 10 / 19, 1.0), (5, 10, 1.96, 0.23659, 0.76341)],
)
def test_the_score_interval_is_wilsons(count: int, of: int, z: float, low: float, high: float) -> None:
    assert wilson(count, of, z) == pytest.approx((low, high), abs=1e-4)


def test_nothing_is_known_of_no_runs() -> None:
    assert wilson(0, 0, 3) == (0.0, 1.0)
    assert a_sample().quantile(0.5) is None
    assert a_sample().metric_bounds(3) == (float("-inf"), float("inf"))


@given(of=integers(1, 500), share=floats(0, 1), z=floats(0.5, 4))
def test_bounds_hold_the_rate_between_them(of: int, share: float, z: float) -> None:
    count = int(share * of)
    low, high = wilson(count, of, z)
    assert 0 <= low <= count / of + 1e-9
    assert count / of - 1e-9 <= high <= 1


@given(seconds=lists(floats(0, 100), min_size=1, max_size=200))
def test_while_all_are_kept_the_median_is_exact(seconds: list[float]) -> None:
    sample = a_sample()
    for each in seconds:
        sample.answer(each, None)
    assert sample.quantile(0.5) == sorted(seconds)[len(seconds) // 2]
    assert sample.seconds == sorted(seconds)
    low, high = sample.median_bounds(2)
    assert low <= median(seconds) <= high


def test_the_reservoir_is_bounded_and_favours_nobody() -> None:
    """Late and early latencies are kept alike: of the first and the last tenth about a tenth each."""
    early = late = 0
    for seed in range(20):
        sample = a_sample(seed)
        for number in range(5 * RESERVOIR):
            sample.answer(float(number), None)
        assert len(sample.seconds) == RESERVOIR
        assert sample.seconds == sorted(sample.seconds)
        early += sum(each < 0.5 * RESERVOIR for each in sample.seconds)
        late += sum(each >= 4.5 * RESERVOIR for each in sample.seconds)
    for kept in (early, late):  # 1024 expected, with a standard deviation of about 27
        assert 900 < kept < 1150


def test_the_bounds_of_a_median_miss_it_as_rarely_as_they_say() -> None:
    """At two standard deviations a bound is wrong in 2.3 % of the cases at most, to either side."""
    rng = Random(7)
    missed = 0
    for _ in range(1000):
        sample = a_sample()
        for _ in range(40):
            sample.answer(rng.lognormvariate(0, 1), None)  # its median is 1
        low, high = sample.median_bounds(2)
        missed += not low <= 1 <= high
    assert missed <= 60


@given(values=lists(floats(-1000, 1000), min_size=2, max_size=100))
def test_the_metric_is_averaged_as_by_hand(values: list[float]) -> None:
    sample = a_sample()
    for value in values:
        sample.answer(1.0, value)
    assert sample.mean_metric == pytest.approx(fmean(values), abs=1e-6)
    off = 3 * stdev(values) / len(values) ** 0.5
    assert sample.metric_bounds(3) == pytest.approx((fmean(values) - off, fmean(values) + off), abs=1e-6)


def test_a_run_that_failed_has_no_latency() -> None:
    sample = a_sample()
    sample.answer(5.0, 1.0)
    sample.fail()
    assert (sample.ended, sample.errors, sample.answered, sample.seconds) == (2, 1, 1, [5.0])
    assert sample.error_rate == 0.5
