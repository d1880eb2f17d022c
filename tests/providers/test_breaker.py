from random import Random

import pytest

from repertory.errors import (
    BudgetExceeded,
    CircuitOpen,
    ConfigError,
    DeadlineExceeded,
    EndpointOverloaded,
    LMAuthError,
    LMError,
    LMModelUnknown,
    LMRateLimited,
    LMReplyMalformed,
    LMRequestRejected,
    LMServerError,
    LMTimeout,
    PriceUnknown,
    RepertoryError,
)
from repertory.providers.breaker import JITTER, BreakerSettings, CircuitBreaker
from repertory.testing import FakeClock
from tests.providers.breakers import DOWN, breaker, call, opened, state_of

FAILURES = [
    DOWN,
    LMTimeout("slow"),
    LMServerError("500"),
    LMReplyMalformed("<html>"),
    LMError("?"),
    DeadlineExceeded("late"),
    RepertoryError("??"),
]
NO_SIGNS = [
    LMRequestRejected("bad request"),
    LMModelUnknown("no such model"),
    LMRateLimited("slow down"),
    CircuitOpen("not called"),
    EndpointOverloaded("not called"),
    BudgetExceeded("not called", account="team"),
    PriceUnknown("not called"),
]
OPEN_AT_ONCE = [LMAuthError("no credit")]


def test_opens_when_enough_calls_failed(clock: FakeClock) -> None:
    subject = breaker(clock)
    for outcome in (None, None, DOWN, DOWN):
        call(subject, outcome)
    assert state_of(subject) == "closed"  # 2 of 4: the rate is reached, the volume is not
    call(subject, DOWN)
    assert state_of(subject) == "open"


def test_failures_that_left_the_window_do_not_count(clock: FakeClock) -> None:
    subject = breaker(clock)
    for _ in range(4):
        call(subject, DOWN)
    clock.advance(120)
    call(subject, DOWN)
    assert state_of(subject) == "closed"
    assert subject.snapshot().failures == 1


def test_four_callers_at_a_time_who_wait_a_minute_each_open_it(clock: FakeClock) -> None:
    subject = breaker(clock)
    for _ in range(4):
        call(subject, DOWN)
    clock.advance(60)
    call(subject, DOWN)
    assert state_of(subject) == "open"


def test_the_window_holds_the_latest_calls_only(clock: FakeClock) -> None:
    subject = breaker(clock, window_calls=5)
    for outcome in (None, None, None, None, None, DOWN, DOWN):
        call(subject, outcome)
    assert state_of(subject) == "closed"
    call(subject, DOWN)
    assert state_of(subject) == "open"


def test_an_open_circuit_says_when_to_ask_again(clock: FakeClock) -> None:
    subject = opened(clock)
    clock.advance(0.25)
    with pytest.raises(CircuitOpen, match=r"qa: not called: its circuit is open for another 0\.8 s") as refusal:
        subject.admit()
    assert refusal.value.retry_after == 0.75
    assert refusal.value.endpoint == "qa"


def test_it_is_shut_until_a_call_may_probe(clock: FakeClock) -> None:
    assert not breaker(clock).snapshot().shut
    subject = opened(clock)
    assert subject.snapshot().shut
    clock.advance(1)
    assert not subject.snapshot().shut
    subject.admit()
    assert not subject.snapshot().shut


def test_half_open_admits_exactly_its_probes(clock: FakeClock) -> None:
    subject = opened(clock, probes=3)
    clock.advance(1)
    admitted = 0
    for _ in range(20):
        try:
            subject.admit()
        except CircuitOpen:
            continue
        admitted += 1
    assert admitted == 3


def test_closes_when_every_probe_succeeded(clock: FakeClock) -> None:
    subject = opened(clock, probes=2)
    clock.advance(1)
    first, second = subject.admit(), subject.admit()
    subject.record(first, None)
    assert state_of(subject) == "half_open"
    with pytest.raises(CircuitOpen):
        subject.admit()  # one success and one probe under way make two
    subject.record(second, None)
    assert state_of(subject) == "closed"


def test_a_cancelled_probe_gives_its_permit_back(clock: FakeClock) -> None:
    subject = opened(clock)
    clock.advance(1)
    subject.release(subject.admit())
    assert state_of(subject) == "half_open"
    call(subject, None)
    assert state_of(subject) == "closed"


