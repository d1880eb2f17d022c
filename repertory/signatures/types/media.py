"""Media: pictures, recordings and files that go with a question.

Nothing is fetched, and no text is ever taken for a path: a file is read by ``from_path`` alone.
"""

import base64
import binascii
import hashlib
import io
import reprlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, Protocol, Self, TypeAlias
from urllib.parse import unquote_to_bytes, urlsplit

from pydantic import SerializationInfo, SerializerFunctionWrapHandler, model_serializer, model_validator

from repertory.errors import InputError
from repertory.signatures.coercion_scalars import shown
from repertory.signatures.type_registry import TYPES
from repertory.signatures.types import mime
from repertory.signatures.types.structure import Structure

MediaKind: TypeAlias = Literal["image", "audio", "file"]

COLLECTOR: Final = "media"
"""The key of pydantic's serialization context under which a `MediaCollector` is passed."""

_MB: Final = 1_000_000


class _Saveable(Protocol):
    def save(self, file: Any, format: str) -> None: ...


class Media(Structure):
    """A medium: its bytes, or where the provider finds it.

    Attributes:
        media_type: Such as ``image/png``; "" where only the URL is known.
        data: Its bytes, base64 in JSON; None where it is at ``url``.
        url: http or https; None where it is in ``data``.
        name: Its file name, "" if it has none.
    """

    kind: ClassVar[MediaKind]
    max_bytes: ClassVar[int]

    media_type: str = ""
    data: bytes | None = None
    url: str | None = None
    name: str = ""

    @classmethod
    def from_bytes(cls, data: bytes, media_type: str = "", *, name: str = "") -> Self:
        """The medium of these bytes. ``media_type`` is told from them, or from ``name``, where it is not given.

        Raises:
            InputError: They are too many, or not of this kind.
        """
        return cls._checked({"data": data, "media_type": media_type, "name": name})

    @classmethod
    def from_path(cls, path: str | Path, media_type: str = "") -> Self:
        """The medium in a file, which is read at once.

        Raises:
            InputError: It is no regular file that can be read, too large, or not of this kind.
        """
        path = Path(path)
        try:
            if not path.is_file():
                raise InputError(cls.kind, f"{path} is no regular file", hint="Check the path.")
            with path.open("rb") as file:
                data = file.read(cls.max_bytes + 1)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            raise InputError(cls.kind, f"{path} cannot be read: {error}", hint="Make it readable.") from None
        return cls.from_bytes(data, media_type, name=path.name)

    @classmethod
    def from_url(cls, url: str, media_type: str = "") -> Self:
        """The medium at an http(s) URL, which the provider fetches; or in a ``data:`` URL.

        Raises:
            InputError: It is no such URL.
        """
        try:
            found = _of_url(cls.kind, url)
        except ValueError as error:
            raise InputError(cls.kind, str(error)) from None
        return cls._checked({**found, "media_type": media_type} if media_type else found)

    @classmethod
    def _checked(cls, values: dict[str, Any]) -> Self:
        try:
            return cls.model_validate(values, context=_AS_BYTES)
        except ValueError as error:
            errors = getattr(error, "errors", None)
            reason = errors(include_url=False)[0]["msg"].removeprefix("Value error, ") if errors else str(error)
            raise InputError(cls.kind, reason) from None

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any, info: Any) -> Any:
        if isinstance(value, str):
            return _of_url(cls.kind, value)
        if isinstance(value, dict) and isinstance(value.get("data"), str) and info.context is not _AS_BYTES:
            try:
                return {**value, "data": base64.b64decode(value["data"], validate=True)}
            except (binascii.Error, ValueError):
                raise ValueError("its data is not base64") from None
        return value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.data is None) == (self.url is None):
            raise ValueError(f"an {self.kind} has either data or a url".replace("an file", "a file"))
        if self.url is not None and urlsplit(self.url).scheme not in ("http", "https"):
            raise ValueError(f"{reprlib.repr(self.url)} is no http or https URL")
        media_type = mime.normal(self.media_type)
        if self.data is not None:
            self._check_size(self.data)
            media_type = self._told_type(self.data, media_type)
        if media_type and self.kind != "file" and not media_type.startswith(f"{self.kind}/"):
            raise ValueError(f"it is {media_type}, which is no {self.kind}")
        object.__setattr__(self, "media_type", media_type)  # frozen, but not yet anybody's
        return self

    def _check_size(self, data: bytes) -> None:
        if not data:
            raise ValueError(f"the {self.kind} is empty")
        if len(data) > self.max_bytes:
            raise ValueError(
                f"the {self.kind} has more than {self.max_bytes / _MB:g} MB; make it smaller, or pass its URL"
            )

    def _told_type(self, data: bytes, stated: str) -> str:
        found = mime.sniffed(data)
        if found and stated and found != stated and not (found == "application/zip" and self.kind == "file"):
            raise ValueError(f"it is {found} by its bytes, and {stated} by its media type")
        if stated:
            return stated
        known = mime.named(self.name) if not found or found == "application/zip" else found
        if known or found:
            return known or found
        if self.kind == "file":
            return "text/plain" if mime.is_text(data) else "application/octet-stream"
        raise ValueError(f"the bytes are of no {self.kind} that is known; pass its media_type")

    @model_serializer(mode="wrap")
    def _write(self, write: SerializerFunctionWrapHandler, info: SerializationInfo) -> Any:
        collector = info.context.get(COLLECTOR) if isinstance(info.context, dict) else None
        if isinstance(collector, MediaCollector):
            return collector.place(self)
        written = {"media_type": self.media_type, "data": self.data, "url": self.url, "name": self.name}
        if info.mode_is_json() and self.data is not None:
            written["data"] = base64.b64encode(self.data).decode()
        return written

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 (hex) of the bytes, or of the URL."""
        content = self.data if self.data is not None else (self.url or "").encode()
        return hashlib.sha256(content).hexdigest()

    def __hash__(self) -> int:
        return hash((type(self), self.content_hash))

    def __repr__(self) -> str:
        where = reprlib.repr(self.url) if self.data is None else f"{len(self.data):,} bytes"
        return f"<{type(self).__name__} {self.media_type or 'of unknown type'}, {where}>"

    __str__ = __repr__


class Image(Media):
    """A picture of up to 20 MB."""

    kind: ClassVar[MediaKind] = "image"
    max_bytes: ClassVar[int] = 20 * _MB

    @classmethod
    def from_pil(cls, image: _Saveable, format: str = "PNG") -> Self:
        """A picture that can ``save(file, format=...)``, as Pillow's can.

        Raises:
            InputError: It is too large.
        """
        file = io.BytesIO()
        image.save(file, format=format)
        return cls.from_bytes(file.getvalue())


class Audio(Media):
    """A recording of up to 25 MB."""

    kind: ClassVar[MediaKind] = "audio"
    max_bytes: ClassVar[int] = 25 * _MB


class File(Media):
    """A file of any kind, of up to 50 MB."""

    kind: ClassVar[MediaKind] = "file"
    max_bytes: ClassVar[int] = 50 * _MB


@dataclass(slots=True)
class MediaCollector:
    """Takes media out of values that are written as text, and leaves a placeholder: ``[image 1]``."""

    media: list[Media] = field(default_factory=list)

    def place(self, medium: Media) -> str:
        """Keep ``medium``; return what stands in its place. The same medium is kept once."""
        if medium not in self.media:
            self.media.append(medium)
        alike = [each for each in self.media if each.kind == medium.kind]
        return f"[{medium.kind} {alike.index(medium) + 1}]"


_AS_BYTES: Final = object()  # the validation context of our own constructors: data is not base64


def _of_url(kind: str, url: object) -> dict[str, Any]:
    """The fields of a medium at ``url``. Raises ValueError."""
    if not isinstance(url, str):
        raise ValueError(f"{shown(url)} is no URL")
    scheme = url[:8].partition(":")[0].lower()
    if scheme == "data":
        head, comma, body = url[5:].partition(",")
        if not comma:
            raise ValueError("the data: URL has no data")
        encoded = head.endswith(";base64")
        try:
            data = base64.b64decode(body, validate=True) if encoded else unquote_to_bytes(body)
        except (binascii.Error, ValueError):
            raise ValueError("the data: URL is not base64") from None
        return {"data": data, "media_type": head.removesuffix(";base64")}
    if scheme in ("http", "https") and urlsplit(url).netloc:
        return {"url": url}
    raise ValueError(
        f"{shown(url)} is no http, https or data URL; a file is read by {kind.capitalize()}.from_path"
    )


for _type in (Image, Audio, File):
    TYPES.register(_type.registered_as, _type)
