"""A queue that shares turns: by weight between classes, in turn between callers, in order within a caller.

Sources: Carl A. Waldspurger, William E. Weihl, "Stride Scheduling: Deterministic Proportional-Share Resource
Management", MIT, 1995; for callers in turn John Nagle, "On Packet Switches With Infinite Storage", RFC 970, 1985.
"""

from collections import OrderedDict
from itertools import islice
from types import MappingProxyType
from typing import Generic, TypeVar

from repertory.providers.messages import Priority

WEIGHTS: MappingProxyType[Priority, int] = MappingProxyType({"interactive": 16, "normal": 4, "batch": 1})
STRIDE = 16  # of a class of weight 1; a multiple of every weight
CALLERS_COUNTED = 256  # most callers looked at to foresee a place in the queue

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Items of callers; each has its place until it is popped or removed, neither of which searches.

    While all classes have items, of 21 turns 16 are interactive, 4 normal and 1 batch. While two callers of one
    class have items, the turns they get differ by at most one. An item must be hashable.

    Attributes:
        size: How many items there are.

    Invariants: a caller is in its class exactly while it has items there, the one whose turn is next first; the
    class served next is, of those with items, the one whose ``due`` is lowest. ``due`` is at least the ``_now`` at
    which the class last got its first item: what a class did not use while it was empty is not owed to it.
    """

    __slots__ = ("_classes", "_now", "size")

    def __init__(self) -> None:
        self._classes = {priority: _Class[T](STRIDE // weight) for priority, weight in WEIGHTS.items()}
        self._now = 0  # where the class served last was due
        self.size = 0

    def __len__(self) -> int:
        return self.size

    def add(self, item: T, caller: str, priority: Priority) -> None:
        """Give the item the last place of its caller."""
        group = self._classes[priority]
        if not group.size:
            group.due = max(group.due, self._now)
        items = group.callers.get(caller)
        if items is None:
            items = group.callers[caller] = OrderedDict()
        items[item] = None
        group.size += 1
        self.size += 1

    def remove(self, item: T, caller: str, priority: Priority) -> bool:
        """Take the item out, wherever it is; return whether it was there."""
        group = self._classes[priority]
        items = group.callers.get(caller)
        if items is None or item not in items:
            return False
        del items[item]
        if not items:
            del group.callers[caller]
        group.size -= 1
        self.size -= 1
        return True

    def head(self) -> T:
        """The item whose turn is next.

        Raises:
            IndexError: There is none.
        """
        return next(iter(next(iter(self._next().callers.values()))))

    def pop(self) -> T:
        """Take out the item whose turn is next, and count the turn.

        Raises:
            IndexError: There is none.
        """
        group = self._next()
        caller, items = next(iter(group.callers.items()))
        item, _ = items.popitem(last=False)
        if items:
            group.callers.move_to_end(caller)
        else:
            del group.callers[caller]
        group.size -= 1
        self.size -= 1
        self._now = group.due
        group.due += group.stride
        return item

    def ahead(self, caller: str, priority: Priority) -> int:
        """At least how many turns come before the one of an item added now.

        What is removed in the meantime may make them fewer, what is added may make them more.
        """
        group = self._classes[priority]
        own = len(group.callers.get(caller, ()))
        # Each round gives every caller of the class one turn; a newcomer's round ends with its own.
        rounds = max(1, own)
        turns = own + sum(
            min(len(items), rounds)
            for name, items in islice(group.callers.items(), CALLERS_COUNTED)
            if name != caller
        )
        due = (group.due if group.size else max(group.due, self._now)) + turns * group.stride
        others = sum(
            max(0, min(other.size, -((other.due - due) // other.stride)))  # due before it
            for other in self._classes.values()
            if other is not group
        )
        return turns + others

    def waiting(self) -> dict[Priority, int]:
        """How many items each class has."""
        return {priority: group.size for priority, group in self._classes.items()}

    def callers(self) -> int:
        """How many callers have items; one that has some in two classes counts twice."""
        return sum(len(group.callers) for group in self._classes.values())

    def _next(self) -> "_Class[T]":
        busy = [group for group in self._classes.values() if group.size]
        if not busy:
            raise IndexError("the queue is empty")
        return min(busy, key=_due)  # of equals the first, which is the weightier


class _Class(Generic[T]):
    __slots__ = ("callers", "due", "size", "stride")

    def __init__(self, stride: int) -> None:
        self.stride = stride  # how much later it is due after each turn
        self.due = 0
        self.size = 0
        self.callers: OrderedDict[str, OrderedDict[T, None]] = OrderedDict()


def _due(group: "_Class[T]") -> int:
    return group.due
