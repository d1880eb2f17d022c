"""A conversation's turns as OpenAI's Chat Completions has them.

Source: https://platform.openai.com/docs/api-reference/chat/create.
"""

from base64 import b64encode
from collections.abc import Iterable, Iterator
from types import MappingProxyType
from typing import Final

from repertory.providers.messages import (
    MediaPart,
    Message,
    Part,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from repertory.providers.wire import Quirks, cannot_carry

AUDIO_FORMATS: Final = MappingProxyType(
    {"audio/wav": "wav", "audio/x-wav": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3"}
)


def conversation(messages: tuple[Message, ...], quirks: Quirks) -> Iterator[dict[str, object]]:
    """The turns on the wire; every result of a tool is one of its own, and these follow their calls directly.

    A result is text. What else a tool gave comes after the last of them, as the user's.
    """
    given: list[Part] = []
    for message in messages:
        if message.role == "tool" and not isinstance(message.content, str):
            given += [part for part in message.content if not isinstance(part, ToolResultPart)]
            yield from (_result(part) for part in message.content if isinstance(part, ToolResultPart))
            continue
        if given:
            yield from _turns("user", given)
            given = []
        role = "system" if message.role == "developer" and not quirks.has_developer else message.role
        if isinstance(message.content, str):
            yield {"role": role, "content": message.content}
        else:
            yield from _turns(role, message.content)
    if given:
        yield from _turns("user", given)


def _turns(role: str, content: Iterable[Part]) -> Iterator[dict[str, object]]:
    said: list[Part] = []
    for part in content:
        if isinstance(part, ToolResultPart):
            yield _result(part)
        elif not isinstance(part, ReasoningPart):  # thoughts are not taken back here
            said.append(part)
    if said:
        calls = [part for part in said if isinstance(part, ToolCallPart)]
        turn: dict[str, object] = {"role": role, "content": _content(said)}
        if calls:
            turn["tool_calls"] = list(map(_call, calls))
        yield turn


def _result(result: ToolResultPart) -> dict[str, object]:
    return {"role": "tool", "tool_call_id": result.call_id, "content": result.content}


def _content(parts: Iterable[Part]) -> str | list[dict[str, object]] | None:
    """Text as a string where there is nothing beside it, None for calls without a word."""
    shown = [part for part in parts if isinstance(part, TextPart | MediaPart)]
    if not shown:
        return None
    if all(isinstance(part, TextPart) for part in shown):
        return "".join(part.text for part in shown if isinstance(part, TextPart))
    return [{"type": "text", "text": part.text} if isinstance(part, TextPart) else _media(part) for part in shown]


def _call(call: ToolCallPart) -> dict[str, object]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _media(part: MediaPart) -> dict[str, object]:
    # https://platform.openai.com/docs/api-reference/chat/create: image_url, input_audio and file parts.
    match part:
        case MediaPart(kind="image", url=str(url)):
            return {"type": "image_url", "image_url": {"url": url}}
        case MediaPart(kind="image", data=bytes(data)):
            return {"type": "image_url", "image_url": {"url": data_uri(part.mime, data)}}
        case MediaPart(kind="audio", data=bytes(data)) if part.mime in AUDIO_FORMATS:
            recording = {"data": b64encode(data).decode(), "format": AUDIO_FORMATS[part.mime]}
            return {"type": "input_audio", "input_audio": recording}
        case MediaPart(kind="file", data=bytes(data)):
            name = part.name or "document"
            return {"type": "file", "file": {"filename": name, "file_data": data_uri(part.mime, data)}}
    raise cannot_carry("OpenAI's chat protocol", part, f"audio as one of: {', '.join(AUDIO_FORMATS)}")


def data_uri(mime: str, data: bytes) -> str:
    """``data`` as a ``data:`` URL (RFC 2397)."""
    return f"data:{mime};base64,{b64encode(data).decode()}"
