"""A second request beside a late first one: which answer counts, and that nothing is left running."""

import asyncio
import gc
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import wraps
from random import Random
from typing import Any

import pytest

from repertory.errors import (
    BudgetExceeded,
    LMAuthError,
    LMError,
    LMRequestRejected,
    LMServerError,
    LMTimeout,
)
from repertory.events import CallHedged, Event, FellBack, Hooks
from repertory.providers.messages import LMRequest, LMResponse
from repertory.providers.policies import Fallback, Hedged
from repertory.providers.route import Route
from tests.providers.stand_in import ASK, StandIn
from tests.virtual_time import LoopClock, run_in_virtual_time

DOWN = LMServerError("500")


class Watched:
    """A hedged route whose first candidate has answered twenty times in a second, and so is late after that.

    ``most_extra`` 1 lets each test have its second request at once.
    """

    def __init__(self, *candidates: StandIn, most_extra: float = 1.0) -> None:
        self.events: list[Event] = []
        self.candidates = candidates
        self.loop = asyncio.get_running_loop()
        self.route = Route(
            "qa",
            candidates,
            Hedged(Fallback(), most_extra=most_extra),
            clock=LoopClock(),
            hooks=Hooks([self.events.append]),
            rng=Random(1),
        )

    async def warmed(self) -> "Watched":
        first = self.candidates[0]
        meant = first.after, first.deed
        first.after, first.deed = 1.0, "in time"
        for _ in range(20):
            await self.route.complete(ASK)
        first.after, first.deed = meant
        return self

    async def ask(self, request: LMRequest = ASK) -> tuple[str, float]:
        before = self.loop.time()
        answer = await self.route.complete(request)
        return answer.text, round(self.loop.time() - before, 2)


def in_virtual_time(
    test: Callable[..., Coroutine[Any, Any, None]],
) -> Callable[..., None]:
    """Run the test where time jumps; at its end no other task may be left, and the loop must have no complaint."""

    async def watched(*args: Any, **named: Any) -> None:
        complaints: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        await test(*args, **named)
        gc.collect()  # a task's error that nobody has heard is complained of when the task is collected
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert complaints == []

    @wraps(test)
    def run(*args: Any, **named: Any) -> None:
        run_in_virtual_time(watched(*args, **named))

    return run


@in_virtual_time
async def test_a_first_that_is_in_time_is_alone() -> None:
    a, b = StandIn("a", "a", after=0.9), StandIn("b")
    watched = await Watched(a, b).warmed()
    assert await watched.ask() == ("a", 0.9)
    assert (b.asked, watched.events) == ([], [])


@in_virtual_time
async def test_before_enough_is_known_of_the_first_nobody_is_asked_beside_it() -> None:
    a, b = StandIn("a", "a", after=100.0), StandIn("b")
    watched = Watched(a, b)
    assert await watched.ask() == ("a", 100)
    assert b.asked == []


@in_virtual_time
async def test_a_late_first_is_overtaken_and_cut_off() -> None:
    a, b = StandIn("a", "a", after=100.0), StandIn("b", "b", after=0.5)
    watched = await Watched(a, b).warmed()
    assert await watched.ask() == ("b", 1.5)
    assert (a.cut_off, b.cut_off) == (1, 0)
    assert watched.events == [CallHedged("qa", "a", "b", True)]
    assert watched.route.snapshot().hedged == 1


@in_virtual_time
async def test_a_late_first_that_answers_before_the_second_counts() -> None:
    a, b = StandIn("a", "a", after=1.2), StandIn("b", "b", after=5.0)
    watched = await Watched(a, b).warmed()
    assert await watched.ask() == ("a", 1.2)
    assert (a.cut_off, b.cut_off) == (0, 1)
    assert watched.events == [CallHedged("qa", "a", "b", False)]


@in_virtual_time
async def test_a_first_that_fails_in_time_is_stood_in_for_at_once() -> None:
    a, b = StandIn("a", DOWN, after=0.2), StandIn("b", "b", after=3.0)
    watched = await Watched(a, b).warmed()
    assert await watched.ask() == ("b", 3.2)
    assert watched.events == [FellBack("qa", "a", "b", "lm_server_error")]


@in_virtual_time
async def test_a_first_that_fails_late_leaves_it_to_the_second() -> None:
    a, b = StandIn("a", DOWN, after=1.5), StandIn("b", "b", after=3.0)
    watched = await Watched(a, b).warmed()
    assert await watched.ask() == ("b", 4)
    assert watched.events == [CallHedged("qa", "a", "b", True)]


@pytest.mark.parametrize("failure", [DOWN, LMRequestRejected("400"), BudgetExceeded("empty", account="x")])
@in_virtual_time
async def test_a_second_that_fails_leaves_it_to_the_first(failure: LMError) -> None:
    a, b, c = StandIn("a", "a", after=9.0), StandIn("b", failure), StandIn("c")
    watched = await Watched(a, b, c).warmed()
    assert await watched.ask() == ("a", 9)
    assert c.asked == []


