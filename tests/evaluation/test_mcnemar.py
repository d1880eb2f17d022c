"""McNemar's exact test against values worked out by hand."""

import pytest

from repertory.evaluation import McNemar


def test_questions_both_answer_alike_do_not_count() -> None:
    pairs = [(True, True)] * 50 + [(False, False)] * 7 + [(True, False)] * 3 + [(False, True)]
    assert McNemar.of(pairs) == McNemar(only_first=3, only_second=1)


@pytest.mark.parametrize(
    ("only_first", "only_second", "two_sided", "first_worse"),
    [
        (0, 0, 1.0, 1.0),
        (5, 5, 1.0, 638 / 1024),
        (0, 5, 2 / 32, 1 / 32),
        (5, 0, 2 / 32, 1.0),
        (1, 9, 22 / 1024, 11 / 1024),
    ],
)
def test_the_p_values(only_first: int, only_second: int, two_sided: float, first_worse: float) -> None:
    test = McNemar(only_first, only_second)
    assert test.p_value() == pytest.approx(two_sided)
    assert test.p_first_worse() == pytest.approx(first_worse)
