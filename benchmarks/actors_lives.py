"""What a life costs: spawned under a supervisor, restarted after a crash, restarted with all its siblings."""

import asyncio
import gc
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median, quantiles
from time import perf_counter, process_time

from benchmarks.actors_messages import Echo, Echoer
from benchmarks.timing import Sample
from repertory.actors import ActorRef, ActorSystem, Message, handles
from repertory.supervisors import ChildSpec, DynamicSupervisor, StartChild, Supervisor

FEW = 1_000
FEW_TIMES = 5  # populations of the small size in one round: one alone is over in some milliseconds
MANY = 100_000
RESTARTS = 2_000
SIBLINGS = 100
GROUP_RESTARTS = 20
NO_LIMIT = 1_000_000_000  # restarts tolerated


@dataclass(frozen=True, slots=True)
class Crash(Message[None]):
    """To be failed on."""


class Witness:
    """When the last crash happened, and when a life began that someone waits for."""

    def __init__(self) -> None:
        self.crashed = 0.0
        self.restarted: asyncio.Future[float] | None = None


class Fragile(Echoer):
    """Crashes when it is told to."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness

    @handles(Crash)
    async def crash(self, message: Crash) -> None:
        """Note the time and crash."""
        self._witness.crashed = perf_counter()
        raise RuntimeError("told to crash")


class LastSibling(Fragile):
    """Tells when a new life of it begins."""

    async def started(self) -> None:
        """Note the time."""
        restarted = self._witness.restarted
        if restarted is not None:
            restarted.set_result(perf_counter())


async def spawn_us(scale: int) -> Sample:
    """CPU time of a StartChild, from an empty supervisor to one of 1,000 children, and to one of 100,000.

    The figure is the worse of the two.
    """
    few = median([(await _populate(_spec, FEW))[0] for _ in range(FEW_TIMES)])
    many, last_tenth = await _populate(_spec, MANY // scale)
    by_template, _ = await _populate(_by_template, MANY // scale)
    return {
        "spawn_us": max(few, many),
        "spawn_us.at_1000": few,
        "spawn_us.at_100000": many,
        "spawn_us.last_tenth_of_100000": last_tenth,
        "spawn_us.growth": many / few,
        "spawn_us.by_template_at_100000": by_template,
    }


async def restart_us(scale: int) -> Sample:
    """Elapsed time from the raise in a handler to the first reply of the new life, asked for since before."""
    system = ActorSystem()
    witness = Witness()
    child = ChildSpec(id="fragile", start=lambda: Fragile(witness))
    await system.spawn(lambda: Supervisor([child], intensity=NO_LIMIT, period=1.0), name="root")
    ref = system.ref("root/fragile")
    for _ in range(10):
        await _crash_to_reply(ref, witness)
    gc.collect()
    waits = [await _crash_to_reply(ref, witness) for _ in range(RESTARTS // scale)]
    await system.stop()
    percentiles = quantiles(waits, n=100)
    return {
        "restart_p50_us": percentiles[49] * 1e6,
        "restart_p99_us": percentiles[98] * 1e6,
        "restart_p99_us.longest": max(waits) * 1e6,
    }


async def one_for_all_100_ms(scale: int) -> Sample:
    """Elapsed time from the crash of one of 100 siblings to the new life of the one that is restarted last."""
    system = ActorSystem()
    witness = Witness()
    children = [ChildSpec(id=str(number), start=lambda: Fragile(witness)) for number in range(SIBLINGS - 1)]
    children.append(ChildSpec(id="last", start=lambda: LastSibling(witness)))
    await system.spawn(
        lambda: Supervisor(children, strategy="one_for_all", intensity=NO_LIMIT, period=1.0), name="root"
    )
    refs = [system.ref(f"root/{child.id}") for child in children]
    waits: list[float] = []
    gc.collect()
    for _ in range(max(2, GROUP_RESTARTS // scale)):
        witness.restarted = asyncio.get_running_loop().create_future()
        refs[SIBLINGS // 2].tell(Crash())
        waits.append(await witness.restarted - witness.crashed)
        witness.restarted = None
        for ref in refs:
            await ref.ask(Echo(0))
    await system.stop()
    return {"one_for_all_100_ms": median(waits) * 1e3, "one_for_all_100_ms.longest": max(waits) * 1e3}


def _spec(number: int) -> StartChild:
    return StartChild(ChildSpec(id=str(number), start=Echoer))


def _by_template(number: int) -> StartChild:
    return StartChild(id=str(number))


async def _populate(child: Callable[[int], StartChild], children: int) -> tuple[float, float]:
    """CPU microseconds of a spawn: over all ``children``, and over the last tenth of them."""
    system = ActorSystem()
    template = ChildSpec(id="template", start=Echoer) if child is _by_template else None
    supervisor = await system.spawn(lambda: DynamicSupervisor(template=template), name="root")
    gc.collect()
    begun = process_time()
    await _spawn(supervisor, child, range(children * 9 // 10))
    late = process_time()
    await _spawn(supervisor, child, range(children * 9 // 10, children))
    ended = process_time()
    await system.stop(timeout=None)
    return (ended - begun) / children * 1e6, (ended - late) / (children - children * 9 // 10) * 1e6


async def _spawn(supervisor: ActorRef, child: Callable[[int], StartChild], numbers: range) -> None:
    for number in numbers:
        await supervisor.ask(child(number), timeout=None)


async def _crash_to_reply(ref: ActorRef, witness: Witness) -> float:
    ref.tell(Crash())
    await ref.ask(Echo(0))
    return perf_counter() - witness.crashed
