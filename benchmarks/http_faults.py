"""What is counted, not timed: requests that were saved, answers that were lost, attempts that were too many."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from random import Random
from time import monotonic

from benchmarks.budget import Load
from benchmarks.budget import measure as spend_a_budget
from benchmarks.http_clients import REQUEST, all_stages, caller, requests_at
from benchmarks.mock_endpoint import Behaviour, mock_endpoint
from benchmarks.timing import Sample, calls_in_flight
from repertory.clock import SystemClock
from repertory.errors import RepertoryError
from repertory.events import Event, Hooks, LMCallFinished
from repertory.providers.breaker import BreakerSettings
from repertory.providers.breaker_memory import Forced
from repertory.providers.cache import CacheSettings, ReplyCache
from repertory.providers.lm import LM
from repertory.providers.messages import Message
from repertory.providers.policies import Fallback
from repertory.providers.route import Route

CALLS = 10_000
IN_FLIGHT = 500
DEADLINE = 20.0  # seconds for a call
GRACE = 5.0  # seconds after which a call that ought to have ended at its deadline is lost
IDENTICAL = 50
SEED = 5
# One in ten must not open a circuit by chance: calls that are refused show nothing.
PATIENT = BreakerSettings(window_calls=200, minimum_volume=100)
BUDGET_CALLS = 100_000
BUDGET_KILLS = 50


# --- one request for many callers ----------------------------------------------------------------------------


async def single_flight(scale: int) -> Sample:
    """Requests that 50 identical concurrent calls send, with a cache; then those of 50 more."""
    with mock_endpoint(Behaviour(delay=0.2)) as url:
        async with AsyncExitStack() as stack:
            cache = ReplyCache(CacheSettings(), SystemClock())
            call = caller(await all_stages(url, cache=cache), stack)
            await calls_in_flight(call, IDENTICAL, IDENTICAL)
            first = await requests_at(url)
            await calls_in_flight(call, IDENTICAL, IDENTICAL)
            return {
                "single_flight_requests": first,
                "single_flight_requests.of_50_later_ones": await requests_at(url) - first,
            }


# --- faults --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Tally:
    """What became of numbered questions.

    Attributes:
        ended: How often each question was answered or refused.
        outcomes: How often the calls ended in what way.
        attempts: How many requests the endpoints say they have sent.
    """

    ended: Counter[int] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    attempts: int = 0

    def __call__(self, event: Event) -> None:
        """Hear of attempts; a hook."""
        self.attempts += isinstance(event, LMCallFinished)

    async def ask(self, lm: LM, number: int) -> None:
        """Ask question ``number`` and note how that ends."""
        asked = Message("user", f"question {number}")
        try:
            async with asyncio.timeout(DEADLINE + GRACE):
                reply = await lm.complete(replace(REQUEST, messages=(asked,), deadline=monotonic() + DEADLINE))
        except RepertoryError as error:
            self.ended[number] += 1
            self.outcomes[error.code] += 1
        except TimeoutError:
            self.outcomes["no outcome"] += 1
        else:
            self.ended[number] += 1
            self.outcomes["answered" if reply.text == f"answer {number}" else "another's answer"] += 1

    def lost_or_doubled(self, questions: int) -> int:
        """Questions without exactly one outcome, and those that were given another's answer."""
        wrong = sum(self.ended[number] != 1 for number in range(questions))
        return wrong + self.outcomes["another's answer"]


async def lost_or_doubled(scale: int) -> Sample:
    """Numbered questions to a route over two endpoints that each fail one in ten requests, in five ways."""
    calls = CALLS // scale
    tally = Tally()
    primary = Behaviour(echo=True, faults=0.1, seed=SEED)
    with mock_endpoint(primary) as first, mock_endpoint(replace(primary, seed=SEED + 1)) as second:
        async with AsyncExitStack() as stack:
            endpoints = [
                await all_stages(url, (tally,), name=name, breaker=PATIENT)
                for name, url in (("a", first), ("b", second))
            ]
            for endpoint in endpoints:
                stack.push_async_callback(endpoint.close)
            clock, hooks = SystemClock(), Hooks()
            route = Route("benchmark", endpoints, Fallback(), clock=clock, hooks=hooks, rng=Random(SEED))
            await _ask_all(tally, route, calls)
            sent = await requests_at(first) + await requests_at(second)
            in_flight = sum(endpoint.snapshot().in_flight for endpoint in endpoints)
    key = "lost_or_doubled"
    return {
        # A request that reached an endpoint without an attempt that tells of it was sent twice by someone else.
        key: tally.lost_or_doubled(calls) + abs(sent - tally.attempts) + in_flight,
        f"{key}.answered": tally.outcomes["answered"],
        f"{key}.ended_by_an_error": tally.outcomes.total() - tally.outcomes["answered"],
        f"{key}.requests_a_call": sent / calls,
        f"{key}.requests_unaccounted_for": sent - tally.attempts,
    }


async def retry_amplification(scale: int) -> Sample:
    """Requests that arrive for each call made while an endpoint fails all of them: the worse of two breakers."""
    calls = CALLS // scale
    with_breaker = await _outage(calls, None)
    # With a circuit that stays closed it is left to the retry budget alone.
    without = await _outage(calls, "closed")
    return {
        "retry_amplification": max(with_breaker, without),
        "retry_amplification.breaker_on": with_breaker,
        "retry_amplification.breaker_kept_closed": without,
    }


async def _outage(calls: int, forced: Forced | None) -> float:
    tally = Tally()
    with mock_endpoint(Behaviour(faults=1.0, seed=SEED)) as url:
        async with AsyncExitStack() as stack:
            endpoint = await all_stages(url)
            endpoint.force_circuit(forced)
            stack.push_async_callback(endpoint.close)
            await _ask_all(tally, endpoint, calls)
            return await requests_at(url) / calls


async def _ask_all(tally: Tally, lm: LM, calls: int) -> None:
    numbers = iter(range(calls))

    async def ask_next() -> None:
        await tally.ask(lm, next(numbers))

    await calls_in_flight(ask_next, calls, IN_FLIGHT)


# --- budgets -------------------------------------------------------------------------------------------------


async def budgets(scale: int) -> Sample:
    """What is billed beyond a limit, and what of it can be spent: `benchmarks.budget`."""
    load = Load(calls=BUDGET_CALLS // scale, kills=BUDGET_KILLS // scale)
    figures = await asyncio.to_thread(spend_a_budget, load)
    return {
        "budget_overshoot_cents": figures["budget_overshoot_cents"],
        "budget_utilisation": figures["budget_utilisation"] or 0.0,  # None: no account refused a call
        "reservations_left": figures["reservations_left"],
        "budget_overshoot_cents.calls": figures["calls"],
        "budget_overshoot_cents.refusals": figures["refusals"],
        "budget_overshoot_cents.kills": figures["kills"],
    }
