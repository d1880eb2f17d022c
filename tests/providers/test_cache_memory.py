import math

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from hypothesis.strategies import floats, integers, sampled_from

from repertory.providers.kept_replies import KeptReplies
from repertory.testing import FakeClock

KEYS = sampled_from("abcdef")
TTL, STALE_FOR, MAX_BYTES = 10, 20, 100


def memory(clock: FakeClock, max_bytes: int = MAX_BYTES) -> KeptReplies:
    return KeptReplies(clock, max_bytes, TTL, STALE_FOR)


def test_the_least_recently_used_leaves_first(clock: FakeClock) -> None:
    kept = memory(clock)
    for key in "abcd":
        kept.put(key, b"x" * 25)
    assert kept.fresh("a")
    kept.put("e", b"x")
    assert [key for key in "abcde" if kept.fresh(key)] == ["a", "c", "d", "e"]
    assert kept.size == 76


def test_one_large_answer_drives_out_as_many_as_it_needs_room_for(clock: FakeClock) -> None:
    kept = memory(clock)
    for key in "abcdefghij":
        kept.put(key, b"x" * 10)
    kept.put("k", b"x" * 25)
    assert len(kept) == 8
    assert kept.size == 95


def test_an_answer_larger_than_a_quarter_is_not_kept_nor_is_what_it_replaces(clock: FakeClock) -> None:
    kept = memory(clock)
    kept.put("a", b"x" * 25)
    kept.put("a", b"x" * 26)
    assert kept.fresh_or_stale("a") is None
    assert (len(kept), kept.size) == (0, 0)


def test_an_answer_is_fresh_then_stale_then_gone(clock: FakeClock) -> None:
    kept = memory(clock)
    kept.put("a", b"x", age=1)
    clock.advance(8.75)
    assert kept.fresh("a") == b"x"
    clock.advance(0.25)
    assert kept.fresh("a") is None
    assert kept.fresh_or_stale("a") == b"x"
    clock.advance(20)
    assert kept.fresh_or_stale("a") is None
    assert (len(kept), kept.size) == (0, 0)


def test_a_memory_of_no_bytes_keeps_nothing(clock: FakeClock) -> None:
    kept = memory(clock, max_bytes=0)
    kept.put("a", b"x")
    assert len(kept) == 0


def test_a_memory_that_shrinks_drops_what_was_used_least(clock: FakeClock) -> None:
    kept = memory(clock)
    for key in "abcd":
        kept.put(key, b"x" * 10)
    for key in "aacc":
        kept.fresh(key)
    kept.fresh("b")  # used later than a, but less often
    assert kept.shrink(0.5) == 20
    assert [key for key in "abcd" if kept.fresh(key)] == ["a", "c"]


def test_one_large_answer_goes_before_many_small_ones_of_the_same_use(clock: FakeClock) -> None:
    kept = memory(clock)
    for key in "abcde":
        kept.put(key, b"x" * 5)
    kept.put("large", b"x" * 25)
    assert kept.shrink(0.5) == 25
    assert kept.fresh("large") is None
    assert len(kept) == 5


def test_what_was_used_of_late_is_not_looked_at_however_large_it_is(clock: FakeClock) -> None:
    kept = memory(clock)
    kept.put("a", b"x" * 10)
    kept.put("b", b"x" * 10)
    kept.put("large", b"x" * 25)
    assert kept.shrink(0.2) == 10
    assert kept.fresh("large")


def test_what_nobody_may_have_any_more_goes_first(clock: FakeClock) -> None:
    kept = memory(clock)
    kept.put("old", b"x", age=20)
    kept.fresh_or_stale("old")
    kept.fresh_or_stale("old")
    kept.put("new", b"x" * 20)
    clock.advance(TTL)
    assert kept.shrink(0.01) == 1
    assert kept.fresh_or_stale("new")


