"""What an operator says to a breaker, and what outlives it."""

import json
from dataclasses import asdict, replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis.strategies import (
    dictionaries,
    floats,
    integers,
    just,
    lists,
    none,
    one_of,
    recursive,
    sampled_from,
    text,
)

from repertory.errors import CircuitOpen
from repertory.providers.breaker import JITTER, LONGEST_RETRY_AFTER, BreakerSettings, CircuitBreaker
from repertory.providers.breaker_memory import BreakerMemory
from repertory.testing import FakeClock
from tests.providers.breakers import DOWN, NoJitter, breaker, call, opened, state_of


def successor(memory: BreakerMemory, clock: FakeClock, **settings: float) -> CircuitBreaker:
    told = BreakerMemory.parse(json.loads(json.dumps(asdict(memory))))
    assert told == memory
    given = BreakerSettings(**settings)  # type: ignore[arg-type]  # some of them are whole numbers
    return CircuitBreaker(given, clock, NoJitter(), "qa", told)


def reborn(clock: FakeClock, downtime: float = 0.0) -> FakeClock:
    """The clock of another process: its monotonic time begins elsewhere."""
    return FakeClock(monotonic=7.0, time=clock.time() + downtime)


def test_forced_open_refuses_all_and_says_who_did_it(clock: FakeClock) -> None:
    subject = breaker(clock)
    subject.force("open")
    clock.advance(1e6)
    with pytest.raises(
        CircuitOpen, match=r"qa: not called: an operator forced its circuit open\n  .*forced closed"
    ) as it:
        subject.admit()
    assert it.value.retry_after is None
    with pytest.raises(CircuitOpen):
        subject.check()
    assert subject.open_for() == float("inf")
    seen = subject.snapshot()
    assert (seen.state, seen.forced, seen.open_for, seen.shut) == ("open", "open", 0, True)
    assert seen.reason == "an operator forced it open"


def test_a_health_check_does_not_overrule_the_operator(clock: FakeClock) -> None:
    subject = breaker(clock)
    subject.force("open")
    subject.hasten()
    with pytest.raises(CircuitOpen):
        subject.admit()


def test_forced_closed_admits_all_and_counts_nothing(clock: FakeClock) -> None:
    subject = opened(clock)
    subject.force("closed")
    for _ in range(100):
        subject.check()
        call(subject, DOWN)
    seen = subject.snapshot()
    assert (seen.state, seen.forced, seen.calls, seen.reason, seen.shut) == ("closed", "closed", 0, "", False)


def test_given_back_it_starts_anew(clock: FakeClock) -> None:
    subject = opened(clock)
    clock.advance(1)
    call(subject, DOWN)
    assert subject.open_for() == 2
    subject.force("open")
    subject.force(None)
    seen = subject.snapshot()
    assert (seen.state, seen.forced, seen.calls, seen.reason) == ("closed", None, 0, "")
    for _ in range(5):
        assert state_of(subject) == "closed"
        call(subject, DOWN)
    assert subject.open_for() == 1  # the interval begins at the first again


def test_what_nobody_took_cannot_be_given_back(clock: FakeClock) -> None:
    subject = opened(clock)
    subject.force(None)
    assert state_of(subject) == "open"


def test_outcomes_of_calls_from_before_it_was_forced_change_nothing(clock: FakeClock) -> None:
    subject = breaker(clock, minimum_volume=1)
    before = subject.admit()
    subject.force("closed")
    forced = subject.admit()
    subject.record(before, DOWN)
    subject.force(None)
    subject.record(forced, DOWN)
    subject.release(forced)
    assert (state_of(subject), subject.snapshot().calls) == ("closed", 0)


def test_a_successor_stays_open_for_what_was_left(clock: FakeClock) -> None:
    subject = opened(clock, open_seconds=10)
    clock.advance(2)
    later = reborn(clock, downtime=3)
    heir = successor(subject.memory(), later, open_seconds=10)
    assert heir.open_for() == 5
    assert heir.snapshot().reason == subject.snapshot().reason
    with pytest.raises(CircuitOpen):
        heir.admit()
    later.advance(5)
    call(heir, None)
    assert state_of(heir) == "closed"


def test_a_successor_goes_on_from_the_grown_interval(clock: FakeClock) -> None:
    subject = opened(clock)
    for _ in range(3):
        clock.advance(subject.open_for())
        call(subject, DOWN)
    assert subject.open_for() == 8
    later = reborn(clock, downtime=60)
    heir = successor(subject.memory(), later)
    assert heir.open_for() == 0
    call(heir, DOWN)
    assert heir.open_for() == 16


