"""Parameters: persisted, versioned, and never stronger than a changed declaration."""

from pathlib import Path

import pytest

import repertory as rp
from repertory.errors import ProgramError
from repertory.events import ParametersChanged
from repertory.runtime.runtime import Runtime
from repertory.testing import ScriptedLM
from tests.endpoint import Reply, ScriptedEndpoint
from tests.runtime.programs import Collected, Two, reply_to, runtime_for

TUNED = rp.Parameters(instructions="Be brief.", demos=({"text": "a", "middle": "b"},), temperature=0.5)


async def test_they_outlive_the_runtime_and_count_versions(tmp_path: Path) -> None:
    store = tmp_path / "s.db"
    async with ScriptedEndpoint(reply_to) as server:
        async with runtime_for(server, store) as runtime:
            two = await runtime.start(Two())
            await two(text="x")
            assert await two.update_parameters("first", TUNED) == 2
            await two(text="x")
        async with runtime_for(server, store) as runtime:
            two = await runtime.start(Two())
            assert two.parameters() == {"first": TUNED, "second": rp.Parameters()}
            await two(text="x")
        tuned = server.requests[4].body
        assert tuned["messages"][0]["content"].startswith("Be brief.\n")
        assert [turn["content"] for turn in tuned["messages"][1:3]] == ["text: a", '{"middle":"b"}']
        assert tuned["temperature"] == 0.5
        assert server.requests[2].body == tuned
        assert server.requests[0].body != tuned


async def test_a_changed_declaration_wins_and_stays(tmp_path: Path) -> None:
    told = Collected()
    async with ScriptedEndpoint(reply_to) as server:
        async with runtime_for(server, tmp_path / "s.db", hooks=[told]) as runtime:
            await (await runtime.start(Two())).update_parameters("first", TUNED)
        for _ in range(2):
            async with runtime_for(server, tmp_path / "s.db", hooks=[told]) as runtime:
                two = await runtime.start(Two(instructions="Edited."))
                assert two.parameters()["first"] == rp.Parameters(instructions="Edited.")
    versions = [event.version for event in told.of(ParametersChanged) if event.path.endswith("/first/parameters")]
    assert versions == [1, 2, 3]


async def test_a_run_says_which_version_it_used(tmp_path: Path) -> None:
    lm = ScriptedLM(lambda _: '{"b": "x"}')
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        ask = await runtime.start(rp.Predict("a -> b"))
        assert (await ask(a="1")).parameters_version == 1
        await ask.update_parameters("self", rp.Parameters(max_tokens=5))
        assert (await ask(a="1")).parameters_version == 2
    assert [request.max_tokens for request in lm.requests] == [None, 5]


async def test_unknown_predictors_and_models_are_named() -> None:
    async with ScriptedEndpoint(reply_to) as server, runtime_for(server) as runtime:
        two = await runtime.start(Two())
        with pytest.raises(ProgramError, match=r"Two has no predictor 'third'\n  It has: first, second\."):
            await two.update_parameters("third", rp.Parameters())
        with pytest.raises(ProgramError, match=r"first wants the language model 'big'\n  There are: default\."):
            await two.update_parameters("first", rp.Parameters(lm="big"))
        assert two.parameters()["first"] == rp.Parameters()


async def test_a_stored_model_that_is_gone_is_told_at_the_start(tmp_path: Path) -> None:
    lm = ScriptedLM(lambda _: '{"b": "x"}')
    async with Runtime(lm={"default": lm, "big": lm}, store=tmp_path / "s.db") as runtime:
        await (await runtime.start(rp.Predict("a -> b", instructions="I"), name="p")).update_parameters(
            "self", rp.Parameters(lm="big")
        )
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        with pytest.raises(ProgramError, match="self wants the language model 'big'"):
            await runtime.start(rp.Predict("a -> b", instructions="I"), name="p")
        edited = await runtime.start(rp.Predict("a -> b", instructions="Edited"), name="p")
        assert (await edited(a="1")).b == "x"


async def test_a_predictor_with_a_model_of_its_own_needs_none_by_name(tmp_path: Path) -> None:
    lm = ScriptedLM(lambda _: '{"b": "x"}')
    async with Runtime(store=tmp_path / "s.db") as runtime:
        ask = await runtime.start(rp.Predict("a -> b", lm=lm))
        assert await ask.update_parameters("self", rp.Parameters(instructions="New.")) == 2
        assert (await ask(a="1")).b == "x"
    assert lm.requests[0].messages[0].text.startswith("New.")


async def test_two_owners_of_one_store_do_not_overwrite_each_other(tmp_path: Path) -> None:
    lm = ScriptedLM(lambda _: '{"b": "x"}')
    async with (
        Runtime(lm=lm, store=tmp_path / "s.db") as one,
        Runtime(lm=lm, store=tmp_path / "s.db") as other,
    ):
        first = await one.start(rp.Predict("a -> b"), name="p")
        second = await other.start(rp.Predict("a -> b"), name="p")
        assert await first.update_parameters("self", rp.Parameters(instructions="First.")) == 2
        assert await second.update_parameters("self", rp.Parameters(instructions="Second.")) == 3
        assert second.parameter_versions("self")[2].instructions == "First."


async def test_per_call_demonstrations_reach_the_endpoint(tmp_path: Path) -> None:
    class Shown(rp.Module):
        def __init__(self) -> None:
            self.ask = rp.Predict("text -> answer", demos=[{"text": "own", "answer": "1"}])

        async def forward(self, text: str) -> rp.Prediction:
            return await self.ask(text=text, demos=[rp.Example(text="given", answer="2")])

    async with (
        ScriptedEndpoint([Reply('{"answer": "a"}')]) as server,
        runtime_for(server, tmp_path / "s.db") as runtime,
    ):
        await (await runtime.start(Shown()))(text="x")
        (seen,) = server.requests
        assert [turn["content"] for turn in seen.body["messages"][1:]] == [
            "text: given",
            '{"answer":"2"}',
            "text: x",
        ]
