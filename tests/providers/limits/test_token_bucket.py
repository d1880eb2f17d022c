import pytest
from hypothesis import given
from hypothesis.strategies import floats, integers, lists, sampled_from, tuples

from repertory.providers.limits.token_bucket import TokenBucket
from repertory.testing import FakeClock


def test_a_minutes_worth_is_there_at_first_and_flows_in_evenly(clock: FakeClock) -> None:
    bucket = TokenBucket(600, clock)
    bucket.take(600)
    assert bucket.seconds_until(10) == pytest.approx(1)
    clock.advance(1)
    assert bucket.seconds_until(10) == 0
    assert bucket.seconds_until(11) == pytest.approx(0.1)


def test_it_holds_no_more_than_a_minutes_worth(clock: FakeClock) -> None:
    bucket = TokenBucket(600, clock)
    clock.advance(1000)
    assert bucket.level == 600
    bucket.settle(reserved=100, used=0)
    assert bucket.level == 600


def test_what_was_not_used_comes_back_and_what_was_used_beyond_is_owed(clock: FakeClock) -> None:
    bucket = TokenBucket(600, clock)
    bucket.take(500)
    bucket.settle(reserved=500, used=200)
    assert bucket.level == 400
    bucket.take(300)
    bucket.settle(reserved=300, used=1000)
    assert bucket.level == -600
    assert bucket.seconds_until(0) == pytest.approx(60)


def test_a_call_larger_than_the_bucket_goes_when_it_is_full(clock: FakeClock) -> None:
    bucket = TokenBucket(600, clock)
    bucket.take(60)
    assert bucket.seconds_until(5000) == pytest.approx(6)
    clock.advance(6)
    assert bucket.seconds_until(5000) == 0
    bucket.take(5000)
    assert bucket.level == -4400


def test_what_others_take_before_lengthens_the_wait(clock: FakeClock) -> None:
    bucket = TokenBucket(600, clock)
    assert bucket.seconds_until(100, before=500) == 0
    assert bucket.seconds_until(100, before=1100) == pytest.approx(60)


@given(floats(1, 1e9), integers(0, 10**9), floats(0, 1e5))
def test_after_the_wait_it_foretold_a_call_may_go(per_minute: float, tokens: int, taken: float) -> None:
    clock = FakeClock()
    bucket = TokenBucket(per_minute, clock)
    bucket.take(int(taken))
    clock.advance(bucket.seconds_until(tokens))
    assert bucket.seconds_until(tokens) == 0


STEP = tuples(sampled_from(["wait", "call", "settle"]), integers(0, 900), integers(0, 900))


@given(lists(STEP, max_size=60))
def test_agrees_with_an_account_of_every_flow(steps: list[tuple[str, int, int]]) -> None:
    """The level is recomputed from the whole history; within any time no more is taken than promised."""
    clock = FakeClock(monotonic=0.0)
    bucket = TokenBucket(600, clock)
    flows: list[tuple[float, float]] = []  # when, and by how much the level rose
    calls: list[int] = []
    for action, number, used in steps:
        now = clock.monotonic()
        if action == "wait":
            clock.advance(number / 10)
        elif action == "call" and bucket.seconds_until(number) == 0:
            bucket.take(number)
            flows.append((now, -number))
            calls.append(number)
        elif action == "settle" and calls:
            bucket.settle(reserved := calls.pop(), used)
            flows.append((now, reserved - used))
        assert bucket.level == pytest.approx(level_after(flows, clock.monotonic()), abs=1e-6)


def level_after(flows: list[tuple[float, float]], now: float) -> float:
    level, at = 600.0, 0.0
    for when, change in [*flows, (now, 0.0)]:
        level = min(600.0, min(600.0, level + 10 * (when - at)) + change)
        at = when
    return level


@given(lists(tuples(floats(0, 30), integers(1, 600)), min_size=1, max_size=80))
def test_within_any_time_no_more_is_taken_than_a_minutes_worth_and_what_flowed_in(
    calls: list[tuple[float, int]],
) -> None:
    clock = FakeClock(monotonic=0.0)
    bucket = TokenBucket(600, clock)
    taken: list[tuple[float, int]] = []
    for pause, tokens in calls:
        clock.advance(pause)
        if bucket.seconds_until(tokens) == 0:
            bucket.take(tokens)
            taken.append((clock.monotonic(), tokens))
    for start, _ in taken:
        total = 0
        for when, tokens in taken:
            if when >= start:
                total += tokens
                assert total <= 600 * (1 + (when - start) / 60) + 1e-3
