"""How many requests an endpoint is sent at once and a minute.

The rate is aiolimiter's leaky bucket. Concurrency is a queue of our own: its slots are handed from call to call.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine
from contextlib import suppress

from aiolimiter import AsyncLimiter

from repertory.clock import Clock
from repertory.errors import DeadlineExceeded

MINUTE = 60.0


class Limits:
    """Admits calls to an endpoint: ``await acquire(deadline)``, then exactly one ``release()``.

    Callers are served in the order they came. A wait that cannot end before the deadline fails at once where
    that is known, else at the deadline. A cancelled or failed ``acquire`` holds nothing.

    Args:
        clock: What deadlines are points on.
        max_concurrency: Most calls between ``acquire`` and ``release``; None is no limit.
        requests_per_minute: Most calls admitted in any minute; None is no limit. They are spread over the
            minute: at most a sixtieth of them, and at least one, may come as a burst.
        endpoint: The endpoint's name, for errors.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        max_concurrency: int | None = None,
        requests_per_minute: float | None = None,
        endpoint: str = "endpoint",
    ) -> None:
        self._clock = clock
        self._endpoint = endpoint
        self._slots = _Slots(max_concurrency) if max_concurrency is not None else None
        self._rate = _spread(requests_per_minute) if requests_per_minute is not None else None
        # Only the first in line asks the bucket: aiolimiter lets late comers overtake those it is waking.
        self._turnstile = _Slots(1)
        self._rate_waiters = 0

    @property
    def waiting(self) -> int:
        """Calls waiting to be admitted."""
        return self._rate_waiters + (self._slots.waiting if self._slots is not None else 0)

    async def acquire(self, deadline: float) -> None:
        """Wait until the call may be made.

        Raises:
            DeadlineExceeded: It could not be admitted before ``deadline``, a point on the clock.
        """
        slots = self._slots
        if slots is not None and not slots.take():
            await self._before(deadline, slots.wait())
        rate = self._rate
        if rate is None:
            return
        try:
            if self._rate_waiters == 0 and rate.has_capacity():
                await rate.acquire()  # does not suspend: there is capacity
            else:
                await self._wait_for_rate(rate, deadline)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Give back what ``acquire`` took; the call has ended."""
        if self._slots is not None:
            self._slots.give_back()

    async def _wait_for_rate(self, rate: AsyncLimiter, deadline: float) -> None:
        # Those ahead drain at the bucket's rate, so this call is admitted no sooner than all of them.
        soonest = self._clock.monotonic() + self._rate_waiters * rate.time_period / rate.max_rate
        if soonest >= deadline:
            raise self._too_late()
        self._rate_waiters += 1
        try:
            await self._before(deadline, self._pass_turnstile(rate))
        finally:
            self._rate_waiters -= 1

    async def _pass_turnstile(self, rate: AsyncLimiter) -> None:
        if not self._turnstile.take():
            await self._turnstile.wait()
        try:
            await rate.acquire()
        finally:
            self._turnstile.give_back()

    async def _before(self, deadline: float, turn: Coroutine[None, None, None]) -> None:
        try:
            async with asyncio.timeout(deadline - self._clock.monotonic()):
                await turn
        except TimeoutError:
            raise self._too_late() from None

    def _too_late(self) -> DeadlineExceeded:
        return DeadlineExceeded(f"{self._endpoint}: the deadline passed while the call waited for its turn")


def _spread(requests_per_minute: float) -> AsyncLimiter:
    """A bucket that lets at most ``requests_per_minute`` through in any minute, the worst one included.

    A bucket of ``burst`` that refills ``r`` a second lets ``burst + 60 * r - 1`` through in a minute that starts
    with a full bucket; solved for ``r``.
    """
    burst = max(1.0, requests_per_minute // MINUTE)
    per_second = (requests_per_minute - burst + 1) / MINUTE
    return AsyncLimiter(burst, burst / per_second)


class _Slots:
    """A counted set of slots with a first-come queue.

    Invariant: while anyone waits no slot is free; a slot given back goes straight to the first waiter.
    """

    __slots__ = ("_free", "_queue")

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._queue: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def take(self) -> bool:
        """Take a free slot; return whether there was one."""
        if not self._free:
            return False
        self._free -= 1
        return True

    async def wait(self) -> None:
        """Queue for a slot and take it."""
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                with suppress(ValueError):  # `give_back` may have dropped it already
                    self._queue.remove(turn)
            else:
                # Cancelled between being handed the slot and running: the slot is ours to pass on.
                self.give_back()
            raise

    def give_back(self) -> None:
        """Hand a slot to the first who still waits, or put it back."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
