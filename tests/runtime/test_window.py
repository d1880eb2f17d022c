"""The window of a batch: bounded by rows and by bytes, never shut for good."""

import asyncio

from hypothesis import given
from hypothesis.strategies import integers, lists, one_of, tuples

from repertory.runtime.window import Window

LEAST, MOST, SIZE = 2, 5, 100
ENTER = tuples(integers(0, 150))  # the row's size
LEAVE = integers(0, 4)  # which of the rows inside


@given(lists(one_of(ENTER, LEAVE), max_size=60))
async def test_it_holds_no_more_than_it_may(steps: list[tuple[int] | int]) -> None:
    window = Window(LEAST, MOST, SIZE)
    inside: list[int] = []
    for step in steps:
        if isinstance(step, tuple):
            (size,) = step
            fits = len(inside) < LEAST or (len(inside) < MOST and sum(inside) + size <= SIZE)
            assert window.admits(size) == fits
            if fits:
                await window.enter(size)
                inside.append(size)
        elif inside:
            window.leave(inside.pop(step % len(inside)))


async def test_a_row_enters_as_soon_as_there_is_room() -> None:
    window = Window(1, 10, 100)
    await window.enter(60)
    await window.enter(30)
    third = asyncio.create_task(window.enter(60))
    await asyncio.sleep(0)
    window.leave(30)
    for _ in range(3):
        await asyncio.sleep(0)
    assert not third.done()  # 30 bytes less are not enough
    window.leave(60)
    await third
    assert not window.admits(60)
