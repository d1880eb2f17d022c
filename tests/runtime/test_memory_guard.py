"""The actor that keeps the process from running out of memory: what it does at each level, and what it tells."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from repertory.actors import ActorSystem
from repertory.errors import Overloaded
from repertory.events import (
    ActorPassivated,
    ActorRestarted,
    Event,
    Hooks,
    MemoryFreed,
    MemoryLevelChanged,
    WorkRefused,
    WorkShed,
)
from repertory.providers.messages import Priority
from repertory.runtime.memory_guard import MemoryGuard
from repertory.runtime.memory_levels import LevelSettings, MemoryLevels, Reading
from repertory.supervisors import ChildSpec, Supervisor
from repertory.testing import FakeClock
from tests.actors.kernel import Echo, of
from tests.actors.light import Light

SETTINGS = LevelSettings(high=0.8, critical=0.9, margin=0.05, dwell=3.0, patience=4.0)
AGES = 1e6  # seconds: nothing is passivated for having waited so long


class Process:
    """A process whose memory the test decides on, guarded."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.events: list[Event] = []
        self.restarted = asyncio.Event()
        self.system = ActorSystem(clock=self.clock, hooks=Hooks([self.hear]))
        self.levels = MemoryLevels(self.clock, SETTINGS)
        self.used: int | None = 50  # percent
        self.shrunk: list[float] = []
        self.ended: list[Priority] = []
        self.under_way = 3  # what there is to end
        self.given_back = 0

    async def start(self) -> None:
        supervisor = Supervisor([ChildSpec(id="memory", start=self.guard)])
        await self.system.spawn(lambda: supervisor, name="root")

    def guard(self) -> MemoryGuard:
        return MemoryGuard(
            self.levels,
            self.read,
            caches=[self.shrink, lambda _: None],
            end=self.end,
            give_back=self.give_back,
        )

    def hear(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, ActorRestarted):
            self.restarted.set()

    def read(self) -> Reading | None:
        return Reading(self.used, 100) if self.used is not None else None

    def shrink(self, share: float) -> int:
        self.shrunk.append(share)
        return 1000 if len(self.shrunk) < 3 else 0

    def end(self, priority: Priority) -> int:
        self.ended.append(priority)
        ended, self.under_way = self.under_way, 0
        return ended

    def give_back(self) -> None:
        self.given_back += 1

    async def looks(self, times: int = 1) -> None:
        for _ in range(times):
            await self.clock.until_asleep()
            self.clock.advance(1.0)
        await self.clock.until_asleep()


@pytest.fixture
async def process() -> AsyncIterator[Process]:
    process = Process()
    await process.start()
    await process.clock.until_asleep()
    yield process
    await process.system.stop()


async def test_while_there_is_memory_nothing_happens(process: Process) -> None:
    await process.looks(10)
    assert (process.shrunk, process.ended, process.given_back) == ([], [], 0)
    assert of(MemoryLevelChanged, process.events) == []


async def test_the_first_look_is_before_anything_is_begun() -> None:
    process = Process()
    process.used = 95
    await process.start()
    with pytest.raises(Overloaded):
        process.levels.check("normal")
    await process.system.stop()


async def test_changes_of_the_level_are_told_with_what_was_read(process: Process) -> None:
    process.used = 85
    await process.looks(4)
    process.used = 95
    await process.looks(4)
    process.used = None
    await process.looks(8)
    assert of(MemoryLevelChanged, process.events) == [
        MemoryLevelChanged("normal", "high", 85, 100),
        MemoryLevelChanged("high", "critical", 95, 100),
        MemoryLevelChanged("critical", "high", None, None),
        MemoryLevelChanged("high", "normal", None, None),
    ]


async def test_caches_shrink_with_each_look_while_memory_is_short_and_faster_where_it_is_critical(
    process: Process,
) -> None:
    process.used = 85
    await process.looks(2)
    process.used = 95
    await process.looks(1)
    assert process.shrunk == [0.1, 0.1, 0.5]
    assert of(MemoryFreed, process.events) == [MemoryFreed(1000, 0)] * 2  # nothing was left for the third


async def test_what_was_freed_is_given_back_to_the_system_while_memory_is_short(process: Process) -> None:
    process.used = 85
    await process.looks(3)
    process.used = 10
    await process.looks(5)
    assert process.given_back == 3


async def test_actors_without_work_are_passivated_before_their_time(process: Process) -> None:
    refs = [
        await process.system.spawn(Light, name=f"actor-{number}", passivate_after=AGES) for number in range(20)
    ]
    for ref in refs:
        await ref.ask(Echo(1))
    process.used = 85
    await process.looks(1)
    assert len(of(ActorPassivated, process.events)) == 2
    process.used = 95
    await process.looks(1)
    assert len(of(ActorPassivated, process.events)) == 2 + 9
    assert [event.actors for event in of(MemoryFreed, process.events)] == [2, 9]
    assert [await ref.ask(Echo(number)) for number, ref in enumerate(refs)] == list(range(20))


async def test_work_under_way_is_ended_only_when_critical_persists(process: Process) -> None:
    process.used = 95
    await process.looks(4)
    assert process.ended == []
    await process.looks(8)
    assert process.ended == ["batch", "normal"]
    assert of(WorkShed, process.events) == [WorkShed("batch", 3)]  # there was nothing for the second


async def test_refusals_are_told_once_a_look_by_priority(process: Process) -> None:
    process.used = 95
    await process.looks(1)
    for priority in ("batch", "normal", "batch"):
        with pytest.raises(Overloaded):
            process.levels.check(priority)
    process.levels.check("interactive")
    await process.looks(3)
    assert of(WorkRefused, process.events) == [WorkRefused("critical", 0, 1, 2)]


async def test_a_guard_that_crashes_comes_back_and_the_level_is_what_it_was(process: Process) -> None:
    process.used = 95
    await process.looks(3)
    process.system.ref("root/memory").kill(ValueError("broken"))
    await process.restarted.wait()
    with pytest.raises(Overloaded):
        process.levels.check("normal")
    await process.looks(3)
    assert process.ended == ["batch"]  # patience did not begin anew
    assert len(of(MemoryLevelChanged, process.events)) == 1
