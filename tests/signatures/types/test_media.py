"""Media: from bytes, paths, URLs and pictures; told by their bytes, bounded, and never in a prompt as text."""

import base64
import io
import struct
import wave
import zlib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import repertory as rp
from repertory.errors import InputError
from repertory.modules import ChatAdapter
from repertory.providers.messages import MediaPart, Message, TextPart
from repertory.signatures import InputField, OutputField, Signature, compile_signature
from repertory.signatures.types import Media
from repertory.signatures.types.mime import is_text, sniffed


def png(shade: int = 0) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes([0, shade])))
        + chunk(b"IEND", b"")
    )


def wav() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as recording:
        recording.setparams((1, 1, 8000, 0, "NONE", ""))
        recording.writeframes(b"\x80" * 10)
    return file.getvalue()


PDF = b"%PDF-1.7\n%%EOF"


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (png(), "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (b"XXXX\0\0\0\0WEBP", ""),
        (wav(), "audio/wav"),
        (b"ID3\x04", "audio/mpeg"),
        (b"\xff\xfb\x90", "audio/mpeg"),
        (b"\0\0\0\x20ftypM4A ", "audio/mp4"),
        (PDF, "application/pdf"),
        (b"hello", ""),
        (b"", ""),
    ],
)
def test_bytes_tell_what_they_are(data: bytes, media_type: str) -> None:
    assert sniffed(data) == media_type


def test_text_is_told_even_where_a_character_is_cut() -> None:
    assert is_text(("a" * 4095 + "é").encode())
    assert not is_text(b"\xff\xfe")
    assert not is_text("é".encode()[:1])
    assert not is_text(b"a\0b")


def test_from_bytes_a_path_a_url_and_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "dot.png"
    path.write_bytes(png())
    image = rp.Image.from_path(path)
    assert (image.media_type, image.data, image.name) == ("image/png", png(), "dot.png")
    assert rp.Image.from_bytes(png()) == rp.Image.from_url(
        "data:image/png;base64," + base64.b64encode(png()).decode()
    )
    assert rp.Image.from_url("https://example.org/a.jpg").url == "https://example.org/a.jpg"

    class Picture:
        def save(self, file: Any, format: str) -> None:
            assert format == "PNG"
            file.write(png())

    assert rp.Image.from_pil(Picture()) == rp.Image.from_bytes(png())
    assert rp.Audio.from_bytes(wav()).media_type == "audio/wav"
    assert rp.File.from_bytes(b"a,b", name="t.csv").media_type == "text/csv"
    assert rp.File.from_bytes(b"PK\x03\x04", name="t.docx").media_type.endswith("wordprocessingml.document")
    assert rp.File.from_bytes(b"\x00\x01").media_type == "application/octet-stream"
    assert rp.File.from_bytes("é".encode()).media_type == "text/plain"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: rp.Image.from_bytes(PDF), "it is application/pdf, which is no image"),
        (
            lambda: rp.Image.from_bytes(png(), "image/jpeg"),
            "image/png by its bytes, and image/jpeg by",
        ),
        (lambda: rp.Image.from_bytes(b"?"), "the bytes are of no image that is known"),
        (lambda: rp.Image.from_bytes(b""), "the image is empty"),
        (lambda: rp.Image.from_bytes(b"\xff\xd8\xff" + bytes(20_000_000)), "more than 20 MB"),
        (lambda: rp.Audio.from_bytes(png()), "which is no audio"),
        (lambda: rp.Image.from_path("/nowhere/a.png"), "is no regular file"),
        (lambda: rp.Image.from_path("/dev/zero"), "is no regular file"),
        (lambda: rp.Image.from_url("file:///etc/passwd"), "no http, https or data URL"),
        (lambda: rp.Image.from_url("data:image/png;base64,@@"), "not base64"),
        (lambda: rp.File.from_url("https:///x"), "no http, https or data URL"),
    ],
)
def test_what_cannot_be_a_medium_is_refused(make: Any, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        make()


SHOW = compile_signature(Signature.parse("picture: Image, others: list[Image] = [] -> caption"))


def test_a_text_is_never_taken_for_a_path(tmp_path: Path) -> None:
    path = tmp_path / "dot.png"
    path.write_bytes(png())
    with pytest.raises(InputError, match=r"Image\.from_path"):
        SHOW.validate_inputs({"picture": str(path)})
    assert SHOW.validate_inputs({"picture": "https://a/b.png"})["picture"] == rp.Image.from_url("https://a/b.png")
    for wrong in ({"data": "@@"}, {}, {"url": "ftp://a/b"}, {"data": base64.b64encode(PDF).decode()}, 3, None):
        with pytest.raises(InputError) as refused:
            SHOW.validate_inputs({"picture": wrong})
        assert refused.value.field.startswith("picture")


def test_json_carries_the_bytes_and_back() -> None:
    values = SHOW.validate_inputs({"picture": rp.Image.from_bytes(png()), "others": ["https://a/b.png"]})
    written = SHOW.dump_inputs(values)
    assert base64.b64decode(written["picture"]["data"]) == png()  # type: ignore[index]  # it is JSON
    assert SHOW.validate_inputs(written) == values
    assert str(png()) not in repr(values)
    assert repr(values["picture"]) == f"<Image image/png, {len(png())} bytes>"


class Page(BaseModel):
    title: str
    picture: rp.Image


class Compare(Signature):
    """Compare."""

    one: rp.Image = InputField()
    pages: list[Page] = InputField()
    tags: set[str] = InputField()
    sound: rp.Audio | None = InputField(default=None)
    alike: bool = OutputField()


def test_in_a_prompt_media_go_beside_the_text() -> None:
    compiled = compile_signature(Compare)
    first, second = rp.Image.from_bytes(png()), rp.Image.from_bytes(png(9))
    inputs = compiled.validate_inputs(
        {
            "one": first,
            "pages": [{"title": "p", "picture": second}, {"title": "q", "picture": first}],
            "tags": ["b", "a"],
            "sound": rp.Audio.from_bytes(wav()),
        }
    )
    demo = {**inputs, "one": second, "pages": [], "sound": None, "alike": True}
    _, shown, _, question = ChatAdapter().format(compiled, [demo], inputs)
    assert shown.parts[1:] == (MediaPart("image", "image/png", png(9)),)
    assert question == Message(
        "user",
        (
            TextPart(
                "[[ ## one ## ]]\n[image 1]\n\n[[ ## pages ## ]]\n"
                '[{"title":"p","picture":"[image 2]"},{"title":"q","picture":"[image 1]"}]\n\n'
                '[[ ## tags ## ]]\n["a","b"]\n\n[[ ## sound ## ]]\n[audio 1]'
            ),
            MediaPart("image", "image/png", png()),
            MediaPart("image", "image/png", png(9)),
            MediaPart("audio", "audio/wav", wav()),
        ),
    )


def test_a_medium_has_data_or_a_url() -> None:
    for values in ({}, {"data": png(), "url": "https://a/b"}):
        with pytest.raises(ValueError, match="an image has either data or a url"):
            rp.Image.model_validate(values)
    assert {rp.Image.from_bytes(png()), rp.Image.from_bytes(png())} == {rp.Image.from_bytes(png())}
    assert issubclass(rp.Image, Media)
