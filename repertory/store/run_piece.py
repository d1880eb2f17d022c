"""A piece of a run's log on its way to the disk."""

import asyncio
from collections.abc import Callable, Generator, Sequence
from typing import Any

from repertory.errors import StoreError
from repertory.store.run_rows import Contents, RunEntry


class RunPiece:
    """What is written of one run together, all of it or nothing. Await it to learn whether all was new.

    It is False for a run that is there already; StoreError is raised where the piece could not be written.
    Whoever waits may be cancelled, which concerns nobody else.

    Attributes:
        entries: What is written; nothing once that is done.
        contents: What the entries refer to, by hash.
        at: When that was used.
        before: The piece before it, until that is known to be on disk. Where that could not be written this one is
            not either, so that there is no gap, and nothing that refers to contents which were lost.
        done: Whether it is known what became of it.
        is_new: Whether it is on disk, and all of it was new.
        failure: Why it was not written.
    """

    __slots__ = ("_waiting", "at", "before", "contents", "done", "entries", "failure", "is_new")

    def __init__(
        self,
        entries: Sequence[RunEntry],
        contents: Contents | None = None,
        at: float = 0.0,
        before: "RunPiece | None" = None,
    ) -> None:
        self.entries = entries
        self.contents = contents
        self.at = at
        self.before = before
        self.done = False
        self.is_new = False
        self.failure: StoreError | None = None
        self._waiting: list[asyncio.Future[None]] | None = None  # made for the first; most have one, or none

    def tell(self, outcome: bool | StoreError) -> None:
        """This became of it. What is told first holds."""
        if self.done:
            return
        self.done = True
        if isinstance(outcome, StoreError):
            self.failure = outcome
        else:
            self.is_new = outcome
        self.entries, self.contents, self.before = (), None, None
        if self._waiting is not None:
            for waiter in self._waiting:
                if not waiter.done():
                    waiter.set_result(None)
            self._waiting = None

    def when_done(self, callback: Callable[["RunPiece"], object]) -> None:
        """Have ``callback`` called with it, in a later turn of the loop, once it is known what became of it."""
        if self.done:
            asyncio.get_running_loop().call_soon(callback, self)
        else:
            self._waiter().add_done_callback(lambda _: callback(self))

    def __await__(self) -> Generator[Any, None, bool]:
        if not self.done:
            yield from self._waiter()
        if self.failure is not None:
            raise self.failure
        return self.is_new

    def _waiter(self) -> "asyncio.Future[None]":
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._waiting is None:
            self._waiting = [waiter]
        else:
            self._waiting.append(waiter)
        return waiter


def done_piece() -> RunPiece:
    """One of nothing, which is done."""
    piece = RunPiece(())
    piece.tell(True)
    return piece
