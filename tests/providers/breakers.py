"""Breakers for tests: without jitter, called, opened."""

from random import Random

from repertory.errors import LMConnectionError, RepertoryError
from repertory.providers.breaker import BreakerSettings, CircuitBreaker
from repertory.testing import FakeClock

DOWN = LMConnectionError("down")


class NoJitter(Random):
    def random(self) -> float:
        return 0.0


def breaker(clock: FakeClock, **settings: float) -> CircuitBreaker:
    return CircuitBreaker(BreakerSettings(**settings), clock, NoJitter(), "qa")  # type: ignore[arg-type]  # ints too


def state_of(subject: CircuitBreaker) -> str:
    return subject.state  # through a call, or mypy believes that what was asserted once holds ever after


def call(subject: CircuitBreaker, outcome: RepertoryError | None, seconds: float = 0.0) -> None:
    subject.record(subject.admit(), outcome, seconds)


def opened(clock: FakeClock, **settings: float) -> CircuitBreaker:
    subject = breaker(clock, **settings)
    for _ in range(5):
        call(subject, DOWN)
    assert state_of(subject) == "open"
    return subject
