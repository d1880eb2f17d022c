"""What a program does besides asking models: done once, slept once, heard once, whatever process it is in."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import repertory as rp
from repertory.clock import Clock
from repertory.errors import ConfigError, DeadlineExceeded, ProgramError
from repertory.runtime.run_keeper import Look
from repertory.runtime.runtime import Runtime
from repertory.store.run_rows import RunMessage
from repertory.testing import FakeClock
from tests.runtime.submitted import (
    PATIENCE,
    Asked,
    as_killed_now,
    events_of,
    events_until,
    failure_of,
    held,
    kinds,
    outcome_of,
)
from tests.virtual_time import LoopClock, run_in_virtual_time


class Shop(rp.Module):
    """Asks, charges, and asks again."""

    def __init__(self, charge: Callable[..., Any]) -> None:
        self.check = rp.Predict("text -> middle")
        self.thank = rp.Predict("middle -> answer")
        self.charge = charge

    async def forward(self, text: str) -> rp.Prediction:
        checked = await self.check(text=text)
        receipt = await rp.step("charge", self.charge, checked.middle, times=2)
        thanks = await self.thank(middle=receipt["of"])
        return rp.Prediction(receipt=receipt, answer=thanks.answer)


class Till:
    """Charges, and remembers whom."""

    def __init__(self) -> None:
        self.charged: list[str] = []

    async def charge(self, what: str, times: int) -> dict[str, Any]:
        self.charged.append(what)
        return {"of": what, "times": times, "at": datetime(2000, 1, 2, tzinfo=UTC)}


RECEIPT = {"of": "xm", "times": 2, "at": "2000-01-02T00:00:00Z"}  # as JSON has it


async def test_an_effect_is_done_once_whoever_goes_on_with_the_run(tmp_path: Path) -> None:
    till = Till()
    lm = Asked(held=lambda text: text.startswith("middle"))
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Shop(till.charge))
        handle = await runtime.submit("Shop", {"text": "x"})
        await lm.until_asked(2)
        as_killed_now(tmp_path / "s.db", tmp_path / "killed.db")
    for store in ("s.db", "killed.db"):
        async with Runtime(lm=Asked(), store=tmp_path / store) as runtime:
            await runtime.start(Shop(till.charge))
            found = await outcome_of(await runtime.find_run(handle.id))
            assert (found.receipt, found.answer) == (RECEIPT, "xma")
    assert till.charged == ["xm"]


async def test_an_effects_outcome_is_the_same_when_it_is_done_and_when_it_is_read(tmp_path: Path) -> None:
    async with Runtime(lm=Asked(), store=tmp_path / "s.db") as runtime:
        await runtime.start(Shop(Till().charge))
        handle = await runtime.submit("Shop", {"text": "x"})
        assert (await outcome_of(handle)).receipt == RECEIPT
        assert (await handle.replay()).receipt == RECEIPT
        assert [step.step for step in await handle.steps()] == ["check", "step:charge", "thank"]
        assert (await handle.steps())[1].outputs == RECEIPT


async def test_an_effect_that_failed_is_done_again_by_a_retry(tmp_path: Path) -> None:
    tried: list[str] = []

    def charge(what: str, times: int) -> dict[str, Any]:
        tried.append(what)
        if len(tried) == 1:
            raise LookupError("the till is closed")
        return {"of": what, "times": times}

    lm = Asked()
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Shop(charge))
        handle = await runtime.submit("Shop", {"text": "x"})
        error = await failure_of(handle)
        assert isinstance(error, ProgramError)
        assert "step 'charge' raised LookupError: the till is closed" in str(error)
        await handle.retry()
        assert (await outcome_of(handle)).answer == "xma"
    assert tried == ["xm", "xm"]
    assert lm.questions == ["text: x", "middle: xm"]


async def test_equal_effects_of_a_run_are_each_done_once(tmp_path: Path) -> None:
    done: list[int] = []

    class Often(rp.Module):
        def __init__(self) -> None:
            self.ask = rp.Predict("text -> middle")

        async def forward(self, text: str) -> rp.Prediction:
            numbers = [await rp.step("count", self.count) for _ in range(3)]
            middle = await self.ask(text=text)
            return rp.Prediction(numbers=numbers, middle=middle.middle)

        def count(self) -> int:
            done.append(len(done))
            return len(done)

    lm = Asked(held=lambda _: True)
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Often())
        handle = await runtime.submit("Often", {"text": "x"})
        await lm.until_asked()
    async with Runtime(lm=Asked(), store=tmp_path / "s.db") as runtime:
        await runtime.start(Often())
        assert (await outcome_of(await runtime.find_run(handle.id))).numbers == [1, 2, 3]
    assert len(done) == 3


async def test_outside_of_a_run_an_effect_is_a_call() -> None:
    assert await rp.step("double", lambda number: 2 * number, 4) == 8
    with pytest.raises(ConfigError, match="has no time zone"):
        await rp.sleep_until(datetime(2000, 1, 1))  # that it is refused is the point
    with pytest.raises(ProgramError, match=r"outside of a run"):
        await rp.wait_for_signal("s")


# --- sleeping ---


class Sleeper(rp.Module):
    """Sleeps for a day, or as long as it is told, from when it first came there."""

    def __init__(self, clock: Clock, seconds: float = 86_400) -> None:
        self.ask = rp.Predict("text -> middle")
        self.clock = clock
        self.seconds = seconds

    async def forward(self, text: str) -> rp.Prediction:
        await rp.sleep_until(self.clock.time() + self.seconds)
        return await self.ask(text=text)


async def test_a_run_sleeps_on_in_the_next_process_for_what_is_left(tmp_path: Path) -> None:
    clock = FakeClock()
    lm = Asked()
    async with Runtime(lm=lm, store=tmp_path / "s.db", clock=clock) as runtime:
        await runtime.start(Sleeper(clock))
        handle = await runtime.submit("Sleeper", {"text": "x"})
        await events_until(handle, "timer")
        clock.advance(1000)
    later = FakeClock(monotonic=3.0, time=clock.time())
    async with Runtime(lm=lm, store=tmp_path / "s.db", clock=later) as runtime:
        await runtime.start(Sleeper(later))
        handle = await runtime.find_run(handle.id)
        events = await slept(handle, later, 86_400 - 1000 - 1)
        assert kinds(events) == ["accepted", "timer"]
        assert lm.questions == []
        later.advance(1)
        assert (await outcome_of(handle)).middle == "xm"
        assert kinds(await events_of(handle)).count("timer") == 1


async def slept(handle: rp.RunHandle, clock: FakeClock, seconds: float) -> list[rp.RunEvent]:
    """The events of a run that sleeps, after so many seconds in which it may look at the clock."""
    await asyncio.sleep(0)
    while seconds > 0:
        async with asyncio.timeout(PATIENCE):
            await clock.until_asleep(2)  # it, and the guard of the memory
        step = min(seconds, 60.0)
        clock.advance(step)
        seconds -= step
        await asyncio.sleep(0)
    events: list[rp.RunEvent] = []
    async for event in handle.events():
        events.append(event)
        if event.kind == "timer":
            break
    return events


async def test_a_run_whose_time_has_come_while_nobody_executed_it_goes_on_at_once(tmp_path: Path) -> None:
    clock = FakeClock()
    lm = Asked()
    async with Runtime(lm=lm, store=tmp_path / "s.db", clock=clock) as runtime:
        await runtime.start(Sleeper(clock))
        handle = await runtime.submit("Sleeper", {"text": "x"})
        await events_until(handle, "timer")
    later = FakeClock(time=clock.time() + 90_000)
    async with Runtime(lm=lm, store=tmp_path / "s.db", clock=later) as runtime:
        await runtime.start(Sleeper(later))
        assert (await outcome_of(await runtime.find_run(handle.id))).middle == "xm"


def test_a_run_without_a_store_sleeps_too() -> None:
    async def main() -> None:
        clock = LoopClock()
        async with Runtime(lm=Asked(), store=None, clock=clock) as runtime:
            await runtime.start(Sleeper(clock, 150))
            before = clock.time()
            handle = await runtime.submit("Sleeper", {"text": "x"}, durable=False)
            assert (await handle.result()).middle == "xm"
            assert clock.time() - before == pytest.approx(150, abs=1)

    run_in_virtual_time(main())


# --- signals ---


class Approved(rp.Module):
    """Asks, waits for two approvals, asks again."""

    def __init__(self) -> None:
        self.check = rp.Predict("text -> middle")
        self.thank = rp.Predict("middle -> answer")

    async def forward(self, text: str) -> rp.Prediction:
        checked = await self.check(text=text)
        who = [await rp.wait_for_signal("approved"), await rp.wait_for_signal("approved")]
        thanks = await self.thank(middle=checked.middle)
        return rp.Prediction(who=who, answer=thanks.answer)


@pytest.mark.parametrize("durable", [True, False])
async def test_signals_reach_a_run_that_waits(tmp_path: Path, durable: bool) -> None:
    lm = Asked()
    async with Runtime(lm=lm, store=tmp_path / "s.db" if durable else None) as runtime:
        await runtime.start(Approved())
        handle = await runtime.submit("Approved", {"text": "x"}, durable=durable)
        await lm.until_asked()
        await events_until(handle, "step")
        await handle.signal("other", 9)
        await handle.signal("approved", {"by": "one"})
        await events_until(handle, "signal", 2)
        assert (await handle.status()).status == "accepted"
        await handle.signal("approved", {"by": "two"})
        assert (await outcome_of(handle)).who == [{"by": "one"}, {"by": "two"}]


@pytest.mark.parametrize("durable", [True, False])
async def test_signals_between_two_lives_of_the_keeper_reach_the_run(tmp_path: Path, durable: bool) -> None:
    async with Runtime(lm=Asked(), store=tmp_path / "s.db" if durable else None) as runtime:
        await runtime.start(Approved())
        handle = await runtime.submit("Approved", {"text": "x"}, durable=durable)
        await events_until(handle, "step")
        live = runtime.runs.live[handle.id]
        log = live.log
        assert log is not None
        last = log.last
        runtime.actor("root/runs").kill(ValueError("a fault"))
        async with asyncio.timeout(PATIENCE):
            await log.wait_beyond(last)  # until it is closed
        live.hear(RunMessage("m", handle.id, "signal", '{"name": "approved", "value": 1}', 0.0))
        assert log.last == last  # the next life numbers what comes now
        await handle.signal("approved", 2)
        assert (await outcome_of(handle)).who == [1, 2]


@pytest.mark.parametrize("durable", [True, False])
async def test_signals_wait_for_whoever_asks_for_them(tmp_path: Path, durable: bool) -> None:
    lm = Asked(held=lambda text: text.startswith("text"))
    async with Runtime(lm=lm, store=tmp_path / "s.db" if durable else None) as runtime:
        await runtime.start(Approved())
        handle = await runtime.submit("Approved", {"text": "x"}, durable=durable)
        await handle.signal("approved", 1)  # before it has begun
        await lm.until_asked()
        await handle.signal("approved", 2)
        lm.release.set()
        assert (await outcome_of(handle)).who == [1, 2]


async def test_a_signal_heard_before_the_process_ended_is_heard_once(tmp_path: Path) -> None:
    async with Runtime(lm=Asked(), store=tmp_path / "s.db") as runtime:
        await runtime.start(Approved())
        handle = await runtime.submit("Approved", {"text": "x"})
        await handle.signal("approved", 1)
        await events_until(handle, "signal")
    async with Runtime(lm=Asked(), store=tmp_path / "s.db") as runtime:
        handle = await runtime.find_run(handle.id)
        await handle.signal("approved", 2)  # while nobody executes it
        await runtime.start(Approved())
        runtime.actor("root/runs").tell(Look())
        assert (await outcome_of(handle)).who == [1, 2]
        assert kinds(await events_of(handle)).count("signal") == 2


async def test_a_signal_on_disk_survives_a_kill_before_it_is_heard(tmp_path: Path) -> None:
    lm = Asked(held=lambda _: True)
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Approved())
        handle = await runtime.submit("Approved", {"text": "x"})
        await lm.until_asked()
        await handle.signal("approved", 1)
        as_killed_now(tmp_path / "s.db", tmp_path / "killed.db")
    async with Runtime(lm=Asked(), store=tmp_path / "killed.db") as runtime:
        await runtime.start(Approved())
        handle = await runtime.find_run(handle.id)
        await handle.signal("approved", 2)
        assert (await outcome_of(handle)).who == [1, 2]


async def test_a_signal_that_comes_as_the_run_ends_is_no_event_after_its_last(tmp_path: Path) -> None:
    lm = Asked(held=lambda _: True)
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(rp.Predict("text -> middle"), name="ask")
        handle = await runtime.submit("ask", {"text": "x"})
        await lm.until_asked()
        live = runtime.runs.live[handle.id]
        with held(tmp_path / "s.db"):
            lm.release.set()
            for _ in range(100_000):
                if not live.listens:
                    break
                await asyncio.sleep(0)
            live.hear(RunMessage("m", handle.id, "signal", '{"name": "late", "value": 1}', 0.0))
        await outcome_of(handle)
        assert kinds(await events_of(handle)) == ["accepted", "step", "done"]


async def test_a_signal_from_another_process_is_heard(tmp_path: Path) -> None:
    """The owner looks into the store for it; the test has it look at once."""
    async with (
        Runtime(lm=Asked(), store=tmp_path / "s.db") as owner,
        Runtime(lm=Asked(), store=tmp_path / "s.db") as other,
    ):
        await owner.start(Approved())
        handle = await owner.submit("Approved", {"text": "x"})
        elsewhere = await other.find_run(handle.id)
        await elsewhere.signal("approved", 1)
        await elsewhere.signal("approved", 1)
        await events_until(handle, "step")
        owner.actor("root/runs").tell(Look())
        assert (await outcome_of(handle)).who == [1, 1]


async def test_a_replay_hears_the_recorded_signals(tmp_path: Path) -> None:
    async with Runtime(lm=Asked(), store=tmp_path / "s.db") as runtime:
        await runtime.start(Approved())
        handle = await runtime.submit("Approved", {"text": "x"})
        for number in (1, 2):
            await handle.signal("approved", number)
        await outcome_of(handle)
        assert (await handle.replay()).who == [1, 2]


async def test_waiting_for_a_signal_may_have_a_limit(tmp_path: Path) -> None:
    class Impatient(rp.Module):
        def __init__(self) -> None:
            self.ask = rp.Predict("text -> middle")

        async def forward(self, text: str) -> rp.Prediction:
            try:
                await rp.wait_for_signal("approved", timeout=0.01)
            except DeadlineExceeded as error:
                return rp.Prediction(told=str(error))
            return await self.ask(text=text)

    async with Runtime(lm=Asked(), store=tmp_path / "s.db") as runtime:
        await runtime.start(Impatient())
        handle = await runtime.submit("Impatient", {"text": "x"})
        assert "no signal 'approved' within 0.01 s" in (await outcome_of(handle)).told


async def test_a_run_that_can_be_sent_no_signal_says_so(tmp_path: Path) -> None:
    async with Runtime(lm=Asked(), store=tmp_path / "s.db") as runtime:
        approved = await runtime.start(Approved())
        with pytest.raises(ProgramError, match="submit"):
            await approved.run({"text": "x"}, timeout=5)
