"""Which failures are a reason to ask another endpoint, and what is raised when all have failed."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repertory.errors import (
    ActorDown,
    BudgetExceeded,
    CircuitOpen,
    DeadlineExceeded,
    EndpointOverloaded,
    LMAuthError,
    LMConnectionError,
    LMError,
    LMModelUnknown,
    LMRateLimited,
    LMReplyMalformed,
    LMRequestRejected,
    LMServerError,
    LMTimeout,
    PriceUnknown,
    RepertoryError,
    RuntimeClosed,
)
from repertory.providers.ladder import Ladder
from repertory.providers.messages import Terms
from repertory.testing import FakeClock
from tests.providers.stand_in import ASK, StandIn

FIRST, SECOND = StandIn("first"), StandIn("second")


def ladder(clock: FakeClock, *candidates: StandIn, share: float = 1.0, deadline: float | None = None) -> Ladder:
    asked = replace(ASK, deadline=None if deadline is None else clock.monotonic() + deadline)
    return Ladder(asked, candidates or (FIRST, SECOND), share, clock)


@pytest.mark.parametrize(
    ("error", "goes_on"),
    [
        (LMConnectionError("down"), True),
        (LMTimeout("slow"), True),
        (LMServerError("500"), True),
        (LMRateLimited("429"), True),
        (LMReplyMalformed("<html>"), True),
        (CircuitOpen("open"), True),
        (EndpointOverloaded("full"), True),
        (LMAuthError("401"), True),
        (LMModelUnknown("404"), True),
        (PriceUnknown("no price"), True),
        (DeadlineExceeded("the endpoint's own"), True),
        (LMRequestRejected("400"), False),
        (BudgetExceeded("empty", account="tenant"), False),
        (RuntimeClosed("closed"), False),
        (ActorDown("not a model's failure"), False),
        (LMError("of no known kind"), False),
    ],
    ids=lambda value: value.code if isinstance(value, RepertoryError) else None,
)
def test_the_class_of_a_failure_says_whether_another_is_asked(
    clock: FakeClock, error: RepertoryError, goes_on: bool
) -> None:
    way = ladder(clock)
    assert way.next() is FIRST
    assert way.failed(FIRST, error) == goes_on
    assert way.failures == ([("first", error)] if goes_on else [])


def test_who_could_never_have_answered_is_passed_over(clock: FakeClock) -> None:
    unfit = StandIn("unfit", unfit=True)
    way = ladder(clock, unfit, SECOND)
    way.next()
    assert way.failed(unfit, LMRequestRejected("lacks it"))
    assert way.next() is SECOND


def test_when_the_deadline_has_passed_nobody_else_is_asked(clock: FakeClock) -> None:
    way = ladder(clock, deadline=5)
    way.next()
    clock.advance(5)
    assert not way.failed(FIRST, DeadlineExceeded("too late"))
    assert way.failed(FIRST, LMServerError("500"))
    assert way.next() is None


def test_a_deadline_that_an_endpoint_gives_up_on_early_leaves_time_for_another(clock: FakeClock) -> None:
    way = ladder(clock, deadline=5)
    way.next()
    assert way.failed(FIRST, DeadlineExceeded("the queue is too long"))
    assert way.next() is SECOND


def test_a_deadline_that_has_passed_already_is_the_first_ones_to_tell(clock: FakeClock) -> None:
    assert ladder(clock, deadline=0).next() is FIRST


def test_a_share_leaves_time_for_those_behind(clock: FakeClock) -> None:
    way = ladder(clock, FIRST, SECOND, StandIn("third"), share=0.5, deadline=8)
    lefts = []
    while way.next() is not None:
        assert way.asked.deadline is not None
        lefts.append(way.asked.deadline - clock.monotonic())
        clock.advance(lefts[-1] - 1e-9)
    assert lefts == pytest.approx([4, 2, 2])


def test_an_old_answer_stands_behind_the_last_one_too(clock: FakeClock) -> None:
    asked = replace(ASK, deadline=clock.monotonic() + 8, terms=Terms(allow_stale=True))
    way = Ladder(asked, (FIRST,), 0.5, clock)
    way.next()
    assert way.asked.deadline == clock.monotonic() + 4


def test_without_a_share_or_a_deadline_the_request_is_handed_on_as_it_is(clock: FakeClock) -> None:
    for way in (ladder(clock, share=0.5), ladder(clock, deadline=5)):
        way.next()
        assert way.asked is way.request


def test_a_spare_is_one_that_can_answer_now(clock: FakeClock) -> None:
    for second, is_spare in [
        (SECOND, True),
        (StandIn("shut", blocked="open"), False),
        (StandIn("unfit", unfit=True), False),
    ]:
        way = ladder(clock, FIRST, second)
        way.next()
        assert way.has_spare() == is_spare
        assert way.next() is second  # asking took nothing
        assert not way.has_spare()


# --- the end -------------------------------------------------------------------------------------------------


def ended(clock: FakeClock, *errors: RepertoryError) -> RepertoryError:
    candidates = [StandIn(f"e{number}", unfit=True) for number in range(len(errors))]
    way = ladder(clock, *candidates)
    for candidate, error in zip(candidates, errors, strict=True):
        assert way.next() is candidate
        assert way.failed(candidate, error)
    assert way.next() is None
    return way.end()


def test_a_lone_failure_is_raised_as_it_is(clock: FakeClock) -> None:
    error = LMServerError("e0: answered 500", endpoint="e0")
    assert ended(clock, error) is error


def test_the_error_tells_of_every_endpoint_why_it_failed(clock: FakeClock) -> None:
    first = LMServerError("e0: answered 500", endpoint="e0", retry_after=9)
    telling = LMRateLimited("e1: answered 429", endpoint="e1", hint="Ask less.", retry_after=4)
    shut = CircuitOpen("e2: not called: its circuit is open", endpoint="e2", retry_after=2)
    error = ended(clock, first, telling, shut)
    assert type(error) is LMRateLimited
    assert error.endpoint == "e1"
    assert error.message == (
        "e1: answered 429; and no other endpoint answered: e0: answered 500; e2: not called: its circuit is open"
    )
    assert (error.hint, error.retry_after) == ("Ask less.", 2)
    assert error.__cause__ is telling
    assert telling.message == "e1: answered 429"  # others may hold the same error


@pytest.mark.parametrize(
    ("errors", "telling"),
    [
        ([LMServerError("500"), LMAuthError("401")], LMServerError),
        ([CircuitOpen("open"), LMAuthError("401")], CircuitOpen),
        ([LMTimeout("slow"), LMConnectionError("down")], LMConnectionError),
        ([LMAuthError("401"), LMModelUnknown("404")], LMModelUnknown),
        ([LMAuthError("401"), PriceUnknown("no price")], LMAuthError),
        ([CircuitOpen("open"), EndpointOverloaded("full")], EndpointOverloaded),
        ([LMRequestRejected("lacks it"), DeadlineExceeded("its own")], DeadlineExceeded),
    ],
    ids=lambda value: "-".join(each.code for each in value) if isinstance(value, list) else None,
)
def test_the_most_telling_failure_is_raised(
    clock: FakeClock, errors: list[RepertoryError], telling: type[RepertoryError]
) -> None:
    error = ended(clock, *errors)
    assert type(error) is telling
    assert all(each.message in error.message for each in errors)


RETRYABLE = [LMServerError("500"), LMTimeout("slow"), CircuitOpen("open"), LMRateLimited("429", retry_after=3)]
LASTING = [LMAuthError("401"), LMModelUnknown("404"), LMRequestRejected("lacks it"), PriceUnknown("no price")]


@given(st.lists(st.sampled_from([*RETRYABLE, *LASTING]), min_size=1, max_size=6))
def test_repeating_makes_sense_if_it_does_for_one(errors: list[RepertoryError]) -> None:
    error = ended(FakeClock(), *errors)
    assert error.retryable == any(each.retryable for each in errors)