def test_half_open_comes_back_as_open_with_its_interval_over(clock: FakeClock) -> None:
    subject = opened(clock)
    clock.advance(1)
    subject.admit()  # a probe that died with the process
    heir = successor(subject.memory(), reborn(clock))
    assert (state_of(heir), heir.open_for()) == ("open", 0)
    call(heir, None)
    assert state_of(heir) == "closed"


def test_closed_comes_back_closed_without_its_outcomes(clock: FakeClock) -> None:
    subject = breaker(clock)
    for _ in range(4):
        call(subject, DOWN)
    heir = successor(subject.memory(), reborn(clock))
    assert (state_of(heir), heir.snapshot().calls) == ("closed", 0)


@pytest.mark.parametrize("forced", ["open", "closed"])
def test_what_an_operator_forced_holds_over_a_restart(clock: FakeClock, forced: Any) -> None:
    subject = opened(clock)
    subject.force(forced)
    heir = successor(subject.memory(), reborn(clock, downtime=1e6))
    assert heir.snapshot() == subject.snapshot()
    heir.force(None)
    assert state_of(heir) == "closed"


def test_a_wall_clock_that_was_set_back_does_not_keep_it_open(clock: FakeClock) -> None:
    subject = opened(clock)
    heir = successor(subject.memory(), reborn(clock, downtime=-86_400))
    assert heir.open_for() == LONGEST_RETRY_AFTER


def test_new_settings_bound_an_old_interval(clock: FakeClock) -> None:
    memory = replace(opened(clock).memory(), interval=1000.0)
    heir = successor(memory, reborn(clock, downtime=60), open_seconds_cap=4)
    call(heir, DOWN)
    assert heir.open_for() == 4


@given(interval=floats(0, 1e9), left=floats(-1e9, 1e9), seed=integers())
def test_no_memory_keeps_it_open_longer_than_it_could_have_been(interval: float, left: float, seed: int) -> None:
    clock = FakeClock()
    memory = BreakerMemory(None, clock.time() + left, interval, "down")
    subject = CircuitBreaker(BreakerSettings(), clock, Random(seed), "qa", memory)
    assert 0 <= subject.open_for() <= max(LONGEST_RETRY_AFTER, 30 * (1 + JITTER))
    clock.advance(subject.open_for())
    call(subject, DOWN)
    assert 1 <= subject.open_for() <= 30 * (1 + JITTER)


WHOLE = {"forced": None, "open_until": 1_700_000_000.0, "interval": 2.0, "reason": "down"}


def test_a_whole_memory_is_read(clock: FakeClock) -> None:
    assert BreakerMemory.parse(WHOLE) == BreakerMemory(None, 1_700_000_000.0, 2.0, "down")
    assert BreakerMemory.parse({**WHOLE, "forced": "open", "open_until": None, "written_by": "a later version"})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("forced", "ajar"),
        ("forced", True),
        ("open_until", "tomorrow"),
        ("open_until", True),
        ("open_until", float("inf")),
        ("open_until", float("nan")),
        ("open_until", -1),
        ("open_until", 10**400),
        ("interval", None),
        ("interval", float("inf")),
        ("interval", -2.0),
        ("reason", None),
        ("reason", 5),
    ],
)
def test_a_damaged_memory_is_none(field: str, value: object) -> None:
    assert BreakerMemory.parse({**WHOLE, field: value}) is None


@pytest.mark.parametrize("field", list(WHOLE))
def test_a_memory_that_lacks_a_field_is_none(field: str) -> None:
    assert BreakerMemory.parse({name: value for name, value in WHOLE.items() if name != field}) is None


JSON = recursive(
    one_of(none(), integers(), floats(), text(max_size=5), sampled_from(["open", "closed", True])),
    lambda inner: one_of(lists(inner, max_size=3), dictionaries(text(max_size=3), inner, max_size=3)),
    max_leaves=5,
)


@given(one_of(JSON, dictionaries(sampled_from(list(WHOLE)), JSON), just(WHOLE)))
def test_whatever_was_read_makes_a_breaker_or_is_none(value: object) -> None:
    memory = BreakerMemory.parse(value)
    if memory is not None:
        subject = CircuitBreaker(BreakerSettings(), FakeClock(), NoJitter(), memory=memory)
        json.dumps(asdict(subject.memory()), allow_nan=False)
