"""A cache's answers in the store: what outlives the process, and may fail without failing a call."""

import asyncio
import math
from functools import partial

from repertory.clock import Clock
from repertory.errors import StoreError
from repertory.events import CacheStoreFailed, Hooks
from repertory.store.replies import Replies, StoredReply

PATIENCE = 1.0  # seconds a call waits for the store before it asks the model
PAUSE = 5.0  # seconds between two attempts at a store that has failed
PRUNING = 600.0  # seconds between two deletions of what nobody wants any more
LAST_WRITES = 5.0  # seconds a close waits for writes under way


class CacheStore:
    """Reads and writes answers, and tells of failures instead of raising them.

    Invariants: at most ``most_unwritten`` bytes are on their way to the store; further ones are not written. After
    a failure, one read or write every ``PAUSE`` seconds tries the store; it is used again when one succeeded.

    Args:
        replies: The store's table.
        clock: What ages and pauses are told by.
        lifetime: Seconds an answer is kept.
        most_unwritten: Bytes.
        endpoint: What events name.
        hooks: Told of the first failure of each spell.

    Attributes:
        stored: Answers written.
        failures: Reads and writes that failed.
    """

    __slots__ = (
        *("_again", "_clock", "_endpoint", "_hooks", "_lifetime", "_most_unwritten", "_prune", "_replies"),
        *("_unwritten", "_well", "_writes", "failures", "stored"),
    )

    def __init__(
        self,
        replies: Replies,
        clock: Clock,
        *,
        lifetime: float,
        most_unwritten: int,
        endpoint: str,
        hooks: Hooks,
    ) -> None:
        self._replies = replies
        self._clock = clock
        self._lifetime = lifetime
        self._most_unwritten = most_unwritten
        self._endpoint = endpoint
        self._hooks = hooks
        self._well = True
        self._again = -math.inf  # when a store that is not well is tried again
        self._prune = -math.inf
        self._writes: set[asyncio.Future[None]] = set()
        self._unwritten = 0
        self.stored = 0
        self.failures = 0

    async def get(self, key: str) -> tuple[bytes, float] | None:
        """The answer under ``key`` and its age in seconds; None if there is none of use, or the store fails."""
        if not self._may_try():
            return None
        try:
            async with asyncio.timeout(PATIENCE):
                found = await self._replies.get(key)
        except StoreError as error:
            self._fail(error)
            return None
        except TimeoutError:
            self._fail(StoreError(f"the store did not answer within {PATIENCE:g} s"))
            return None
        self._well = True
        if found is None:
            return None
        age = self._clock.time() - found.made_at
        return (found.data.encode(), age) if age < self._lifetime else None

    def put(self, key: str, text: bytes) -> None:
        """Have an answer written that is new now."""
        if self._unwritten + len(text) > self._most_unwritten or not self._may_try():
            return
        now = self._clock.time()
        try:
            write = self._replies.put(StoredReply(key, text.decode(), now, now + self._lifetime))
            self._track(write, len(text))
            if self._clock.monotonic() >= self._prune:
                self._prune = self._clock.monotonic() + PRUNING
                self._track(self._replies.delete_before(now), 0)
        except StoreError as error:  # it is closed
            self._fail(error)

    async def close(self) -> None:
        """Wait for the writes under way."""
        if self._writes:
            _, late = await asyncio.wait(self._writes, timeout=LAST_WRITES)
            for write in late:
                write.cancel()

    def _track(self, write: asyncio.Future[None], size: int) -> None:
        self._writes.add(write)
        self._unwritten += size
        write.add_done_callback(partial(self._end, size))

    def _end(self, size: int, write: asyncio.Future[None]) -> None:
        self._writes.discard(write)
        self._unwritten -= size
        error = StoreError("the cache was closed before the write") if write.cancelled() else write.exception()
        if error is not None:
            self._fail(error)
            return
        self._well = True
        self.stored += size > 0  # deletions have no size

    def _may_try(self) -> bool:
        if self._well:
            return True
        now = self._clock.monotonic()
        if now < self._again:
            return False
        self._again = now + PAUSE
        return True

    def _fail(self, error: BaseException) -> None:
        self.failures += 1
        if self._well:
            self._well = False
            self._again = self._clock.monotonic() + PAUSE
            if self._hooks:
                self._hooks.emit(CacheStoreFailed(self._endpoint, error))
