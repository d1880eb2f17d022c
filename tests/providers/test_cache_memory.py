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


class Memory(RuleBasedStateMachine):
    """Against a list of (key, text, made), the least recently used first, searched from end to end."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.kept = memory(self.clock)
        self.model: list[tuple[str, bytes, float]] = []

    @rule(key=KEYS, size=integers(1, 30), age=sampled_from([0, 0, 5, 9.5, 10, 29, 30]))
    def put(self, key: str, size: int, age: float) -> None:
        text = bytes([size]) * size
        self.kept.put(key, text, age)
        self.model = [entry for entry in self.model if entry[0] != key]
        if size <= 25:
            self.model.append((key, text, self.clock.monotonic() - age))
        while sum(len(entry[1]) for entry in self.model) > MAX_BYTES:
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
        self.model = [entry for entry in self.model if entry[0] != key]

    @rule(seconds=floats(0, 15))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def used(self, key: str, younger_than: float) -> bytes | None:
        for entry in self.model:
            if entry[0] == key:
                age = self.clock.monotonic() - entry[2]
                if age < younger_than:
                    self.model.remove(entry)
                    self.model.append(entry)
                    return entry[1]
                if age >= TTL + STALE_FOR:
                    self.model.remove(entry)
                return None
        return None

    @invariant()
    def agrees(self) -> None:
        assert len(self.kept) == len(self.model)
        assert self.kept.size == sum(len(entry[1]) for entry in self.model) <= MAX_BYTES


TestMemory = Memory.TestCase
TestMemory.settings = settings(max_examples=60, stateful_step_count=40)
