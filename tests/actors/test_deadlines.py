"""Deadlines in buckets agree with deadlines kept one by one."""

from itertools import pairwise
from typing import cast

from hypothesis import given
from hypothesis.strategies import floats, lists, tuples

from repertory.actors.cell import Cell
from repertory.actors.deadlines import Deadlines
from repertory.actors.envelope import Envelope

ROUNDING = 1e-9

times = floats(min_value=0, max_value=1000)


def watched(deadlines: Deadlines, at: float) -> Envelope:
    envelope = Envelope(None, None, cast(Cell, None))
    deadlines.bucket(at).add(envelope)
    return envelope


@given(history=lists(tuples(floats(min_value=0, max_value=5), lists(floats(min_value=0, max_value=10)))))
def test_none_expires_early_and_none_later_than_a_grain(history: list[tuple[float, list[float]]]) -> None:
    deadlines = Deadlines()
    waiting: dict[Envelope, float] = {}
    now = 0.0
    for gap, timeouts in history:
        now += gap
        for envelope in deadlines.expired(now):
            assert waiting.pop(envelope) <= now + ROUNDING
        assert all(deadline > now - Deadlines.GRAIN - ROUNDING for deadline in waiting.values())
        waiting.update((watched(deadlines, now + timeout), now + timeout) for timeout in timeouts)
        due = deadlines.next_due()
        assert (due is not None) >= bool(waiting)
        if due is not None:
            assert due <= min(waiting.values(), default=due) + Deadlines.GRAIN + ROUNDING


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
