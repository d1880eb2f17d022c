"""The JSON adapter: the exact prompt, and what is made of every kind of reply."""

from datetime import date
from typing import Literal

import pytest

from repertory.errors import OutputsInvalid
from repertory.modules import JSONAdapter
from repertory.providers.messages import Message
from repertory.signatures import InputField, OutputField, Signature, compile_signature


class Judge(Signature):
    """Judge the review."""

    review: str = InputField()
    tags: list[str] = InputField(default=[])
    verdict: Literal["good", "bad"] = OutputField(desc="the author's own view")
    stars: int = OutputField(ge=1, le=5)


ADAPTER = JSONAdapter()
JUDGE = compile_signature(Judge)


def refused(text: str) -> OutputsInvalid:
    with pytest.raises(OutputsInvalid) as caught:
        ADAPTER.parse(JUDGE, text)
    return caught.value


def test_the_whole_prompt() -> None:
    demos = [{"review": "Loved it", "tags": ["film"], "verdict": "good", "stars": 5}]
    inputs = {"review": "Meh.\nNever again", "tags": ["film", "drama"]}
    assert list(ADAPTER.format(JUDGE, demos, inputs)) == [
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
    for task in ("Be harsh.", ""):
        (system,) = ADAPTER.preamble(JUDGE, (), instructions=task)
        assert system.text.startswith(f"{task}\n\nReply with")


def test_what_a_demonstration_lacks_is_left_out() -> None:
    _, question, answer = ADAPTER.preamble(JUDGE, [{"review": "Fine", "stars": 3, "id": 7}])
    assert (question.content, answer.content) == ("review: Fine", '{"stars":3}')


def test_a_demonstration_of_another_type_is_shown_as_it_is() -> None:
    _, question, answer = ADAPTER.preamble(JUDGE, [{"review": 17, "verdict": "so-so", "stars": "many"}])
    assert (question.content, answer.content) == ("review: 17", '{"verdict":"so-so","stars":"many"}')


def test_values_are_written_as_json_has_them() -> None:
    class Ages(Signature):
        born: date = InputField()
        weights: dict[str, float] = InputField()
        count: int = InputField()
        age: int = OutputField()

    (message,) = ADAPTER.question(
        compile_signature(Ages), {"born": date(2000, 1, 2), "weights": {"a": 0.5}, "count": 10**30}
    )
    assert message.content == f'born: 2000-01-02\nweights: {{"a":0.5}}\ncount: {10**30}'


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ('{"verdict": "good", "stars": 4}', False),
        (' \n{"verdict": "good", "stars": 4}\n', False),
        ('```json\n{"verdict": "good", "stars": 4}\n```', True),
        ('Sure! Here it is: {"verdict": "good", "stars": 4}. Anything else?', True),
        ('{"verdict": "good", "stars": "4"}', True),
        ('{"verdict": "Good.", "stars": 4}', True),
        ('{"verdict": "good", "stars": 4, "why": {"because": "it says so"}}', False),
    ],
)
def test_clean_fenced_and_wrapped_replies_are_read(text: str, changed: bool) -> None:
    reading = ADAPTER.parse(JUDGE, text)
    assert reading.outputs == {"verdict": "good", "stars": 4}
    assert bool(reading.changes) == changed


@pytest.mark.parametrize(
    ("text", "field", "says"),
    [
        ('{"verdict": "good"}', "stars", "is missing"),
        ('{"verdict": "fair", "stars": 4}', "verdict", "Input should be 'good' or 'bad'"),
        ('{"verdict": "good", "stars": 6}', "stars", "less than or equal to 5"),
        ('Here: {"verdict": "good", "stars": null} ok?', "stars", "valid integer"),
        ("", "", "empty"),
        ("good", "", "no JSON"),
        ("null", "", ""),
    ],
)
def test_what_is_missing_or_wrong_is_named(text: str, field: str, says: str) -> None:
    error = refused(text)
    assert error.field == field
    assert says in error.reason


def test_deep_nesting_and_size_are_survived() -> None:
    for text in ("{" * 100_000, '{"a":' * 20_000 + "1" + "}" * 20_000, "[" * 50_000, "x" * 3_000_000):
        refused(text)


def test_an_integer_of_any_size_is_read_exactly() -> None:
    compiled = compile_signature(Signature.parse("question -> number: int"))
    assert ADAPTER.parse(compiled, f'{{"number": {10**40 + 1}}}').outputs == {"number": 10**40 + 1}
