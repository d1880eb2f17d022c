"""Many deadlines, one timer: deadlines are kept in coarse buckets and swept together.

An ask nearly always ends before its deadline; a timer each would cost more than the message itself. The buckets of
far deadlines are coarser: however long the timeouts, there are never more than some thousands of buckets.
"""

import heapq
from collections.abc import Iterator

from repertory.actors.envelope import Envelope

NEAR = 20.0  # seconds; the buckets of deadlines that are nearer have the finest grain
NEVER = 1e9  # seconds, which is thirty years; a timeout as long is none


class Deadlines:
    """Envelopes by the time they expire.

    Invariants: ``_slots`` is a heap of exactly the keys of ``_buckets``; an envelope left in the bucket of
    deadline ``d`` is yielded by the first ``expired(now)`` that comes at least one grain after ``d``, never
    before ``d``. The grain is at most 20 ms or 0.2 % of the timeout, whichever is larger.
    """

    GRAIN = 0.02  # seconds; the finest

    def __init__(self) -> None:
        self._buckets: dict[int, set[Envelope]] = {}
        self._slots: list[int] = []
        # Most deadlines are those of the default timeout, and so fall into the bucket of the one before.
        self._last_slot = -1
        self._last: set[Envelope] = set()

    def bucket(self, deadline: float, doublings: int = 0) -> set[Envelope]:
        """The bucket of ``deadline``: add an envelope to watch it, discard it once it is settled.

        Args:
            doublings: How often to double the grain: `doublings_for` the timeout.
        """
        slot = int(deadline / self.GRAIN) + 1
        if doublings:  # the next of those slots that are left when every other one goes, so many times
            slot = -(-slot >> doublings) << doublings
        if slot == self._last_slot:
            return self._last
        bucket = self._buckets.get(slot)
        if bucket is None:
            bucket = self._buckets[slot] = set()
            heapq.heappush(self._slots, slot)
        self._last_slot, self._last = slot, bucket
        return bucket

    def next_due(self) -> float | None:
        """When the earliest bucket expires; None if there is none."""
        return self._slots[0] * self.GRAIN if self._slots else None

    def expired(self, now: float) -> Iterator[Envelope]:
        """Remove and yield what has expired by ``now``, earliest bucket first."""
        self._last_slot = -1
        while self._slots and self._slots[0] * self.GRAIN <= now:
            yield from self._buckets.pop(heapq.heappop(self._slots))


def doublings_for(timeout: float) -> int:
    """How often to double the grain for a deadline ``timeout`` seconds from now, below `NEVER`."""
    return int(max(0.0, timeout) / NEAR).bit_length()
