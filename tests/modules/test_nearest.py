"""Demonstrations picked by similarity."""

import pytest

from repertory.errors import ConfigError
from repertory.modules import Example, NearestExamples

LABELLED = [
    Example(text="the striker scored a late goal in the football match", topic="sports"),
    Example(text="shares of the bank fell after profit warning", topic="business"),
    Example(text="parliament passed the election bill", topic="politics"),
    Example(text="the goalkeeper saved a penalty in the football final", topic="sports"),
]


def test_the_closest_come_last() -> None:
    nearest = NearestExamples(LABELLED, field="text", k=2)
    found = nearest("a goal in the football final: the goalkeeper saved nothing")
    assert found == [LABELLED[0], LABELLED[3]]
    assert nearest("bank profit")[-1] == LABELLED[1]


@pytest.mark.parametrize("text", ["", "the", "xyzzy", "\n", "💥"])
def test_a_text_that_resembles_nothing_still_gets_k(text: str) -> None:
    assert len(NearestExamples(LABELLED, field="text", k=3)(text)) == 3


def test_all_may_be_asked_for() -> None:
    found = NearestExamples(LABELLED, field="text", k=4)("football")
    assert {example.text for example in found} == {example.text for example in LABELLED}


@pytest.mark.parametrize(("k", "count"), [(0, 4), (5, 4), (1, 0)])
def test_k_must_fit_the_examples(k: int, count: int) -> None:
    with pytest.raises(ConfigError, match=f"k = {k} of {count} examples"):
        NearestExamples(LABELLED[:count], field="text", k=k)


def test_an_example_without_the_text_is_named() -> None:
    with pytest.raises(ConfigError, match=r"example 1 has no text in 'text'\n  It has: topic\."):
        NearestExamples([LABELLED[0], Example(topic="sports")], field="text", k=1)


def test_examples_without_a_word_to_compare_are_refused() -> None:
    with pytest.raises(ConfigError, match="no example has a word to compare in 'text'"):
        NearestExamples([Example(text="the"), Example(text="a")], field="text", k=1)
