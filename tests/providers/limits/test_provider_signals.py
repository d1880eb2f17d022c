import asyncio

import pytest

from repertory.errors import DeadlineExceeded, LMRateLimited, LMTimeout
from repertory.providers.limits import Limits, LimitSettings
from tests.providers.limits.conftest import LATER, end, limits_of
from tests.virtual_time import LoopClock, run_in_virtual_time


def test_a_429_pauses_everybody_as_long_as_it_says() -> None:
    async def wait() -> float:
        limits = limits_of()
        end(limits, await limits.acquire(LATER), LMRateLimited("429", retry_after=7))
        assert limits.try_acquire("", "interactive", 0) is None
        assert limits.snapshot().paused_for == pytest.approx(7)
        await limits.acquire(LATER)
        return LoopClock().monotonic()

    assert run_in_virtual_time(wait()) == pytest.approx(7, abs=0.01)


def test_a_pause_is_bounded() -> None:
    async def wait() -> float:
        limits = limits_of()
        end(limits, await limits.acquire(LATER), LMRateLimited("429", retry_after=86_400))
        return limits.snapshot().paused_for

    assert run_in_virtual_time(wait()) == pytest.approx(300)


def test_a_429_without_a_hint_pauses_nobody() -> None:
    async def wait() -> None:
        limits = limits_of()
        turns = [await limits.acquire(LATER) for _ in range(10)]
        end(limits, turns[0], LMRateLimited("429"))
        assert limits.snapshot().paused_for == 0
        for turn in turns[1:5]:
            end(limits, turn)
        assert limits.try_acquire("", "normal", 0) is not None

    run_in_virtual_time(wait())


def test_who_cannot_outlast_a_pause_is_told_at_its_beginning() -> None:
    async def wait() -> float:
        limits = limits_of(max_concurrency=1)
        turn = await limits.acquire(LATER)
        hurried = asyncio.ensure_future(limits.acquire(deadline=20))
        patient = asyncio.ensure_future(limits.acquire(deadline=40))
        await asyncio.sleep(1)
        end(limits, turn, LMRateLimited("429", retry_after=30))
        with pytest.raises(DeadlineExceeded):
            await hurried
        told = LoopClock().monotonic()
        with pytest.raises(DeadlineExceeded, match=r"about 30\.0 s"):
            await limits.acquire(deadline=20)
        await patient
        return told

    assert run_in_virtual_time(wait()) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("error", [LMRateLimited("429"), LMTimeout("slow")])
def test_overload_lets_fewer_attempts_into_flight(error: Exception) -> None:
    async def wait() -> int | None:
        limits = limits_of()
        turns = [await limits.acquire(LATER) for _ in range(100)]
        end(limits, turns[0], error)
        end(limits, turns[1], error)
        return limits.snapshot().concurrency

    assert run_in_virtual_time(wait()) == 70


def test_the_load_a_late_429_is_about_is_the_one_it_met() -> None:
    async def wait() -> int | None:
        limits = limits_of()
        turns = [await limits.acquire(LATER) for _ in range(100)]
        for turn in turns[:-1]:
            end(limits, turn)
        end(limits, turns[-1], LMRateLimited("429"))
        return limits.snapshot().concurrency

    assert run_in_virtual_time(wait()) == 70


def test_without_adaptive_nothing_but_the_settings_limits_what_is_in_flight() -> None:
    async def wait() -> int | None:
        limits = Limits(LimitSettings(adaptive=False), LoopClock())
        turns = [await limits.acquire(LATER) for _ in range(100)]
        end(limits, turns[0], LMRateLimited("429"))
        return limits.snapshot().concurrency

    assert run_in_virtual_time(wait()) is None


def test_an_announcement_that_nothing_is_left_is_obeyed_until_the_reset() -> None:
    async def wait() -> float:
        limits = limits_of()
        headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "12s"}
        limits.finish(await limits.acquire(LATER), seconds=1, tokens=5, error=None, headers=headers)
        assert limits.snapshot().requests_left == 0
        await limits.acquire(LATER)
        return LoopClock().monotonic()

    assert run_in_virtual_time(wait()) == pytest.approx(12, abs=0.01)


def test_what_was_sent_since_is_not_left_any_more() -> None:
    async def wait() -> int | None:
        limits = limits_of()
        turns = [await limits.acquire(LATER) for _ in range(5)]
        headers = {"x-ratelimit-remaining-requests": "6", "x-ratelimit-reset-requests": "12s"}
        limits.finish(turns[1], seconds=1, tokens=5, error=None, headers=headers)
        return limits.snapshot().requests_left

    assert run_in_virtual_time(wait()) == 3
