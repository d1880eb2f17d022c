"""Media on OpenAI's wire, and what it cannot carry."""

from base64 import b64encode
from typing import Any

import orjson
import pytest

from repertory.errors import LMRequestRejected
from repertory.providers.messages import LMRequest, MediaPart, Message, TextPart
from repertory.providers.openai_chat import encode
from repertory.providers.wire import Quirks

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
