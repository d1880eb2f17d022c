"""What the tests of this room share: a clock moved by hand, and a way to let its time pass."""

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

import pytest

from repertory.testing import FakeClock

T = TypeVar("T")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


async def let_time_pass(clock: FakeClock, work: Coroutine[None, None, T]) -> T:
    """Run ``work``; whenever it sleeps on ``clock``, move the clock to the end of that sleep."""
    task = asyncio.ensure_future(work)
    while not task.done():
        asleep = asyncio.ensure_future(clock.until_asleep())
        await asyncio.wait([task, asleep], return_when=asyncio.FIRST_COMPLETED)
        asleep.cancel()
        await asyncio.wait([asleep])
        if not task.done():
            wait = clock.next_wake()
            assert wait is not None
            clock.advance(wait)
    return task.result()
