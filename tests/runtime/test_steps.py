"""The steps of a run: given up, failed, asked again, replaced; none is left over, and each says why it ended."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import repertory as rp
from repertory.errors import (
    DeadlineExceeded,
    LMServerError,
    ProgramError,
    RepertoryError,
    RuntimeClosed,
    StepCancelled,
)
from tests.runtime.asks import FAILS, Answer, Asks, Forward, Scripted, never, runtime_of


async def outcome_of(
    forward: Forward, lm: Scripted, *, timeout: float = 60, on_failure: str | None = None, **held: rp.Module
) -> rp.Prediction:
    """What a program gives; nothing of it is left on the stage, whatever that is."""
    async with runtime_of(lm) as runtime:
        program = await runtime.start(Asks(forward, **held), name="asks", on_failure=on_failure)
        try:
            return (await program.run({"text": "x"}, timeout=timeout)).prediction
        finally:
            stage = runtime.stage.snapshot()
            assert (stage.runs, stage.blocked, stage.ready, stage.under_way, stage.composite) == (0, 0, 0, 0, 0)
            assert lm.under_way == 0
            assert not runtime.under_way


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


# --- given up ---


async def test_a_step_that_is_given_up_before_it_begins_has_ended() -> None:
    async def forward(self: Any, text: str) -> Any:
        given_up = self.a(a=text)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        return rp.Prediction(done=given_up.done)

    assert (await outcome_of(forward, Scripted())).done


async def test_what_depends_on_a_step_that_was_given_up_says_so() -> None:
    async def forward(self: Any, text: str) -> Any:
        given_up = self.a(a=text)
        dependent = self.b(b=given_up.out)
        given_up.cancel()
        with pytest.raises(StepCancelled, match=r"step 0 \(a\) was given up by the program"):
            await dependent
        return rp.Prediction()

    await outcome_of(forward, Scripted())


async def test_a_step_goes_on_while_another_one_depends_on_it() -> None:
    may_end = asyncio.Event()

    async def forward(self: Any, text: str) -> Any:
        source = self.a(a=text)
        dependent = self.b(b=source.out)
        waiting = asyncio.ensure_future(source)
        await turns()
        waiting.cancel()
        await turns()
        may_end.set()
        return await dependent

    assert (await outcome_of(forward, Scripted(a=may_end))).out == "ok"


async def test_a_call_from_a_thread_is_refused_and_leaves_nothing() -> None:
    async def forward(self: Any, text: str) -> Any:
        with pytest.raises(ProgramError, match="a was called in another thread"):
            await asyncio.to_thread(lambda: self.a(a=text))
        with pytest.raises(ProgramError, match="a was called in another thread"):
            await asyncio.to_thread(asyncio.run, later(self))
        return await self.b(b=text)

    async def later(self: Any) -> Any:
        return await self.a(a="x")

    lm = Scripted()
    await outcome_of(forward, lm)
    assert lm.asked == ["b"]


async def test_thousands_that_nobody_awaits_are_waited_for() -> None:
    async def forward(self: Any, text: str) -> Any:
        for number in range(2000):
            self.a(a=str(number))
        return rp.Prediction()

    lm = Scripted()
    await outcome_of(forward, lm)
    assert len(lm.asked) == 2000


async def test_a_task_that_outlives_forward_begins_nothing() -> None:
    may_go_on = asyncio.Event()
    tasks = []

    async def forward(self: Any, text: str) -> Any:
        async def later() -> Any:
            await may_go_on.wait()
            return await self.a(a=text)

        tasks.append(asyncio.create_task(later()))
        return rp.Prediction()

    await outcome_of(forward, Scripted())
    may_go_on.set()
    with pytest.raises(RuntimeClosed, match="the run of a has ended"):
        await tasks[0]


# --- what a module began ends with it ---


async def test_an_attempt_takes_its_steps_along() -> None:
    attempts = []

    async def inner(self: Any, text: str) -> Any:
        attempts.append(self.b(b=text))
        if len(attempts) == 1:
            await turns()
            raise FAILS
        attempts[1].cancel()
        return await self.a(a=text)

    async def forward(self: Any, text: str) -> Any:
        return await self.inner(text=text)

    lm = Scripted(b=never)
    assert (await outcome_of(forward, lm, inner=Asks(inner).supervised(retries=1))).out == "ok"
    assert attempts[0].done


@pytest.mark.parametrize("options", [{"retries": 1}, {}])
async def test_what_fails_within_a_failed_module_is_covered_by_its_failure(options: dict[str, Any]) -> None:
    attempts = []

    async def innermost(self: Any, text: str) -> Any:
        self.b(b=text)  # fails, and nobody asks
        return rp.Prediction()

    async def inner(self: Any, text: str) -> Any:
        attempts.append(text)
        if len(attempts) > 1:
            return await self.a(a=text)
        await self.innermost(text=text)
        await turns()
        raise FAILS

    async def forward(self: Any, text: str) -> Any:
        try:
            return await self.inner(text=text)
        except LMServerError:
            return await self.c(c=text)

    held = Asks(inner, innermost=Asks(innermost)).supervised(**options)
    assert (await outcome_of(forward, Scripted(b=FAILS), inner=held)).out == "ok"


async def test_an_error_that_nobody_heard_fails_the_run() -> None:
    async def forward(self: Any, text: str) -> Any:
        self.a(a=text)
        return await self.b(b=text)

    with pytest.raises(LMServerError):
        await outcome_of(forward, Scripted(a=FAILS))


@pytest.mark.parametrize("leaves", [SystemExit(3), ValueError("own")])
async def test_an_inner_modules_mishap_ends_its_run_alone(leaves: BaseException) -> None:
    async def inner(self: Any, text: str) -> Any:
        raise leaves

    async def forward(self: Any, text: str) -> Any:
        return await self.inner(text=text)

    with pytest.raises(ProgramError, match=f"its code raised {type(leaves).__name__}: "):
        await outcome_of(forward, Scripted(), inner=Asks(inner))


@pytest.mark.parametrize(
    ("on_failure", "timeout", "error"),
    [(None, 60, ProgramError), (None, 0.2, DeadlineExceeded), ("strict", 60, LMServerError)],
)
async def test_the_fate_of_every_step_is_recorded_before_the_outcome(
    tmp_path: Path, on_failure: str | None, timeout: float, error: type[RepertoryError]
) -> None:
    async def forward(self: Any, text: str) -> Any:
        self.a(a=text)
        self.b(b=text)
        await lm.until_asked(2)
        if on_failure is not None:
            await self.c(c=text)
        if timeout < 60:
            await never().wait()
        raise ValueError("own")

    lm = Scripted(a=never, b=never, c=FAILS)
    async with runtime_of(lm, tmp_path / "s.db") as runtime:
        await runtime.start(Asks(forward), name="asks", on_failure=on_failure)
        handle = await runtime.submit("asks", {"text": "x"}, timeout=timeout)
        with pytest.raises(error):
            await handle.result(timeout=60)
        kinds = [(event.kind, event.data.get("step")) async for event in handle.events()]
        assert kinds[-1] == ("done", None)
        assert {step for kind, step in kinds if kind == "step"} >= {"a", "b"}
        assert [kind for kind, _ in kinds].count("done") == 1


# --- fallbacks ---


async def test_a_program_that_is_one_predictor_has_a_fallback() -> None:
    answers: Iterator[Answer] = iter([FAILS, "second"])
    lm = Scripted(a=lambda: next(answers))
    async with runtime_of(lm) as runtime:
        predictor = rp.Predict("a -> out").supervised(fallback=rp.Predict("a -> out", instructions="Again."))
        run = await (await runtime.start(predictor, name="p")).run({"a": "x"})
        assert (run.prediction.out, run.prediction.lm_calls, run.prediction.parameters_version) == ("second", 1, 1)


async def test_the_fallback_of_such_a_program_may_be_a_module() -> None:
    class Instead(rp.Module):
        async def forward(self, a: str) -> rp.Prediction:
            return rp.Prediction(out=await rp.step("count", lambda: 3))

    async with runtime_of(Scripted(a=FAILS)) as runtime:
        program = await runtime.start(rp.Predict("a -> out").supervised(fallback=Instead()), name="p")
        assert (await program(a="x")).out == 3


async def test_a_module_whose_own_code_fails_is_replaced() -> None:
    async def inner(self: Any, text: str) -> Any:
        raise ValueError("own")

    async def forward(self: Any, text: str) -> Any:
        return await self.inner(text=text)

    held = Asks(inner).supervised(retries=3, fallback=rp.Predict("text -> out"))
    assert (await outcome_of(forward, Scripted(), inner=held)).out == "ok"


async def test_a_timeout_of_its_own_is_not_taken_for_the_modules() -> None:
    async def inner(self: Any, text: str) -> Any:
        raise TimeoutError("own")

    async def forward(self: Any, text: str) -> Any:
        return await self.inner(text=text)

    with pytest.raises(ProgramError, match="its code raised TimeoutError: own"):
        await outcome_of(forward, Scripted(), inner=Asks(inner).supervised(timeout=60))


@pytest.mark.parametrize(("on_failure", "replaced"), [("fallback", True), ("tolerant", True), ("strict", False)])
async def test_the_policy_says_whether_a_failed_step_within_a_module_fails_the_run(
    on_failure: str, replaced: bool
) -> None:
    async def inner(self: Any, text: str) -> Any:
        self.b(b=text)
        return await self.a(a=text)

    async def forward(self: Any, text: str) -> Any:
        return await self.inner(text=text)

    held = Asks(inner).supervised(fallback=rp.Predict("text -> out"))
    lm = Scripted(a=FAILS, b=never)
    if replaced:
        assert (await outcome_of(forward, lm, on_failure=on_failure, inner=held)).out == "ok"
    else:
        with pytest.raises(LMServerError):
            await outcome_of(forward, lm, on_failure=on_failure, inner=held)


# --- turns ---


async def test_a_program_that_is_one_predictor_waits_for_its_turn_only_as_long_as_it_may() -> None:
    may_end = asyncio.Event()
    async with runtime_of(Scripted(a=may_end), steps=1) as runtime:
        program = await runtime.start(rp.Predict("a -> out"), name="p")
        holder = asyncio.create_task(program(a="x"))
        await turns()
        with pytest.raises(DeadlineExceeded):
            await program.run({"a": "x"}, timeout=0.05)
        may_end.set()
        assert (await holder).out == "late"


async def test_a_step_whose_fallback_only_waits_lets_another_run_have_its_place() -> None:
    may_end = asyncio.Event()

    async def waits(self: Any, text: str) -> Any:
        await may_end.wait()
        return rp.Prediction(out="waited")

    async def forward(self: Any, text: str) -> Any:
        return await self.held(text=text)

    lm = Scripted(text=FAILS)
    async with runtime_of(lm, steps=1) as runtime:
        held = rp.Predict("text -> out").supervised(fallback=Asks(waits))
        first = await runtime.start(Asks(forward, held=held), name="first")
        second = await runtime.start(rp.Predict("b -> out"), name="second")
        run = asyncio.create_task(first(text="x"))
        await lm.until_asked(1)
        other = asyncio.create_task(second(b="x"))
        assert (await asyncio.wait_for(other, 60)).out == "ok"
        may_end.set()
        assert (await run).out == "waited"


async def test_runs_of_nested_modules_share_a_single_place() -> None:
    async def inner(self: Any, text: str) -> Any:
        first = self.a(a=text)
        await rp.step("count", lambda: 1)
        return await self.b(b=first.out)

    async def forward(self: Any, text: str) -> Any:
        left, right = self.left(text=text), self.right(text=text)
        return rp.Prediction(out=[(await left).out, (await right).out])

    async with runtime_of(Scripted(), steps=1) as runtime:
        program = await runtime.start(Asks(forward, left=Asks(inner), right=Asks(inner)), name="p")
        runs = await asyncio.gather(*(program(text=str(number)) for number in range(50)))
        assert all(run.out == ["ok", "ok"] for run in runs)
        assert runtime.stage.snapshot().runs == 0
