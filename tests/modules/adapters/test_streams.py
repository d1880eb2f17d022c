"""Replies read while they come: the same is told wherever the text is cut, and no more than is true."""

import json
from collections.abc import Callable
from datetime import date
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from repertory.errors import OutputsInvalid
from repertory.modules import (
    Adapter,
    BAMLAdapter,
    ChatAdapter,
    FieldDelta,
    FieldDone,
    FieldEvent,
    JSONAdapter,
    TwoStepAdapter,
    XMLAdapter,
)
from repertory.signatures import CompiledSignature, InputField, OutputField, Signature, compile_signature
from repertory.signatures.reading import Reading


class Source(BaseModel):
    url: str
    page: int | None


class Report(Signature):
    """Report."""

    topic: str = InputField()
    text: str = OutputField()
    sources: list[Source] = OutputField()
    day: date = OutputField()
    mood: Literal["good", "bad"] = OutputField()
    note: str | None = OutputField()
    score: float = OutputField()


REPORT = compile_signature(Report)
ADAPTERS: list[Adapter] = [ChatAdapter(), JSONAdapter(), XMLAdapter(), BAMLAdapter(), TwoStepAdapter()]
OUTPUTS: dict[str, Any] = {
    "text": 'Çédille 😀 "quoted" {brace} [[ ## none ## ]] </b>\n\nlast\\line',
    "sources": [Source(url="http://a/]}\"'", page=None), Source(url="é", page=2)],
    "day": date(2026, 3, 5),
    "mood": "good",
    "note": None,
    "score": -1.5e3,
}


def answer(adapter: Adapter, outputs: dict[str, Any] = OUTPUTS) -> str:
    if isinstance(adapter, TwoStepAdapter):
        return ChatAdapter().answer(REPORT, outputs).text
    return adapter.answer(REPORT, outputs).text


def events_of(adapter: Adapter, compiled: CompiledSignature, pieces: list[bytes]) -> list[FieldEvent]:
    """All that a stream tells of ``pieces``, deltas in a row joined; closing it says what ``parse`` says."""
    stream = adapter.stream(compiled)
    joined: list[FieldEvent] = []
    for event in (event for piece in pieces for event in stream.feed(piece)):
        last = joined[-1] if joined else None
        if isinstance(event, FieldDelta) and isinstance(last, FieldDelta) and last.field == event.field:
            joined[-1] = FieldDelta(event.field, last.text + event.text)
        else:
            joined.append(event)
    assert outcome(stream.close) == outcome(lambda: adapter.parse(compiled, b"".join(pieces).decode()))
    return joined


def outcome(read: Callable[[], Reading]) -> Reading | tuple[str, str]:
    try:
        return read()
    except OutputsInvalid as refused:
        return refused.field, refused.reason


def told(adapter: Adapter, compiled: CompiledSignature, *replies: str) -> list[FieldEvent]:
    """As ``events_of``; every field told done is so in the whole reply, if that can be read."""
    pieces = [reply.encode() for reply in replies]
    events = events_of(adapter, compiled, pieces)
    whole = outcome(lambda: adapter.parse(compiled, "".join(replies)))
    if isinstance(whole, Reading):
        done = {event.field: event.value for event in events if isinstance(event, FieldDone)}
        assert done == {name: whole.outputs[name] for name in done}
    return events


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: adapter.name)
def test_a_good_reply_tells_every_field_whole(adapter: Adapter) -> None:
    events = told(adapter, REPORT, answer(adapter))
    values = {event.field: event.value for event in events if isinstance(event, FieldDone)}
    assert values == OUTPUTS
    deltas = {event.field: event.text for event in events if isinstance(event, FieldDelta)}
    assert deltas["text"] == OUTPUTS["text"]
    assert json.loads(deltas["sources"]) == [source.model_dump() for source in OUTPUTS["sources"]]
    assert (deltas["mood"], deltas["day"], deltas["note"]) == ("good", "2026-03-05", "null")


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: adapter.name)
@pytest.mark.parametrize(
    "wrap",
    [
        "{}",
        "Sure!\n{}",
        "```json\n{}\n```",
        "{}\nBye",
        " {} {}",
        "<text>x",
        "<think>{}</think> {}",
        "[[ ## text ## ]]",
    ],
)
def test_the_same_is_told_at_every_cut(adapter: Adapter, wrap: str) -> None:
    reply = wrap.replace("{}", answer(adapter)).encode()
    whole = told(adapter, REPORT, reply.decode())
    assert events_of(adapter, REPORT, [reply[at : at + 1] for at in range(len(reply))]) == whole
    for at in range(1, len(reply)):
        assert events_of(adapter, REPORT, [reply[:at], reply[at:]]) == whole


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: adapter.name)
def test_a_reply_cut_off_anywhere_tells_nothing_untrue(adapter: Adapter) -> None:
    reply = answer(adapter)
    for end in range(len(reply)):
        events = told(adapter, REPORT, reply[:end])
        for event in events:
            if isinstance(event, FieldDone):
                assert event.value == OUTPUTS[event.field]
            elif event.field == "text":
                assert OUTPUTS["text"].startswith(event.text)


