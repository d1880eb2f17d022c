from random import Random

import pytest
from hypothesis import given
from hypothesis.strategies import floats, integers, none

from repertory.errors import (
    LMAuthError,
    LMConnectionError,
    LMError,
    LMRateLimited,
    LMRequestRejected,
    LMServerError,
    RepertoryError,
)
from repertory.providers.retry import RetryPolicy


def policy(attempts: int = 3) -> RetryPolicy:
    return RetryPolicy(Random(1), attempts=attempts, base=0.5, cap=4.0)


@given(attempt=integers(2, 2000), hint=none() | floats(0, 100), seed=integers())
def test_waits_between_the_hint_and_the_hint_plus_the_bound(attempt: int, hint: float | None, seed: int) -> None:
    patient = RetryPolicy(Random(seed), attempts=2000, base=0.5, cap=4.0)
    delay = patient.delay_before(attempt, LMServerError("down", retry_after=hint), now=0, deadline=1e9)
    assert delay is not None
    bound = 4.0 if attempt > 5 else 0.5 * 2 ** (attempt - 2)
    assert (hint or 0) <= delay <= (hint or 0) + bound


def test_jitter_spreads_over_the_whole_bound() -> None:
    one = policy()
    delays = [one.delay_before(2, LMConnectionError("cut"), now=0, deadline=100) for _ in range(200)]
    known = [delay for delay in delays if delay is not None]
    assert len(known) == 200
    assert min(known) < 0.05
    assert max(known) > 0.45


def test_gives_up_after_the_last_attempt() -> None:
    assert policy(attempts=3).delay_before(3, LMServerError("down"), now=0, deadline=100) is not None
    assert policy(attempts=3).delay_before(4, LMServerError("down"), now=0, deadline=100) is None
    assert policy(attempts=1).delay_before(2, LMServerError("down"), now=0, deadline=100) is None


def test_gives_up_if_the_hint_lies_beyond_the_deadline() -> None:
    limited = LMRateLimited("slow down", retry_after=10)
    assert policy().delay_before(2, limited, now=95, deadline=105) is None
    assert policy().delay_before(2, limited, now=90, deadline=105) is not None


@pytest.mark.parametrize(
    ("error", "repeats"),
    [
        (LMConnectionError("cut"), True),
        (LMServerError("500"), True),
        (LMRateLimited("429"), True),
        (LMAuthError("401"), False),
        (LMRequestRejected("400"), False),
        (LMError("?"), False),
    ],
)
def test_only_errors_that_may_pass_are_repeated(error: RepertoryError, repeats: bool) -> None:
    assert (policy().delay_before(2, error, now=0, deadline=100) is not None) == repeats
