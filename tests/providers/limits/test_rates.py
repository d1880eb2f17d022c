import asyncio

import pytest
from hypothesis import given, settings
from hypothesis.strategies import integers, sampled_from

from repertory.errors import DeadlineExceeded
from tests.providers.limits.conftest import LATER, end, limits_of, settled
from tests.virtual_time import LoopClock, run_in_virtual_time


@settings(max_examples=25)
@given(rpm=sampled_from([0.5, 1, 2, 7, 59, 60, 61, 119, 150, 600]), start=integers(0, 90))
def test_no_minute_sees_more_than_the_limit(rpm: float, start: int) -> None:
    async def admissions() -> list[float]:
        limits, clock = limits_of(requests_per_minute=rpm), LoopClock()
        await asyncio.sleep(start)
        times: list[float] = []
        while not times or times[-1] < start + 150:
            end(limits, await limits.acquire(LATER))
            times.append(clock.monotonic())
        return times

    times = run_in_virtual_time(admissions())
    # A hair less than a minute, as the times are sums of fractions.
    busiest = max(sum(first <= time < first + 59.999 for time in times) for first in times)
    assert busiest == max(1, int(rpm))


def test_a_burst_is_at_most_a_sixtieth_of_the_limit() -> None:
    async def burst() -> int:
        limits = limits_of(requests_per_minute=600)
        calls = [asyncio.ensure_future(limits.acquire(LATER)) for _ in range(100)]
        await asyncio.sleep(0.01)
        admitted = sum(call.done() for call in calls)
        await asyncio.gather(*calls)
        return admitted

    assert run_in_virtual_time(burst()) == 10


def test_the_rate_serves_a_caller_in_order() -> None:
    async def order() -> list[int]:
        limits = limits_of(requests_per_minute=60)
        served = []

        async def call(number: int) -> None:
            await asyncio.sleep(number * 0.3)  # they keep coming while others wait
            await limits.acquire(LATER)
            served.append(number)

        await asyncio.gather(*map(call, range(30)))
        return served

    assert run_in_virtual_time(order()) == list(range(30))


def test_tokens_that_were_not_used_let_the_next_call_go() -> None:
    async def wait() -> None:
        limits = limits_of(tokens_per_minute=1000)
        turn = await limits.acquire(LATER, tokens=1000)
        call = asyncio.ensure_future(limits.acquire(LATER, tokens=900))
        await settled()
        assert not call.done()
        end(limits, turn, tokens=100)
        await settled()
        assert call.done()
        assert limits.snapshot().tokens_left == 0

    run_in_virtual_time(wait())


def test_a_call_of_unknown_use_keeps_its_reservation_and_one_that_was_not_made_gives_it_back() -> None:
    async def use() -> tuple[int | None, int | None]:
        limits = limits_of(tokens_per_minute=1000)
        end(limits, await limits.acquire(LATER, tokens=400), tokens=None)
        kept = limits.snapshot().tokens_left
        end(limits, await limits.acquire(LATER, tokens=400), tokens=0)
        return kept, limits.snapshot().tokens_left

    assert run_in_virtual_time(use()) == (600, 600)


def test_a_large_call_is_not_overtaken_by_small_ones_of_the_same_caller() -> None:
    async def order() -> list[str]:
        limits = limits_of(tokens_per_minute=600)
        served: list[str] = []

        async def call(name: str, tokens: int) -> None:
            end(limits, await limits.acquire(LATER, tokens=tokens))
            served.append(name)

        await limits.acquire(LATER, tokens=300)
        await asyncio.gather(call("large", 600), *[call(f"small {n}", 1) for n in range(5)])
        return served

    assert run_in_virtual_time(order())[0] == "large"


def test_a_small_call_of_a_better_class_need_not_wait_for_a_large_one() -> None:
    async def order() -> float:
        limits = limits_of(tokens_per_minute=600)
        await limits.acquire(LATER, tokens=300)
        large = asyncio.ensure_future(limits.acquire(LATER, "a", "batch", tokens=600))
        await asyncio.sleep(1)
        await limits.acquire(LATER, "b", "interactive", tokens=10)
        passed = LoopClock().monotonic()
        await large
        return passed

    assert run_in_virtual_time(order()) < 1.1


def test_tokens_of_those_ahead_count_for_whether_a_deadline_can_be_met() -> None:
    async def wait() -> None:
        limits = limits_of(tokens_per_minute=600)
        await limits.acquire(LATER, tokens=600)
        others = [asyncio.ensure_future(limits.acquire(LATER, tokens=100)) for _ in range(5)]
        await asyncio.sleep(0)
        with pytest.raises(DeadlineExceeded):
            await limits.acquire(deadline=55, tokens=100)  # they wait for 10 s each, and so does this
        await limits.acquire(deadline=65, tokens=100)
        await asyncio.gather(*others)

    run_in_virtual_time(wait())


def test_a_turn_that_a_cancelled_call_never_used_gives_its_tokens_back() -> None:
    async def wait() -> int | None:
        limits = limits_of(tokens_per_minute=600, max_concurrency=1)
        turn = await limits.acquire(LATER, tokens=100)
        call = asyncio.ensure_future(limits.acquire(LATER, tokens=400))
        await asyncio.sleep(0)
        end(limits, turn, tokens=100)
        call.cancel()
        await settled()
        return limits.snapshot().tokens_left

    assert run_in_virtual_time(wait()) == 500
