"""Interrupted runs whose program is another one now: they go on, begin anew, or are refused, by policy."""

from pathlib import Path

import pytest

import repertory as rp
from repertory.errors import ProgramChanged
from repertory.runtime.program_options import ChangedPolicy
from repertory.runtime.runtime import Runtime
from tests.runtime.submitted import (
    Asked,
    Chain,
    events_of,
    failure_of,
    fields_asked,
    outcome_of,
)


class Edited(Chain):
    """`Chain` with another last step; the first two ask what they asked."""

    async def forward(self, n0: str) -> rp.Prediction:
        one = await self.steps[0](n0=n0)
        two = await self.steps[1](n1=one.n1)
        last = await self.steps[2](n2=two.n2)
        return rp.Prediction(answer=last.n3 + "!")


class Rewritten(Chain):
    """`Chain` that asks otherwise from the first step on."""

    async def forward(self, n0: str) -> rp.Prediction:
        one = await self.steps[0](n0=n0.upper())
        return rp.Prediction(answer=one.n1)


async def interrupted(store: Path) -> str:
    """The id of a run that has two of its four steps."""
    lm = Asked(held=lambda text: text.startswith("n2"))
    async with Runtime(lm=lm, store=store) as runtime:
        await runtime.start(Chain())
        handle = await runtime.submit("Chain", {"n0": "x"}, key="k")
        await lm.until_asked(3)
    return handle.id


@pytest.mark.parametrize(
    ("changed", "program", "answer", "asked"),
    [
        ("continue", Edited, "x123!", ["n2"]),
        ("restart", Edited, "x123!", ["n0", "n1", "n2"]),
        ("restart", Rewritten, "X1", ["n0"]),
    ],
)
async def test_a_run_whose_program_was_edited_goes_on_as_told(
    tmp_path: Path, changed: ChangedPolicy, program: type[rp.Module], answer: str, asked: list[str]
) -> None:
    id = await interrupted(tmp_path / "s.db")
    lm = Asked()
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(program(), name="Chain", changed=changed)
        handle = await runtime.find_run(id)
        assert (await outcome_of(handle)).answer == answer
        assert [event.id for event in await events_of(handle)] == list(range(1, len(await events_of(handle)) + 1))
    assert fields_asked(lm) == asked


async def test_a_run_that_cannot_go_on_with_the_edited_program_fails_and_says_why(tmp_path: Path) -> None:
    id = await interrupted(tmp_path / "s.db")
    async with Runtime(lm=Asked(), store=tmp_path / "s.db") as runtime:
        await runtime.start(Rewritten(), name="Chain", changed="continue")
        handle = await runtime.find_run(id)
        error = await failure_of(handle)
        assert isinstance(error, ProgramChanged)
        assert "steps[0]" in str(error)
        assert (await handle.status()).status == "failed"


async def test_a_run_of_an_edited_program_is_refused_and_goes_on_with_the_old_code(tmp_path: Path) -> None:
    id = await interrupted(tmp_path / "s.db")
    lm = Asked()
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Edited(), name="Chain")
        handle = await runtime.find_run(id)
        assert isinstance(await failure_of(handle), ProgramChanged)
        status = await handle.status()
        assert (status.status, status.error and status.error[0]) == ("failed", "program_changed")
        with pytest.raises(ProgramChanged):
            await handle.retry()
        assert (await handle.status()).status == "failed"
        assert lm.questions == []
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Chain())
        handle = await runtime.find_run(id)
        await handle.retry()
        assert (await outcome_of(handle)).answer == "x1234"
    assert fields_asked(lm) == ["n2", "n3"]


async def test_a_program_with_other_inputs_starts_and_its_old_runs_fail(tmp_path: Path) -> None:
    class Renamed(rp.Module):
        def __init__(self) -> None:
            self.ask = rp.Predict("text -> middle")

        async def forward(self, text: str) -> rp.Prediction:
            return await self.ask(text=text)

    id = await interrupted(tmp_path / "s.db")
    async with Runtime(lm=Asked(), store=tmp_path / "s.db") as runtime:
        await runtime.start(Renamed(), name="Chain", changed="continue")
        handle = await runtime.find_run(id)
        error = await failure_of(handle)
        assert isinstance(error, ProgramChanged)
        assert "takes no more" in str(error)
        assert (await outcome_of(await runtime.submit("Chain", {"text": "x"}))).middle == "xm"


async def test_a_program_that_forgets_a_recorded_step_fails_the_run(tmp_path: Path) -> None:
    """Code that goes by something outside of the journal is found out, even where its text is the same."""
    told = ["long"]

    class Moody(rp.Module):
        def __init__(self) -> None:
            self.ask = rp.Predict("text -> middle")
            self.then = rp.Predict("middle -> answer")

        async def forward(self, text: str) -> rp.Prediction:
            if told == ["long"]:
                await self.ask(text=text)
            return await self.then(middle=text)

    lm = Asked(held=lambda text: text.startswith("middle"))
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Moody())
        handle = await runtime.submit("Moody", {"text": "x"})
        await lm.until_asked(2)
    told[:] = ["short"]
    async with Runtime(lm=Asked(), store=tmp_path / "s.db") as runtime:
        await runtime.start(Moody())
        assert isinstance(await failure_of(await runtime.find_run(handle.id)), ProgramChanged)
