"""Callers of one call: deadlines, purses and errors of their own. Time is virtual."""

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis.strategies import booleans, integers, lists, none, tuples

from repertory.errors import (
    BudgetExceeded,
    DeadlineExceeded,
    LMConnectionError,
    LMServerError,
    PriceUnknown,
    RepertoryError,
)
from repertory.providers.cache import CacheSettings, ReplyCache
from repertory.providers.messages import LMRequest, LMResponse, Message, Terms, Usage
from tests.virtual_time import LoopClock, run_in_virtual_time

HELLO = LMRequest((Message("user", "hello"),))
ANSWER = LMResponse("hi", "stop", Usage(), "m", "1")


class Model:
    """Answers after ``seconds``, or fails with DeadlineExceeded at the deadline, as an endpoint does."""

    def __init__(self, seconds: float = 10.0) -> None:
        self.seconds = seconds
        self.deadlines: list[float | None] = []
        self.cancelled: list[float] = []

    async def ask(self, deadline: float | None) -> LMResponse:
        loop = asyncio.get_running_loop()
        self.deadlines.append(deadline)
        end = loop.time() + self.seconds
        try:
            await asyncio.sleep((end if deadline is None else min(end, deadline)) - loop.time())
        except asyncio.CancelledError:
            self.cancelled.append(round(loop.time(), 3))
            raise
        if deadline is not None and deadline < end:
            raise DeadlineExceeded("the model: too late")
        return ANSWER


def cache() -> ReplyCache:
    return ReplyCache(CacheSettings(), LoopClock())


def by(deadline: float | None, *accounts: str) -> LMRequest:
    return replace(HELLO, deadline=deadline, terms=Terms(accounts=accounts))


async def told(call: Coroutine[Any, Any, LMResponse], comes: float = 0.0) -> tuple[str, float]:
    """How a call ended that came at a time, and when."""
    await asyncio.sleep(comes)
    try:
        outcome = (await call).text
    except RepertoryError as error:
        outcome = error.code
    return outcome, round(asyncio.get_running_loop().time(), 3)


def test_the_model_has_as_long_as_the_most_patient_of_those_who_wait_when_it_is_asked() -> None:
    async def main() -> None:
        model, subject = Model(seconds=5), cache()
        calls = [told(subject.answer("k", by(deadline), model.ask)) for deadline in (3.0, 9.0, 6.0)]
        assert await asyncio.gather(*calls) == [("deadline_exceeded", 3.0), ("hi", 5.0), ("hi", 5.0)]
        assert model.deadlines == [9.0]

    run_in_virtual_time(main())


def test_the_endpoint_decides_how_long_it_has_if_one_caller_leaves_it_to_the_endpoint() -> None:
    async def main() -> None:
        model, subject = Model(seconds=5), cache()
        calls = [told(subject.answer("k", by(deadline), model.ask)) for deadline in (3.0, None)]
        assert await asyncio.gather(*calls) == [("deadline_exceeded", 3.0), ("hi", 5.0)]
        assert model.deadlines == [None]

    run_in_virtual_time(main())


def test_the_model_itself_ends_the_call_of_its_only_caller_at_the_deadline() -> None:
    """It is not cancelled: what ran out of time tells a breaker something, what was cancelled does not."""

    async def main() -> None:
        model, subject = Model(), cache()
        with pytest.raises(DeadlineExceeded, match="the model: too late"):
            await subject.answer("k", by(4.0), model.ask)
        assert model.cancelled == []

    run_in_virtual_time(main())


def test_a_late_caller_with_less_time_leaves_at_its_own_deadline() -> None:
    async def main() -> None:
        model, subject = Model(), cache()
        first = told(subject.answer("k", by(20.0), model.ask))
        late = told(subject.answer("k", by(4.0), model.ask), comes=2)
        too_late = told(subject.answer("k", by(1.0), model.ask), comes=2)
        ends = await asyncio.gather(*[first, late, too_late])
        assert ends == [("hi", 10.0), ("deadline_exceeded", 4.0), ("deadline_exceeded", 2.0)]
        assert len(model.deadlines) == 1

    run_in_virtual_time(main())


