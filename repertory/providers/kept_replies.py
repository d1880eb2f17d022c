"""Answers kept in memory: when it is full the least recently used leave; when it shrinks, the least valuable.

Value per byte: GreedyDual-Size with Frequency (Cherkasova, "Improving WWW Proxies Performance with
Greedy-Dual-Size-Frequency Caching Policy", HP Labs report HPL-98-69R1, 1998), for answers that all cost the same.
"""

import math
from collections import OrderedDict
from dataclasses import dataclass

from repertory.clock import Clock

PARTS = 4  # a text larger than the memory's part of this number is not kept: it would drive out too many others


@dataclass(eq=False, slots=True)
class _Kept:
    """A text, when it was made, and how often it was used of late."""

    text: bytes
    made: float
    uses: int = 0


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
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
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
        self._kept[key] = _Kept(text, self._clock.monotonic() - age)
        self.size += len(text)
        while self.size > self._max_bytes:
            _, unused = self._kept.popitem(last=False)
            self.size -= len(unused.text)

    def shrink(self, share: float) -> int:
        """Drop ``share`` (0..1) of the bytes, what is worth least per byte first; return how many bytes went.

        Looked at are those unused for longest that make up twice the bytes. Of these the ones used least per byte
        go, and the uses of the others count half from then on: past fame fades.
        """
        wanted = math.ceil(self.size * share)
        candidates = self._unused_longest(2 * wanted)
        now = self._clock.monotonic()
        candidates.sort(key=lambda key: self._value(self._kept[key], now))
        freed = 0
        for key in candidates:
            kept = self._kept[key]
            if freed >= wanted:
                kept.uses //= 2
            else:
                freed += len(kept.text)
                self.drop(key)
        return freed

    def drop(self, key: str) -> None:
        """Keep nothing under ``key``."""
        if (kept := self._kept.pop(key, None)) is not None:
            self.size -= len(kept.text)

    def _unused_longest(self, size: int) -> list[str]:
        """The keys used least recently whose texts make up ``size`` bytes, in that order."""
        keys: list[str] = []
        found = 0
        for key, kept in self._kept.items():
            if found >= size:
                break
            keys.append(key)
            found += len(kept.text)
        return keys

    def _value(self, kept: _Kept, now: float) -> float:
        """What a byte of it is worth; nothing where it is too old for anybody."""
        if now - kept.made >= self._lifetime:
            return 0.0
        return (1 + kept.uses) / max(1, len(kept.text))

    def _use(self, key: str, younger_than: float) -> bytes | None:
        kept = self._kept.get(key)
        if kept is None:
            return None
        age = self._clock.monotonic() - kept.made
        if age >= self._lifetime:
            self.drop(key)
        if age >= younger_than:
            return None
        self._kept.move_to_end(key)
        kept.uses += 1
        return kept.text
