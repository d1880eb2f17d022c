"""The window of a batch: which rows may be between reading and handing out."""

import asyncio


class Window:
    """Lets rows in, by their number and by the bytes they were read from.

    Invariant: ``least`` rows may always be inside; further ones only while they are fewer than ``most`` and, with
    the one that comes, hold no more than ``size`` bytes.

    Rows end in any order and are handed out in order, so one slow row keeps all that come after it inside: their
    number alone would not bound the memory, as one row has ten bytes and another a million.

    Args:
        least: At least 1, so that the row all others wait for is inside.
    """

    def __init__(self, least: int, most: int, size: int) -> None:
        self._least = least
        self._most = most
        self._most_size = size
        self._rows = 0
        self._size = 0
        self._left = asyncio.Event()

    async def enter(self, size: int) -> None:
        """Return once a row of ``size`` bytes is inside; for one caller at a time.

        There is no deadline of its own: each row that is waited for has one.
        """
        while not self.admits(size):
            self._left.clear()
            await self._left.wait()
        self._rows += 1
        self._size += size

    def leave(self, size: int) -> None:
        """A row of ``size`` bytes is handed out."""
        self._rows -= 1
        self._size -= size
        self._left.set()

    def admits(self, size: int) -> bool:
        """Whether a row of ``size`` bytes may enter now."""
        if self._rows < self._least:
            return True
        return self._rows < self._most and self._size + size <= self._most_size
