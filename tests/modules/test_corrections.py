"""What becomes of a reply that cannot be used: read leniently, sent back with the reason, or refused."""

from typing import Any

import pytest

import repertory as rp
from repertory.errors import ReplyError
from repertory.modules.trace import AskedAgain, CheckFailed
from repertory.providers.messages import LMResponse, Message, Usage
from repertory.signatures.changes import Change
from repertory.testing import ScriptedLM


class Summary(rp.Signature):
    """Summarise the article."""

    article: str = rp.InputField()
    summary: str = rp.OutputField()
    words: int = rp.OutputField(ge=1)

    @rp.check("the summary must be shorter than the article")
    def is_shorter(summary: str, article: str) -> bool:  # a check has no self
        return len(summary) < len(article)


LONG = '{"summary": "Much too long for that", "words": 5}'
SHORT = '{"summary": "Brief", "words": 1}'


def asked(lm: ScriptedLM, position: int) -> tuple[Message, ...]:
    return lm.requests[position].messages


async def test_a_failed_check_is_told_to_the_model_which_answers_again() -> None:
    lm = ScriptedLM([LONG, SHORT])
    prediction = await rp.Predict(Summary, lm=lm)(article="Some words")
    assert prediction.outputs == {"summary": "Brief", "words": 1}
    assert prediction.lm_calls == 2
    assert prediction.usage.output_tokens == 8 + 4
    message = "the summary must be shorter than the article"
    assert prediction.trace == (CheckFailed("is_shorter", message, True), AskedAgain("", message, LONG))
    assert asked(lm, 1)[:-2] == asked(lm, 0)
    assert asked(lm, 1)[-2] == Message("assistant", LONG)
    assert message in asked(lm, 1)[-1].content


async def test_the_number_of_corrections_is_bounded() -> None:
    lm = ScriptedLM(lambda _: LONG)
    with pytest.raises(ReplyError, match="do not pass check is_shorter") as caught:
        await rp.Predict(Summary, lm=lm, corrections=3)(article="Some words")
    assert len(lm.requests) == 4
    assert caught.value.reply == LONG


async def test_without_corrections_nothing_is_asked_again() -> None:
    lm = ScriptedLM([LONG, SHORT])
    with pytest.raises(ReplyError):
        await rp.Predict(Summary, lm=lm, corrections=0)(article="Some words")
    assert len(lm.requests) == 1


async def test_a_suggestion_is_told_and_the_outputs_taken() -> None:
    class Suggested(Summary):
        @rp.check("better in one word", required=False)
        def is_one_word(summary: str) -> bool:
            return " " not in summary

    lm = ScriptedLM(['{"summary": "Two words", "words": 2}'])
    prediction = await rp.Predict(Suggested, lm=lm)(article="Some more words")
    assert prediction.summary == "Two words"
    assert prediction.trace == (CheckFailed("is_one_word", "better in one word", False),)
    assert len(lm.requests) == 1


async def test_a_value_out_of_range_is_told_to_the_model() -> None:
    lm = ScriptedLM(['{"summary": "Brief", "words": 0}', SHORT])
    prediction = await rp.Predict(Summary, lm=lm)(article="Some words")
    (again,) = prediction.trace
    assert isinstance(again, AskedAgain)
    assert "words" in again.reason
    assert "greater than or equal to 1" in again.reason


@pytest.mark.parametrize(
    ("reply", "kinds"),
    [
        ("Sure:\n```json\n{'summary': 'Brief', 'words': 1,}\n```", {"repair"}),
        ('{"summary": "Brief", "words": "1"}', {"coercion"}),
        ('{"summary": "Brief", "words": "1",}', {"repair", "coercion"}),
    ],
)
async def test_a_reply_that_can_be_mended_is_not_paid_for_twice(reply: str, kinds: set[str]) -> None:
    lm = ScriptedLM([reply])
    prediction = await rp.Predict(Summary, lm=lm)(article="Some words")
    assert prediction.outputs == {"summary": "Brief", "words": 1}
    assert len(lm.requests) == 1
    assert {change.kind for change in prediction.trace if isinstance(change, Change)} == kinds


@pytest.mark.parametrize("finish_reason", ["length", "refusal"])
async def test_what_asking_again_cannot_mend_is_refused_at_once(finish_reason: str) -> None:
    cut = LMResponse('{"summary": "Br', finish_reason, Usage(3, 4), "m", "id")
    lm = ScriptedLM([cut, SHORT])
    with pytest.raises(ReplyError):
        await rp.Predict(Summary, lm=lm)(article="Some words")
    assert len(lm.requests) == 1


async def test_a_reply_that_ends_in_the_midst_of_a_value_is_not_taken_for_whole() -> None:
    lm = ScriptedLM(['{"words": 2, "summary": "Bri', SHORT])
    prediction = await rp.Predict(Summary, lm=lm)(article="Some words")
    assert prediction.summary == "Brief"
    assert len(lm.requests) == 2


async def test_each_correction_follows_on_the_one_before() -> None:
    lm = ScriptedLM([LONG, "no json at all", SHORT])
    await rp.Predict(Summary, lm=lm, corrections=2)(article="Some words")
    roles: list[Any] = [message.role for message in asked(lm, 2)]
    assert roles == ["system", "user", "assistant", "user", "assistant", "user"]


@pytest.mark.parametrize("corrections", [-1, 1.5, "many"])
def test_a_number_of_corrections_that_is_none_is_refused(corrections: Any) -> None:
    with pytest.raises(rp.RepertoryError, match="corrections = "):
        rp.Predict(Summary, corrections=corrections)
