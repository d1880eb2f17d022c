"""The JSON adapter: the exact prompt, and what is made of every kind of reply."""

from datetime import date
from typing import Any, Literal

import pytest

from repertory.errors import ReplyError
from repertory.modules import JSONAdapter
from repertory.providers.messages import LMResponse, Message, Usage
from repertory.signatures import InputField, OutputField, Signature, compile_signature


class Judge(Signature):
    """Judge the review."""

    review: str = InputField()
    tags: list[str] = InputField(default=[])
    verdict: Literal["good", "bad"] = OutputField(desc="the author's own view")
    stars: int = OutputField(ge=1, le=5)


ADAPTER = JSONAdapter(compile_signature(Judge))


def reply(text: str, finish_reason: str = "stop") -> LMResponse:
    return LMResponse(text, finish_reason, Usage(), "m", "id")


def refused(text: str, finish_reason: str = "stop") -> ReplyError:
    with pytest.raises(ReplyError) as caught:
        ADAPTER.parse(reply(text, finish_reason))
    assert caught.value.reply == text
    return caught.value


def test_the_whole_prompt() -> None:
    demos = [{"review": "Loved it", "tags": ["film"], "verdict": "good", "stars": 5}]
    messages = [
        ADAPTER.system_message(None),
        *ADAPTER.demo_messages(demos),
        ADAPTER.question_message({"review": "Meh.\nNever again", "tags": ["film", "drama"]}),
    ]
    assert messages == [
        Message(
            "system",
            "Judge the review.\n\nReply with a JSON object: "
            '{"verdict": one of "good", "bad" (the author\'s own view), "stars": integer, at least 1, at most 5}',
        ),
        Message("user", 'review: Loved it\ntags: ["film"]'),
        Message("assistant", '{"verdict":"good","stars":5}'),
        Message("user", 'review: Meh.\nNever again\ntags: ["film","drama"]'),
    ]


def test_instructions_take_the_place_of_the_signatures_own() -> None:
    assert ADAPTER.system_message("Be harsh.").content.startswith("Be harsh.\n\nReply with")
    assert ADAPTER.system_message("").content.startswith("\n\nReply with")


def test_what_a_demonstration_lacks_is_left_out() -> None:
    question, answer = ADAPTER.demo_messages([{"review": "Fine", "stars": 3, "id": 7}])
    assert (question.content, answer.content) == ("review: Fine", '{"stars":3}')


def test_a_demonstration_of_another_type_is_shown_as_it_is() -> None:
    question, answer = ADAPTER.demo_messages([{"review": 17, "verdict": "so-so", "stars": "many"}])
    assert (question.content, answer.content) == ("review: 17", '{"verdict":"so-so","stars":"many"}')


def test_values_are_written_as_json_has_them() -> None:
    class Ages(Signature):
        born: date = InputField()
        weights: dict[str, float] = InputField()
        count: int = InputField()
        age: int = OutputField()

    adapter = JSONAdapter(compile_signature(Ages))
    message = adapter.question_message({"born": date(2000, 1, 2), "weights": {"a": 0.5}, "count": 10**30})
    assert message.content == f'born: 2000-01-02\nweights: {{"a":0.5}}\ncount: {10**30}'


@pytest.mark.parametrize(
    "text",
    [
        '{"verdict": "good", "stars": 4}',
        ' \n{"verdict": "good", "stars": 4}\n',
        '```json\n{"verdict": "good", "stars": 4}\n```',
        'Sure! Here it is: {"verdict": "good", "stars": 4}. Anything else?',
        '{"verdict": "good", "stars": "4"}',
        '{"verdict": "good", "stars": 4, "why": {"because": "it says so"}}',
    ],
)
def test_clean_fenced_and_wrapped_replies_are_read(text: str) -> None:
    assert ADAPTER.parse(reply(text)) == {"verdict": "good", "stars": 4}


@pytest.mark.parametrize(
    ("text", "field", "says"),
    [
        ('{"verdict": "good"}', "stars", "output 'stars': is missing"),
        ('{"verdict": "fair", "stars": 4}', "verdict", "output 'verdict': Input should be 'good' or 'bad'"),
        ('{"verdict": "good", "stars": 6}', "stars", "less than or equal to 5"),
        ('Here: {"verdict": "good", "stars": null} ok?', "stars", "valid integer"),
        ("", "", ""),
        ("good", "", ""),
        ('["good", 4]', "", ""),
        ("null", "", ""),
        ('}{"verdict": "good"', "", ""),
        ("{", "", ""),
        ('{"verdict": "good", "stars": NaN}', "stars", "finite number"),
    ],
)
def test_what_is_missing_or_wrong_is_named(text: str, field: str, says: str) -> None:
    error = refused(text)
    assert error.field == field
    assert says in error.message
    assert error.hint is not None
    assert "`reply`" in error.hint


def test_a_reply_cut_off_at_the_token_limit_says_so() -> None:
    error = refused('{"verdict": "good", "sta', "length")
    assert error.hint == "The reply was cut off at the token limit: raise max_tokens, or ask for less."


def test_a_refusal_says_so() -> None:
    error = refused("I cannot help with that.", "refusal")
    assert error.hint is not None
    assert "refused" in error.hint


def test_deep_nesting_and_size_are_survived() -> None:
    for text in ("{" * 100_000, '{"a":' * 20_000 + "1" + "}" * 20_000, "[" * 50_000, "x" * 3_000_000):
        refused(text)


def test_an_integer_of_any_size_is_read_exactly() -> None:
    compiled = compile_signature(Signature.parse("question -> number: int"))
    parsed: dict[str, Any] = JSONAdapter(compiled).parse(reply(f'{{"number": {10**40 + 1}}}'))
    assert parsed == {"number": 10**40 + 1}
