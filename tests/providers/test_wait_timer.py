"""One timer for many waits: it goes off when one of them lasts too long, and only then."""

import asyncio
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis.strategies import floats, lists, tuples

from repertory.providers.wait_timer import WaitTimer
from tests.virtual_time import run_in_virtual_time

# Apart by a second at least, which no rounding error makes up for.
SECONDS = floats(0, 20).map(round)


def test_a_wait_that_lasts_too_long_is_ended_at_its_time() -> None:
    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        expired: list[float] = []
        timer = WaitTimer(lambda: expired.append(loop.time() - begun))
        begun = loop.time()
        timer.begin(5)
        await asyncio.sleep(20)
        return expired

    (at,) = run_in_virtual_time(main())
    assert math.isclose(at, 5, abs_tol=0.01)


@given(lists(tuples(SECONDS.map(lambda bound: bound + 0.5), SECONDS, SECONDS)))
def test_a_wait_expires_if_and_only_if_it_outlasts_its_bound(waits: list[tuple[float, float, float]]) -> None:
    """However long the waits before it were allowed to be, and whatever time passed between them."""

    async def main() -> list[bool]:
        expired = [False]
        timer = WaitTimer(lambda: expired.append(not expired.pop()))
        for bound, lasts, pause in waits:
            timer.begin(bound)
            await asyncio.sleep(lasts)
            timer.end()
            await asyncio.sleep(pause)
            expired.append(False)
        timer.close()
        return expired[:-1]

    assert run_in_virtual_time(main()) == [lasts > bound for bound, lasts, _ in waits]


def test_a_thousand_short_waits_set_the_loops_timer_only_when_the_time_of_one_has_passed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> int:
        loop = asyncio.get_running_loop()
        timer = WaitTimer(lambda: None)
        set_by: list[object] = []
        call_at = loop.call_at

        def counted(when: float, callback: Callable[..., object], *args: Any, **more: Any) -> asyncio.TimerHandle:
            set_by.append(getattr(callback, "__self__", None))
            return call_at(when, callback, *args, **more)

        monkeypatch.setattr(loop, "call_at", counted)
        for _ in range(1_000):
            timer.begin(60)
            await asyncio.sleep(0.1)
            timer.end()
        timer.close()
        return set_by.count(timer)

    assert run_in_virtual_time(main()) == 2


def test_a_closed_timer_never_goes_off() -> None:
    async def main() -> list[str]:
        expired: list[str] = []
        timer = WaitTimer(lambda: expired.append("late"))
        timer.begin(60)
        timer.close()
        await asyncio.sleep(120)
        return expired

    assert run_in_virtual_time(main()) == []
