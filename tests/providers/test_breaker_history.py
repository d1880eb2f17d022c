"""Random histories of a breaker agree with a model that recounts everything."""

import json
from collections import Counter
from dataclasses import asdict
from random import Random
from typing import Literal

from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.strategies import integers, sampled_from

from repertory.errors import CircuitOpen, LMAuthError, LMError, LMRateLimited, LMRequestRejected, LMServerError
from repertory.providers.breaker import BreakerSettings, CircuitBreaker
from repertory.providers.breaker_memory import BreakerMemory
from repertory.testing import FakeClock
from tests.providers.breaker_model import BreakerModel
from tests.providers.breakers import DOWN, NoJitter

SETTINGS = BreakerSettings(
    window_calls=6,
    window_seconds=10,
    minimum_volume=4,
    open_seconds_cap=4,
    probes=2,
    slow_seconds=3,
    slow_rate=0.6,
)
TICK = 0.25  # of a second: sums of it are exact, or the clocks of both would drift apart at the edges

Outcome = tuple[LMError | None, float, str]  # the error, the call's seconds, what the model calls it
OUTCOMES: list[Outcome] = [
    (None, 0.5, "well"),
    (None, 2.75, "well"),
    (None, 3.0, "slow"),
    (DOWN, 0.0, "failed"),
    (LMServerError("500", retry_after=7), 1.0, "failed"),
    (LMServerError("504"), 60.0, "failed slow"),
    (LMAuthError("401"), 0.1, "refused failed"),
    (LMRequestRejected("400"), 9.0, "back"),
    (LMRateLimited("429", retry_after=9), 0.1, "back"),
]
WEIGHTS = [12, 4, 5, 3, 1, 1, 1, 2, 2]


class Both:
    """A breaker and its model, taken through the same history."""

    def __init__(self) -> None:
        self.clock = FakeClock(monotonic=0.0, time=1024.0)
        self.subject = CircuitBreaker(SETTINGS, self.clock, NoJitter())
        self.model = BreakerModel(SETTINGS)
        self.permits: list[tuple[int, int]] = []  # the breaker's and the model's

    def advance(self, ticks: int) -> None:
        self.clock.advance(ticks * TICK)

    def admit(self) -> None:
        expected = self.model.admit(self.clock.monotonic())
        try:
            self.subject.check()
            permit = self.subject.admit()
        except CircuitOpen:
            assert expected is None
        else:
            assert expected is not None
            self.permits.append((permit, expected))

    def record(self, which: int, outcome: Outcome) -> None:
        permit, expected = self.permits.pop(which % len(self.permits))
        error, seconds, kind = outcome
        self.subject.record(permit, error, seconds)
        self.model.settle(expected, self.clock.monotonic(), kind, (error and error.retry_after) or 0.0)

    def release(self, which: int) -> None:
        permit, expected = self.permits.pop(which % len(self.permits))
        self.subject.release(permit)
        self.model.settle(expected, self.clock.monotonic(), "back")

    def force(self, forced: Literal["open", "closed"] | None) -> None:
        self.subject.force(forced)
        self.model.force(forced or "")

    def hasten(self) -> None:
        self.subject.hasten()
        self.model.hasten(self.clock.monotonic())

    def restart(self, downtime: int) -> None:
        """Take what it remembers to a process whose monotonic clock starts elsewhere."""
        memory = BreakerMemory.parse(json.loads(json.dumps(asdict(self.subject.memory()))))
        assert memory is not None
        self.model.restart(self.clock.monotonic())
        self.model.until -= self.clock.monotonic() + downtime * TICK
        self.clock = FakeClock(monotonic=0.0, time=self.clock.time() + downtime * TICK)
        self.subject = CircuitBreaker(SETTINGS, self.clock, NoJitter(), memory=memory)
        self.permits.clear()  # their calls died with the process

    def agree(self) -> None:
        seen, now = self.subject.snapshot(), self.clock.monotonic()
        window = self.model.window(now) if self.model.state == "closed" else []
        assert seen.state == self.subject.state == self.model.state
        assert (seen.forced or "") == self.model.forced
        assert seen.calls == len(window)
        assert seen.failures == sum("failed" in kind for kind in window)
        assert seen.slow == sum("slow" in kind for kind in window)
        deciding = self.model.state == "open" and not self.model.forced
        assert seen.open_for == (max(0.0, self.model.until - now) if deciding else 0.0)
        assert bool(seen.reason) == (self.model.state != "closed")


def test_agrees_with_the_model_over_100_000_random_events() -> None:
    rng = Random(20)
    visits: Counter[str] = Counter()
    for _ in range(400):
        both = Both()
        for _ in range(250):
            match rng.choices(["advance", "admit", "record", "release", "rare"], [12, 40, 40, 6, 2])[0]:
                case "advance":
                    both.advance(rng.randrange(12))
                case "admit":
                    both.admit()
                case "record" if both.permits:
                    both.record(rng.randrange(1000), rng.choices(OUTCOMES, WEIGHTS)[0])
                case "release" if both.permits:
                    both.release(rng.randrange(1000))
                case "rare":
                    match rng.randrange(6):
                        case 0:
                            both.restart(rng.randrange(12))
                        case 1:
                            both.hasten()
                        case _:
                            both.force(rng.choice(["open", "closed", None, None, None]))
            both.agree()
            visits[f"{both.model.state} {both.model.forced}"] += 1
    assert visits.total() == 100_000
    assert min(visits[each] for each in ("closed ", "open ", "half_open ", "open open", "closed closed")) > 3000


class BreakerHistory(RuleBasedStateMachine):
    @initialize()
    def make(self) -> None:
        self.both = Both()

    @rule(ticks=integers(0, 50))
    def advance(self, ticks: int) -> None:
        self.both.advance(ticks)

    @rule(calls=integers(1, 3))
    def admit(self, calls: int) -> None:
        for _ in range(calls):
            self.both.admit()

    @precondition(lambda self: self.both.permits)
    @rule(which=integers(0, 99), outcome=sampled_from(OUTCOMES))
    def record(self, which: int, outcome: Outcome) -> None:
        self.both.record(which, outcome)

    @precondition(lambda self: self.both.permits)
    @rule(which=integers(0, 99))
    def release(self, which: int) -> None:
        self.both.release(which)

    @rule(forced=sampled_from(["open", "closed", None, None]))
    def force(self, forced: Literal["open", "closed"] | None) -> None:
        self.both.force(forced)

    @rule()
    def hasten(self) -> None:
        self.both.hasten()

    @rule(downtime=integers(0, 50))
    def restart(self, downtime: int) -> None:
        self.both.restart(downtime)

    @invariant()
    def agree(self) -> None:
        self.both.agree()


TestBreakerHistory = BreakerHistory.TestCase
TestBreakerHistory.settings = settings(max_examples=60, stateful_step_count=60)
