import pytest

from repertory.providers.limits.announced import Allowance, Announced
from repertory.providers.limits.quotas import Quotas
from repertory.testing import FakeClock


def heard(clock: FakeClock, requests: Allowance | None = None, **others: Allowance) -> Quotas:
    quotas = Quotas(clock)
    quotas.heed(Announced(requests, **others), number=1, requests_since=0, tokens_since=0)
    return quotas


def test_where_nothing_was_announced_nothing_waits(clock: FakeClock) -> None:
    quotas = Quotas(clock)
    assert quotas.seconds_until(10**9) == 0
    assert quotas.requests_left is None


def test_when_no_request_is_left_the_next_waits_for_the_reset(clock: FakeClock) -> None:
    quotas = heard(clock, Allowance(2, 10, 8.0))
    quotas.take(0)
    assert quotas.seconds_until(0) == 0
    quotas.take(0)
    assert quotas.seconds_until(0) == 8
    clock.advance(8)
    assert quotas.seconds_until(0) == 0
    assert quotas.requests_left == 10


def test_after_the_reset_the_limit_holds_until_something_else_is_announced(clock: FakeClock) -> None:
    quotas = heard(clock, Allowance(0, 3, 8.0))
    clock.advance(8)
    for _ in range(3):
        assert quotas.seconds_until(0) == 0
        quotas.take(0)
    assert quotas.seconds_until(0) == 60


def test_after_the_reset_of_a_limit_that_was_not_told_nothing_waits(clock: FakeClock) -> None:
    quotas = heard(clock, Allowance(0, None, 8.0))
    clock.advance(8)
    for _ in range(1000):
        quotas.take(100)
    assert quotas.seconds_until(10**6) == 0
    assert quotas.requests_left is None


def test_a_request_that_reserves_more_tokens_than_are_left_waits_for_the_reset(clock: FakeClock) -> None:
    quotas = heard(clock, tokens=Allowance(500, 1000, 20.0))
    assert quotas.seconds_until(500) == 0
    assert quotas.seconds_until(501) == 20
    quotas.take(400)
    assert quotas.seconds_until(101) == 20


def test_one_that_reserves_more_than_there_ever_is_goes_after_the_reset(clock: FakeClock) -> None:
    quotas = heard(clock, tokens=Allowance(500, 1000, 20.0))
    assert quotas.seconds_until(5000) == 20
    clock.advance(20)
    assert quotas.seconds_until(5000) == 0


def test_when_no_token_is_left_a_request_of_unknown_size_waits_too(clock: FakeClock) -> None:
    assert heard(clock, tokens=Allowance(0, 1000, 20.0)).seconds_until(0) == 20


@pytest.mark.parametrize("which", ["input_tokens", "output_tokens"])
def test_input_and_output_by_themselves_count_where_nothing_is_left(clock: FakeClock, which: str) -> None:
    assert heard(clock, **{which: Allowance(0, 1000, 20.0)}).seconds_until(10) == 20
    assert heard(clock, **{which: Allowance(5, 1000, 20.0)}).seconds_until(10) == 0


def test_a_wait_is_bounded(clock: FakeClock) -> None:
    assert heard(clock, Allowance(0, 10, 86_400.0)).seconds_until(0) == 300


def test_without_a_reset_nobody_waits(clock: FakeClock) -> None:
    assert heard(clock, Allowance(0, 10, None)).seconds_until(0) == 0


def test_what_was_sent_after_the_request_is_taken_off_what_its_answer_announces(clock: FakeClock) -> None:
    quotas = Quotas(clock)
    announced = Announced(Allowance(10, 20, 8.0), Allowance(5000, 9000, 8.0))
    quotas.heed(announced, number=1, requests_since=4, tokens_since=4500)
    assert quotas.requests_left == 6
    assert quotas.seconds_until(500) == 0
    assert quotas.seconds_until(501) == 8


def test_the_answer_to_an_earlier_request_that_comes_late_is_old_news(clock: FakeClock) -> None:
    quotas = Quotas(clock)
    quotas.heed(Announced(Allowance(10, 20, 8.0)), number=7, requests_since=0, tokens_since=0)
    quotas.heed(Announced(Allowance(0, 20, 8.0)), number=6, requests_since=1, tokens_since=0)
    assert quotas.requests_left == 10
    quotas.heed(Announced(Allowance(0, 20, 8.0)), number=8, requests_since=0, tokens_since=0)
    assert quotas.requests_left == 0


def test_what_an_answer_does_not_mention_stands_as_it_was(clock: FakeClock) -> None:
    quotas = heard(clock, Allowance(0, 10, 8.0))
    quotas.heed(Announced(tokens=Allowance(5, 10, 1.0)), number=2, requests_since=0, tokens_since=0)
    assert quotas.seconds_until(1) == 8
