"""Deadlines in buckets agree with deadlines kept one by one."""

from itertools import pairwise
from typing import cast

import pytest
from hypothesis import given
from hypothesis.strategies import floats, lists, one_of, tuples

from repertory.actors.cell import Cell
from repertory.actors.deadlines import Deadlines, doublings_for
from repertory.actors.envelope import Envelope

ROUNDING = 1e-9

times = floats(min_value=0, max_value=1000)


def watched(deadlines: Deadlines, at: float, timeout: float = 1.0) -> Envelope:
    envelope = Envelope(None, None, cast(Cell, None))
    deadlines.bucket(at, doublings_for(timeout)).add(envelope)
    return envelope


def latest(deadline: float, timeout: float) -> float:
    """When it has expired at the latest."""
    return deadline + max(0.02, 0.002 * timeout) + ROUNDING


durations = one_of(floats(min_value=0, max_value=10), floats(min_value=0, max_value=1e6))


@given(history=lists(tuples(durations, lists(durations))))
def test_none_expires_early_and_none_later_than_a_grain(history: list[tuple[float, list[float]]]) -> None:
    deadlines = Deadlines()
    waiting: dict[Envelope, tuple[float, float]] = {}
    now = 0.0
    for gap, timeouts in history:
        now += gap
        for envelope in deadlines.expired(now):
            deadline, _ = waiting.pop(envelope)
            assert deadline <= now + ROUNDING
        assert all(now < latest(*watch) for watch in waiting.values())
        for timeout in timeouts:
            waiting[watched(deadlines, now + timeout, timeout)] = (now + timeout, timeout)
        due = deadlines.next_due()
        assert (due is not None) >= bool(waiting)
        if due is not None:
            assert due <= min((latest(*watch) for watch in waiting.values()), default=due)


@pytest.mark.parametrize("timeout", [5, 60, 3600, 86_400])
def test_asks_that_come_all_the_time_leave_few_buckets_however_long_their_timeouts(timeout: float) -> None:
    deadlines = Deadlines()
    for tick in range(300_000):
        deadlines.bucket(tick * timeout / 100_000 + timeout, doublings_for(timeout))
        if tick % 100 == 0:
            assert list(deadlines.expired(tick * timeout / 100_000)) == []
    assert len(deadlines._buckets) <= 1001


@given(at=lists(times, min_size=1))
def test_expired_yields_the_earliest_bucket_first(at: list[float]) -> None:
    deadlines = Deadlines()
    order = {watched(deadlines, deadline): deadline for deadline in at}
    expired = [order[envelope] for envelope in deadlines.expired(2000)]
    assert len(expired) == len(at)
    assert all(before <= after + Deadlines.GRAIN for before, after in pairwise(expired))
    assert deadlines.next_due() is None


def test_a_settled_envelope_does_not_expire() -> None:
    deadlines = Deadlines()
    bucket = deadlines.bucket(1.0)
    envelope = Envelope(None, None, cast(Cell, None))
    bucket.add(envelope)
    bucket.discard(envelope)
    assert list(deadlines.expired(2.0)) == []
