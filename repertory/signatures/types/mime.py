"""What bytes are, by how they begin. Source: the "magic numbers" of the formats' specifications."""

from codecs import getincrementaldecoder
from mimetypes import guess_type
from typing import Final

_SIGNATURES: Final = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (0, b"BM", "image/bmp"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (4, b"ftypavif", "image/avif"),
    (4, b"ftypheic", "image/heic"),
    (4, b"ftypmif1", "image/heic"),
    (8, b"WAVE", "audio/wav"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"OggS", "audio/ogg"),
    (0, b"fLaC", "audio/flac"),
    (4, b"ftypM4A", "audio/mp4"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"PK\x03\x04", "application/zip"),
)
_MPEG_SYNC: Final = frozenset({b"\xff\xfb", b"\xff\xf3", b"\xff\xf2", b"\xff\xfa"})
_AAC_SYNC: Final = frozenset({b"\xff\xf1", b"\xff\xf9"})
_LOOKED_AT: Final = 4096

_SAME: Final = {
    "image/jpg": "image/jpeg",
    "image/x-png": "image/png",
    "audio/x-wav": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/vnd.wave": "audio/wav",
    "audio/mp3": "audio/mpeg",
    "audio/x-flac": "audio/flac",
    "audio/m4a": "audio/mp4",
    "audio/x-m4a": "audio/mp4",
    "application/ogg": "audio/ogg",
}


def sniffed(data: bytes) -> str:
    """The media type that ``data`` begins as; "" if that is unknown."""
    for offset, magic, media_type in _SIGNATURES:
        if data.startswith(magic, offset) and (offset != 8 or data.startswith(b"RIFF")):
            return media_type
    if data[:2] in _MPEG_SYNC:
        return "audio/mpeg"
    if data[:2] in _AAC_SYNC:
        return "audio/aac"
    return ""


def named(name: str) -> str:
    """The media type that a file's name says; "" if it says none."""
    return normal(guess_type(name, strict=False)[0] or "")


def is_text(data: bytes) -> bool:
    """Whether ``data`` begins as UTF-8 text."""
    try:
        # Not final: the last character may be cut in two.
        head = getincrementaldecoder("utf-8")().decode(data[:_LOOKED_AT], final=len(data) <= _LOOKED_AT)
    except UnicodeDecodeError:
        return False
    return "\0" not in head


def normal(media_type: str) -> str:
    """``media_type`` in lower case, without parameters, by its registered name."""
    bare = media_type.partition(";")[0].strip().lower()
    return _SAME.get(bare, bare)
