"""How the measurements of `benchmarks.actors` are taken: clocks, turns, event loops."""

import asyncio
import gc
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from time import perf_counter, process_time
from typing import TypeAlias

Sample: TypeAlias = dict[str, float]
"""One round of one group: values by figure, and by ``figure.detail`` what stands beside it."""

Side: TypeAlias = Callable[[], Awaitable[object]]
LoopFactory: TypeAlias = Callable[[], asyncio.AbstractEventLoop]


async def cpu_seconds(work: Side) -> float:
    """CPU time of the whole process while ``work`` runs."""
    return await _seconds(work, process_time)


async def wall_seconds(work: Side) -> float:
    """Elapsed time while ``work`` runs."""
    return await _seconds(work, perf_counter)


async def side_by_side(
    sides: Mapping[str, Side], turns: int, seconds: Callable[[Side], Awaitable[float]] = cpu_seconds
) -> dict[str, float]:
    """Seconds that each side takes for ``turns`` turns of its work, after one turn that does not count.

    The sides take turns, in reversed order every other time, so that what slows the machine slows them all.
    """
    for work in sides.values():
        await work()
    total = dict.fromkeys(sides, 0.0)
    order = list(sides)
    for _ in range(turns):
        for name in order:
            total[name] += await seconds(sides[name])
        order.reverse()
    return total


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this thread, and the threads it starts meanwhile, on one core.

    Two threads that wait for each other then need no other core to wake up, which on virtual machines can take
    longer than everything else they do.
    """
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def loop_factories() -> dict[str, LoopFactory]:
    """The event loops to measure on, by name: uvloop only where it is installed."""
    factories: dict[str, LoopFactory] = {"asyncio": asyncio.SelectorEventLoop}
    if find_spec("uvloop") is not None:
        import uvloop

        factories["uvloop"] = uvloop.new_event_loop
    return factories


def loop_name() -> str:
    """The name in `loop_factories` of the loop that runs."""
    module = type(asyncio.get_running_loop()).__module__
    return "uvloop" if module.startswith("uvloop") else "asyncio"


async def _seconds(work: Side, clock: Callable[[], float]) -> float:
    gc.collect()  # nobody pays for the garbage of whoever came before; the collector then stays on
    begun = clock()
    await work()
    return clock() - begun
