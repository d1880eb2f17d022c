"""Overload: while memory is short new work is refused and work under way ended, by priority; and CPU work."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import repertory as rp
from repertory.errors import DeadlineExceeded, Overloaded, RuntimeClosed
from repertory.events import MemoryLevelChanged, RunFinished, WorkShed
from repertory.providers.messages import Priority
from repertory.runtime.memory_levels import PRIORITIES, Reading
from repertory.runtime.runtime import Runtime
from repertory.testing import FakeClock
from tests.runtime import computed
from tests.runtime.programs import Collected, Two
from tests.runtime.submitted import Asked, events_of, failure_of, fields_asked, kinds, outcome_of

PLENTY, SHORT, CRITICAL = Reading(10, 100), Reading(85, 100), Reading(95, 100)


class Memory:
    """The memory as the test says it is, looked at when the test wants it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reading = PLENTY
        self.sleepers = 0
        self.clock = FakeClock()
        self.told = Collected()
        monkeypatch.setattr("repertory.runtime.memory_reading.MemoryReader.read", lambda _: self.reading)

    @asynccontextmanager
    async def runtime(self, lm: Asked, store: Path | None) -> AsyncIterator[Runtime]:
        async with Runtime(lm=lm, store=store, clock=self.clock, hooks=[self.told]) as runtime:
            await self.clock.until_asleep()
            self.sleepers = self.clock.sleeping  # when nothing happens
            yield runtime

    async def looks(self, times: int = 1) -> None:
        """Have so many seconds pass, after each of which the guard has looked."""
        for _ in range(times):
            await self.clock.until_asleep(self.sleepers)
            self.clock.advance(1)
        await self.clock.until_asleep(self.sleepers)

    async def becomes(self, reading: Reading) -> None:
        self.reading = reading
        await self.looks()


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    return Memory(monkeypatch)


def terms(priority: Priority) -> rp.Terms:
    return rp.Terms(priority=priority)


@pytest.mark.parametrize(
    ("reading", "refused"), [(PLENTY, ()), (SHORT, ("batch",)), (CRITICAL, ("batch", "normal"))]
)
async def test_new_work_is_refused_by_its_priority(
    tmp_path: Path, memory: Memory, reading: Reading, refused: tuple[Priority, ...]
) -> None:
    lm = Asked()
    async with memory.runtime(lm, tmp_path / "s.db") as runtime:
        two = await runtime.start(Two())
        await memory.becomes(reading)
        for priority in PRIORITIES:
            if priority in refused:
                for attempt in (
                    two.run({"text": "x"}, terms=terms(priority)),
                    runtime.submit("Two", {"text": "x"}, terms=terms(priority), key=priority),
                ):
                    with pytest.raises(Overloaded, match=f"no new {priority} work") as caught:
                        await attempt
                    assert caught.value.retryable
                    assert caught.value.retry_after
                    assert caught.value.retry_after >= 1
            else:
                run = await two.run({"text": "x"}, terms=terms(priority))
                handle = await runtime.submit("Two", {"text": "x"}, terms=terms(priority))
                assert (await outcome_of(handle)).answer == run.prediction.answer == "xma"
        assert len(await runtime.runs.latest(None, None, 20)) == 2 * (3 - len(refused))  # nothing else was kept
    assert len(lm.questions) == 4 * (3 - len(refused))


async def test_who_was_refused_is_taken_when_memory_is_free_again(tmp_path: Path, memory: Memory) -> None:
    async with memory.runtime(Asked(), tmp_path / "s.db") as runtime:
        await runtime.start(Two())
        await memory.becomes(CRITICAL)
        with pytest.raises(Overloaded) as caught:
            await runtime.submit("Two", {"text": "x"}, key="k")
        memory.reading = PLENTY
        await memory.looks(int(caught.value.retry_after or 0) + 2)
        handle = await runtime.submit("Two", {"text": "x"}, key="k")
        assert (await outcome_of(handle)).answer == "xma"


