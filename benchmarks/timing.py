"""How measurements are taken: clocks, turns, event loops, so many calls at a time."""

import asyncio
import gc
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from time import perf_counter, process_time
from typing import NamedTuple, TypeAlias

Sample: TypeAlias = dict[str, float]
"""One round of one group: values by figure, and by ``figure.detail`` what stands beside it."""

Side: TypeAlias = Callable[[], Awaitable[object]]
Call: TypeAlias = Callable[[], Awaitable[None]]
LoopFactory: TypeAlias = Callable[[], asyncio.AbstractEventLoop]


class Spent(NamedTuple):
    """Seconds that some work took: elapsed, and of this process's CPU time."""

    wall: float
    cpu: float

    def __add__(self, other: object) -> "Spent":
        if not isinstance(other, Spent):
            return NotImplemented
        return Spent(self.wall + other.wall, self.cpu + other.cpu)


async def calls_in_flight(call: Call, calls: int, in_flight: int) -> Spent:
    """Make ``calls`` calls, ``in_flight`` at a time."""
    remaining = iter(range(calls))

    async def worker() -> None:
        for _ in remaining:
            await call()

    wall, cpu = perf_counter(), process_time()
    await asyncio.gather(*(worker() for _ in range(in_flight)))
    return Spent(perf_counter() - wall, process_time() - cpu)


async def in_turns(sides: Mapping[str, Call], calls: int, in_flight: int, turns: int) -> dict[str, Spent]:
    """What ``calls`` calls of each side take altogether, after some that open its connections and do not count.

    The sides take ``turns`` turns, as in `side_by_side`.
    """
    for call in sides.values():
        await calls_in_flight(call, in_flight, in_flight)
    total = dict.fromkeys(sides, Spent(0.0, 0.0))
    order = list(sides)
    for _ in range(turns):
        for name in order:
            gc.collect()
            total[name] += await calls_in_flight(sides[name], max(calls // turns, in_flight), in_flight)
        order.reverse()
    return total


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