@in_virtual_time
async def test_when_both_have_failed_the_next_is_asked() -> None:
    a, b = StandIn("a", DOWN, after=5.0), StandIn("b", LMAuthError("401"), after=0.5)
    c = StandIn("c", "c", after=1.0)
    watched = await Watched(a, b, c).warmed()
    assert await watched.ask() == ("c", 6)
    assert watched.events == [CallHedged("qa", "a", "b", False), FellBack("qa", "b", "c", "lm_auth")]


@in_virtual_time
async def test_when_all_have_failed_the_error_tells_of_all() -> None:
    a, b = StandIn("a", LMTimeout("a: slow"), after=5.0), StandIn("b", LMServerError("b: 500"), after=0.5)
    watched = await Watched(a, b).warmed()
    with pytest.raises(LMServerError, match=r"b: 500.*a: slow"):
        await watched.ask()


@pytest.mark.parametrize("who", ["first", "second"])
@in_virtual_time
async def test_a_failure_that_another_cannot_mend_ends_it(who: str) -> None:
    refused = LMRequestRejected("400")
    a = StandIn("a", refused if who == "first" else DOWN, after=2.0)
    b = StandIn("b", after=60.0) if who == "first" else StandIn("b", refused, after=0.1)
    c = StandIn("c")
    watched = await Watched(a, b, c).warmed()
    with pytest.raises(LMRequestRejected):
        await watched.ask()
    assert (b.cut_off, c.asked) == (int(who == "first"), [])
    assert watched.events == [CallHedged("qa", "a", "b", False)]


@pytest.mark.parametrize("after", [0.5, 1.5])
@in_virtual_time
async def test_cancelling_the_caller_cuts_off_all_it_asked(after: float) -> None:
    a, b = StandIn("a", "a", after=100.0), StandIn("b", "b", after=100.0)
    watched = await Watched(a, b).warmed()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(after):
            await watched.ask()
    assert (a.cut_off, b.cut_off) == (1, int(after > 1))


@in_virtual_time
async def test_cancelling_twice_still_waits_for_what_takes_its_time_to_end() -> None:
    class Lingering(StandIn):
        ended = False

        async def complete(self, request: LMRequest) -> LMResponse:
            try:
                return await super().complete(request)
            except asyncio.CancelledError:
                await asyncio.sleep(2)
                self.ended = True
                raise

    a, b = Lingering("a", after=100.0), StandIn("b", "b", after=0.5)
    watched = await Watched(a, b).warmed()
    call = asyncio.create_task(watched.ask())
    await asyncio.sleep(1.7)  # the second has answered, the first lingers
    for _ in range(2):
        call.cancel()
        await asyncio.sleep(0.1)
    assert not call.done()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert a.ended


@pytest.mark.parametrize("who", ["first", "second"])
@in_virtual_time
async def test_a_mistake_in_the_code_is_raised_as_it_is_and_leaves_nothing_behind(who: str) -> None:
    mistake = ZeroDivisionError()
    a = StandIn("a", mistake if who == "first" else "late", after=2.0)
    b = StandIn("b", mistake, after=9.0 if who == "first" else 0.1)
    watched = await Watched(a, b).warmed()
    with pytest.raises(ZeroDivisionError) as raised:
        await watched.ask()
    assert raised.value is mistake


@in_virtual_time
async def test_an_answer_is_not_lost_to_a_mistake_in_the_one_that_was_cut_off() -> None:
    class Clumsy(StandIn):
        async def complete(self, request: LMRequest) -> LMResponse:
            try:
                return await super().complete(request)
            finally:
                self.asked[99]  # an IndexError while it is cut off

    a = StandIn("a", "a", after=1.2)
    watched = await Watched(a, Clumsy("b", after=9.0)).warmed()
    assert await watched.ask() == ("a", 1.2)


@pytest.mark.parametrize("in_the_way", ["obstacle", "misfit"])
@in_virtual_time
async def test_who_cannot_answer_now_is_not_asked_beside(in_the_way: str) -> None:
    b = StandIn("b", blocked="open" if in_the_way == "obstacle" else None, unfit=in_the_way == "misfit")
    watched = await Watched(StandIn("a", "a", after=7.0), b, StandIn("c")).warmed()
    assert await watched.ask() == ("a", 7)


@in_virtual_time
async def test_after_the_deadline_nobody_is_asked_beside() -> None:
    a, b = StandIn("a", "a", after=7.0), StandIn("b")
    watched = await Watched(a, b).warmed()
    assert (await watched.ask(replace(ASK, deadline=watched.loop.time() + 0.9)))[0] == "a"
    assert b.asked == []


@in_virtual_time
async def test_a_thousand_late_calls_at_once_have_no_more_second_requests_than_allowed() -> None:
    rng = Random(7)
    a, b = StandIn("a", after=lambda: rng.expovariate(1.0)), StandIn("b", "b", after=0.1)
    watched = Watched(a, b, most_extra=0.05)

    async def call() -> None:
        for _ in range(20):
            await watched.ask()
            assert len(b.asked) <= 0.05 * watched.route.snapshot().calls

    await asyncio.gather(*[call() for _ in range(50)])
    assert 25 <= len(b.asked) <= 50
    assert watched.route.snapshot().hedged == len(b.asked)
