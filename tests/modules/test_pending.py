"""Pending predictions: awaited by several, given up by some, and what stands for their fields meanwhile."""

import asyncio
import copy
import operator
import pickle
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from repertory.errors import ProgramError
from repertory.modules import Pending, Prediction
from repertory.modules.pending import Reference


class Held:
    """Work that goes on until it is told to end."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()
        self.begun = 0
        self.cancelled = False

    async def work(self) -> Prediction:
        self.begun += 1
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return Prediction(x="there")


async def awaited(pending: Pending) -> Prediction:
    return await pending


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def at_once() -> Prediction:
    return Prediction(x="there")


@pytest.mark.parametrize(
    "again",
    [
        lambda pending: asyncio.wait_for(pending, 60),
        lambda pending: asyncio.gather(pending),
        lambda pending: asyncio.shield(pending),
        lambda pending: next(iter(asyncio.as_completed([pending]))),
        lambda pending: asyncio.create_task(pending),
        lambda pending: asyncio.ensure_future(pending),
    ],
    ids=["wait_for", "gather", "shield", "as_completed", "create_task", "ensure_future"],
)
async def test_it_may_be_handed_to_asyncio_more_than_once(again: Callable[[Pending], Awaitable[Any]]) -> None:
    pending = Pending("a", at_once)
    first, second = await again(pending), await again(pending)
    assert first == second
    assert await pending == Prediction(x="there")


async def test_two_tasks_may_be_made_of_it_at_once() -> None:
    held = Held()
    pending = Pending("a", held.work)
    async with asyncio.TaskGroup() as group:
        tasks: list[asyncio.Task[Prediction]] = [group.create_task(pending) for _ in range(2)]
        await turns()
        held.may_end.set()
    assert tasks[0].result() is tasks[1].result()
    assert held.begun == 1


async def test_the_work_goes_on_while_somebody_waits_for_it() -> None:
    held = Held()
    pending = Pending("a", held.work)
    gone, stays = (asyncio.create_task(awaited(pending)) for _ in range(2))
    await turns()
    gone.cancel()
    await turns()
    assert (gone.cancelled(), held.cancelled) == (True, False)
    held.may_end.set()
    assert (await stays).x == "there"


async def test_the_work_is_given_up_with_the_last_that_waits() -> None:
    held = Held()
    pending = Pending("a", held.work)
    tasks = [asyncio.create_task(awaited(pending)) for _ in range(3)]
    await turns()
    for task in tasks:
        assert not held.cancelled
        task.cancel()
        await turns()
    assert held.cancelled
    assert all(task.cancelled() for task in tasks)
    assert pending.waiting == 0


async def test_who_waits_for_a_field_waits_for_the_prediction() -> None:
    held = Held()
    pending = Pending("a", held.work)

    async def field() -> Any:
        return await pending.x

    gone, stays = asyncio.create_task(awaited(pending)), asyncio.create_task(field())
    await turns()
    gone.cancel()
    await turns()
    held.may_end.set()
    assert await stays == "there"


async def test_a_task_that_was_cancelled_early_does_not_begin_it() -> None:
    held = Held()
    pending = Pending("a", held.work)
    task: asyncio.Task[Prediction] = asyncio.create_task(pending)
    task.cancel()
    await turns()
    assert (task.cancelled(), held.begun) == (True, 0)
    held.may_end.set()
    assert (await pending).x == "there"


async def test_what_is_not_there_yet_can_be_copied_and_is_the_same() -> None:
    pending = Pending("a", at_once)
    field = pending.x
    for same in (copy.copy, copy.deepcopy):
        assert same(pending) is pending
        assert same(field) is field
        assert same([field])[0] is field or same is copy.copy
    await pending


NEEDS = {
    "text": str,
    "format": lambda value: f"{value}",
    "truth": bool,
    "length": len,
    "loop": list,
    "unpack": lambda value: [*value],
    "membership": lambda value: "a" in value,
    "equality": lambda value: value == "a",
    "order": lambda value: value < 1,
    "hash": hash,
    "sum": lambda value: value + 1,
    "difference": lambda value: 1 - value,
    "quotient": lambda value: value / 2,
    "whole quotient": lambda value: value // 2,
    "power": lambda value: value**2,
    "union": lambda value: {} | value,
    "negative": operator.neg,
    "rounded": round,
    "method": lambda value: value.upper(),
    "keywords": lambda value: dict(**value),
    "pickle": pickle.dumps,
}


@pytest.mark.parametrize("need", NEEDS.values(), ids=NEEDS)
async def test_who_needs_the_value_of_a_reference_is_told_to_await_it(need: Callable[[Any], object]) -> None:
    pending = Pending("a", at_once)
    field = pending.x
    assert isinstance(field, Reference)
    with pytest.raises(ProgramError, match=r"a\.x(\.\w+)? is not there yet"):
        need(field)
    await pending


@pytest.mark.parametrize("look", [list, lambda pending: "x" in pending], ids=["loop", "membership"])
async def test_a_prediction_that_is_not_there_is_not_looked_through(look: Callable[[Any], object]) -> None:
    """Its items are references to whatever one asks for: there would be no end of them."""
    pending = Pending("a", at_once)
    with pytest.raises(TypeError, match=r"'Pending' (object )?is not iterable"):
        look(pending)
    await pending


def test_one_that_was_not_made_whole_has_no_attributes() -> None:
    with pytest.raises(AttributeError):
        _ = Pending.__new__(Pending).heard
