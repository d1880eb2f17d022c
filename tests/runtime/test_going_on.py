"""A run that goes on: what is recorded is read, though time and failures made it go round about the first time."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import repertory as rp
from repertory.errors import DeadlineExceeded, LMServerError, ProgramChanged, RunReplayIncomplete
from tests.runtime.asks import FAILS, Answer, Asks, Forward, Scripted, never, runtime_of


async def fails_then_goes_on(
    store: Path, forward: Forward, lm: Scripted, **held: rp.Module
) -> tuple[rp.Prediction, list[str]]:
    """What comes of a run that fails once and is tried again, and what was asked the second time."""
    async with runtime_of(lm, store) as runtime:
        await runtime.start(Asks(forward, **held), name="asks")
        handle = await runtime.submit("asks", {"text": "x"})
        with pytest.raises(LMServerError):
            await handle.result(timeout=60)
        before = len(lm.asked)
        await handle.retry()
        return await handle.result(timeout=60), lm.asked[before:]


def first(*answers: Answer) -> Any:
    """Answers in order, and then one for ever."""
    left: Iterator[Answer] = iter(answers)
    return lambda: next(left, "ok")


async def last_step(self: Any, out: Any) -> rp.Prediction:
    return rp.Prediction(out=out, last=(await self.c(c=str(out))).out)


async def test_another_attempt_of_a_predictor_whose_time_was_up_is_read(tmp_path: Path) -> None:
    async def forward(self: Any, text: str) -> Any:
        return await last_step(self, (await self.slow(a=text)).out)

    lm = Scripted(a=first(never()), c=first(FAILS))
    slow = rp.Predict("a -> out").supervised(timeout=0.05, retries=1)
    prediction, asked = await fails_then_goes_on(tmp_path / "s.db", forward, lm, slow=slow)
    assert (prediction.out, asked) == ("ok", ["c"])


async def test_another_attempt_of_a_module_whose_time_was_up_is_read(tmp_path: Path) -> None:
    async def inner(self: Any, text: str) -> Any:
        return await self.a(a=text)

    async def forward(self: Any, text: str) -> Any:
        return await last_step(self, (await self.inner(text=text)).out)

    lm = Scripted(a=first(never()), c=first(FAILS))
    held = Asks(inner).supervised(timeout=0.05, retries=1)
    prediction, asked = await fails_then_goes_on(tmp_path / "s.db", forward, lm, inner=held)
    assert (prediction.out, asked) == ("ok", ["c"])


async def test_what_the_program_itself_gave_up_and_asked_again_is_read(tmp_path: Path) -> None:
    done = []

    async def effect() -> int:
        done.append(1)
        if len(done) == 1:
            await never().wait()
        return len(done)

    async def forward(self: Any, text: str) -> Any:
        for ask in (lambda: self.a(a=text), lambda: rp.step("effect", effect)):
            try:
                out = await asyncio.wait_for(ask(), 0.05)
            except TimeoutError:
                out = await ask()
        return await last_step(self, out)

    lm = Scripted(a=first(never()), c=first(FAILS))
    prediction, asked = await fails_then_goes_on(tmp_path / "s.db", forward, lm)
    assert (prediction.out, len(done), asked) == (2, 2, ["c"])


async def test_a_failure_that_the_program_got_over_may_be_none_the_second_time(tmp_path: Path) -> None:
    async def forward(self: Any, text: str) -> Any:
        try:
            out = (await self.a(a=text)).out
        except LMServerError:
            out = "instead of " + (await self.b(b=text)).out
        return await last_step(self, out)

    lm = Scripted(a=first(FAILS), c=first(FAILS))
    prediction, asked = await fails_then_goes_on(tmp_path / "s.db", forward, lm)
    assert (prediction.out, asked) == ("ok", ["a", "c"])


async def test_steps_within_a_recorded_step_are_not_asked_for_again(tmp_path: Path) -> None:
    done = []

    async def forward(self: Any, text: str) -> Any:
        async def outer() -> list[str]:
            await rp.step("inner", lambda: done.append("inner"))
            return [(await self.a(a=text)).out]

        return await last_step(self, (await rp.step("outer", outer))[0])

    lm = Scripted(c=first(FAILS))
    prediction, asked = await fails_then_goes_on(tmp_path / "s.db", forward, lm)
    assert (prediction.out, done, asked) == ("ok", ["inner"], ["c"])


async def test_a_wait_for_a_signal_that_came_too_late_stays_in_vain(tmp_path: Path) -> None:
    waits = []

    async def forward(self: Any, text: str) -> Any:
        try:
            waits.append(await rp.wait_for_signal("go", timeout=0.05))
        except DeadlineExceeded:
            waits.append("nobody")
        await self.a(a=text)
        return rp.Prediction(out=await rp.wait_for_signal("go"))

    lm = Scripted(a=never())
    async with runtime_of(lm, tmp_path / "s.db") as runtime:
        await runtime.start(Asks(forward), name="asks")
        handle = await runtime.submit("asks", {"text": "x"}, key="k")
        await lm.until_asked(1)
        await handle.signal("go", "late")
    lm.answers["a"] = "ok"
    async with runtime_of(lm, tmp_path / "s.db") as runtime:
        await runtime.start(Asks(forward), name="asks")
        handle = await runtime.find_run(handle.id)
        assert (await handle.result(timeout=60)).out == "late"
    assert waits == ["nobody", "nobody"]


async def test_a_dry_replay_does_not_wait(tmp_path: Path) -> None:
    async def forward(self: Any, text: str) -> Any:
        await self.a(a=text)
        return rp.Prediction(out=await rp.wait_for_signal("go"))

    async def sleeps(self: Any, text: str) -> Any:
        await self.a(a=text)
        await rp.sleep_until(4e9)

    for name, code in (("waits", forward), ("sleeps", sleeps)):
        lm = Scripted()
        async with runtime_of(lm, tmp_path / "s.db") as runtime:
            await runtime.start(Asks(code), name=name)
            handle = await runtime.submit(name, {"text": "x"})
            async for event in handle.events():
                if event.kind == "step":
                    break
            with pytest.raises(RunReplayIncomplete, match=f"the run {name}"):
                await asyncio.wait_for(handle.replay(), 60)
            assert lm.asked == ["a"]
            if name == "waits":
                await handle.signal("go", 3)
                assert (await handle.result(timeout=60)).out == (await handle.replay()).out == 3


def in_order(*names: str) -> rp.Module:
    """A program whose code asks in this order; each order is other code."""
    asks = "\n    ".join(f"await self.{name}({name}=text)" for name in names)
    home: dict[str, Any] = {"rp": rp, "Asks": Asks}
    exec(  # the test's own code
        f"class Ordered(Asks):\n  async def forward(self, text: str) -> rp.Prediction:\n    {asks}\n"
        "    return rp.Prediction(out='done')",
        home,
    )
    program: rp.Module = home["Ordered"](None)
    return program


async def interrupted(store: Path, program: rp.Module, after: int) -> list[str]:
    """A life of the run that ends when ``after`` steps have their outcome; what it asked."""
    lm = Scripted()
    lm.answers = dict.fromkeys("abc", lambda: never() if len(lm.asked) > after else "ok")
    async with runtime_of(lm, store) as runtime:
        await runtime.start(program, name="asks", changed="restart")
        await runtime.submit("asks", {"text": "x"}, key="k")
        await lm.until_asked(after + 1)
    return lm.asked


async def test_a_run_that_began_anew_goes_on_from_there(tmp_path: Path) -> None:
    store = tmp_path / "s.db"
    assert await interrupted(store, in_order("a", "b", "c"), after=1) == ["a", "b"]
    assert await interrupted(store, in_order("b", "a", "c"), after=2) == ["b", "a", "c"]
    lm = Scripted()
    async with runtime_of(lm, store) as runtime:
        await runtime.start(in_order("b", "a", "c"), name="asks")
        handle = await runtime.submit("asks", {"text": "x"}, key="k")
        assert (await handle.result(timeout=60)).out == "done"
    assert lm.asked == ["c"]


async def test_what_is_recorded_and_fits_no_more_is_told_with_its_step(tmp_path: Path) -> None:
    async def forward(self: Any, text: str) -> Any:
        await self.first(a=text)
        return await self.b(b=text)

    lm = Scripted(b=never())
    async with runtime_of(lm, tmp_path / "s.db") as runtime:
        await runtime.start(Asks(forward, first=rp.Predict("a -> out")), name="asks")
        handle = await runtime.submit("asks", {"text": "x"}, key="k")
        await lm.until_asked(2)
    async with runtime_of(Scripted(), tmp_path / "s.db") as runtime:
        await runtime.start(Asks(forward, first=rp.Predict("a -> out: int")), name="asks", changed="continue")
        handle = await runtime.find_run(handle.id)
        with pytest.raises(ProgramChanged, match="first: what is recorded of this step does not fit"):
            await handle.result(timeout=60)
