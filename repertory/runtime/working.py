"""How much work is under way, for whoever waits until there is none."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Working:
    """Counts those who are within it: ``with working: ...``.

    Once it ``winds_up``, what can as well be done by another process begins no more: within
    ``async with working: ...`` nobody comes any longer; whoever is before it waits there until it is cancelled.

    Invariant: ``idle`` is set exactly while ``count`` is 0.
    """

    __slots__ = ("count", "idle", "winds_up")

    def __init__(self) -> None:
        self.count = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self.winds_up = False

    def enter(self) -> None:
        """Come within; `leave` follows."""
        if not self.count:
            self.idle.clear()
        self.count += 1

    def leave(self, *_error: object) -> None:
        """Be within no more."""
        self.count -= 1
        if not self.count:
            self.idle.set()

    __enter__ = enter
    __exit__ = leave

    async def __aenter__(self) -> None:
        if self.winds_up:
            await self.stand_still()
        self.enter()

    async def __aexit__(self, *_error: object) -> None:
        self.leave()

    async def during(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of ``work``, which begins and ends within."""
        try:
            async with self:
                return await work
        finally:
            work.close()

    async def stand_still(self) -> None:
        """Return unless it winds up."""
        if self.winds_up:
            await asyncio.get_running_loop().create_future()
