"""The order among the steps of one run that may start: the heaviest first, of equals the longest ready.

Source: with the length of the longest path to the end as weights this is critical-path scheduling: T. C. Hu,
"Parallel Sequencing and Assembly Line Problems", Operations Research 9, 1961.
"""

from collections import OrderedDict
from heapq import heappop, heappush
from typing import Generic, TypeVar

T = TypeVar("T")


class ReadySteps(Generic[T]):
    """Steps by weight, then by when they came. No step is in it twice; removing one does not search.

    Invariant: ``_heaviest`` is a heap that holds each key of ``_levels``, negated, once. A level may be empty
    until its turn comes or the last step leaves.
    """

    __slots__ = ("_heaviest", "_levels", "_size")

    def __init__(self) -> None:
        self._heaviest: list[float] = []
        self._levels: dict[float, OrderedDict[T, None]] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, step: T, weight: float) -> None:
        """Give the step the last place among those of its weight."""
        level = self._levels.get(weight)
        if level is None:
            level = self._levels[weight] = OrderedDict()
            heappush(self._heaviest, -weight)
        level[step] = None
        self._size += 1

    def pop(self) -> T:
        """Take out the first.

        Raises:
            IndexError: There is none.
        """
        while not (level := self._levels[-self._heaviest[0]]):
            del self._levels[-heappop(self._heaviest)]
        step, _ = level.popitem(last=False)
        self._shrink()
        return step

    def remove(self, step: T, weight: float) -> None:
        """Take out a step that was added with this weight.

        Raises:
            KeyError: It is not there.
        """
        del self._levels[weight][step]
        self._shrink()

    def _shrink(self) -> None:
        self._size -= 1
        if not self._size:
            self._levels.clear()
            self._heaviest.clear()