async def test_a_key_that_is_known_is_answered_even_while_new_work_is_refused(
    tmp_path: Path, memory: Memory
) -> None:
    async with memory.runtime(Asked(), tmp_path / "s.db") as runtime:
        two = await runtime.start(Two())
        await outcome_of(await runtime.submit("Two", {"text": "x"}, key="k"))
        await memory.becomes(CRITICAL)
        assert (await two.run({"text": "x"}, key="k")).replayed
        again = await runtime.submit("Two", {"text": "x"}, key="k")
        assert (await outcome_of(again)).answer == "xma"


async def test_work_under_way_is_ended_by_its_priority_and_can_be_retried(tmp_path: Path, memory: Memory) -> None:
    lm = Asked(held=lambda text: text.startswith("middle"))
    async with memory.runtime(lm, tmp_path / "s.db") as runtime:
        two = await runtime.start(Two())
        handles = {
            priority: await runtime.submit("Two", {"text": priority}, terms=terms(priority))
            for priority in PRIORITIES
        }
        call = asyncio.create_task(two.run({"text": "called"}, terms=terms("batch")))
        await lm.until_asked(8)
        await memory.becomes(CRITICAL)
        await memory.told.until(MemoryLevelChanged)
        await memory.looks(6)
        assert isinstance(await failure_of(handles["batch"]), Overloaded)
        with pytest.raises(Overloaded):
            await call
        assert (await handles["normal"].status()).status == "accepted"
        await memory.looks(6)
        assert isinstance(await failure_of(handles["normal"]), Overloaded)
        assert [(event.priority, event.ended) for event in memory.told.of(WorkShed)] == [
            ("batch", 2),
            ("normal", 1),
        ]
        await memory.looks(6)
        with pytest.raises(Overloaded):  # when ending all that has not helped
            await runtime.submit("Two", {"text": "x"}, terms=terms("interactive"))
        assert (await handles["interactive"].status()).status == "accepted"

        ended: tuple[Priority, ...] = ("batch", "normal")
        for priority in ended:
            status = await handles[priority].status()
            assert (status.status, status.error and status.error[0]) == ("failed", "overloaded")
            assert kinds(await events_of(handles[priority]))[-1] == "done"
        memory.reading = PLENTY
        await memory.looks(15)
        lm.release.set()
        for priority in ended:
            await handles[priority].retry()
        answers = {priority: (await outcome_of(handle)).answer for priority, handle in handles.items()}
        assert answers == {priority: f"{priority}ma" for priority in PRIORITIES}
    assert fields_asked(lm).count("text") == 4  # the steps that had ended were not asked again
    assert {event.error for event in memory.told.of(RunFinished)} == {"overloaded", None}


async def test_a_retry_is_new_work(tmp_path: Path, memory: Memory) -> None:
    lm = Asked(held=lambda _: True)
    async with memory.runtime(lm, tmp_path / "s.db") as runtime:
        await runtime.start(Two())
        handle = await runtime.submit("Two", {"text": "x"})
        await lm.until_asked()
        await handle.cancel()
        await failure_of(handle)
        await memory.becomes(CRITICAL)
        with pytest.raises(Overloaded):
            await handle.retry()
        with pytest.raises(Overloaded):
            await handle.fork(0)
        assert (await handle.status()).status == "cancelled"


# --- computing ---


async def test_what_takes_the_cpu_is_computed_elsewhere_and_the_loop_goes_on(tmp_path: Path) -> None:
    async with Runtime(lm=Asked(), store=None) as runtime:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        counting = asyncio.create_task(count())
        assert await runtime.compute(computed.add, 40, 2) == 42
        counting.cancel()
        assert turns > 1
        with pytest.raises(ValueError, match="too low"):
            await runtime.compute(computed.refuse, "too low")
        with pytest.raises(DeadlineExceeded):
            await runtime.compute(computed.hang, str(tmp_path / "trace"), timeout=0.1)
        assert await runtime.compute(computed.add, 4, 4) == 8
    with pytest.raises(RuntimeClosed):
        await runtime.compute(computed.add, 1, 1)
