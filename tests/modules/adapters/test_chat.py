"""The chat adapter: the exact prompt, DSPy's markers, and what is made of every kind of reply."""

from typing import Literal

import pytest

from repertory.errors import OutputsInvalid
from repertory.modules import ChatAdapter
from repertory.providers.messages import Message
from repertory.signatures import InputField, OutputField, Signature, compile_signature
from repertory.signatures.changes import Change


class Judge(Signature):
    """Judge the review."""

    review: str = InputField(desc="as published")
    tags: list[str] = InputField(default=[])
    verdict: Literal["good", "bad"] = OutputField(desc="the author's own view")
    stars: int = OutputField(ge=1, le=5)


ADAPTER = ChatAdapter()
JUDGE = compile_signature(Judge)
GOOD = "[[ ## verdict ## ]]\ngood\n\n[[ ## stars ## ]]\n4\n\n[[ ## completed ## ]]"


def test_the_whole_prompt() -> None:
    demos = [{"review": "Loved it", "tags": ["film"], "verdict": "good", "stars": 5}]
    assert list(ADAPTER.format(JUDGE, demos, {"review": "Meh", "tags": []})) == [
        Message(
            "system",
            "Judge the review.\n[[ ## review ## ]]: as published\n\nReply in this form:\n\n"
            '[[ ## verdict ## ]]\n{one of "good", "bad": the author\'s own view}\n\n'
            "[[ ## stars ## ]]\n{integer, at least 1, at most 5}\n\n[[ ## completed ## ]]",
        ),
        Message("user", '[[ ## review ## ]]\nLoved it\n\n[[ ## tags ## ]]\n["film"]'),
        Message("assistant", "[[ ## verdict ## ]]\ngood\n\n[[ ## stars ## ]]\n5\n\n[[ ## completed ## ]]"),
        Message("user", "[[ ## review ## ]]\nMeh\n\n[[ ## tags ## ]]\n[]"),
    ]


def test_its_own_answer_is_read_without_a_change() -> None:
    reading = ADAPTER.parse(JUDGE, GOOD)
    assert reading.outputs == {"verdict": "good", "stars": 4}
    assert (reading.changes, reading.truncated, reading.open_ended) == ((), False, False)


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        ("Sure!\n" + GOOD, "past the words before the first field"),
        (GOOD + "\nAnything else?", "past the words after the end"),
        (GOOD.replace("\n\n[[ ## comp", "\n\n[[ ## stars ## ]]\n1\n\n[[ ## comp"), "the first of several values"),
        ('{"verdict": "good", "stars": 4}', "JSON in place of marked fields"),
        (GOOD.replace("\n4", "\nfour stars"), None),
    ],
)
def test_other_replies_are_read_with_a_word_or_refused(reply: str, told: str | None) -> None:
    if told is None:
        with pytest.raises(OutputsInvalid) as refused:
            ADAPTER.parse(JUDGE, reply)
        assert refused.value.field == "stars"
        return
    reading = ADAPTER.parse(JUDGE, reply)
    assert reading.outputs == {"verdict": "good", "stars": 4}
    assert told in [change.reason for change in reading.changes]


def test_markers_of_unknown_names_are_text() -> None:
    essay = compile_signature(Signature.parse("topic -> essay"))
    text = "On markers: [[ ## topic ## ]] and [[##essay"
    reading = ADAPTER.parse(essay, f"[[ ## essay ## ]]\n{text}\n\n[[ ## completed ## ]]")
    assert reading.outputs == {"essay": text}


def test_a_reply_without_the_end_marker_may_have_ended_anywhere() -> None:
    assert ADAPTER.parse(JUDGE, GOOD.replace("[[ ## completed ## ]]", "")).open_ended


def test_without_markers_a_single_text_is_the_whole_reply() -> None:
    reading = ADAPTER.parse(compile_signature(Signature.parse("q -> a")), "Paris.\n")
    assert reading.outputs == {"a": "Paris."}
    assert reading.changes == (Change("repair", "a", "the whole reply as the one output"),)
