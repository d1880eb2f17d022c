"""Predict and ChainOfThought outside a runtime."""

from typing import Any, Literal

import pytest

from repertory.errors import ConfigError, InputError, LMTimeout, ProgramError, ReplyError, SignatureError
from repertory.modules import ChainOfThought, Module, Parameters, Predict, Prediction
from repertory.providers.messages import LMRequest, LMResponse, Usage
from repertory.signatures import Signature
from repertory.testing import ScriptedLM


async def test_it_asks_once_and_answers_typed_outputs() -> None:
    lm = ScriptedLM(['{"label": "spam", "score": 0.75}'])
    predict = Predict("text -> label: Literal['spam','ham'], score: float", lm=lm, temperature=0, max_tokens=9)
    prediction = await predict(text="Win!")
    assert prediction.outputs == {"label": "spam", "score": 0.75}
    assert (prediction.lm_calls, prediction.parameters_version) == (1, 0)
    assert prediction.usage.output_tokens == 4
    (request,) = lm.requests
    assert [message.role for message in request.messages] == ["system", "user"]
    assert (request.temperature, request.max_tokens, request.deadline) == (0, 9, None)
    assert request.response_schema == predict.compiled.provider_schema("json_schema").schema


async def test_an_lm_that_cannot_follow_a_schema_gets_none() -> None:
    lm = ScriptedLM(['{"b": "x"}'], schema_dialect=None)
    await Predict("a -> b", lm=lm)(a="1")
    assert lm.requests[0].response_schema is None


async def test_a_call_may_bring_its_own_demonstrations() -> None:
    lm = ScriptedLM(lambda request: '{"b": "x"}')
    predict = Predict("a -> b", lm=lm, demos=[{"a": "own", "b": "1"}])
    await predict(a="1")
    await predict(a="1", demos=[{"a": "given", "b": "2"}, {"a": "too", "b": "3"}])
    await predict(a="1", demos=[])
    shown = [[message.content for message in request.messages[1:-1:2]] for request in lm.requests]
    assert shown == [["a: own"], ["a: given", "a: too"], []]


async def test_the_beginning_of_the_prompt_stays_the_same_object() -> None:
    lm = ScriptedLM(lambda request: '{"b": "x"}')
    predict = Predict("a -> b", lm=lm, demos=[{"a": "own", "b": "1"}])
    await predict(a="1")
    await predict(a="2")
    first, second = lm.requests
    assert all(one is other for one, other in zip(first.messages[:-1], second.messages[:-1], strict=True))


async def test_chain_of_thought_reasons_before_it_answers() -> None:
    lm = ScriptedLM(['{"reasoning": "2 and 2", "answer": 4}'])
    think = ChainOfThought("question -> answer: int", lm=lm)
    assert (await think(question="2+2?")).outputs == {"reasoning": "2 and 2", "answer": 4}
    assert [field.name for field in think.compiled.outputs] == ["reasoning", "answer"]
    assert '{"reasoning": string (think step by step), "answer": integer}' in lm.requests[0].messages[0].content


def test_chain_of_thought_needs_the_name_reasoning() -> None:
    with pytest.raises(SignatureError, match="already has a field `reasoning`"):
        ChainOfThought("reasoning -> answer")


async def test_wrong_inputs_are_not_asked() -> None:
    lm = ScriptedLM([])
    predict = Predict("text, n: int -> label", lm=lm)
    for inputs, field in (({"text": "x"}, "n"), ({"text": "x", "n": "many"}, "n"), ({"txt": "x", "n": 1}, "txt")):
        with pytest.raises(InputError) as caught:
            await predict(**inputs)
        assert caught.value.field == field
    assert lm.requests == []


async def test_the_reply_is_kept_in_the_error() -> None:
    reply = LMResponse('{"label": "sp', "length", Usage(3, 4), "m", "id")
    with pytest.raises(ReplyError, match="cut off at the token limit") as caught:
        await Predict("text -> label", lm=ScriptedLM([reply]))(text="x")
    assert caught.value.reply == '{"label": "sp'


async def test_the_models_failure_is_passed_on() -> None:
    failure = LMTimeout("slow")
    with pytest.raises(LMTimeout) as caught:
        await Predict("a -> b", lm=ScriptedLM([failure]))(a="x")
    assert caught.value is failure


async def test_without_a_model_the_remedy_is_told() -> None:
    with pytest.raises(ProgramError, match=r"outside a Runtime\n  Start the program on a Runtime, or pass lm="):
        await Predict("a -> b")(a="x")


async def test_modules_compose() -> None:
    class Twice(Module):
        def __init__(self, lm: ScriptedLM) -> None:
            self.first = Predict("a -> b", lm=lm)
            self.second = Predict("b -> c: int", lm=lm)

        async def forward(self, a: str) -> Prediction:
            step = await self.first(a=a)
            return await self.second(b=step.b)

    def answer(request: LMRequest) -> str:
        question = request.messages[-1].content
        return '{"b": "beta"}' if question == "a: alpha" else '{"c": 3}' if question == "b: beta" else "?"

    program = Twice(ScriptedLM(answer))
    assert (await program(a="alpha")).c == 3
    assert (await program.first.forward(a="alpha")).b == "beta"


async def test_a_module_without_forward_says_so() -> None:
    class Empty(Module):
        pass

    with pytest.raises(ProgramError, match="Empty has no forward"):
        await Empty()(a=1)
    with pytest.raises(ProgramError, match="Empty has no forward"):
        _ = Empty().signature


def test_a_programs_signature_is_that_of_its_forward() -> None:
    class Program(Module):
        async def forward(self, text: str, kind: Literal["a", "b"] = "a") -> Prediction:
            raise NotImplementedError

    signature = Program().signature
    assert signature.__name__ == "Program"
    assert [(field.name, field.annotation) for field in signature.inputs] == [
        ("text", str),
        ("kind", Literal["a", "b"]),
    ]


def test_parameters_are_what_was_declared() -> None:
    predict = Predict(
        "a -> b", instructions="Do.", demos=[{"a": 1, "b": 2}], lm="big", temperature=0.5, max_tokens=3
    )
    assert predict.lm is None
    assert predict.parameters == Parameters(
        instructions="Do.", demos=({"a": 1, "b": 2},), lm="big", temperature=0.5, max_tokens=3
    )
    assert Predict(Signature.parse("a -> b")).parameters == Parameters()


@pytest.mark.parametrize("demo", [{"question": "x", "b": "y"}, {"a": "x"}, "abc"])
def test_a_demonstration_that_shows_nothing_is_refused(demo: Any) -> None:
    with pytest.raises(ConfigError, match=r"demos\[0\] = .* has none of the fields [ab]"):
        Predict("a -> b", demos=[demo])


def test_a_parameter_that_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="Predict: temperature = 'hot'"):
        Predict("a -> b", temperature="hot")  # type: ignore[arg-type]  # the mistake under test


def test_an_input_may_not_be_called_demos() -> None:
    with pytest.raises(SignatureError, match="`demos` cannot name an input"):
        Predict("demos -> x")
