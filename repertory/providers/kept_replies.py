"""Answers kept in memory: the least recently used leave first when it is full."""

from collections import OrderedDict

from repertory.clock import Clock

PARTS = 4  # a text larger than the memory's part of this number is not kept: it would drive out too many others


class KeptReplies:
    """Texts under keys, with the time they were made at.

    Invariants: ``size`` is the sum of the texts' bytes, at most ``max_bytes``; no text has more than a quarter of
    that; ``_kept`` holds them in the order of their last use, the latest last.

    A text is fresh until it is ``ttl`` old, and stale for ``stale_for`` after that. An older one is dropped when
    it is asked for; until then it takes room like any other that nobody uses, and leaves like it.

    Args:
        clock: What ages are told by.
        max_bytes: Most bytes of all texts together.
        ttl: Seconds.
        stale_for: Seconds.
    """

    __slots__ = ("_clock", "_kept", "_lifetime", "_max_bytes", "_ttl", "size")

    size: int

    def __init__(self, clock: Clock, max_bytes: int, ttl: float, stale_for: float) -> None:
        self._clock = clock
        self._max_bytes = max_bytes
        self._ttl = ttl
        self._lifetime = ttl + stale_for
        self._kept: OrderedDict[str, tuple[bytes, float]] = OrderedDict()  # with the time it was made at
        self.size = 0

    def __len__(self) -> int:
        return len(self._kept)

    def fresh(self, key: str) -> bytes | None:
        """The text under ``key`` if it is fresh: it has been used then."""
        return self._use(key, self._ttl)

    def fresh_or_stale(self, key: str) -> bytes | None:
        """The text under ``key`` if it is fresh or stale: it has been used then."""
        return self._use(key, self._lifetime)

    def put(self, key: str, text: bytes, age: float = 0.0) -> None:
        """Keep ``text``, made ``age`` seconds ago, in place of what is under ``key``; others make room for it.

        If it is too large, nothing is under ``key`` any more.
        """
        self.drop(key)
        if len(text) > self._max_bytes // PARTS:
            return
        self._kept[key] = (text, self._clock.monotonic() - age)
        self.size += len(text)
        while self.size > self._max_bytes:
            _, (unused, _) = self._kept.popitem(last=False)
            self.size -= len(unused)

    def drop(self, key: str) -> None:
        """Keep nothing under ``key``."""
        if (kept := self._kept.pop(key, None)) is not None:
            self.size -= len(kept[0])

    def _use(self, key: str, younger_than: float) -> bytes | None:
        kept = self._kept.get(key)
        if kept is None:
            return None
        text, made = kept
        age = self._clock.monotonic() - made
        if age >= self._lifetime:
            self.drop(key)
        if age >= younger_than:
            return None
        self._kept.move_to_end(key)
        return text
