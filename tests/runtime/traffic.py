"""Simulated traffic through a rollout: calls that come at random, take a while, and sometimes fail."""

import heapq
from dataclasses import dataclass
from random import Random

from repertory.runtime.rollout import Rollout, Side, Verdict
from repertory.runtime.rollout_plan import RolloutPlan
from repertory.testing import FakeClock


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How a version's runs end."""

    median: float = 0.4  # seconds; two in three runs take between a half and twice as long
    failing: float = 0.01  # the share of runs
    hangs: float | None = None  # seconds after which its callers give up on it


@dataclass(frozen=True, slots=True)
class Outage:
    """Something that both versions suffer from."""

    begin: float
    end: float
    failing: float = 0.0
    slower: float = 1.0

    def covers(self, now: float) -> bool:
        return self.begin <= now < self.end


FINE = Behaviour()
NONE = Outage(0, 0)
SPREAD = 0.6  # of the logarithm of seconds


@dataclass(frozen=True, slots=True)
class Ended:
    verdict: Verdict
    seconds: float
    runs_of_new: int


def simulate(
    seed: int,
    new: Behaviour,
    old: Behaviour = FINE,
    *,
    outage: Outage = NONE,
    plan: RolloutPlan | None = None,
    per_second: float = 10.0,
    limit: float = 7200.0,
) -> Ended:
    """Let ``per_second`` calls come in a second, a Poisson process, until the rollout is over or time is up."""
    rng, clock = Random(seed), FakeClock(monotonic=0.0)
    rollout = Rollout(plan or RolloutPlan(), clock, Random(seed + 1))
    behaviours: dict[Side, Behaviour] = {"old": old, "new": new}
    under_way: list[tuple[float, int, Side, float, str]] = []
    number = runs_of_new = 0
    next_call, next_look = rng.expovariate(per_second), 1.0
    while not rollout.over and clock.monotonic() < limit:
        now = min(next_call, next_look, under_way[0][0] if under_way else limit)
        clock.advance(now - clock.monotonic())
        if under_way and under_way[0][0] <= now:
            _, _, side, seconds, outcome = heapq.heappop(under_way)
            if outcome == "cancelled":
                rollout.cancelled(side)
            else:
                rollout.ended(side, seconds, error=outcome == "failed")
                if outcome == "failed" and side == "new":
                    rollout.look()
        elif next_call <= now:
            side = rollout.choose()
            rollout.began(side)
            number += 1
            runs_of_new += side == "new"
            seconds, outcome = _run(behaviours[side], outage if outage.covers(now) else NONE, rng)
            heapq.heappush(under_way, (now + seconds, number, side, seconds, outcome))
            next_call = now + rng.expovariate(per_second)
        else:
            rollout.look()
            next_look += 1
    return Ended(rollout.verdict, clock.monotonic(), runs_of_new)


def _run(behaviour: Behaviour, outage: Outage, rng: Random) -> tuple[float, str]:
    if behaviour.hangs is not None:
        return behaviour.hangs, "cancelled"
    seconds = behaviour.median * outage.slower * rng.lognormvariate(0, SPREAD)
    failed = rng.random() < behaviour.failing or rng.random() < outage.failing
    return seconds, "failed" if failed else "answered"
