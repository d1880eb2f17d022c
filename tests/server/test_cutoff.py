"""The cutoff: ends work, not the tasks that do it."""

import asyncio

import pytest

from repertory.errors import RuntimeClosed
from repertory.server.cutoff import Cutoff


class Workers:
    """Tasks that wait inside a cutoff until they are ended."""

    def __init__(self, cutoff: Cutoff) -> None:
        self.began = asyncio.Semaphore(0)
        self.cancelled = 0
        self._cutoff = cutoff

    async def work(self) -> None:
        async with self._cutoff.covering():
            self.began.release()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise


async def test_what_is_under_way_is_cancelled_and_told_why() -> None:
    cutoff = Cutoff()
    workers = Workers(cutoff)
    tasks = [asyncio.create_task(workers.work()) for _ in range(3)]
    for _ in tasks:
        await workers.began.acquire()
    cutoff.cut()
    cutoff.cut()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [RuntimeClosed] * 3
    assert workers.cancelled == 3


async def test_what_comes_later_is_not_begun() -> None:
    cutoff = Cutoff()
    cutoff.cut()
    with pytest.raises(RuntimeClosed):
        await Workers(cutoff).work()


async def test_the_tasks_own_cancellation_stays_one() -> None:
    workers = Workers(Cutoff())
    task = asyncio.create_task(workers.work())
    await workers.began.acquire()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_timeout_inside_is_not_mistaken_for_a_cut() -> None:
    with pytest.raises(TimeoutError):
        async with Cutoff().covering():
            raise TimeoutError


async def test_what_ended_in_time_is_left_alone() -> None:
    cutoff = Cutoff()
    async with cutoff.covering():
        pass
    cutoff.cut()
    await asyncio.sleep(0)
