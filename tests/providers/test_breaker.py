from random import Random

import pytest
from hypothesis import given
from hypothesis.strategies import floats, integers, just, lists, one_of, sampled_from, tuples

from repertory.errors import (
    CircuitOpen,
    LMAuthError,
    LMConnectionError,
    LMError,
    LMRateLimited,
    LMRequestRejected,
    LMServerError,
)
from repertory.providers.breaker import JITTER, BreakerSettings, CircuitBreaker
from repertory.testing import FakeClock

DOWN = LMConnectionError("down")


class NoJitter(Random):
    def random(self) -> float:
        return 0.0


def breaker(clock: FakeClock, **settings: float) -> CircuitBreaker:
    return CircuitBreaker(BreakerSettings(**settings), clock, NoJitter(), "qa")  # type: ignore[arg-type]  # ints too


def state_of(subject: CircuitBreaker) -> str:
    return subject.state  # through a call, or mypy believes that what was asserted once holds ever after


def call(subject: CircuitBreaker, outcome: LMError | None) -> None:
    subject.record(subject.admit(), outcome)


def opened(clock: FakeClock, **settings: float) -> CircuitBreaker:
    subject = breaker(clock, **settings)
    for _ in range(5):
        call(subject, DOWN)
    assert state_of(subject) == "open"
    return subject


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


def test_refused_credentials_open_at_once(clock: FakeClock) -> None:
    subject = breaker(clock)
    call(subject, LMAuthError("no credit"))
    assert state_of(subject) == "open"


@pytest.mark.parametrize("error", [LMRequestRejected("bad request"), LMRateLimited("slow down")])
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


class Reference:
    """The breaker written for obviousness: it keeps everything and recounts at every question."""

    def __init__(self, settings: BreakerSettings) -> None:
        self.settings = settings
        self.state = "closed"
        self.era = 0
        self.failed_openings = 0
        self.until = 0.0
        self.log: list[tuple[int, float, str]] = []  # (era, time, "out" | "back" | "ok" | "fail")

    def enter(self, state: str) -> None:
        self.state = state
        self.era += 1

    def counted(self, *kinds: str) -> int:
        return sum(era == self.era and kind in kinds for era, _, kind in self.log)

    def admit(self, now: float) -> int | None:
        if self.state == "open":
            if now < self.until:
                return None
            self.enter("half_open")
        if self.state == "half_open":
            gone = self.counted("out") - self.counted("back", "fail")  # a success keeps its place
            if gone >= self.settings.probes:
                return None
        self.log.append((self.era, now, "out"))
        return self.era

    def settle(self, permit: int, kind: str, now: float, error: LMError | None) -> None:
        if permit != self.era:
            return
        self.log.append((self.era, now, kind))
        if self.state == "half_open":
            if kind == "fail":
                self.failed_openings += 1
                self.open(now, error)
            elif self.counted("ok") == self.settings.probes:
                self.failed_openings = 0
                self.enter("closed")
        elif kind == "fail":
            outcomes = [(at, what) for era, at, what in self.log if era == self.era and what in ("ok", "fail")]
            window = [
                what
                for at, what in outcomes[-self.settings.window_calls :]
                if at > now - self.settings.window_seconds
            ]
            enough = len(window) >= self.settings.minimum_volume
            if isinstance(error, LMAuthError) or (
                enough and window.count("fail") / len(window) >= self.settings.failure_rate
            ):
                self.open(now, error)

    def open(self, now: float, error: LMError | None) -> None:
        interval = min(self.settings.open_seconds * 2**self.failed_openings, self.settings.open_seconds_cap)
        self.until = now + max(interval, (error.retry_after if error else None) or 0)
        self.enter("open")


OUTCOMES: list[LMError | None] = [
    None,
    None,
    DOWN,
    LMServerError("500", retry_after=7),
    LMAuthError("401"),
    LMRequestRejected("400"),
    LMRateLimited("429"),
]
KINDS = ["ok", "ok", "fail", "fail", "fail", "back", "back"]
SETTINGS = BreakerSettings(window_calls=6, window_seconds=10, minimum_volume=4, open_seconds_cap=4, probes=2)


def check_against_reference(steps: list[tuple[str, float]]) -> None:
    """Take each step with both; after each, both must say the same."""
    clock = FakeClock(monotonic=0.0)
    subject, reference = CircuitBreaker(SETTINGS, clock, NoJitter()), Reference(SETTINGS)
    permits: list[tuple[int, int]] = []
    for action, number in steps:
        if action == "advance":
            clock.advance(number)
        elif action == "admit":
            expected = reference.admit(clock.monotonic())
            try:
                permit = subject.admit()
            except CircuitOpen:
                assert expected is None
            else:
                assert expected is not None
                permits.append((permit, expected))
        elif permits:
            permit, expected = permits.pop(int(number * 7) % len(permits))
            if action == "release":
                subject.release(permit)
                reference.settle(expected, "back", clock.monotonic(), None)
            else:
                which = int(number) % len(OUTCOMES)
                subject.record(permit, OUTCOMES[which])
                reference.settle(expected, KINDS[which], clock.monotonic(), OUTCOMES[which])
        assert state_of(subject) == reference.state
        assert subject.open_for() == (
            max(0.0, reference.until - clock.monotonic()) if subject.state == "open" else 0
        )


STEP = one_of(
    tuples(just("advance"), floats(0, 12)),
    tuples(sampled_from(["admit", "admit", "record", "record", "release"]), integers(0, 1000)),
)


@given(lists(STEP, max_size=150))
def test_agrees_with_the_reference(steps: list[tuple[str, float]]) -> None:
    check_against_reference(steps)


def test_agrees_with_the_reference_on_long_random_histories() -> None:
    rng = Random(20)
    for _ in range(350):  # 105,000 events
        actions = rng.choices(["advance", "admit", "record", "release"], [1, 4, 4, 1], k=300)
        check_against_reference(
            [(action, rng.uniform(0, 3) if action == "advance" else rng.randrange(1000)) for action in actions]
        )
