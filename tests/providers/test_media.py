"""Media on each protocol's wire, what it cannot carry, and how much to think."""

from base64 import b64encode
from dataclasses import replace
from typing import Any

import orjson
import pytest

from repertory.errors import LMRequestRejected
from repertory.providers import anthropic_messages, google_generate, openai_chat, openai_responses
from repertory.providers.messages import (
    Effort,
    LMRequest,
    MediaPart,
    Message,
    TextPart,
    Thinking,
    ToolCallPart,
    ToolResultPart,
)
from repertory.providers.openai_chat import encode
from repertory.providers.wire import Quirks, WireProtocol

DATA = b"\x89PNG..."
CODED = b64encode(DATA).decode()


def sent(part: MediaPart) -> Any:
    body = orjson.loads(encode(LMRequest((Message("user", (TextPart("Look: [image 1]"), part)),)), "m", Quirks()))
    text, media = body["messages"][0]["content"]
    assert text == {"type": "text", "text": "Look: [image 1]"}
    return media


@pytest.mark.parametrize(
    ("part", "on_the_wire"),
    [
        (
            MediaPart("image", url="https://example.org/a.png"),
            {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        ),
        (
            MediaPart("image", "image/png", DATA),
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{CODED}"}},
        ),
        (
            MediaPart("audio", "audio/mpeg", DATA),
            {"type": "input_audio", "input_audio": {"data": CODED, "format": "mp3"}},
        ),
        (
            MediaPart("file", "application/pdf", DATA, name="a.pdf"),
            {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{CODED}"}},
        ),
    ],
)
def test_media_follow_the_text_they_belong_to(part: MediaPart, on_the_wire: dict[str, Any]) -> None:
    assert sent(part) == on_the_wire


@pytest.mark.parametrize(
    ("part", "named"),
    [
        (MediaPart("audio", url="https://example.org/a.mp3"), "an audio by URL"),
        (MediaPart("file", url="https://example.org/a.pdf"), "a file by URL"),
        (MediaPart("audio", "audio/ogg", DATA), "an audio of type audio/ogg"),
    ],
)
def test_what_the_protocol_cannot_carry_is_refused_before_it_is_sent(part: MediaPart, named: str) -> None:
    with pytest.raises(LMRequestRejected, match=named) as caught:
        sent(part)
    assert caught.value.hint
    assert "bytes" in caught.value.hint


def test_the_bytes_are_not_in_the_repr() -> None:
    assert "PNG" not in repr(MediaPart("image", "image/png", DATA))


# --- what goes with a tool's result, and other places where protocols differ ---------------------------------

PICTURE = MediaPart("image", "image/png", DATA)
CALLS = Message("assistant", (ToolCallPart("c1", "look", "{}"), ToolCallPart("c2", "look", "{}")))
RESULTS = (
    Message("tool", (ToolResultPart("c1", "look", "a house"), PICTURE)),
    Message("tool", (ToolResultPart("c2", "look", "a tree"),)),
)
LOOKED = LMRequest((Message("user", "Look."), CALLS, *RESULTS, Message("user", "Well?")))


def body_of(protocol: WireProtocol, request: LMRequest) -> Any:
    return orjson.loads(protocol.encode(request, "m", Quirks()))


def test_chats_results_follow_their_calls_and_pictures_come_after_the_last() -> None:
    turns = body_of(openai_chat, LOOKED)["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "tool", "tool", "user", "user"]
    assert [turn.get("tool_call_id") for turn in turns[2:4]] == ["c1", "c2"]
    assert [part["type"] for part in turns[4]["content"]] == ["image_url"]
    at_the_end = body_of(openai_chat, replace(LOOKED, messages=LOOKED.messages[:-1]))["messages"]
    assert at_the_end == turns[:-1]


def test_the_results_of_responses_are_no_turns_and_pictures_are_the_users() -> None:
    items = body_of(openai_responses, LOOKED)["input"]
    outputs = [item["call_id"] for item in items if item.get("type") == "function_call_output"]
    assert outputs == ["c1", "c2"]
    assert {item["role"] for item in items if "role" in item} == {"user"}


def test_anthropics_results_come_first_in_their_turn() -> None:
    turn = body_of(anthropic_messages, LOOKED)["messages"][-1]
    assert turn["role"] == "user"
    assert [block["type"] for block in turn["content"]] == ["tool_result", "tool_result", "image", "text"]


def test_googles_results_keep_their_place() -> None:
    turn = body_of(google_generate, LOOKED)["contents"][-1]
    assert [next(iter(part)) for part in turn["parts"]] == [
        *("functionResponse", "inlineData", "functionResponse", "text")
    ]
    assert turn["parts"][0]["functionResponse"]["response"] == {"output": "a house"}


def test_responses_takes_no_recording() -> None:
    recording = LMRequest((Message("user", (MediaPart("audio", "audio/wav", DATA),)),))
    with pytest.raises(LMRequestRejected, match=r"cannot carry an audio of type audio/wav\n .*openai/NAME"):
        openai_responses.encode(recording, "m", Quirks())


@pytest.mark.parametrize(
    ("protocol", "part", "on_the_wire"),
    [
        (
            openai_responses,
            MediaPart("file", "application/pdf", DATA, name="a.pdf"),
            {
                "type": "input_file",
                "filename": "a.pdf",
                "file_data": f"data:application/pdf;base64,{CODED}",
            },
        ),
        (
            openai_responses,
            MediaPart("file", url="https://example.org/a.pdf"),
            {"type": "input_file", "file_url": "https://example.org/a.pdf"},
        ),
        (
            anthropic_messages,
            MediaPart("file", "application/pdf", DATA, name="a.pdf"),
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": CODED},
                "title": "a.pdf",
            },
        ),
        (
            anthropic_messages,
            MediaPart("file", "text/markdown", b"# Hi"),
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "# Hi"}},
        ),
        (
            anthropic_messages,
            MediaPart("image", url="https://example.org/a.png"),
            {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
        ),
        (
            google_generate,
            MediaPart("audio", "audio/ogg", DATA),
            {"inlineData": {"mimeType": "audio/ogg", "data": CODED}},
        ),
        (
            google_generate,
            MediaPart("file", "application/pdf", url="https://example.org/a.pdf"),
            {"fileData": {"mimeType": "application/pdf", "fileUri": "https://example.org/a.pdf"}},
        ),
    ],
)
def test_media_in_the_other_protocols(
    protocol: WireProtocol, part: MediaPart, on_the_wire: dict[str, Any]
) -> None:
    body = body_of(protocol, LMRequest((Message("user", (TextPart("Look"), part)),)))
    [turn] = body.get("input") or body.get("messages") or body["contents"]
    assert (turn.get("content") or turn["parts"])[1] == on_the_wire


@pytest.mark.parametrize(
    ("protocol", "part", "named"),
    [
        (anthropic_messages, MediaPart("audio", "audio/wav", DATA), "an audio of type audio/wav"),
        (anthropic_messages, MediaPart("file", "application/zip", DATA), "a file of type application/zip"),
        (google_generate, MediaPart("image", url="https://example.org/a"), "an image by URL"),
    ],
)
def test_what_the_others_cannot_carry_is_refused(protocol: WireProtocol, part: MediaPart, named: str) -> None:
    with pytest.raises(LMRequestRejected, match=named):
        body_of(protocol, LMRequest((Message("user", (part,)),)))


@pytest.mark.parametrize(
    ("protocol", "thinking", "on_the_wire"),
    [
        (anthropic_messages, Thinking("none"), {"thinking": {"type": "disabled"}}),
        (anthropic_messages, Thinking("max"), {"output_config": {"effort": "max"}}),
        (google_generate, Thinking("none"), {"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}}),
        (
            google_generate,
            Thinking("minimal"),
            {"generationConfig": {"thinkingConfig": {"includeThoughts": True, "thinkingLevel": "MINIMAL"}}},
        ),
        (openai_responses, Thinking("none"), {"reasoning": {"summary": "auto", "effort": "none"}}),
    ],
)
def test_how_much_to_think(protocol: WireProtocol, thinking: Thinking, on_the_wire: dict[str, Any]) -> None:
    body = body_of(protocol, LMRequest((Message("user", "Hi"),), thinking=thinking))
    assert {name: body[name] for name in on_the_wire} == on_the_wire


@pytest.mark.parametrize(("protocol", "effort"), [(anthropic_messages, "minimal"), (google_generate, "max")])
def test_an_effort_that_a_vendor_does_not_know_is_refused_with_those_it_does(
    protocol: WireProtocol, effort: Effort
) -> None:
    with pytest.raises(LMRequestRejected, match=rf"knows no effort '{effort}'\n  Take one of: none, .*high"):
        body_of(protocol, LMRequest((Message("user", "Hi"),), thinking=Thinking(effort)))