PIECES = st.sampled_from(
    [
        *("[[ ## a ## ]]", "[[ ## n ## ]]", "[[ ## completed ## ]]", "[[", "## a", " ", "\n", "]]", "#"),
        *("<a>", "</a>", "<n>", "</n>", "<", "</", '{"a": ', '"n": ', '"x', '\\"', '"', "\\", "\\u00e9"),
        *(
            "\\ud83d\\ude00",
            "\\ud83d",
            "3",
            ", ",
            "}",
            "{",
            "[",
            "]",
            "😀",
            "word",
            "```json\n",
            "null",
            ":",
            "\t",
        ),
    ]
)


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: adapter.name)
@given(reply=st.lists(PIECES, max_size=30).map("".join), data=st.data())
def test_any_text_cut_anywhere_tells_the_same(adapter: Adapter, reply: str, data: st.DataObject) -> None:
    compiled = compile_signature(Signature.parse("q -> a, n: int"))

    raw = reply.encode()
    cuts = sorted(data.draw(st.sets(st.integers(0, len(raw)))))
    pieces = [raw[start:end] for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    assert events_of(adapter, compiled, pieces) == events_of(adapter, compiled, [raw])


def test_a_second_object_takes_back_the_first() -> None:
    compiled = compile_signature(Signature.parse("q -> a"))
    stream = JSONAdapter().stream(compiled)
    assert stream.feed('{"a": "one"} no: {"a": "two"}') == (FieldDelta("a", "one"), FieldDone("a", "one"))
    assert stream.close().outputs == {"a": "two"}


def test_a_field_that_does_not_fit_is_never_done() -> None:
    compiled = compile_signature(Signature.parse("q -> n: int, a"))
    events = told(JSONAdapter(), compiled, '{"n": "some", "a": "b"}')
    assert events == [FieldDelta("n", "some"), FieldDelta("a", "b"), FieldDone("a", "b")]


def test_a_field_is_coerced_as_in_the_whole_reply() -> None:
    compiled = compile_signature(Signature.parse("q -> share: float, sure: bool"))
    events = told(JSONAdapter(), compiled, '{"share": "87%", "sure": "Yes"}')
    assert [event.value for event in events if isinstance(event, FieldDone)] == [0.87, True]


def test_a_quote_within_a_text_is_not_taken_for_its_end() -> None:
    compiled = compile_signature(Signature.parse("q -> a, n: int"))
    reply = '{"a": "He said "hi", and left", "n": 1}'
    assert told(JSONAdapter(), compiled, reply) == [FieldDelta("a", "He said ")]
    assert JSONAdapter().parse(compiled, reply).outputs["a"] == 'He said "hi", and left'


def test_fields_nobody_asked_for_are_not_told() -> None:
    compiled = compile_signature(Signature.parse("q -> a"))
    events = told(JSONAdapter(), compiled, '{"why": ["x", {"a": "]"}], "a": "b", "z": 1}')
    assert events == [FieldDelta("a", "b"), FieldDone("a", "b")]
