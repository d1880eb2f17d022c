"""How short memory is: when a level is entered and left, and what it means for work."""

from typing import get_args

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from hypothesis.strategies import integers, sampled_from

from repertory.errors import ConfigError, Overloaded
from repertory.providers.messages import Priority
from repertory.runtime.memory_levels import LEVELS, PRIORITIES, Level, LevelSettings, MemoryLevels, Reading, shed
from repertory.testing import FakeClock

SETTINGS = LevelSettings(high=0.8, critical=0.9, margin=0.05, dwell=5.0, patience=10.0)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def levels(clock: FakeClock) -> MemoryLevels:
    return MemoryLevels(clock, SETTINGS)


def percent(used: int) -> Reading:
    return Reading(used, 100)


def refused(levels: MemoryLevels) -> set[Priority]:
    found: set[Priority] = set()
    for priority in PRIORITIES:
        try:
            levels.check(priority)
        except Overloaded:
            found.add(priority)
    return found


# --- levels --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("used", "level"), [(79, "normal"), (80, "high"), (89, "high"), (90, "critical")])
def test_a_level_is_entered_with_the_reading_that_reaches_it(
    levels: MemoryLevels, used: int, level: Level
) -> None:
    assert levels.take(percent(used)) == level


def test_a_level_is_left_below_its_share_less_the_margin(levels: MemoryLevels, clock: FakeClock) -> None:
    levels.take(percent(85))
    clock.advance(100)
    assert levels.take(percent(75)) == "high"
    assert levels.take(percent(74)) == "normal"


def test_a_level_lasts_its_time_however_much_is_freed(levels: MemoryLevels, clock: FakeClock) -> None:
    levels.take(percent(85))
    clock.advance(4.9)
    assert levels.take(percent(1)) == "high"
    clock.advance(0.1)
    assert levels.take(percent(1)) == "normal"


def test_the_way_down_has_a_stop_at_every_level(levels: MemoryLevels, clock: FakeClock) -> None:
    levels.take(percent(95))
    seen: list[Level] = []
    for _ in range(4):
        clock.advance(2.5)
        seen.append(levels.take(percent(1)))
    assert seen == ["critical", "high", "high", "normal"]


def test_memory_that_nobody_can_tell_is_not_short(levels: MemoryLevels, clock: FakeClock) -> None:
    assert levels.take(None) == "normal"
    levels.take(percent(85))
    clock.advance(5)
    assert levels.take(None) == "normal"


class Levels(RuleBasedStateMachine):
    """Against ranks and two rows of shares, and the time of the last change."""

    UP, DOWN = (0.80, 0.90), (0.75, 0.85)

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock(monotonic=0.0)
        self.levels = MemoryLevels(self.clock, SETTINGS)
        self.rank = 0
        self.changed = 0.0

    @rule(quarters=integers(0, 80))  # of seconds: their sums are exact
    def wait(self, quarters: int) -> None:
        self.clock.advance(quarters / 4)

    @rule(used=integers(0, 120) | sampled_from([74, 75, 79, 80, 84, 85, 89, 90]))
    def read(self, used: int) -> None:
        self.levels.take(percent(used))
        share, now = used / 100, self.clock.monotonic()
        wanted = sum(share >= up for up in self.UP)
        if wanted > self.rank:
            self.rank, self.changed = wanted, now
        elif self.rank and share < self.DOWN[self.rank - 1] and now >= self.changed + 5.0:
            self.rank, self.changed = self.rank - 1, now

    @invariant()
    def agrees(self) -> None:
        assert self.levels.level == LEVELS[self.rank]
        assert refused(self.levels) == set(PRIORITIES[: self.rank])


TestLevels = Levels.TestCase
TestLevels.settings = settings(max_examples=60, stateful_step_count=40)


# --- what they mean for new work -----------------------------------------------------------------------------


def test_no_priority_is_forgotten() -> None:
    assert set(PRIORITIES) == set(get_args(Priority))
    assert get_args(Level) == LEVELS


def test_the_less_memory_the_more_is_refused_the_least_important_first() -> None:
    assert {level: [each for each in PRIORITIES if shed(each, level)] for level in LEVELS} == {
        "normal": [],
        "high": ["batch"],
        "critical": ["batch", "normal"],
    }


def test_a_refusal_says_what_is_short_and_when_to_ask_again(levels: MemoryLevels, clock: FakeClock) -> None:
    levels.take(Reading(1900 * 2**20, 2000 * 2**20))
    clock.advance(1)
    with pytest.raises(Overloaded, match=r"level critical, 1900 of 2000 MiB are in use\): no new normal") as error:
        levels.check("normal")
    assert error.value.retry_after == 4.0  # critical can be left then
    with pytest.raises(Overloaded) as error:
        levels.check("batch")
    assert error.value.retry_after == 9.0  # and high after as long again
    assert error.value.retryable


def test_nobody_is_told_to_ask_again_at_once(levels: MemoryLevels, clock: FakeClock) -> None:
    levels.take(percent(85))
    clock.advance(1000)
    with pytest.raises(Overloaded) as error:
        levels.check("batch")
    assert error.value.retry_after == 1.0


def test_refusals_are_counted_until_they_are_told(levels: MemoryLevels) -> None:
    levels.take(percent(95))
    refused(levels)
    refused(levels)
    assert levels.turned_away() == {"batch": 2, "normal": 2}
    assert levels.turned_away() == {}


# --- what they mean for work under way -----------------------------------------------------------------------


def test_work_under_way_ends_in_turn_while_critical_lasts(levels: MemoryLevels, clock: FakeClock) -> None:
    levels.take(percent(95))
    told: list[tuple[int, Priority]] = []
    for second in range(45):
        if (priority := levels.next_to_end()) is not None:
            told.append((second, priority))
        clock.advance(1)
    assert told == [(10, "batch"), (20, "normal"), (30, "normal"), (40, "normal")]


def test_when_ending_work_has_not_helped_nothing_at_all_is_begun(levels: MemoryLevels, clock: FakeClock) -> None:
    levels.take(percent(95))
    for _ in range(2):
        clock.advance(10)
        levels.next_to_end()
        assert refused(levels) == {"batch", "normal"}
    clock.advance(10)
    levels.next_to_end()
    assert refused(levels) == {"batch", "normal", "interactive"}
    levels.take(percent(82))
    assert refused(levels) == {"batch"}


def test_nothing_under_way_ends_while_memory_is_only_high(levels: MemoryLevels, clock: FakeClock) -> None:
    levels.take(percent(85))
    clock.advance(1000)
    assert levels.next_to_end() is None


def test_each_time_memory_gets_critical_patience_begins_anew(levels: MemoryLevels, clock: FakeClock) -> None:
    for _ in range(3):
        levels.take(percent(95))
        clock.advance(9)
        assert levels.next_to_end() is None
        assert levels.take(percent(82)) == "high"


# --- settings ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "value"),
    [
        ("high", 0.0),
        ("high", 1.5),
        ("critical", 0.8),
        ("critical", 1.0),
        ("margin", 0.8),
        ("dwell", -1),
        ("patience", 0),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(wrong: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"memory: {wrong} = {value}\n  It must be "):
        LevelSettings(**{wrong: value})