def test_the_open_interval_doubles_up_to_its_cap_and_starts_over_after_success(clock: FakeClock) -> None:
    subject = opened(clock, open_seconds=1, open_seconds_cap=5)
    intervals = [subject.open_for()]
    for _ in range(4):
        clock.advance(subject.open_for())
        call(subject, DOWN)
        intervals.append(subject.open_for())
    assert intervals == [1, 2, 4, 5, 5]
    clock.advance(5)
    call(subject, None)
    for _ in range(5):
        call(subject, DOWN)
    assert subject.open_for() == 1


def test_jitter_lengthens_the_interval(clock: FakeClock) -> None:
    intervals = set()
    for seed in range(50):
        subject = CircuitBreaker(BreakerSettings(minimum_volume=1), clock, Random(seed))
        call(subject, DOWN)
        intervals.add(subject.open_for())
    assert len(intervals) == 50
    assert min(intervals) >= 1
    assert max(intervals) <= 1 + JITTER


def test_retry_after_is_a_floor_of_the_interval(clock: FakeClock) -> None:
    subject = breaker(clock, minimum_volume=1)
    call(subject, LMServerError("maintenance", retry_after=120))
    assert subject.open_for() == 120


def test_a_retry_after_of_a_day_is_obeyed_for_five_minutes(clock: FakeClock) -> None:
    subject = breaker(clock, minimum_volume=1)
    call(subject, LMServerError("maintenance", retry_after=86_400))
    assert subject.open_for() == 300


def test_an_interval_longer_than_the_cap_does_not_shrink_when_a_probe_fails(clock: FakeClock) -> None:
    subject = opened(clock, open_seconds=60, open_seconds_cap=30)
    clock.advance(60)
    call(subject, DOWN)
    assert subject.open_for() == 60


def every(kind: type[LMError]) -> set[type[LMError]]:
    return {kind}.union(*(every(each) for each in kind.__subclasses__() if each.__module__ == "repertory.errors"))


def test_what_each_class_of_errors_means_is_decided() -> None:
    decided = {type(error) for error in (*FAILURES, *NO_SIGNS, *OPEN_AT_ONCE)}
    assert every(LMError) <= decided


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: error.code)
def test_faults_of_the_endpoint_count(clock: FakeClock, error: RepertoryError) -> None:
    subject = breaker(clock)
    for _ in range(5):
        assert state_of(subject) == "closed"
        call(subject, error)
    assert state_of(subject) == "open"
    clock.advance(1)
    call(subject, error)
    assert state_of(subject) == "open"


@pytest.mark.parametrize("error", OPEN_AT_ONCE, ids=lambda error: error.code)
def test_refused_credentials_open_at_once(clock: FakeClock, error: RepertoryError) -> None:
    subject = breaker(clock)
    for _ in range(19):
        call(subject, None)
    call(subject, error)
    assert state_of(subject) == "open"


def test_refused_credentials_open_at_once_when_half_open(clock: FakeClock) -> None:
    subject = opened(clock, probes=3)
    clock.advance(1)
    probes = [subject.admit() for _ in range(3)]
    subject.record(probes[0], None)
    subject.record(probes[1], LMAuthError("no credit"))
    assert state_of(subject) == "open"
    assert subject.open_for() == 2


@pytest.mark.parametrize("error", NO_SIGNS, ids=lambda error: error.code)
def test_what_is_no_sign_of_ill_health_never_counts(clock: FakeClock, error: LMError) -> None:
    subject = breaker(clock)
    for _ in range(50):
        call(subject, error)
    assert subject.snapshot().calls == 0
    subject = opened(clock)
    clock.advance(1)
    call(subject, error)
    assert state_of(subject) == "half_open"
    call(subject, None)
    assert state_of(subject) == "closed"


def test_outcomes_of_calls_from_before_a_change_change_nothing(clock: FakeClock) -> None:
    subject = breaker(clock)
    slow = [subject.admit() for _ in range(3)]
    for _ in range(5):
        call(subject, DOWN)
    subject.record(slow[0], None)
    assert state_of(subject) == "open"
    clock.advance(1)
    probe = subject.admit()
    subject.record(slow[1], None)
    subject.release(slow[2])
    with pytest.raises(CircuitOpen):
        subject.admit()  # the probe's place is still taken
    subject.record(probe, None)
    assert state_of(subject) == "closed"


def test_a_slow_call_that_is_no_sign_of_health_never_counts(clock: FakeClock) -> None:
    subject = breaker(clock, slow_seconds=2)
    for _ in range(50):
        call(subject, LMRequestRejected("bad request"), 9)
    assert subject.snapshot().calls == 0


