"""Percentiles of durations: exact for few, near enough for any number, in constant memory."""

from math import ceil
from random import Random
from statistics import quantiles

import pytest
from hypothesis import given
from hypothesis.strategies import floats, integers, lists

from repertory.cli.latencies import ERROR, EXACT, LONGEST, SHORTEST, Latencies
from repertory.cli.tally import Tally
from repertory.modules import Prediction
from repertory.providers.messages import Usage
from repertory.runtime.batch import Answered
from repertory.runtime.execution import Run
from repertory.runtime.rows import Row


def of(durations: list[float]) -> Latencies:
    latencies = Latencies()
    for seconds in durations:
        latencies.record(seconds)
    return latencies


@given(lists(floats(0, 1e4), min_size=2, max_size=200), integers(1, 99))
def test_few_durations_have_exact_percentiles(durations: list[float], percent: int) -> None:
    latencies = of(durations)
    assert latencies.exact
    assert latencies.percentile(percent) == quantiles(durations, n=100, method="inclusive")[percent - 1]


def test_none_and_one() -> None:
    assert Latencies().percentile(50) == 0
    assert of([0.25]).percentile(95) == 0.25


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("percent", [1, 50, 95, 99])
def test_many_durations_have_percentiles_within_the_error(seed: int, percent: int) -> None:
    rng = Random(seed)
    durations = [rng.lognormvariate(-2, 3) for _ in range(EXACT + 1 + 1000 * seed)]
    latencies = of(durations)
    assert not latencies.exact
    at_rank = sorted(durations)[ceil(percent / 100 * len(durations)) - 1]
    assert latencies.percentile(percent) == pytest.approx(at_rank, rel=ERROR * 1.0001)


def test_memory_does_not_grow_with_durations_however_different() -> None:
    rng = Random(1)
    latencies = of([10 ** rng.uniform(-12, 12) for _ in range(2 * EXACT)])
    assert len(latencies._first) == 0
    assert len(latencies._buckets) < 2_800


def test_the_summary_says_how_exact_its_percentiles_are() -> None:
    tally = Tally()
    prediction = Prediction({"answer": "x"}, usage=Usage(), lm_calls=1)
    for rows, error in ((EXACT, 0.0), (1, ERROR)):
        for line in range(rows):
            tally.record(Answered(Row(line, line, {}), Run("r", prediction, 0.25, replayed=False)))
        summary = tally.summary(1.0, None)
        assert summary["p50_ms"] == pytest.approx(250, rel=ERROR)
        assert summary["percentile_error"] == error


def test_durations_out_of_range_count_as_the_nearest_within() -> None:
    latencies = of([0.0] * EXACT + [1e300] * (2 * EXACT))
    assert latencies.percentile(1) == pytest.approx(SHORTEST, rel=ERROR)
    assert latencies.percentile(99) == pytest.approx(LONGEST, rel=ERROR)
