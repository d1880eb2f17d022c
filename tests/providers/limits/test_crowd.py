"""Hundreds of callers at one endpoint that has too little for them, in virtual time."""

import asyncio
from collections import Counter
from random import Random

import pytest

from repertory.errors import DeadlineExceeded, LMRateLimited, RepertoryError
from repertory.providers.limits import Limits, LimitSettings
from repertory.providers.messages import Priority
from tests.providers.limits.conftest import LATER, end, limits_of
from tests.virtual_time import LoopClock, run_in_virtual_time

CAPACITY = 25  # attempts at once that the endpoint takes; more are answered 429
SETTINGS = LimitSettings(max_concurrency=40, requests_per_minute=1200, tokens_per_minute=400_000, max_waiting=150)
PRIORITIES: tuple[Priority, ...] = ("interactive", "normal", "batch")


class Crowd:
    """Calls of random length, size, patience and class, some of which go away; counts how each ended."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.clock = LoopClock()
        self.limits = Limits(SETTINGS, self.clock)
        self.outcomes: Counter[str] = Counter()
        self.sent: list[float] = []
        self.in_flight = 0

    async def call(self, caller: str) -> None:
        outcome = "cancelled"
        try:
            await asyncio.sleep(self.rng.uniform(0, 120))
            await self.attempt(caller, self.clock.monotonic() + self.rng.choice([2, 10, 30, 120]))
            outcome = "answered"
        except RepertoryError as error:
            outcome = error.code
        finally:
            self.outcomes[outcome] += 1

    async def attempt(self, caller: str, deadline: float) -> None:
        tokens = self.rng.randrange(3000)
        try:
            turn = await self.limits.acquire(deadline, caller, self.rng.choice(PRIORITIES), tokens)
        finally:
            started = self.clock.monotonic()
            assert started <= deadline + 0.01
        self.sent.append(started)
        self.in_flight += 1
        assert self.in_flight <= (SETTINGS.max_concurrency or 0)
        error: BaseException | None = None
        try:
            if self.in_flight > CAPACITY:
                await asyncio.sleep(0.05)
                raise LMRateLimited("429", retry_after=self.rng.choice([None, 0.2]))
            await asyncio.sleep(self.rng.lognormvariate(0, 0.8))
        except BaseException as failure:
            error = failure
            raise
        finally:
            self.in_flight -= 1
            used = self.rng.choice([None, tokens // 2, tokens, tokens * 2])
            seconds = self.clock.monotonic() - started
            self.limits.finish(turn, seconds=seconds, tokens=used, error=error, headers=None)

    async def live(self, callers: int, calls: int) -> None:
        tasks = [asyncio.create_task(self.call(f"{n % callers}")) for n in range(calls)]
        going = asyncio.ensure_future(asyncio.wait(tasks))
        while not going.done():  # some go away, wherever they are
            await asyncio.sleep(self.rng.uniform(0, 0.4))
            self.rng.choice(tasks).cancel()
        snapshot = self.limits.snapshot()
        assert snapshot.in_flight == self.limits.waiting == snapshot.callers == 0
        assert sum(self.outcomes.values()) == calls
        assert sum(task.cancelled() for task in tasks) == self.outcomes["cancelled"]
        for task in tasks:
            if not task.cancelled():
                task.result()


def check(seed: int, callers: int, calls: int) -> None:
    async def live() -> Crowd:
        crowd = Crowd(seed)
        await crowd.live(callers, calls)
        return crowd

    crowd = run_in_virtual_time(live())
    for kind in ("answered", "cancelled", "deadline_exceeded", "lm_rate_limited"):
        assert crowd.outcomes[kind] > 0, crowd.outcomes
    window = int(SETTINGS.requests_per_minute or 0)
    for first, beyond in zip(crowd.sent, crowd.sent[window:], strict=False):
        assert beyond - first > 59.99


def test_every_call_ends_in_one_way_and_in_time() -> None:
    check(seed=1, callers=300, calls=3000)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 22))
def test_every_call_ends_in_one_way_and_in_time_whatever_the_seed(seed: int) -> None:
    check(seed, callers=500, calls=6000)


def test_callers_share_an_endpoint_evenly_however_many_calls_they_make() -> None:
    async def share() -> Counter[str]:
        limits = limits_of(max_concurrency=4)
        served: Counter[str] = Counter()

        async def call(caller: str) -> None:
            turn = await limits.acquire(LATER, caller)
            served[caller] += 1
            await asyncio.sleep(1)
            end(limits, turn)

        calls = [asyncio.ensure_future(call("greedy")) for _ in range(1000)]
        calls += [asyncio.ensure_future(call(f"modest {n}")) for n in range(100) for _ in range(10)]
        await asyncio.sleep(202.5)  # 203 times four turns
        seen = Counter(served)
        for each in calls:
            each.cancel()
        await asyncio.wait(calls)
        return seen

    served = run_in_virtual_time(share())
    assert sum(served.values()) == 812
    assert max(served.values()) - min(served.values()) <= 1 + 4  # the first four met no line


def test_a_batch_job_goes_on_beside_interactive_calls_and_does_not_delay_them() -> None:
    async def live() -> tuple[float, int]:
        limits, clock = limits_of(max_concurrency=1), LoopClock()
        served = 0

        async def batch() -> None:
            nonlocal served
            turn = await limits.acquire(LATER, "batch", "batch")
            served += 1
            await asyncio.sleep(1)
            end(limits, turn)

        jobs = [asyncio.ensure_future(batch()) for _ in range(1000)]
        longest = 0.0
        for _ in range(100):
            asked = clock.monotonic()
            turn = await limits.acquire(LATER, "someone", "interactive")
            longest = max(longest, clock.monotonic() - asked)
            await asyncio.sleep(1)
            end(limits, turn)
        for job in jobs:
            job.cancel()
        await asyncio.wait(jobs)
        return longest, served

    longest, served = run_in_virtual_time(live())
    assert longest < 2.01
    assert served >= 6


def test_a_call_that_was_refused_at_once_could_not_have_been_served_in_time() -> None:
    """Every call is lined up; those that would have been refused are seen not to come through in time."""

    async def live() -> tuple[int, int]:
        rng, clock, limits = Random(4), LoopClock(), limits_of(max_concurrency=5)
        refused = wrongly = 0

        async def call(number: int) -> None:
            nonlocal refused, wrongly
            await asyncio.sleep(number * 0.15)
            asked = clock.monotonic()
            patience = rng.uniform(1, 60)
            ahead = limits._at_least("", "normal", 0)
            turn = await limits.acquire(LATER)
            if ahead >= patience:
                refused += 1
                wrongly += clock.monotonic() - asked < patience
            await asyncio.sleep(rng.expovariate(1))
            end(limits, turn)

        await asyncio.gather(*map(call, range(2000)))
        return refused, wrongly

    refused, wrongly = run_in_virtual_time(live())
    assert refused > 300
    assert wrongly / refused < 0.02


def test_deadline_errors_of_the_crowd_are_typed() -> None:
    async def wait() -> None:
        limits = limits_of(max_concurrency=1)
        await limits.acquire(LATER)
        waits = [limits.acquire(LoopClock().monotonic() + n % 7) for n in range(300)]
        ended = await asyncio.gather(*waits, return_exceptions=True)
        assert all(isinstance(error, DeadlineExceeded) for error in ended)
        assert LoopClock().monotonic() < 6.01

    run_in_virtual_time(wait())
