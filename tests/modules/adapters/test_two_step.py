"""The two-step adapter: free words first, then the outputs out of them."""

import pytest

import repertory as rp
from repertory.errors import ReplyError
from repertory.modules import TwoStepAdapter
from repertory.modules.trace import AskedAgain
from repertory.providers.messages import LMResponse, Usage
from repertory.testing import ScriptedLM

READ = "[[ ## city ## ]]\nParis\n\n[[ ## year ## ]]\n1783\n\n[[ ## completed ## ]]"
SIGNATURE = "question -> city, year: int"


async def test_the_answer_is_given_freely_and_then_read() -> None:
    lm = ScriptedLM(["It was signed in Paris, in 1783.", READ])
    prediction = await rp.Predict(SIGNATURE, lm=lm, adapter="two_step")(question="Where and when?")
    assert prediction.outputs == {"city": "Paris", "year": 1783}
    assert prediction.lm_calls == 2
    free, reading = lm.requests
    assert free.messages[0].text.endswith("Your answer must say:\n- city: string\n- year: integer")
    assert free.messages[1].text == "question: Where and when?"
    assert free.response_schema is None
    assert reading.messages[1].text == "It was signed in Paris, in 1783."
    assert "[[ ## year ## ]]\n{integer}" in reading.messages[0].text


async def test_another_model_may_read() -> None:
    thinker, reader = ScriptedLM(["Paris, 1783"]), ScriptedLM([READ])
    prediction = await rp.Predict(SIGNATURE, lm=thinker, adapter=TwoStepAdapter(reader))(question="?")
    assert prediction.outputs["city"] == "Paris"
    assert (len(thinker.requests), len(reader.requests)) == (1, 1)


async def test_only_the_second_question_is_asked_again() -> None:
    lm = ScriptedLM(["Paris, 1783", READ.replace("1783", "long ago"), READ])
    prediction = await rp.Predict(SIGNATURE, lm=lm, adapter="two_step")(question="?")
    assert prediction.outputs["year"] == 1783
    assert prediction.lm_calls == 3
    assert [entry.field for entry in prediction.trace if isinstance(entry, AskedAgain)] == ["year"]


@pytest.mark.parametrize(("text", "reason"), [("It was sig", "length"), ("I won't", "refusal"), (" ", "stop")])
async def test_an_answer_that_is_not_whole_is_not_read(text: str, reason: str) -> None:
    lm = ScriptedLM([LMResponse(text, reason, Usage(1, 1), "m", "")])
    with pytest.raises(ReplyError, match="no whole answer"):
        await rp.Predict(SIGNATURE, lm=lm, adapter="two_step")(question="?")