def test_late_callers_with_more_time_ask_anew_together() -> None:
    async def main() -> None:
        model, subject = Model(), cache()
        first = told(subject.answer("k", by(4.0), model.ask))
        late = [
            told(subject.answer("k", by(deadline), model.ask), comes=2) for deadline in (8.0, 30.0, None, 4.0, 3.0)
        ]
        assert await asyncio.gather(first, *late) == [
            ("deadline_exceeded", 4.0),
            ("deadline_exceeded", 8.0),
            ("hi", 14.0),
            ("hi", 14.0),
            ("deadline_exceeded", 4.0),
            ("deadline_exceeded", 3.0),
        ]
        assert model.deadlines == [4.0, None]

    run_in_virtual_time(main())


def test_a_late_caller_shares_a_failure_that_it_has_not_more_time_than() -> None:
    async def main() -> None:
        subject = cache()
        asked = 0

        async def full(deadline: float | None) -> LMResponse:
            nonlocal asked
            asked += 1
            await asyncio.sleep(2)
            raise DeadlineExceeded("the queue is too long to be served before the deadline")

        calls = [
            told(subject.answer("k", by(20.0), full)),
            told(subject.answer("k", by(20.0), full), comes=1),
            told(subject.answer("k", by(10.0), full), comes=1),
        ]
        assert await asyncio.gather(*calls) == [("deadline_exceeded", 2.0)] * 3
        assert asked == 1

    run_in_virtual_time(main())


def test_what_the_endpoint_gives_up_is_not_asked_again_for_those_who_left_the_time_to_it() -> None:
    async def main() -> None:
        subject = cache()
        asked = 0

        async def give_up(deadline: float | None) -> LMResponse:
            nonlocal asked
            asked += 1
            await asyncio.sleep(2)
            raise DeadlineExceeded("no answer within all attempts")

        calls = [told(subject.answer("k", by(deadline), give_up)) for deadline in (None, None, 9.0)]
        assert await asyncio.gather(*calls) == [("deadline_exceeded", 2.0)] * 3
        assert asked == 1

    run_in_virtual_time(main())


def test_a_call_goes_on_for_a_hurried_caller_when_the_patient_one_left() -> None:
    async def main() -> None:
        model, subject = Model(), cache()
        patient = asyncio.ensure_future(subject.answer("k", by(20.0), model.ask))
        hurried = asyncio.ensure_future(told(subject.answer("k", by(4.0), model.ask)))
        await asyncio.sleep(1)
        patient.cancel()
        assert await hurried == ("deadline_exceeded", 4.0)
        await asyncio.sleep(1)
        assert model.cancelled == [4.0]

    run_in_virtual_time(main())


@pytest.mark.parametrize(
    "error", [BudgetExceeded("ours is empty", account="ours"), PriceUnknown("no price")], ids=["budget", "price"]
)
def test_whose_budgets_are_others_asks_anew_when_the_first_caller_cannot_pay(error: RepertoryError) -> None:
    async def main() -> None:
        model, subject = Model(), cache()

        async def refuse(deadline: float | None) -> LMResponse:
            await asyncio.sleep(1)
            raise error

        calls = [
            told(subject.answer("k", by(None, *accounts), ask))
            for accounts, ask in (
                (["ours"], refuse),
                (["ours"], refuse),
                (["theirs"], model.ask),
                (["theirs", "ours"], model.ask),
            )
        ]
        assert await asyncio.gather(*calls) == [(error.code, 1.0)] * 2 + [("hi", 11.0)] * 2
        assert len(model.deadlines) == 1

    run_in_virtual_time(main())


def failing(error: BaseException) -> Callable[[float | None], Awaitable[LMResponse]]:
    async def ask(deadline: float | None) -> LMResponse:
        await asyncio.sleep(1)
        raise error from OSError("reset")

    return ask


