"""A piece of a run's log, and those who wait for it."""

import asyncio

import pytest

from repertory.errors import StoreError
from repertory.store.run_piece import RunPiece, done_piece
from repertory.store.run_rows import NewEvent

ENTRY = NewEvent("a", 2, "step", "{}", 1.0)


async def test_whoever_waits_hears_what_became_of_it_whenever_that_is_told() -> None:
    piece = RunPiece([ENTRY])
    waiting = [asyncio.ensure_future(piece) for _ in range(3)]
    await asyncio.sleep(0)
    piece.tell(True)
    assert await asyncio.gather(*waiting, piece) == [True] * 4
    assert piece.is_new


async def test_one_that_is_cancelled_concerns_neither_it_nor_the_others() -> None:
    piece = RunPiece([ENTRY])
    first, second = asyncio.ensure_future(piece), asyncio.ensure_future(piece)
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    piece.tell(False)
    assert first.cancelled()
    assert await second is False


async def test_what_is_told_first_holds() -> None:
    piece = RunPiece([ENTRY])
    piece.tell(StoreError("the disk is full"))
    piece.tell(True)
    with pytest.raises(StoreError, match="the disk is full"):
        await piece
    assert not piece.is_new


async def test_it_lets_go_of_what_it_held_once_it_is_done() -> None:
    before = done_piece()
    piece = RunPiece([ENTRY], {"0" * 32: b"1"}, 1.0, before)
    assert (piece.entries, piece.before) == ([ENTRY], before)
    piece.tell(True)
    assert (piece.entries, piece.contents, piece.before) == ((), None, None)


@pytest.mark.parametrize("early", [True, False])
async def test_a_callback_comes_once_it_is_done(early: bool) -> None:
    piece, heard = RunPiece([ENTRY]), asyncio.Queue[RunPiece]()
    if early:
        piece.tell(True)
    piece.when_done(heard.put_nowait)
    assert heard.empty()
    piece.tell(True)
    assert await heard.get() is piece
