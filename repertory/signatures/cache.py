"""The cache of compiled signatures: bounded, least recently used goes first, each compiled by one thread only."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import RLock
from typing import Generic, TypeVar

from repertory.errors import ConfigError

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What a cache did so far. ``hits + misses`` is the number of look-ups; ``size`` is what it holds now."""

    hits: int
    misses: int
    evictions: int
    size: int
    limit: int

    @property
    def hit_rate(self) -> float:
        """Share of look-ups that were hits, 0..1; 0 before the first."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else 0.0


@dataclass(slots=True)
class _Making:
    """A value that one thread makes, and how many want it."""

    lock: RLock = field(
        default_factory=RLock
    )  # re-entrant: whoever needs itself runs out of stack, not into a wait
    waiting: int = 0


class BoundedCache(Generic[K, V]):
    """Values by key.

    Invariants: at most ``limit`` values are held. A value is made once however many threads ask for it at a time;
    threads that ask for different keys do not wait for each other. What could not be made is not remembered.

    Args:
        limit: Most values held, 1 or more.
    """

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ConfigError(f"cache limit = {limit}: expected a number above 0", hint="10_000 is the usual one.")
        self._limit = limit
        self._values: OrderedDict[K, V] = OrderedDict()
        self._making: dict[K, _Making] = {}
        # Over everything else, and never held while a value is made. Re-entrant: what the garbage collector
        # destroys, at any moment, may look up a value.
        self._lock = RLock()
        self._hits = self._misses = self._evictions = 0

    def get(self, key: K, make: Callable[[], V]) -> V:
        """The value of ``key``; made by ``make`` if there is none. Raises what ``make`` raises."""
        with self._lock:
            value = self._found(key)
            if value is not None:
                self._hits += 1
                return value
            making = self._making.setdefault(key, _Making())
            making.waiting += 1
        try:
            with making.lock:
                with self._lock:
                    value = self._found(key)  # another thread may have made it meanwhile
                    if value is not None:
                        self._hits += 1
                        return value
                    self._misses += 1
                value = make()
                with self._lock:
                    evicted = self._keep(key, value)
                del evicted  # outside the lock: destroying it may run anybody's code
                return value
        finally:
            with self._lock:
                making.waiting -= 1
                if not making.waiting:
                    del self._making[key]

    def shrink(self, share: float) -> None:
        """Drop ``share`` (0..1) of the values, rounded down: those not used for the longest time."""
        with self._lock:
            dropped = [self._values.popitem(last=False) for _ in range(int(len(self._values) * share))]
            self._evictions += len(dropped)
        del dropped  # outside the lock, as in `get`

    def stats(self) -> CacheStats:
        """The counters."""
        with self._lock:
            return CacheStats(self._hits, self._misses, self._evictions, len(self._values), self._limit)

    def _found(self, key: K) -> V | None:
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def _keep(self, key: K, value: V) -> V | None:
        self._values[key] = value
        if len(self._values) <= self._limit:
            return None
        self._evictions += 1
        return self._values.popitem(last=False)[1]