def test_a_rate_is_reached_by_the_very_share_it_names(clock: FakeClock) -> None:
    subject = breaker(clock, failure_rate=0.55, minimum_volume=20)
    for outcome in 9 * [None] + 11 * [DOWN]:  # though 0.55 * 20 is a little more than 11
        call(subject, outcome)
    assert state_of(subject) == "open"


def test_a_success_opens_nothing(clock: FakeClock) -> None:
    subject = breaker(clock)
    for outcome in (DOWN, DOWN, DOWN, DOWN, None):
        call(subject, outcome)
    assert state_of(subject) == "closed"


def test_opens_when_too_many_calls_are_slow(clock: FakeClock) -> None:
    subject = breaker(clock, slow_seconds=2, slow_rate=0.8)
    for seconds in (1.9, 2, 2, 2):
        call(subject, None, seconds)
    assert state_of(subject) == "closed"  # 3 of 4
    assert subject.snapshot().slow == 3
    call(subject, None, 30)
    assert state_of(subject) == "open"
    assert subject.snapshot().reason == "slow calls 80 % of 5"


def test_slow_calls_leave_the_window_as_failures_do(clock: FakeClock) -> None:
    subject = breaker(clock, slow_seconds=2, window_calls=5, slow_rate=1)
    for seconds in (2, 2, 2, 2, 0):
        call(subject, None, seconds)
    assert subject.snapshot().slow == 4
    call(subject, None)
    assert (subject.snapshot().calls, subject.snapshot().slow) == (5, 3)
    clock.advance(120)
    assert (subject.snapshot().calls, subject.snapshot().slow) == (0, 0)


def test_a_call_that_failed_slowly_is_both(clock: FakeClock) -> None:
    subject = breaker(clock, slow_seconds=2)
    for error, seconds in ((None, 2), (DOWN, 2), (None, 2), (DOWN, 2)):
        call(subject, error, seconds)
    assert (subject.snapshot().failures, subject.snapshot().slow) == (2, 4)


def test_no_call_is_slow_unless_it_is_said_what_slow_is(clock: FakeClock) -> None:
    subject = breaker(clock)
    for _ in range(50):
        call(subject, None, 1e6)
    assert subject.snapshot().slow == 0
    assert state_of(subject) == "closed"


def test_a_slow_probe_is_a_failed_probe(clock: FakeClock) -> None:
    subject = opened(clock, slow_seconds=2)
    clock.advance(1)
    call(subject, None, 2.5)
    assert state_of(subject) == "open"
    assert subject.open_for() == 2
    assert subject.snapshot().reason == "a probe took 2.5 s"


def test_it_says_why_it_is_open(clock: FakeClock) -> None:
    subject = breaker(clock)
    assert subject.snapshot().reason == ""
    for outcome in (None, None, DOWN, DOWN, DOWN):
        call(subject, outcome)
    assert subject.snapshot().reason == "failures 60 % of 5, the last: down"
    clock.advance(1)
    call(subject, LMTimeout("no answer"))
    assert subject.snapshot().reason == "a probe failed: no answer"
    clock.advance(2)
    probe = subject.admit()
    assert subject.snapshot().reason == "a probe failed: no answer"  # half open, and not yet well
    subject.record(probe, None)
    assert subject.snapshot().reason == ""


def test_a_reason_is_one_short_line(clock: FakeClock) -> None:
    subject = breaker(clock, minimum_volume=1)
    call(subject, LMServerError("oh\nno " * 1000))
    reason = subject.snapshot().reason
    assert reason.startswith("failures 100 % of 1, the last: oh no oh no")
    assert len(reason) == 200
    assert reason.endswith("...")


def test_a_health_check_that_had_an_answer_ends_the_interval(clock: FakeClock) -> None:
    subject = opened(clock)
    subject.hasten()
    assert subject.open_for() == 0
    assert state_of(subject) == "open"  # until a call comes: a health check is no call
    call(subject, DOWN)
    assert subject.open_for() == 2  # and if that fails, the interval grows as ever
    subject.hasten()
    call(subject, None)
    assert state_of(subject) == "closed"
    subject.hasten()
    assert state_of(subject) == "closed"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("window_calls", 0),
        ("minimum_volume", 0),
        ("minimum_volume", 21),
        ("probes", 0),
        ("window_seconds", 0),
        ("open_seconds", float("inf")),
        ("open_seconds_cap", float("nan")),
        ("slow_seconds", -1),
        ("failure_rate", 0),
        ("slow_rate", 50),
    ],
)
def test_settings_that_mean_nothing_are_refused_by_name(clock: FakeClock, name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"^breaker: {name} = {value}: "):
        breaker(clock, **{name: value})