def test_each_caller_gets_an_error_of_its_own_that_says_all_the_first_said() -> None:
    error = BudgetExceeded("no money", account="team", endpoint="e", hint="Wait.")
    error.retry_after = 3.0

    async def main() -> list[BaseException | LMResponse]:
        subject = cache()
        ask = failing(error)
        calls = [subject.answer("k", by(None, "team"), ask) for _ in range(20)]
        return await asyncio.gather(*calls, return_exceptions=True)

    errors = run_in_virtual_time(main())
    assert len(set(map(id, errors))) == 20
    lengths = set()
    for each in errors:
        assert isinstance(each, BudgetExceeded)
        assert (str(each), each.account, each.endpoint, each.retry_after) == (str(error), "team", "e", 3.0)
        assert isinstance(each.__cause__, OSError)
        lines = traceback.format_exception(each)
        assert any("in ask" in line for line in lines)
        lengths.add(len(lines))
    assert len(lengths) <= 2  # the first's own traceback has a line fewer or more, none grows with the callers


def test_a_failure_that_nobody_waits_for_any_more_is_not_reported_as_lost() -> None:
    async def main() -> list[dict[str, Any]]:
        reports: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reports.append(context))
        subject = cache()

        async def stubborn(deadline: float | None) -> LMResponse:
            try:
                await asyncio.sleep(10)
            finally:
                raise LMServerError("down")

        for ask in (stubborn, failing(LMServerError("down"))):
            call = asyncio.ensure_future(subject.answer("k", HELLO, ask))
            await asyncio.sleep(1)  # the second fails at the very moment at which its caller leaves
            call.cancel()
            await asyncio.wait([call])
            await asyncio.sleep(1)
        await subject.close()
        return reports

    assert run_in_virtual_time(main()) == []


def test_what_is_no_error_of_ours_reaches_every_caller_too() -> None:
    async def main() -> list[BaseException | LMResponse]:
        subject = cache()
        calls = [subject.answer("k", HELLO, failing(ZeroDivisionError())) for _ in range(3)]
        return await asyncio.gather(*calls, return_exceptions=True)

    assert [type(each) for each in run_in_virtual_time(main())] == [ZeroDivisionError] * 3


CALLERS = lists(
    tuples(
        integers(0, 8),  # when it comes
        none() | integers(1, 12),  # how long it waits at most
        none() | integers(0, 12),  # after which time it is cancelled
        booleans(),  # whether it refreshes
        integers(0, 1),  # what it asks
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=150)
@given(callers=CALLERS, seconds=integers(1, 6), fails=integers(0, 3))
def test_whatever_comes_each_caller_has_one_outcome_in_time_and_nothing_is_left(
    callers: list[tuple[int, int | None, int | None, bool, int]], seconds: int, fails: int
) -> None:
    under_way = {"0": 0, "1": 0}
    both_kinds = {
        what: len({caller[3] for caller in callers if str(caller[4]) == what}) == 2 for what in under_way
    }
    asked = 0

    async def main() -> None:
        loop = asyncio.get_running_loop()
        subject = ReplyCache(CacheSettings(ttl=3), LoopClock())

        async def call(comes: int, patience: int | None, leaves: int | None, fresh: bool, what: int) -> None:
            await asyncio.sleep(comes)
            key = str(what)

            async def ask(deadline: float | None) -> LMResponse:
                nonlocal asked
                asked += 1
                under_way[key] += 1
                assert under_way[key] == 1 or both_kinds[key]  # equal calls are one
                try:
                    if asked == fails:
                        await asyncio.sleep(1)
                        raise LMConnectionError("reset")
                    return await Model(seconds).ask(deadline)
                finally:
                    under_way[key] -= 1

            deadline = None if patience is None else loop.time() + patience
            request = replace(HELLO, deadline=deadline, terms=Terms(cache="refresh" if fresh else "use"))
            work = asyncio.ensure_future(subject.answer(key, request, ask))
            await asyncio.wait([work], timeout=leaves)
            if not work.done():
                work.cancel()
                await asyncio.wait([work])
                assert work.cancelled()
            elif (error := work.exception()) is None:
                assert work.result().text == "hi"
            else:
                assert isinstance(error, DeadlineExceeded | LMConnectionError)
            if deadline is not None:
                assert loop.time() < deadline + 0.01

        await asyncio.gather(*(call(*caller) for caller in callers))
        await asyncio.sleep(0.01)
        assert asyncio.all_tasks() == {asyncio.current_task()}  # no call goes on for nobody
        assert asked <= len(callers) * 2
        await subject.close()

    run_in_virtual_time(main())
    assert not any(under_way.values())
