"""Who stops waiting when."""

import heapq
from itertools import count
from typing import Generic, TypeVar

T = TypeVar("T")


class Deadlines(Generic[T]):
    """Items by the time they stop waiting, so that one timer serves them all. An item must be hashable.

    Invariant: every item of ``_waiting`` is in ``_heap`` once; the others in there are leftovers of ``discard``,
    and never more than those that wait plus ``SLACK``.
    """

    SLACK = 64

    __slots__ = ("_heap", "_order", "_waiting")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, T]] = []
        self._order = count()  # among equal deadlines, and items need not be comparable
        self._waiting: set[T] = set()

    def add(self, item: T, deadline: float) -> None:
        """Watch the item, which is not watched yet."""
        self._waiting.add(item)
        heapq.heappush(self._heap, (deadline, next(self._order), item))

    def discard(self, item: T) -> None:
        """Watch the item no longer."""
        self._waiting.discard(item)
        if len(self._heap) > 2 * len(self._waiting) + self.SLACK:
            self._heap = [entry for entry in self._heap if entry[2] in self._waiting]
            heapq.heapify(self._heap)

    def next(self) -> float | None:
        """The earliest deadline; None if no item is watched."""
        heap = self._heap
        while heap and heap[0][2] not in self._waiting:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def due(self, now: float) -> list[T]:
        """Remove and return the items whose deadline is at ``now`` or before, the earliest first."""
        items = []
        while (deadline := self.next()) is not None and deadline <= now:
            item = heapq.heappop(self._heap)[2]
            self._waiting.remove(item)
            items.append(item)
        return items
