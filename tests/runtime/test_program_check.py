"""What is seen of a program before it starts, and what it is told where it cannot run."""

import asyncio
from typing import Any

import pytest

import repertory as rp
from repertory.errors import ProgramError
from repertory.testing import ScriptedLM
from tests.runtime.asks import Asks, Scripted, runtime_of


async def unused(self: Any, text: str) -> Any:
    raise AssertionError("it must not be run")


def in_a_circle() -> rp.Module:
    program = Asks(unused)
    vars(program)["again"] = program
    return program


def falls_back_in_a_circle() -> rp.Module:
    first, second = (rp.Predict("text -> out") for _ in range(2))
    first.supervised(fallback=second.supervised(fallback=first))
    return Asks(unused, first=first)


class Alike:
    def __repr__(self) -> str:
        return "'same'"


def of_one_path() -> rp.Module:
    program = Asks(unused)
    vars(program)["parts"] = {Alike(): rp.Predict("text -> out"), "same": rp.Predict("text -> out")}
    return program


def with_a_slash() -> rp.Module:
    program = Asks(unused)
    vars(program)["parts"] = {"a/b": rp.Predict("text -> out")}
    return program


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (in_a_circle, "again leads back to the program"),
        (falls_back_in_a_circle, r"first\.fallback\.fallback leads back to first"),
        (of_one_path, r"parts\['same'\] is the path of several predictors"),
        (with_a_slash, r"parts\['a/b'\] is to be part of an actor's path"),
    ],
)
async def test_a_program_that_cannot_be_right_is_refused(program: Any, reason: str) -> None:
    async with runtime_of(Scripted()) as runtime:
        with pytest.raises(ProgramError, match=f"asks cannot be started: {reason}"):
            await runtime.start(program(), name="asks")
        assert runtime.deployments == {}
        await runtime.start(rp.Predict("text -> out"), name="asks")


@pytest.mark.parametrize("key", ["a.b", "a]['b", "", 1, ("a", 1), "ü\n", "x" * 300])
async def test_predictors_may_be_held_under_any_other_key(key: object) -> None:
    async def forward(self: Any, text: str) -> Any:
        return await self.parts[key](text=text)

    program = Asks(forward)
    vars(program)["parts"] = {key: rp.Predict("text -> out")}
    async with runtime_of(Scripted()) as runtime:
        assert (await (await runtime.start(program, name="asks"))(text="x")).out == "ok"


async def test_a_module_may_be_part_of_several_programs() -> None:
    async def forward(self: Any, text: str) -> Any:
        return await self.shared(text=text)

    shared = rp.Predict("text -> out")
    async with runtime_of(Scripted()) as runtime:
        programs = [await runtime.start(Asks(forward, shared=shared), name=name) for name in ("one", "two")]
        programs.append(await runtime.start(shared, name="three"))
        assert [(await program(text="x")).out for program in programs] == ["ok", "ok", "ok"]


async def test_a_module_that_calls_itself_without_end_is_told_so() -> None:
    class Circles(rp.Module):
        def __init__(self) -> None:
            self.ask = rp.Predict("text -> out")

        async def forward(self, text: str) -> rp.Prediction:
            return await self(text=text)

    async with runtime_of(Scripted()) as runtime:
        with pytest.raises(ProgramError, match="modules call each other more than 200 deep"):
            await (await runtime.start(Circles(), name="circles"))(text="x")


async def test_modules_that_are_nested_deep_are_cancelled_in_one_go() -> None:
    class Deep(rp.Module):
        def __init__(self) -> None:
            self.ask = rp.Predict("text -> out")

        async def forward(self, text: str) -> rp.Prediction:
            return await (self(text=text + "x") if len(text) < 200 else self.ask(text=text))

    lm = Scripted(text=asyncio.Event())
    async with runtime_of(lm) as runtime:
        run = asyncio.create_task((await runtime.start(Deep(), name="deep"))(text="x"))
        await lm.until_asked(1)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert lm.under_way == 0
        assert runtime.stage.snapshot().composite == 0


async def test_another_event_loop_is_told_so() -> None:
    async with rp.Runtime(lm=ScriptedLM(['{"out": "ok"}']), store=None) as runtime:
        program = await runtime.start(rp.Predict("text -> out"), name="p")
        with pytest.raises(ProgramError, match="the runtime lives in another event loop"):
            await asyncio.to_thread(asyncio.run, program(text="x"))
        assert (await program(text="x")).out == "ok"
