"""One run: deadlines and cancellation down to the socket, and what its failures say."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

import repertory as rp
from repertory.errors import (
    DeadlineExceeded,
    InputError,
    LMAuthError,
    LMRequestRejected,
    ProgramError,
    ReplyError,
    RuntimeClosed,
)
from repertory.events import RunFinished, RunStuck
from repertory.runtime.runtime import Runtime
from repertory.testing import ScriptedLM
from tests.endpoint import Hang, Hold, Reply, ScriptedEndpoint, Seen, Status, Step
from tests.runtime.programs import Collected, Two, reply_to, requests_seen, runtime_for
from tests.virtual_time import LoopClock, run_in_virtual_time


@pytest.mark.parametrize("program", [Two(), rp.Predict("text -> middle")])
async def test_the_deadline_reaches_the_endpoint(tmp_path: Path, program: rp.Module) -> None:
    told = Collected()
    async with (
        ScriptedEndpoint(lambda _: Hang()) as server,
        runtime_for(server, tmp_path / "s.db", hooks=[told]) as runtime,
    ):
        deployment = await runtime.start(program, name="p")
        with pytest.raises(DeadlineExceeded):
            await deployment.run({"text": "x"}, timeout=0.2)
        async with asyncio.timeout(60):
            await server.client_left.wait()
        assert len(server.requests) == 1
        assert [event.error for event in told.of(RunFinished)] == ["deadline_exceeded"]


async def test_a_callers_cancellation_reaches_the_socket(tmp_path: Path) -> None:
    told = Collected()
    async with (
        ScriptedEndpoint(lambda _: Hang()) as server,
        runtime_for(server, tmp_path / "s.db", hooks=[told]) as runtime,
    ):
        two = await runtime.start(Two())
        run = asyncio.create_task(two(text="x"))
        await requests_seen(server, 1)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        async with asyncio.timeout(60):
            await server.client_left.wait()
        assert [event.error for event in told.of(RunFinished)] == ["cancelled"]  # not a success
        assert two.busiest_worker().load == 0
        assert await runtime.drain(timeout=60)


async def test_the_siblings_of_a_failed_step_are_cancelled_down_to_the_socket(tmp_path: Path) -> None:
    class Pair(rp.Module):
        def __init__(self) -> None:
            self.fails = rp.Predict("text -> wrong")
            self.hangs = rp.Predict("text -> slow")

        async def forward(self, text: str) -> rp.Prediction:
            await asyncio.gather(self.fails(text=text), self.hangs(text=text))
            return rp.Prediction()

    def step(seen: Seen) -> Step:
        return Hang() if "slow" in str(seen.body) else Hold(hanging, then=Status(400))

    hanging = asyncio.Event()
    async with ScriptedEndpoint(step) as server, runtime_for(server, tmp_path / "s.db") as runtime:
        pair = await runtime.start(Pair())
        run = asyncio.create_task(pair(text="x"))
        await requests_seen(server, 2)
        hanging.set()
        with pytest.raises(LMRequestRejected):
            await run
        async with asyncio.timeout(60):
            await server.client_left.wait()


async def test_a_key_stands_for_one_set_of_inputs(tmp_path: Path) -> None:
    async with ScriptedEndpoint(reply_to) as server, runtime_for(server, tmp_path / "s.db") as runtime:
        two = await runtime.start(Two())
        await two.run({"text": "x"}, key="k")
        with pytest.raises(InputError, match="the key 'k' stands for a run with other inputs"):
            await two.run({"text": "y"}, key="k")
        assert len(server.requests) == 2


async def test_wrong_inputs_are_refused_before_anything_is_kept(tmp_path: Path) -> None:
    async with ScriptedEndpoint(reply_to) as server, runtime_for(server, tmp_path / "s.db") as runtime:
        two = await runtime.start(Two())
        for inputs in ({}, {"text": 3}, {"text": "x", "more": 1}):
            with pytest.raises(InputError):
                await two.run(inputs, key="k")
        assert (await two.recorded(["k"]), server.requests) == ({}, [])


async def test_failures_are_passed_on_as_they_are() -> None:
    script: list[Step] = [Reply("no JSON"), Reply("no JSON"), Status(401, "who are you")]
    async with ScriptedEndpoint(script) as server, runtime_for(server) as runtime:
        two = await runtime.start(Two())
        with pytest.raises(ReplyError) as caught:
            await two(text="x")
        assert caught.value.reply == "no JSON"
        with pytest.raises(LMAuthError, match="who are you"):
            await two(text="x")


class Own(rp.Module):
    """A program whose own code goes wrong as it is told."""

    def __init__(self) -> None:
        self.ask = rp.Predict("text -> middle")

    async def forward(self, text: str) -> rp.Prediction:
        match text:
            case "exit":
                raise SystemExit(3)
            case "cancel":
                raise asyncio.CancelledError
            case "raise":
                raise LookupError("own fault")
            case "timeout":
                async with asyncio.timeout(0):
                    await asyncio.sleep(60)
            case "wrong":
                return {"a": "dict"}  # type: ignore[return-value]  # that it is refused is the point
            case "unwritable":
                return rp.Prediction(thing=object())
        return await self.ask(text=text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("exit", "Own: its code raised SystemExit: 3"),
        ("cancel", "Own: its code raised CancelledError: "),
        ("raise", "Own: its code raised LookupError: own fault"),
        ("timeout", "Own: its code raised TimeoutError: "),
        ("wrong", "Own: forward returned dict, not a Prediction"),
        ("unwritable", "Own: its code raised PydanticSerializationError"),
    ],
)
async def test_the_programs_own_mishaps_are_answers(tmp_path: Path, text: str, message: str) -> None:
    told = Collected()
    async with (
        ScriptedEndpoint(reply_to) as server,
        runtime_for(server, tmp_path / "s.db", hooks=[told]) as runtime,
    ):
        own = await runtime.start(Own())
        with pytest.raises(ProgramError, match=message):
            await own.run({"text": text}, key="k")
        assert (await own.recorded(["k"]))["k"].status == "failed"
        assert [event.error for event in told.of(RunFinished)] == ["program_invalid"]
        assert (await own(text="x")).middle == "mx"


async def test_concurrent_runs_do_not_see_each_other() -> None:
    async with ScriptedEndpoint(reply_to) as server, runtime_for(server) as runtime:
        two = await runtime.start(Two())
        answers = await asyncio.gather(*(two(text=str(number)) for number in range(50)))
        assert [answer.answer for answer in answers] == [f"am{number}" for number in range(50)]
        assert all(answer.lm_calls == 2 for answer in answers)


class Stubborn(rp.Module):
    """Goes on until it is released, whatever is cancelled; then it asks on."""

    def __init__(self) -> None:
        self.ask = rp.Predict("text -> middle")
        self.begun, self.release = asyncio.Event(), asyncio.Event()
        self.refused: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    async def forward(self, text: str) -> rp.Prediction:
        self.begun.set()
        while not self.release.is_set():
            with suppress(asyncio.CancelledError):
                await self.release.wait()
        try:
            return await self.ask(text=text)
        except RuntimeClosed as error:
            self.refused.set_result(error)
            raise


@pytest.mark.parametrize(
    ("cancelled", "error", "outcome"),
    [(False, DeadlineExceeded, "deadline_exceeded"), (True, asyncio.CancelledError, "cancelled")],
)
def test_a_run_that_withstands_its_end_is_left_behind_and_told(
    cancelled: bool, error: type[BaseException], outcome: str
) -> None:
    async def main() -> None:
        told, lm = Collected(), ScriptedLM(["{}"])
        async with Runtime(lm=lm, store=None, hooks=[told], clock=LoopClock()) as runtime:
            stubborn = Stubborn()
            deployment = await runtime.start(stubborn)
            run = asyncio.create_task(deployment.run({"text": "x"}, timeout=5))
            await stubborn.begun.wait()
            if cancelled:
                run.cancel()
            with pytest.raises(error):
                await run
            (stuck,), (finished,) = told.of(RunStuck), told.of(RunFinished)
            assert (stuck.program, stuck.run_id) == ("Stubborn", finished.run_id)
            assert finished.error == outcome
            assert await runtime.drain(timeout=0)
            (left,) = [task for task in asyncio.all_tasks() if task.get_name().startswith("run ")]
            assert left.get_name() == f"run {stuck.run_id} of Stubborn"
            stubborn.release.set()
            assert "the run of ask has ended" in str(await stubborn.refused)  # what it asks late costs nothing
            await asyncio.wait({left})
            assert len(told.of(RunFinished)) == 1
        assert not lm.requests

    run_in_virtual_time(main())
