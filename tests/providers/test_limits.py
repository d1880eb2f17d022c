import asyncio

import pytest
from hypothesis import given, settings
from hypothesis.strategies import integers, lists, sampled_from

from repertory.errors import DeadlineExceeded
from repertory.providers.limits import Limits
from tests.virtual_time import LoopClock, run_in_virtual_time

LATER = 1e9


@settings(max_examples=25)
@given(rpm=sampled_from([0.5, 1, 2, 7, 59, 60, 61, 119, 150, 600]), start=integers(0, 90))
def test_no_minute_sees_more_than_the_limit(rpm: float, start: int) -> None:
    async def admissions() -> list[float]:
        limits, clock = Limits(LoopClock(), requests_per_minute=rpm), LoopClock()
        await asyncio.sleep(start)
        times: list[float] = []
        while not times or times[-1] < start + 150:
            await limits.acquire(LATER)
            limits.release()
            times.append(clock.monotonic())
        return times

    times = run_in_virtual_time(admissions())
    # A hair less than a minute, as the times are sums of fractions.
    busiest = max(sum(first <= time < first + 59.999 for time in times) for first in times)
    assert busiest == max(1, int(rpm))


def test_a_burst_is_at_most_a_sixtieth_of_the_limit() -> None:
    async def burst() -> int:
        limits = Limits(LoopClock(), requests_per_minute=600)
        calls = [asyncio.ensure_future(limits.acquire(LATER)) for _ in range(100)]
        await asyncio.sleep(0.01)
        admitted = sum(call.done() for call in calls)
        await asyncio.gather(*calls)
        return admitted

    assert run_in_virtual_time(burst()) == 10


def test_no_more_calls_at_once_than_allowed_and_in_order() -> None:
    async def order() -> tuple[int, list[int]]:
        limits = Limits(LoopClock(), max_concurrency=3)
        running = most = 0
        started = []

        async def call(number: int) -> None:
            nonlocal running, most
            await limits.acquire(LATER)
            running += 1
            most = max(most, running)
            started.append(number)
            await asyncio.sleep(1)
            running -= 1
            limits.release()

        await asyncio.gather(*map(call, range(20)))
        return most, started

    assert run_in_virtual_time(order()) == (3, list(range(20)))


def test_the_rate_serves_callers_in_order() -> None:
    async def order() -> list[int]:
        limits = Limits(LoopClock(), requests_per_minute=60)
        served = []

        async def call(number: int) -> None:
            await asyncio.sleep(number * 0.3)  # they keep coming while others wait
            await limits.acquire(LATER)
            served.append(number)

        await asyncio.gather(*map(call, range(30)))
        return served

    assert run_in_virtual_time(order()) == list(range(30))


def test_a_wait_ends_at_the_deadline_and_leaves_nothing_behind() -> None:
    async def wait() -> float:
        limits, clock = Limits(LoopClock(), max_concurrency=1, endpoint="qa"), LoopClock()
        await limits.acquire(LATER)
        with pytest.raises(DeadlineExceeded, match="qa: the deadline passed while the call waited"):
            await limits.acquire(deadline=5)
        ended = clock.monotonic()
        assert limits.waiting == 0
        limits.release()
        await limits.acquire(deadline=6)
        return ended

    assert run_in_virtual_time(wait()) == pytest.approx(5)


def test_a_call_whose_turn_cannot_come_in_time_fails_at_once() -> None:
    async def wait() -> float:
        limits = Limits(LoopClock(), requests_per_minute=60)
        others = [asyncio.ensure_future(limits.acquire(LATER)) for _ in range(10)]
        await asyncio.sleep(0)
        with pytest.raises(DeadlineExceeded):
            await limits.acquire(deadline=8)  # nine others wait for a second each
        failed = LoopClock().monotonic()
        await asyncio.gather(*others)
        return failed

    assert run_in_virtual_time(wait()) < 0.01


def test_a_call_that_misses_its_turn_at_the_rate_frees_its_slot() -> None:
    async def wait() -> None:
        limits = Limits(LoopClock(), requests_per_minute=60, max_concurrency=2)
        await limits.acquire(LATER)
        with pytest.raises(DeadlineExceeded):
            await limits.acquire(deadline=0.5)
        await limits.acquire(deadline=2)

    run_in_virtual_time(wait())


def test_a_slot_handed_to_a_call_that_is_cancelled_meanwhile_goes_to_the_next() -> None:
    async def wait() -> None:
        limits = Limits(LoopClock(), max_concurrency=1)
        await limits.acquire(LATER)
        first, second = (asyncio.ensure_future(limits.acquire(LATER)) for _ in range(2))
        await asyncio.sleep(0)
        limits.release()  # hands the slot to the first ...
        first.cancel()  # ... which never gets to run with it
        await asyncio.wait_for(second, 1)
        assert first.cancelled()

    run_in_virtual_time(wait())


@settings(max_examples=50)
@given(lists(sampled_from(["start", "start", "end", "cancel", "tick"]), max_size=80))
def test_no_history_of_calls_and_cancellations_loses_a_slot(history: list[str]) -> None:
    async def live() -> None:
        limits = Limits(LoopClock(), max_concurrency=2)
        calls: list[asyncio.Task[None]] = []

        def holders() -> list[asyncio.Task[None]]:
            return [call for call in calls if call.done() and not call.cancelled()]

        for step in history:
            waiting = [call for call in calls if not call.done()]
            if step == "start":
                calls.append(asyncio.create_task(limits.acquire(LATER)))
            elif step == "end" and holders():
                calls.remove(holders()[0])
                limits.release()
            elif step == "cancel" and waiting:
                waiting[0].cancel()
            else:
                await asyncio.sleep(0)
            assert len(holders()) <= 2
        while calls:  # let everyone finish: each slot must come round
            await asyncio.sleep(0.001)
            calls = [call for call in calls if not call.cancelled()]
            for call in holders():
                calls.remove(call)
                limits.release()
        await limits.acquire(deadline=LoopClock().monotonic() + 1)
        await limits.acquire(deadline=LoopClock().monotonic() + 1)
        with pytest.raises(DeadlineExceeded):
            await limits.acquire(deadline=LoopClock().monotonic() + 1)

    run_in_virtual_time(live())