@pytest.mark.parametrize(("shrinks", "is_there"), [(1, True), (2, True), (5, False)])
def test_past_fame_outlasts_newer_answers_but_fades(clock: FakeClock, shrinks: int, is_there: bool) -> None:
    kept = memory(clock)
    kept.put("famous", b"x" * 10)
    for _ in range(6):
        kept.fresh("famous")
    for round in range(shrinks):
        for key in range(6):
            kept.put(f"{round} {key}", b"x" * 10)
        kept.shrink(0.6)
    assert (kept.fresh("famous") is not None) == is_there


def test_a_memory_that_gives_up_all_is_empty(clock: FakeClock) -> None:
    kept = memory(clock)
    for key in "abc":
        kept.put(key, b"x" * 10)
    kept.put("empty", b"")
    assert kept.shrink(1.0) == 30
    assert kept.size == 0
    assert kept.shrink(0.5) == 0


class Entry:
    """A text that is kept, as the model sees it."""

    def __init__(self, key: str, text: bytes, made: float) -> None:
        self.key, self.text, self.made, self.uses = key, text, made, 0

    def value(self, now: float) -> float:
        return 0.0 if now - self.made >= TTL + STALE_FOR else (1 + self.uses) / len(self.text)


class Memory(RuleBasedStateMachine):
    """Against a list of entries, the least recently used first, searched from end to end."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.kept = memory(self.clock)
        self.model: list[Entry] = []

    @rule(key=KEYS, size=integers(1, 30), age=sampled_from([0, 0, 5, 9.5, 10, 29, 30]))
    def put(self, key: str, size: int, age: float) -> None:
        text = bytes([size]) * size
        self.kept.put(key, text, age)
        self.drop_from_model(key)
        if size <= 25:
            self.model.append(Entry(key, text, self.clock.monotonic() - age))
        while self.total(self.model) > MAX_BYTES:
            del self.model[0]

    @rule(key=KEYS)
    def fresh(self, key: str) -> None:
        assert self.kept.fresh(key) == self.used(key, TTL)

    @rule(key=KEYS)
    def fresh_or_stale(self, key: str) -> None:
        assert self.kept.fresh_or_stale(key) == self.used(key, TTL + STALE_FOR)

    @rule(key=KEYS)
    def drop(self, key: str) -> None:
        self.kept.drop(key)
        self.drop_from_model(key)

    @rule(share=sampled_from([0.0, 0.1, 0.5, 1.0]))
    def shrink(self, share: float) -> None:
        wanted = math.ceil(self.total(self.model) * share)
        freed = self.kept.shrink(share)
        left = [entry for entry in self.model if entry.key in self.kept._kept]
        gone = [entry for entry in self.model if entry not in left]
        assert freed == self.total(gone) >= wanted
        assert not gone or freed - max(len(entry.text) for entry in gone) < wanted  # no more than needed
        looked_at = [
            entry for place, entry in enumerate(self.model) if self.total(self.model[:place]) < 2 * wanted
        ]
        assert all(entry in looked_at for entry in gone)
        now = self.clock.monotonic()
        stays = [entry for entry in looked_at if entry in left]
        assert all(entry.value(now) <= other.value(now) for entry in gone for other in stays)
        for entry in stays:
            entry.uses //= 2
        self.model = left

    @rule(seconds=floats(0, 15))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def used(self, key: str, younger_than: float) -> bytes | None:
        for entry in self.model:
            if entry.key == key:
                age = self.clock.monotonic() - entry.made
                if age < younger_than:
                    self.model.remove(entry)
                    self.model.append(entry)
                    entry.uses += 1
                    return entry.text
                if age >= TTL + STALE_FOR:
                    self.model.remove(entry)
                return None
        return None

    def drop_from_model(self, key: str) -> None:
        self.model = [entry for entry in self.model if entry.key != key]

    def total(self, entries: list[Entry]) -> int:
        return sum(len(entry.text) for entry in entries)

    @invariant()
    def agrees(self) -> None:
        assert list(self.kept._kept) == [entry.key for entry in self.model]
        assert self.kept.size == self.total(self.model) <= MAX_BYTES


TestMemory = Memory.TestCase
TestMemory.settings = settings(max_examples=60, stateful_step_count=40)
