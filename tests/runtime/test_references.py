"""References in a run: wherever a program puts them, values come out."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest

import repertory as rp
from repertory.errors import LMRequestRejected
from repertory.providers.messages import LMRequest
from repertory.runtime.runtime import Runtime
from repertory.testing import ScriptedLM


class Handed(rp.Module):
    """Hands on what its one question gives, without waiting for it."""

    def __init__(self) -> None:
        self.ask = rp.Predict("text -> word")

    async def forward(self, text: str) -> rp.Prediction:
        asked = self.ask(text=text)
        return rp.Prediction(alone=asked.word, inside={"list": [asked.word, "b"]}, known="c")


WHOLE = {"alone": "a", "inside": {"list": ["a", "b"]}, "known": "c"}


@pytest.mark.parametrize("durable", [True, False])
async def test_a_programs_outputs_are_values(tmp_path: Path, durable: bool) -> None:
    async with Runtime(lm=ScriptedLM(['{"word": "a"}']), store=tmp_path / "s.db" if durable else None) as runtime:
        handed = await runtime.start(Handed())
        run = await handed.run({"text": "x"}, key="k")
        assert run.prediction.outputs == WHOLE
        if durable:
            assert (await handed.run({"text": "x"}, key="k")).prediction.outputs == WHOLE


async def test_outside_of_a_runtime_too() -> None:
    handed = Handed()
    handed.ask = rp.Predict("text -> word", lm=ScriptedLM(['{"word": "a"}']))
    assert (await handed(text="x")).outputs == WHOLE


async def test_an_inner_modules_outputs_are_values_and_lead_on() -> None:
    class Outer(rp.Module):
        def __init__(self) -> None:
            self.inner = Handed()
            self.second = rp.Predict("word -> answer")

        async def forward(self, text: str) -> rp.Prediction:
            inner = self.inner(text=text)
            second = self.second(word=inner.inside["list"][0])
            return rp.Prediction(alone=(await inner).alone, answer=second.answer)

    lm = ScriptedLM(['{"word": "a"}', '{"answer": "z"}'])
    async with Runtime(lm=lm, store=None) as runtime:
        outer = await runtime.start(Outer())
        assert (await outer(text="x")).outputs == {"alone": "a", "answer": "z"}


async def test_an_error_that_only_an_output_leads_to_fails_the_run() -> None:
    async with Runtime(lm=ScriptedLM([LMRequestRejected("no")]), store=None) as runtime:
        with pytest.raises(LMRequestRejected):
            await (await runtime.start(Handed()))(text="x")


class Shown(rp.Module):
    """Shows the answer to one question as an example for the next."""

    def __init__(self, kind: Any) -> None:
        self.first = rp.Predict("text -> word")
        self.second = rp.Predict("word -> answer")
        self._kind = kind

    async def forward(self, text: str) -> rp.Prediction:
        demos = [self._kind(word=self.first(text=text).word, answer="shown")]
        return await self.second(word="asked", demos=demos)


@pytest.mark.parametrize("kind", [dict, rp.Example])
@pytest.mark.parametrize("durable", [True, False])
async def test_examples_may_hold_references(tmp_path: Path, kind: Any, durable: bool) -> None:
    def answer(request: LMRequest) -> str:
        texts = [message.text for message in request.messages]
        return '{"word": "a"}' if "text: x" in texts[-1] else '{"answer": "%s"}' % ("word: a" in texts)

    async with Runtime(lm=ScriptedLM(answer), store=tmp_path / "s.db" if durable else None) as runtime:
        shown = await runtime.start(Shown(kind))
        assert (await shown(text="x")).answer == "True"


async def test_what_holds_no_reference_is_handed_on_as_it_is() -> None:
    class Pair(NamedTuple):
        left: str
        right: str

    class Keeps(rp.Module):
        async def forward(self, plain: Pair, mixed: Pair) -> rp.Prediction:
            return rp.Prediction(kinds=[type(plain).__name__, type(mixed).__name__], right=mixed.right)

    class Outer(rp.Module):
        def __init__(self) -> None:
            self.ask = rp.Predict("text -> word")
            self.keeps = Keeps()

        async def forward(self, text: str) -> rp.Prediction:
            return await self.keeps(plain=Pair("1", "2"), mixed=Pair("1", self.ask(text=text).word))

    async with Runtime(lm=ScriptedLM(['{"word": "a"}']), store=None) as runtime:
        outer = await runtime.start(Outer())
        assert (await outer(text="x")).outputs == {"kinds": ["Pair", "Pair"], "right": "a"}
