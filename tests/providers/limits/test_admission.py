import asyncio
import math

import pytest
from hypothesis import given, settings
from hypothesis.strategies import lists, sampled_from

from repertory.errors import ConfigError, DeadlineExceeded
from repertory.providers.limits import Limits, LimitSettings, LimitsSnapshot, Turn
from repertory.providers.messages import Priority
from repertory.testing import FakeClock
from tests.providers.limits.conftest import LATER, end, limits_of
from tests.virtual_time import LoopClock, run_in_virtual_time


def test_without_limits_all_calls_go_out_at_once() -> None:
    async def burst() -> LimitsSnapshot:
        limits = limits_of()
        assert all(limits.try_acquire("", "normal", 1000) for _ in range(400))
        return limits.snapshot()

    assert run_in_virtual_time(burst()).in_flight == 400


def test_no_more_calls_at_once_than_allowed_and_in_order() -> None:
    async def order() -> tuple[int, list[int]]:
        limits = limits_of(max_concurrency=3)
        running = most = 0
        started = []

        async def call(number: int) -> None:
            nonlocal running, most
            turn = await limits.acquire(LATER)
            running += 1
            most = max(most, running)
            started.append(number)
            await asyncio.sleep(1)
            running -= 1
            end(limits, turn)

        await asyncio.gather(*map(call, range(20)))
        return most, started

    assert run_in_virtual_time(order()) == (3, list(range(20)))


def test_a_turn_handed_to_a_call_that_is_cancelled_meanwhile_goes_to_the_next() -> None:
    async def wait() -> None:
        limits = limits_of(max_concurrency=1)
        turn = await limits.acquire(LATER)
        first, second = (asyncio.ensure_future(limits.acquire(LATER)) for _ in range(2))
        await asyncio.sleep(0)
        end(limits, turn)  # hands the turn to the first ...
        first.cancel()  # ... which never gets to run with it
        await asyncio.wait_for(second, 1)
        assert first.cancelled()
        assert limits.snapshot().in_flight == 1

    run_in_virtual_time(wait())


def test_a_call_that_was_cancelled_a_moment_ago_is_given_no_turn() -> None:
    async def wait() -> None:
        limits = limits_of(max_concurrency=1)
        turn = await limits.acquire(LATER)
        first, second = (asyncio.ensure_future(limits.acquire(LATER)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        end(limits, turn)  # before the first has run to take itself out of the line
        await asyncio.wait_for(second, 1)
        assert first.cancelled()
        assert limits.snapshot().in_flight == 1

    run_in_virtual_time(wait())


def test_a_call_that_was_cancelled_a_moment_before_its_deadline_is_cancelled(clock: FakeClock) -> None:
    async def wait() -> None:
        limits = Limits(LimitSettings(max_concurrency=1), clock)
        turn = await limits.acquire(LATER)
        call = asyncio.ensure_future(limits.acquire(clock.monotonic() + 5))
        await asyncio.sleep(0)
        call.cancel()
        clock.advance(5)
        end(limits, turn)
        await asyncio.wait([call])
        assert call.cancelled()

    run_in_virtual_time(wait())


def test_a_call_whose_task_is_dropped_leaves_the_line() -> None:
    async def drop() -> None:
        limits = limits_of(max_concurrency=1)
        turn = await limits.acquire(LATER)
        call = limits.acquire(LATER)
        call.send(None)
        assert limits.waiting == 1
        call.close()
        assert limits.waiting == 0
        end(limits, turn)
        assert limits.snapshot().in_flight == 0

    run_in_virtual_time(drop())


def test_one_who_waits_is_not_overtaken_by_one_who_comes() -> None:
    async def order() -> None:
        limits = limits_of(max_concurrency=1)
        turn = await limits.acquire(LATER)
        waiting = asyncio.ensure_future(limits.acquire(LATER))
        await asyncio.sleep(0)
        end(limits, turn)
        assert limits.try_acquire("", "normal", 0) is None
        await waiting

    run_in_virtual_time(order())


@settings(max_examples=50)
@given(lists(sampled_from(["start", "start", "end", "cancel", "tick"]), max_size=80))
def test_no_history_of_calls_and_cancellations_loses_a_slot(history: list[str]) -> None:
    async def live() -> None:
        limits = limits_of(max_concurrency=2)
        calls: list[asyncio.Task[Turn]] = []

        def holders() -> list[asyncio.Task[Turn]]:
            return [call for call in calls if call.done() and not call.cancelled()]

        for step in history:
            waiting = [call for call in calls if not call.done()]
            if step == "start":
                calls.append(asyncio.create_task(limits.acquire(LATER)))
            elif step == "end" and holders():
                calls.remove(call := holders()[0])
                end(limits, call.result())
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
                end(limits, call.result())
        await limits.acquire(deadline=LoopClock().monotonic() + 1)
        await limits.acquire(deadline=LoopClock().monotonic() + 1)
        with pytest.raises(DeadlineExceeded):
            await limits.acquire(deadline=LoopClock().monotonic() + 1)

    run_in_virtual_time(live())


def test_the_state_can_be_read() -> None:
    async def state() -> LimitsSnapshot:
        limits = limits_of(max_concurrency=2, tokens_per_minute=1000)
        for _ in range(2):
            await limits.acquire(LATER, tokens=100)
        lined_up: list[tuple[str, Priority]] = [
            ("a", "batch"),
            ("a", "batch"),
            ("b", "batch"),
            ("b", "interactive"),
        ]
        calls = [asyncio.ensure_future(limits.acquire(LATER, *who)) for who in lined_up]
        await asyncio.sleep(0)
        snapshot = limits.snapshot()
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)
        assert limits.waiting == 0
        return snapshot

    assert run_in_virtual_time(state()) == LimitsSnapshot(
        waiting={"interactive": 1, "normal": 0, "batch": 3},
        callers=3,
        in_flight=2,
        concurrency=2,
        tokens_left=800,
        requests_left=None,
        paused_for=0.0,
    )


@pytest.mark.parametrize(
    "wrong",
    [{"max_concurrency": 0}, {"requests_per_minute": -1}, {"tokens_per_minute": math.inf}, {"max_waiting": -1}],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=rf"limits: {next(iter(wrong))} = .*: expected"):
        LimitSettings(**wrong)  # type: ignore[arg-type]  # wrong on purpose
