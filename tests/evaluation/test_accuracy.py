"""Accuracy and its Wilson interval."""

import math

import pytest
from hypothesis import given
from hypothesis.strategies import booleans, integers, lists

from repertory.evaluation import Accuracy


# Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3 (score, Wilson).
@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_published_intervals(correct: int, total: int, low: float, high: float) -> None:
    assert Accuracy(correct, total).interval() == pytest.approx((low, high), abs=5e-5)


def test_before_the_first_answer_nothing_is_known() -> None:
    assert (Accuracy().rate, Accuracy().interval()) == (0.0, (0.0, 1.0))


@given(lists(booleans(), min_size=1))
def test_it_counts(answers: list[bool]) -> None:
    accuracy = Accuracy()
    for answer in answers:
        accuracy.record(answer)
    assert (accuracy.correct, accuracy.total) == (sum(answers), len(answers))
    assert accuracy.rate == sum(answers) / len(answers)


@given(integers(1, 10_000), integers(0, 10_000))
def test_the_interval_holds_the_rate_and_mirrors(total: int, correct: int) -> None:
    correct = min(correct, total)
    low, high = Accuracy(correct, total).interval()
    assert 0 <= low <= correct / total + 1e-12
    assert correct / total - 1e-12 <= high <= 1
    assert (1 - high, 1 - low) == pytest.approx(Accuracy(total - correct, total).interval(), abs=1e-9)


@given(integers(1, 1_000), integers(0, 1_000), integers(2, 50))
def test_more_answers_of_the_same_kind_narrow_it(total: int, correct: int, times: int) -> None:
    correct = min(correct, total)
    low, high = Accuracy(correct, total).interval()
    narrow_low, narrow_high = Accuracy(correct * times, total * times).interval()
    assert narrow_high - narrow_low < high - low


@given(integers(1, 2_000), integers(0, 2_000))
def test_its_ends_solve_the_score_equation(total: int, correct: int) -> None:
    correct = min(correct, total)
    z = 1.959963984540054
    for end in Accuracy(correct, total).interval():
        if 1e-9 < end < 1 - 1e-9:  # not cut off
            assert abs(correct / total - end) == pytest.approx(z * math.sqrt(end * (1 - end) / total), abs=1e-9)
