"""Whole replies: rates and CPU time beside raw aiohttp, and many calls on a slow endpoint."""

from contextlib import AsyncExitStack

from prometheus_client import CollectorRegistry

from benchmarks.http_clients import UNPAID, all_stages, bare, caller, raw_caller
from benchmarks.mock_endpoint import Behaviour, mock_endpoint
from benchmarks.timing import Sample, calls_in_flight, in_turns
from repertory.runtime.telemetry import PrometheusHook

CALLS = 4_000  # of each side in a round
TURNS = 4
CALLS_1000 = 8_000
TURNS_1000 = 2  # several waves each: in one alone all calls would be begun before the first ends
SLOW = 5.0  # seconds until a slow endpoint answers
SLOW_CALLS = 400


async def calls_100(scale: int) -> Sample:
    """100 in flight on an endpoint that answers at once; each call's CPU time."""
    calls = CALLS // scale
    with mock_endpoint() as url:
        async with AsyncExitStack() as stack:
            prometheus = PrometheusHook(CollectorRegistry())
            sides = {
                "raw": await raw_caller(url, stack),
                "ours": caller(await all_stages(url), stack),
                "bare": caller(bare(url), stack, UNPAID),
                "prometheus": caller(await all_stages(url, (prometheus,)), stack),
            }
            spent = await in_turns(sides, calls, 100, TURNS)
    raw, ours = spent["raw"], spent["ours"]
    ms = {name: each.cpu / calls * 1e3 for name, each in spent.items()}
    return {
        "lm_ratio_100": raw.wall / ours.wall,
        "lm_ratio_100.in_cpu_time": raw.cpu / ours.cpu,
        "lm_ratio_100.with_no_stage": raw.wall / spent["bare"].wall,
        "lm_ratio_100.with_prometheus": raw.wall / spent["prometheus"].wall,
        "lm_ratio_100.raw_per_s": calls / raw.wall,
        "lm_ratio_100.ours_per_s": calls / ours.wall,
        "cpu_ms_per_call": ms["ours"],
        "cpu_ms_per_call.raw": ms["raw"],
        "cpu_ms_per_call.with_no_stage": ms["bare"],
        "cpu_ms_per_call.with_prometheus": ms["prometheus"],
    }


async def calls_1000(scale: int) -> Sample:
    """1,000 in flight on an endpoint that answers after 50 ms."""
    calls = max(CALLS_1000 // scale, 1_000)
    with mock_endpoint(Behaviour(delay=0.05)) as url:
        async with AsyncExitStack() as stack:
            sides = {"raw": await raw_caller(url, stack), "ours": caller(await all_stages(url), stack)}
            spent = await in_turns(sides, calls, 1_000, max(TURNS_1000 // scale, 1))
    raw, ours = spent["raw"], spent["ours"]
    return {
        "lm_ratio_1000_50ms": raw.wall / ours.wall,
        "lm_ratio_1000_50ms.in_cpu_time": raw.cpu / ours.cpu,
        "lm_ratio_1000_50ms.raw_per_s": calls / raw.wall,
        "lm_ratio_1000_50ms.ours_per_s": calls / ours.wall,
    }


async def calls_400(scale: int) -> Sample:
    """Seconds for 400 concurrent calls on an endpoint that answers after five seconds."""
    slow = SLOW / scale
    seconds = {}
    with mock_endpoint(Behaviour(delay=slow)) as url:
        async with AsyncExitStack() as stack:
            for name, call in {
                "raw": await raw_caller(url, stack),
                "ours": caller(await all_stages(url), stack),
            }.items():
                seconds[name] = (await calls_in_flight(call, SLOW_CALLS, SLOW_CALLS)).wall
    # With a shorter wait, what is beyond it is what matters.
    late = SLOW - slow
    return {"calls_400_at_5s": seconds["ours"] + late, "calls_400_at_5s.raw": seconds["raw"] + late}
