import asyncio

import pytest

from repertory.errors import DeadlineExceeded, EndpointOverloaded
from repertory.providers.limits import Limits, LimitSettings
from repertory.testing import FakeClock
from tests.providers.limits.conftest import LATER, end, limits_of
from tests.virtual_time import LoopClock, run_in_virtual_time


def test_a_wait_ends_at_the_deadline_and_leaves_nothing_behind() -> None:
    async def wait() -> float:
        limits, clock = limits_of(max_concurrency=1), LoopClock()
        turn = await limits.acquire(LATER)
        with pytest.raises(DeadlineExceeded, match="qa: the deadline passed while the call waited"):
            await limits.acquire(deadline=5)
        ended = clock.monotonic()
        assert limits.waiting == 0
        end(limits, turn)
        await limits.acquire(deadline=6)
        return ended

    assert run_in_virtual_time(wait()) == pytest.approx(5, abs=0.01)


def test_a_call_whose_turn_cannot_come_in_time_fails_at_once() -> None:
    async def wait() -> float:
        limits = limits_of(requests_per_minute=60)
        others = [asyncio.ensure_future(limits.acquire(LATER)) for _ in range(10)]
        await asyncio.sleep(0)
        with pytest.raises(DeadlineExceeded, match=r"qa: not called: its turn would come in about 10\.0 s"):
            await limits.acquire(deadline=8)  # nine others wait for a second each
        failed = LoopClock().monotonic()
        await asyncio.gather(*others)
        return failed

    assert run_in_virtual_time(wait()) < 0.01


def test_a_call_that_misses_its_turn_at_the_rate_frees_its_slot() -> None:
    async def wait() -> None:
        limits = limits_of(requests_per_minute=60, max_concurrency=2)
        await limits.acquire(LATER)
        with pytest.raises(DeadlineExceeded):
            await limits.acquire(deadline=0.5)
        await limits.acquire(deadline=2)

    run_in_virtual_time(wait())


async def busy_for_a_second_each(limits: Limits, deadline: float = LATER) -> None:
    turn = await limits.acquire(deadline)
    await asyncio.sleep(1)
    end(limits, turn)


def test_a_deadline_that_the_pace_of_the_queue_cannot_meet_is_refused_at_once() -> None:
    async def wait() -> None:
        limits, clock = limits_of(max_concurrency=1), LoopClock()
        calls = [asyncio.ensure_future(busy_for_a_second_each(limits)) for _ in range(60)]
        await asyncio.sleep(20.5)  # 39 wait for a second each
        before = clock.monotonic()
        with pytest.raises(DeadlineExceeded, match="not called"):
            await limits.acquire(before + 20)
        assert clock.monotonic() == before
        patient = asyncio.ensure_future(busy_for_a_second_each(limits, before + 45))
        await asyncio.gather(*calls, patient)

    run_in_virtual_time(wait())


def test_a_caller_of_a_better_class_is_not_refused_for_the_queue_behind_it() -> None:
    async def wait() -> None:
        limits = limits_of(max_concurrency=1)
        calls = [asyncio.ensure_future(busy_for_a_second_each(limits)) for _ in range(60)]
        await asyncio.sleep(20.5)
        turn = await limits.acquire(LoopClock().monotonic() + 3, "someone", "interactive")
        end(limits, turn)
        await asyncio.gather(*calls)

    run_in_virtual_time(wait())


def test_more_waiting_calls_than_allowed_are_refused() -> None:
    async def wait() -> None:
        limits = limits_of(max_concurrency=1, max_waiting=30)
        calls = [asyncio.ensure_future(busy_for_a_second_each(limits)) for _ in range(31)]
        await asyncio.sleep(0.5)
        with pytest.raises(EndpointOverloaded, match="qa: not called: 30 calls wait") as refusal:
            await limits.acquire(LATER)
        assert refusal.value.retry_after == 1  # nothing is known yet
        await asyncio.sleep(10)
        calls += [asyncio.ensure_future(busy_for_a_second_each(limits)) for _ in range(10)]
        await asyncio.sleep(0)
        with pytest.raises(EndpointOverloaded) as refusal:
            await limits.acquire(LATER)
        assert refusal.value.retry_after == pytest.approx(30, rel=0.01)
        await asyncio.gather(*calls)

    run_in_virtual_time(wait())


def test_no_timer_is_left_when_nobody_waits() -> None:
    async def wait() -> int:
        limits = limits_of(max_concurrency=1)
        turn = await limits.acquire(LATER)
        call = asyncio.ensure_future(limits.acquire(deadline=1000))
        await asyncio.sleep(0)
        end(limits, turn)
        end(limits, await call)
        loop = asyncio.get_running_loop()
        return sum(not timer.cancelled() for timer in loop._scheduled)  # type: ignore[attr-defined]  # asyncio's own

    assert run_in_virtual_time(wait()) == 0


def test_decisions_go_by_the_clock_that_was_handed_in(clock: FakeClock) -> None:
    async def wait() -> None:
        limits = Limits(LimitSettings(tokens_per_minute=600), clock)
        turn = await limits.acquire(clock.monotonic() + 1, tokens=600)
        call = asyncio.ensure_future(limits.acquire(clock.monotonic() + 100, tokens=300))
        await asyncio.sleep(90)  # of the loop's time, none of the clock's
        assert not call.done()
        clock.advance(30)
        limits.finish(turn, seconds=30, tokens=600, error=None, headers=None)
        await asyncio.wait_for(call, 0.01)

    run_in_virtual_time(wait())
