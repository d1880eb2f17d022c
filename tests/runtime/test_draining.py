"""Draining: what is paid for is waited for, what another process can do as well is left to it."""

import asyncio
from math import inf
from pathlib import Path

import repertory as rp
from repertory.modules.options import ModuleOptions
from repertory.modules.run_info import RunInfo
from repertory.runtime.config import make_config
from repertory.runtime.history import RunHistory
from repertory.runtime.run_log import RunLog
from repertory.runtime.runtime import Runtime
from tests.runtime.programs import Two
from tests.runtime.submitted import PATIENCE, Asked, Chain, fields_asked, outcome_of
from tests.virtual_time import LoopClock, run_in_virtual_time


def asks_for(field: str) -> Asked:
    """A model that lets the questions with this input wait."""
    return Asked(held=lambda text: text.startswith(field))


async def test_a_submitted_run_finishes_its_call_and_begins_no_other(tmp_path: Path) -> None:
    lm = asks_for("n1")
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Chain())
        handle = await runtime.submit("Chain", {"n0": "x"}, key="k")
        await lm.until_asked(2)
        draining = asyncio.create_task(runtime.drain(PATIENCE))
        assert not await runtime.drain(0)
        lm.release.set()
        assert await draining
    assert fields_asked(lm) == ["n0", "n1"]
    later = Asked()
    async with Runtime(lm=later, store=tmp_path / "s.db") as runtime:
        await runtime.start(Chain())
        handle = await runtime.find_run(handle.id)
        assert (await outcome_of(handle)).answer == "x1234"
        assert (await handle.status()).uncertain_calls == 0
    assert fields_asked(later) == ["n2", "n3"]


async def test_a_run_whose_last_call_is_under_way_is_brought_to_its_end(tmp_path: Path) -> None:
    lm = asks_for("middle")
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Two())
        handle = await runtime.submit("Two", {"text": "x"})
        await lm.until_asked(2)
        draining = asyncio.create_task(runtime.drain(PATIENCE))
        lm.release.set()
        assert await draining
        assert (await handle.status()).status == "ok"


async def test_a_run_that_only_waits_holds_nothing_off(tmp_path: Path) -> None:
    class Patient(rp.Module):
        def __init__(self) -> None:
            self.ask = rp.Predict("text -> middle")

        async def forward(self, text: str) -> rp.Prediction:
            await rp.wait_for_signal("go")
            return await self.ask(text=text)

    lm = Asked()
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Patient())
        handle = await runtime.submit("Patient", {"text": "x"})
        assert await runtime.drain(PATIENCE)
        await handle.signal("go")
        async for event in handle.events():
            if event.kind == "signal":
                break
    assert not lm.questions, "it is the next process's to ask"


async def test_an_effect_that_has_begun_is_finished_with_all_it_asks_and_no_other_begins(tmp_path: Path) -> None:
    begun, release = asyncio.Event(), asyncio.Event()
    done: list[str] = []

    class Effects(rp.Module):
        def __init__(self) -> None:
            self.ask = rp.Predict("text -> middle")

        async def first(self, text: str) -> str:
            begun.set()
            await release.wait()
            answer = await self.ask(text=text)
            done.append(answer.middle)
            return text

        async def forward(self, text: str) -> rp.Prediction:
            await rp.step("first", self.first, text)
            await rp.step("second", done.append, "second")
            return rp.Prediction(text=text)

    lm = Asked()
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Effects())
        handle = await runtime.submit("Effects", {"text": "x"})
        await begun.wait()
        draining = asyncio.create_task(runtime.drain(PATIENCE))
        assert not await runtime.drain(0)
        release.set()
        assert await draining
        assert done == ["xm"]
        assert [step.step for step in await handle.steps()] == ["ask", "step:first"]


async def test_a_run_that_no_store_keeps_is_brought_to_its_end() -> None:
    lm = asks_for("n1")
    async with Runtime(lm=lm, store=None) as runtime:
        await runtime.start(Chain())
        handle = await runtime.submit("Chain", {"n0": "x"}, durable=False)
        await lm.until_asked(2)
        draining = asyncio.create_task(runtime.drain(PATIENCE))
        assert not await runtime.drain(0)
        lm.release.set()
        assert await draining
        assert (await outcome_of(handle)).answer == "x1234"


async def test_runs_that_wait_for_a_place_are_left_to_the_next_process(tmp_path: Path) -> None:
    lm = asks_for("text: a")
    async with Runtime(make_config("test", {"scheduler": {"runs": 1}}), lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Two())
        await runtime.submit("Two", {"text": "a"})
        await lm.until_asked()
        waiting = await runtime.submit("Two", {"text": "b"})
        draining = asyncio.create_task(runtime.drain(PATIENCE))
        assert not await runtime.drain(0)
        lm.release.set()
        assert await draining
        assert (await waiting.status()).status == "accepted"
    assert lm.questions == ["text: a"]


def test_a_module_whose_time_is_over_while_its_run_stands_still_has_not_failed() -> None:
    class Outer(rp.Module):
        def __init__(self) -> None:
            self.inner = Chain()

        async def forward(self, n0: str) -> rp.Prediction:
            return await self.inner(n0=n0)

    async def main() -> None:
        lm = asks_for("n0")
        async with Runtime(lm=lm, store=None, clock=LoopClock()) as runtime:
            outer = await runtime.start(Outer(), modules={"inner": ModuleOptions(timeout=5)})
            log = RunLog("r", runtime.clock, None)
            info = RunInfo("r", "Outer", inf, durable=True)
            run = asyncio.create_task(outer.execute(info, {"n0": "x"}, log, RunHistory(), submitted=True))
            await lm.until_asked()
            draining = asyncio.create_task(runtime.drain(100))
            await asyncio.sleep(0)
            lm.release.set()
            assert await draining
            await asyncio.sleep(100)  # in virtual time
            assert not run.done()
            assert [event.kind for event in log.kept(0)].count("step") == 1
            run.cancel()
            await asyncio.wait({run})

    run_in_virtual_time(main())
