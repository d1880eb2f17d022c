"""The injected clock: where decisions, waits and records get the time from."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """What decisions and waits need to know of time. Tests hand in a clock they advance by hand."""

    def monotonic(self) -> float:
        """Seconds on a clock that never goes backwards; deadlines are points on it."""
        ...

    def time(self) -> float:
        """Seconds since the Unix epoch, for records people read."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds``; cancellable."""
        ...


class SystemClock:
    """The machine's clock."""

    __slots__ = ()

    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds``; cancellable."""
        await asyncio.sleep(seconds)
