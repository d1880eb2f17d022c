"""Code asks for the run that it is executed in, wherever it is called."""

from pathlib import Path
from typing import Any

import pytest

import repertory as rp
from repertory.errors import ProgramError
from repertory.testing import ScriptedLM


class Tells(rp.Module):
    """What is told of the run: in forward, within a module it holds, and in a recorded step."""

    def __init__(self) -> None:
        self.inner = Inner()

    async def forward(self, question: str) -> rp.Prediction:
        inner = self.inner(question=question)
        step = await rp.step("who", lambda: rp.this_run().id)
        run = rp.this_run()
        told: dict[str, Any] = {"here": run.id, "inside": (await inner).id, "step": step}
        return rp.Prediction(**told, caller=run.terms.caller, tags=dict(run.tags), durable=run.durable)


class Inner(rp.Module):
    def __init__(self) -> None:
        self.ask = rp.Predict("question -> answer")

    async def forward(self, question: str) -> rp.Prediction:
        await self.ask(question=question)
        return rp.Prediction(id=rp.this_run().id)


async def test_it_is_the_same_everywhere_within_a_run(tmp_path: Path) -> None:
    lm = ScriptedLM(lambda _: '{"answer": "a"}')
    async with rp.Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        tells = await runtime.start(Tells())
        run = await tells.run({"question": "?"}, terms=rp.Terms(caller="acme"), tags={"team": "blue"})
    told = run.prediction
    assert {told.here, told.inside, told.step} == {run.id}
    assert (told.caller, told.tags, told.durable) == ("acme", {"team": "blue"}, True)


def test_outside_of_a_run_there_is_none() -> None:
    with pytest.raises(ProgramError, match="outside of a run"):
        rp.this_run()
