"""How a module is run: replicas, concurrency, timeout, retries, fallback and restart, by code or by `start`."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

import repertory as rp
from repertory.actors import ActorInfo
from repertory.errors import (
    ActorDown,
    ConfigError,
    DeadlineExceeded,
    LMRequestRejected,
    LMServerError,
    ProgramError,
)
from repertory.providers.messages import LMRequest
from repertory.runtime.runtime import Runtime
from repertory.testing import Answer
from tests.runtime.programs import Two
from tests.runtime.submitted import Asked, appended, events_of, fields_asked, outcome_of, question
from tests.virtual_time import LoopClock, run_in_virtual_time


class Failing:
    """Answers the question about ``field`` with ``errors``, one after the other, before it answers it."""

    def __init__(self, field: str, *errors: Exception) -> None:
        self.field = field
        self.errors = list(errors)

    def __call__(self, request: LMRequest) -> Answer:
        if self.errors and question(request).startswith(self.field):
            return self.errors.pop(0)
        return appended(request)


class Optioned(rp.Module):
    """`Two` with options in its code."""

    def __init__(self, **options: Any) -> None:
        self.first = rp.Predict("text -> middle").supervised(**options)
        self.second = rp.Predict("middle -> answer")

    async def forward(self, text: str) -> rp.Prediction:
        middle = await self.first(text=text)
        return await self.second(middle=middle.middle)


BUSY = LMServerError("busy", endpoint="e")
REFUSED = LMRequestRejected("no", endpoint="e")
OUTER = {"text": "x"}


def paths(infos: tuple[ActorInfo, ...]) -> list[str]:
    return [path for info in infos for path in (info.path, *paths(info.children))]


def workers(runtime: Runtime, program: str, predictor: str) -> int:
    start = f"root/programs/{program}/{predictor}/pool/"
    return sum(path.startswith(start) for path in paths(runtime.tree()))


def in_virtual_time(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """A test whose seconds pass at once."""

    def run() -> None:
        run_in_virtual_time(test())

    run.__name__ = test.__name__
    return run


# --- replicas and concurrency ---


async def test_replicas_are_those_of_the_module_else_of_its_code_else_of_the_start() -> None:
    async with Runtime(lm=Asked(), store=None) as runtime:
        await runtime.start(Optioned(replicas=3), name="code", replicas=2)
        assert (workers(runtime, "code", "first"), workers(runtime, "code", "second")) == (3, 2)
        said = {"first": rp.ModuleOptions(replicas=4)}
        await runtime.start(Optioned(replicas=3), name="said", modules=said)
        assert (workers(runtime, "said", "first"), workers(runtime, "said", "second")) == (4, 1)


@pytest.mark.parametrize(("replicas", "concurrency"), [(1, 1), (2, 1), (2, 3)])
async def test_so_many_predictions_are_under_way_at_a_time(replicas: int, concurrency: int) -> None:
    lm = Asked(held=lambda text: text.startswith("text"))
    async with Runtime(lm=lm, store=None) as runtime:
        await runtime.start(Optioned(replicas=replicas, concurrency=concurrency))
        handles = [await runtime.submit("Optioned", {"text": f"{n}"}, durable=False) for n in range(10)]
        await lm.until_asked(replicas * concurrency)
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(lm.questions) == replicas * concurrency
        lm.release.set()
        assert [(await outcome_of(handle)).answer for handle in handles] == [f"{n}ma" for n in range(10)]


# --- timeout ---


@in_virtual_time
async def test_an_attempt_takes_no_longer_than_it_may() -> None:
    lm = Asked(held=lambda _: True)
    async with Runtime(lm=lm, store=None, clock=LoopClock(), timeout=100) as runtime:
        optioned = await runtime.start(Optioned(timeout=3))
        before = runtime.clock.monotonic()
        with pytest.raises(DeadlineExceeded, match=r"first: not done within 3 s"):
            await optioned(text="x")
        assert runtime.clock.monotonic() - before == pytest.approx(3, abs=0.1)
        assert lm.given_up.is_set()


@in_virtual_time
async def test_an_attempt_that_took_too_long_is_repeated() -> None:
    lm = Asked(held=lambda _: len(lm.questions) == 1)
    async with Runtime(lm=lm, store=None, clock=LoopClock(), timeout=100) as runtime:
        optioned = await runtime.start(Optioned(timeout=3, retries=1))
        assert (await optioned(text="x")).answer == "xma"
    assert fields_asked(lm) == ["text", "text", "middle"]


@in_virtual_time
async def test_a_module_that_holds_others_has_its_time_too() -> None:
    class Holding(rp.Module):
        def __init__(self) -> None:
            self.two = Two().supervised(timeout=5)

        async def forward(self, text: str) -> rp.Prediction:
            return await self.two(text=text)

    lm = Asked(held=lambda text: text.startswith("middle"))
    async with Runtime(lm=lm, store=None, clock=LoopClock(), timeout=100) as runtime:
        holding = await runtime.start(Holding())
        with pytest.raises(DeadlineExceeded, match="Two: not done within 5 s"):
            await holding(text="x")
        assert lm.given_up.is_set()
        assert runtime.stage.snapshot().under_way == 0


# --- retries ---


@in_virtual_time
async def test_what_may_help_is_repeated_as_often_as_said_and_each_time_later() -> None:
    lm = Asked(Failing("text", BUSY, BUSY, BUSY))
    async with Runtime(lm=lm, store=None, clock=LoopClock()) as runtime:
        optioned = await runtime.start(Optioned(retries=2))
        with pytest.raises(LMServerError):
            await optioned(text="x")
        assert fields_asked(lm) == ["text"] * 3
        assert (await optioned(text="x")).answer == "xma"


@in_virtual_time
async def test_what_cannot_help_is_not_repeated() -> None:
    lm = Asked(Failing("text", REFUSED))
    async with Runtime(lm=lm, store=None, clock=LoopClock()) as runtime:
        optioned = await runtime.start(Optioned(retries=2))
        with pytest.raises(LMRequestRejected):
            await optioned(text="x")
    assert fields_asked(lm) == ["text"]


@in_virtual_time
async def test_nothing_is_repeated_when_the_run_would_be_over() -> None:
    slow = LMServerError("busy", endpoint="e", retry_after=30)
    lm = Asked(Failing("text", slow, slow))
    async with Runtime(lm=lm, store=None, clock=LoopClock()) as runtime:
        optioned = await runtime.start(Optioned(retries=2))
        with pytest.raises(LMServerError):
            await optioned.run({"text": "x"}, timeout=20)
        assert fields_asked(lm) == ["text"]
        before = runtime.clock.monotonic()
        assert (await optioned.run({"text": "x"}, timeout=100)).prediction.answer == "xma"
        assert runtime.clock.monotonic() - before >= 30  # what the failing side wished for


async def test_repeated_attempts_are_recorded_and_not_asked_again(tmp_path: Path) -> None:
    lm = Asked(Failing("text", BUSY), held=lambda text: text.startswith("middle"))
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Optioned(retries=1))
        handle = await runtime.submit("Optioned", OUTER)
        await lm.until_asked(3)
    lm = Asked()
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Optioned(retries=1))
        handle = await runtime.find_run(handle.id)
        assert (await outcome_of(handle)).answer == "xma"
        assert (await handle.replay()).answer == "xma"
        steps = [(step.step, step.error is None) for step in await handle.steps() if step.step == "first"]
        assert steps == [("first", False), ("first", True)]
    assert fields_asked(lm) == ["middle"]


# --- fallback ---


@in_virtual_time
async def test_a_fallback_answers_where_a_module_has_failed_for_good() -> None:
    lm = Asked(Failing("text", BUSY, BUSY))
    other = Asked()
    async with Runtime(lm={"default": lm, "other": other}, store=None, clock=LoopClock()) as runtime:
        fallback = rp.Predict("text -> middle", lm="other")
        optioned = await runtime.start(Optioned(retries=1, fallback=fallback))
        assert (await optioned(text="x")).answer == "xma"
    assert (fields_asked(lm), fields_asked(other)) == (["text", "text", "middle"], ["text"])


@in_virtual_time
async def test_a_fallback_may_have_one_of_its_own() -> None:
    default, second, third = Asked(lambda _: REFUSED), Asked(lambda _: REFUSED), Asked()
    last = rp.Predict("text -> middle", lm="third")
    program = rp.Predict("text -> middle").supervised(
        fallback=rp.Predict("text -> middle", lm="second").supervised(fallback=last)
    )
    models = {"default": default, "second": second, "third": third}
    async with Runtime(lm=models, store=None, clock=LoopClock()) as runtime:
        ask = await runtime.start(program)
        assert (await ask(text="x")).middle == "xm"
        assert list(program.predictors()) == ["self.fallback.fallback", "self.fallback", "self"]
    assert [len(lm.questions) for lm in (default, second, third)] == [1, 1, 1]


async def test_a_fallback_can_be_named_at_the_start() -> None:
    lm, other = Asked(Failing("text", REFUSED)), Asked()
    async with Runtime(lm={"default": lm, "other": other}, store=None) as runtime:
        fallback = rp.Predict("text -> middle", lm="other")
        two = await runtime.start(Two(), modules={"first": rp.ModuleOptions(fallback=fallback)})
        assert (await two(text="x")).answer == "xma"
        assert set(two.parameters()) == {"first", "first.fallback", "second"}


async def test_what_a_fallback_answered_is_recorded(tmp_path: Path) -> None:
    lm = Asked(Failing("text", REFUSED), held=lambda text: text.startswith("middle"))
    other = Asked()
    program = Optioned(fallback=rp.Predict("text -> middle", lm="other"))
    async with Runtime(lm={"default": lm, "other": other}, store=tmp_path / "s.db") as runtime:
        await runtime.start(program)
        handle = await runtime.submit("Optioned", OUTER)
        await lm.until_asked(2)
    lm, other = Asked(), Asked()
    async with Runtime(lm={"default": lm, "other": other}, store=tmp_path / "s.db") as runtime:
        await runtime.start(program)
        handle = await runtime.find_run(handle.id)
        assert (await outcome_of(handle)).answer == "xma"
        steps = [event.data["step"] for event in await events_of(handle) if "outputs" in event.data]
        assert steps == ["first.fallback", "second"]
    assert (fields_asked(lm), fields_asked(other)) == (["middle"], [])


async def test_the_error_of_a_fallback_that_fails_too_is_raised() -> None:
    async with Runtime(lm=Asked(lambda _: REFUSED), store=None) as runtime:
        optioned = await runtime.start(Optioned(fallback=rp.Predict("text -> middle")))
        with pytest.raises(LMRequestRejected):
            await optioned(text="x")


# --- restart ---


@pytest.mark.parametrize(
    ("restart", "comes_back"), [("permanent", True), ("transient", True), ("temporary", False)]
)
async def test_who_crashed_comes_back_as_said(restart: Any, comes_back: bool) -> None:
    lm = Asked(held=lambda text: text.startswith("text"))
    async with Runtime(lm=lm, store=None) as runtime:
        optioned = await runtime.start(Optioned(restart=restart))
        run = asyncio.create_task(optioned(text="x"))
        await lm.until_asked()
        (worker,) = [path for path in paths(runtime.tree()) if "/first/pool/" in path]
        runtime.actor(worker).kill(ValueError("a fault"))
        lm.release.set()
        if comes_back:
            assert (await run).answer == "xma"
        else:
            with pytest.raises(ActorDown):
                await run


# --- what is said where ---


async def test_a_path_that_leads_to_no_module_is_named_with_those_there_are() -> None:
    async with Runtime(lm=Asked(), store=None) as runtime:
        with pytest.raises(ProgramError, match=r"(?s)no module at 'third'.*self, first, second"):
            await runtime.start(Two(), modules={"third": rp.ModuleOptions(retries=1)})
        assert (await (await runtime.start(Two()))(text="x")).answer == "xma"  # nothing was left half started


async def test_what_is_said_at_the_start_goes_over_the_code_option_by_option() -> None:
    lm = Asked(Failing("text", BUSY))
    async with Runtime(lm=lm, store=None) as runtime:
        said = {"first": rp.ModuleOptions(replicas=2)}
        optioned = await runtime.start(Optioned(retries=1, replicas=3), modules=said)
        assert workers(runtime, "Optioned", "first") == 2
        assert (await optioned(text="x")).answer == "xma"  # the retries of the code hold


async def test_the_start_can_take_back_what_the_code_says() -> None:
    lm = Asked(Failing("text", BUSY))
    async with Runtime(lm=lm, store=None) as runtime:
        optioned = await runtime.start(Optioned(retries=1), modules={"first": rp.ModuleOptions(retries=0)})
        with pytest.raises(LMServerError):
            await optioned(text="x")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("replicas", 0),
        ("replicas", True),
        ("concurrency", -1),
        ("retries", 1.5),
        ("timeout", 0),
        ("timeout", float("nan")),
        ("restart", "always"),
        ("fallback", "first"),
    ],
)
def test_an_option_that_cannot_be_is_named_with_its_value_and_the_remedy(option: str, value: Any) -> None:
    for say in (rp.ModuleOptions, rp.Predict("a -> b").supervised):
        with pytest.raises(ConfigError, match=option) as caught:
            say(**{option: value})
        assert repr(value) in str(caught.value)
        assert caught.value.hint
