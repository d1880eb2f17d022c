"""Many deadlines, one timer: deadlines are kept in coarse buckets and swept together.

An ask nearly always ends before its deadline; a timer each would cost more than the message itself.
"""

import heapq
from collections.abc import Iterator

from repertory.actors.envelope import Envelope


class Deadlines:
    """Envelopes by the time they expire.

    Invariants: ``_slots`` is a heap of exactly the keys of ``_buckets``; an envelope left in the bucket of
    deadline ``d`` is yielded by the first ``expired(now)`` that comes at least one grain after ``d``, never
    before ``d``.
    """

    GRAIN = 0.02  # seconds

    def __init__(self) -> None:
        self._buckets: dict[int, set[Envelope]] = {}
        self._slots: list[int] = []
        # Most deadlines are those of the default timeout, and so fall into the bucket of the one before.
        self._last_slot = -1
        self._last: set[Envelope] = set()

    def bucket(self, deadline: float) -> set[Envelope]:
        """The bucket of ``deadline``: add an envelope to watch it, discard it once it is settled."""
        slot = int(deadline / self.GRAIN) + 1
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
