from random import Random

import pytest
from hypothesis import given
from hypothesis.strategies import integers, lists, tuples

from repertory.providers.token_estimate import FRAME, HIGHEST_RATIO, LOWEST_RATIO, MOST_HIDDEN, TokenEstimate


def test_the_first_guess_is_a_token_for_three_bytes_and_the_frame() -> None:
    assert TokenEstimate().estimate(3000) == 1000 + FRAME


@pytest.mark.parametrize("bytes_per_token", [1.5, 2.5, 4.2, 6.0])
def test_replies_correct_the_guess(bytes_per_token: float) -> None:
    rng, estimate = Random(3), TokenEstimate()
    for _ in range(60):
        size = rng.randrange(200, 20_000)
        estimate.note(size, int(size / bytes_per_token * rng.uniform(0.9, 1.1)) + FRAME)
    assert estimate.estimate(10_000) == pytest.approx(10_000 / bytes_per_token + FRAME, rel=0.06)


def test_a_model_whose_text_changes_is_followed() -> None:
    estimate = TokenEstimate()
    for _ in range(100):
        estimate.note(4000, 1000)
    for _ in range(50):
        estimate.note(4000, 3000)
    assert estimate.estimate(4000) == pytest.approx(3000, rel=0.03)


def test_a_long_request_counts_for_more_than_a_short_one() -> None:
    estimate = TokenEstimate()
    for _ in range(50):
        estimate.note(100, 90)
        estimate.note(40_000, 10_000)
    assert estimate.estimate(40_000) == pytest.approx(10_000, rel=0.05)


def test_a_reply_that_nobody_counted_teaches_nothing() -> None:
    estimate = TokenEstimate()
    estimate.note(1000, 0)
    estimate.note(0, 500)
    assert estimate.estimate(3000) == 1000 + FRAME


def test_no_request_has_more_tokens_than_bytes_and_frame() -> None:
    assert TokenEstimate().at_most(1000) == 1000 + FRAME


def test_what_a_provider_adds_unseen_is_allowed_for_once_it_was_seen() -> None:
    estimate = TokenEstimate()
    estimate.note(200, 546)
    assert estimate.at_most(200) == 546
    assert estimate.at_most(1000) == 1346
    for _ in range(100):
        estimate.note(5000, 1000)
    assert estimate.at_most(200) == 546


def test_one_reply_that_is_beyond_all_bounds_does_not_make_every_request_too_large() -> None:
    estimate = TokenEstimate()
    estimate.note(200, 10**12)
    assert estimate.at_most(200) == 200 + MOST_HIDDEN


@given(lists(tuples(integers(-10, 10**7), integers(-10, 10**12))), integers(0, 10**8))
def test_whatever_was_noted_the_guess_is_within_bounds(replies: list[tuple[int, int]], size: int) -> None:
    estimate = TokenEstimate()
    for size_bytes, tokens in replies:
        estimate.note(size_bytes, tokens)
    assert size * LOWEST_RATIO + FRAME <= estimate.estimate(size) <= size * HIGHEST_RATIO + FRAME + 1
    assert estimate.estimate(size) <= estimate.at_most(size) + 1
