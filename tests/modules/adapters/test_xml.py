"""The XML adapter: the exact prompt, and what is made of every kind of reply."""

import pytest

from repertory.errors import OutputsInvalid
from repertory.modules import XMLAdapter
from repertory.providers.messages import Message
from repertory.signatures import Signature, compile_signature

ADAPTER = XMLAdapter()
PAGE = compile_signature(Signature.parse("topic -> title, html, links: list[str]", "Write the page."))
GOOD = '<title>\nCats\n</title>\n\n<html>\n<h1>Cats & <title>co</title></h1>\n</html>\n\n<links>\n["a"]\n</links>'
OUTPUTS = {"title": "Cats", "html": "<h1>Cats & <title>co</title></h1>", "links": ["a"]}


def test_the_whole_prompt() -> None:
    assert list(ADAPTER.format(PAGE, [{"topic": "Cats", **OUTPUTS}], {"topic": "Dogs"})) == [
        Message(
            "system",
            "Write the page.\n\nReply in this form:\n\n<title>\n{string}\n</title>\n<html>\n{string}\n</html>\n"
            "<links>\n{list of string}\n</links>",
        ),
        Message("user", "<topic>\nCats\n</topic>"),
        Message("assistant", GOOD),
        Message("user", "<topic>\nDogs\n</topic>"),
    ]


def test_a_tag_within_another_belongs_to_it() -> None:
    reading = ADAPTER.parse(PAGE, GOOD)
    assert reading.outputs == OUTPUTS
    assert reading.changes == ()


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        ("Here:\n" + GOOD, "past the words before <title>"),
        (GOOD + "\nDone.", "past the words after the end"),
        (GOOD + "<title>Dogs</title>", "the first of several values"),
        (GOOD.removesuffix("</links>"), "up to the end, as its tag is not closed"),
    ],
)
def test_other_replies_are_read_with_a_word(reply: str, told: str) -> None:
    reading = ADAPTER.parse(PAGE, reply)
    assert reading.outputs == OUTPUTS
    assert told in [change.reason for change in reading.changes]


def test_json_in_place_of_tags_is_read() -> None:
    reading = ADAPTER.parse(PAGE, '{"title": "Cats", "html": "", "links": []}')
    assert reading.outputs == {"title": "Cats", "html": "", "links": []}
    assert reading.changes[0].reason == "JSON in place of tagged fields"


def test_an_unclosed_tag_may_have_been_cut_off() -> None:
    assert ADAPTER.parse(PAGE, GOOD.removesuffix("</links>")).open_ended
    assert not ADAPTER.parse(PAGE, GOOD).open_ended


def test_what_is_missing_is_named() -> None:
    with pytest.raises(OutputsInvalid) as refused:
        ADAPTER.parse(PAGE, "<title>Cats</title>")
    assert refused.value.field == "html"
