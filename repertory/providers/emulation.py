"""Calls of tools for servers that pass over ``tools`` but hold a reply to a JSON schema (llama.cpp).

The request is rewritten: an instruction describes the tools, the schema leaves a choice between an answer and a
list of calls, turns with calls and results become text. The reply is read back into what a server with tools would
have said, and says in ``LMResponse.emulated`` that it was done so.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import count
from types import MappingProxyType
from typing import Final

import orjson
from pydantic_core import from_json

from repertory.errors import LMRequestRejected
from repertory.providers.assembly import content_of
from repertory.providers.failures import Peer
from repertory.providers.grammar_schema import arguments_schema, relocated
from repertory.providers.messages import (
    Choice,
    Content,
    Delta,
    LMRequest,
    LMResponse,
    Message,
    Part,
    ReasoningDelta,
    ReasoningPart,
    TextDelta,
    TextPart,
    ToolCallPart,
    ToolDefinition,
    ToolResultPart,
)
from repertory.providers.replay import pieces_of

EMULATED: Final = ("tools",)
MOST_CALLS: Final = 8  # at a time: small models would go on until their tokens run out
TEXT: Final = MappingProxyType({"type": "string"})
STOPPED: Final = frozenset({"refusal", "content_filter"})  # endings that leave nothing to be read


def is_needed(request: LMRequest) -> bool:
    """Whether ``request`` has tools, or turns that tell of calls."""
    return bool(request.tools) or any(
        isinstance(part, ToolCallPart | ToolResultPart)
        for message in request.messages
        if not isinstance(message.content, str)
        for part in message.content
    )


def emulate(request: LMRequest) -> LMRequest:
    """Return a request that asks for the same without ``tools``.

    Its schema is one that llama.cpp makes a grammar of; the one the caller gave is part of it. With
    ``parallel_tool_calls`` there may be several calls at a time, without or unsaid just one.

    Raises:
        LMRequestRejected: ``tool_choice`` names a tool that is not there, or wants one where there are none.
    """
    offered = _offered(request)
    turns = _turns(request.messages)
    if offered:
        turns = _instructed(turns, _instructions(request, offered))
    return replace(
        request,
        messages=tuple(turns),
        tools=(),
        tool_choice="auto",
        parallel_tool_calls=None,
        response_schema=_schema(request, offered) if offered else request.response_schema,
    )


def restore(request: LMRequest, response: LMResponse, peer: Peer) -> LMResponse:
    """Return what the reply to ``emulate(request)`` means for ``request``.

    A reply that was cut keeps its ``finish_reason``: an answer is as long as it got, cut calls are none.

    Raises:
        LMReplyMalformed: It is neither an answer nor calls of the tools.
    """
    if not _offered(request):
        return replace(response, emulated=EMULATED)
    first, *others = (
        _restored(request, choice, peer)
        for choice in (Choice(response.content, response.finish_reason, response.logprobs), *response.others)
    )
    return replace(
        response,
        content=first.content,
        finish_reason=first.finish_reason,
        others=tuple(others),
        emulated=EMULATED,
    )


def passed_on(deltas: list[Delta]) -> list[Delta]:
    """What of a stream's ``deltas`` means the same in the end: all but its text, which is not for the caller."""
    return [delta for delta in deltas if not isinstance(delta, TextDelta)]


def held_back(response: LMResponse) -> list[Delta]:
    """The answer or the calls of a restored reply as deltas, for a stream whose text was held back."""
    return [delta for delta in pieces_of(response) if not isinstance(delta, ReasoningDelta)]


# --- the request ---------------------------------------------------------------------------------------------


def _offered(request: LMRequest) -> tuple[ToolDefinition, ...]:
    """The tools that may be called now."""
    choice = request.tool_choice
    if choice in ("auto", "none"):
        return request.tools if choice == "auto" else ()
    chosen = tuple(tool for tool in request.tools if choice in ("required", tool.name))
    if not chosen:
        there = ", ".join(tool.name for tool in request.tools) or "none"
        raise LMRequestRejected(
            f"tool_choice = {choice!r}: there is no such tool",
            hint=f"Name one of the request's tools ({there}), or auto, none or required.",
        )
    return chosen


def _schema(request: LMRequest, offered: tuple[ToolDefinition, ...]) -> dict[str, object]:
    definitions: dict[str, object] = {}
    calls = [
        _record(
            name={"const": tool.name},
            arguments=relocated(arguments_schema(tool.parameters), f"tool{number}", definitions),
        )
        for number, tool in enumerate(offered)
    ]
    call = calls[0] if len(calls) == 1 else {"anyOf": calls}
    most = MOST_CALLS if request.parallel_tool_calls else 1
    ways = [_record(calls={"type": "array", "items": call, "minItems": 1, "maxItems": most})]
    if request.tool_choice == "auto":
        answer = request.response_schema
        ways.append(_record(answer=TEXT if answer is None else relocated(answer, "answer", definitions)))
    schema: dict[str, object] = ways[0] if len(ways) == 1 else {"anyOf": ways}
    return {**schema, "$defs": definitions} if definitions else schema


def _record(**properties: object) -> dict[str, object]:
    """The schema of an object with just these properties."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _instructions(request: LMRequest, offered: tuple[ToolDefinition, ...]) -> str:
    several = "several calls at a time" if request.parallel_tool_calls else "one call at a time"
    lines = ["You can call these tools:"]
    for tool in offered:
        lines += [
            f"- {tool.name}: {tool.description}",
            f"  arguments: {orjson.dumps(tool.parameters, default=dict).decode()}",
        ]
    lines += [f'To call, reply with {{"calls": [{{"name": ..., "arguments": {{...}}}}]}}, {several}.']
    if request.tool_choice == "auto":
        lines += ['If no tool is needed, or you have their results, reply with {"answer": ...}.']
    elif request.tool_choice == "required":
        lines += ["You must call a tool now."]
    else:
        lines += [f"You must call {request.tool_choice} now."]
    return "\n".join(lines)


def _instructed(turns: list[Message], instructions: str) -> list[Message]:
    """The turns with the instructions in the system's turn: many a template knows but one, at the beginning."""
    if not turns or turns[0].role not in ("system", "developer"):
        return [Message("system", instructions), *turns]
    first = turns[0]
    if isinstance(first.content, str):
        content: Content = f"{first.content}\n\n{instructions}"
    else:
        content = (*first.content, TextPart(f"\n\n{instructions}"))
    return [replace(first, content=content), *turns[1:]]


def _turns(messages: tuple[Message, ...]) -> list[Message]:
    """The conversation without parts that tell of calls; results are the user's words."""
    turns: list[Message] = []
    answered = False  # whether the last turn is results, which the user's next words continue
    for message in messages:
        role = "user" if message.role == "tool" else message.role
        if isinstance(message.content, str):
            content: Content = message.content
        else:
            content = content_of(tuple(_told(message.content)))
        if answered and role == "user":
            before = turns.pop()
            content = _joined(before.content, content)
        turns.append(Message(role, content, message.cache))
        answered = role == "user" and (answered or any(isinstance(part, ToolResultPart) for part in message.parts))
    return turns


def _told(parts: tuple[Part, ...]) -> Iterator[Part]:
    """The parts with calls and results told in words; a turn's calls as the model is asked to write them."""
    calls = [
        {"name": part.name, "arguments": part.arguments if (read := part.parsed()) is None else read}
        for part in parts
        if isinstance(part, ToolCallPart)
    ]
    words: list[str] = []
    for part in parts:
        match part:
            case TextPart(text):
                words.append(text)
            case ToolResultPart(_, name, result, failed):
                words.append(f"{name} {'failed' if failed else 'gave'}:\n{result}")
            case ToolCallPart() | ReasoningPart():
                pass
            case _:
                if words:
                    yield TextPart("\n\n".join(words))
                    words = []
                yield part
    if calls:
        words.append(_dumped({"calls": calls}))
    if words:
        yield TextPart("\n\n".join(words))


def _joined(first: Content, second: Content) -> Content:
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n\n{second}"
    return (*Message("user", first).parts, *Message("user", second).parts)


# --- the reply -----------------------------------------------------------------------------------------------


def _restored(request: LMRequest, choice: Choice, peer: Peer) -> Choice:
    if choice.finish_reason in STOPPED:
        return choice
    text = _unfenced(choice.text)
    # A stop string may stand within the JSON too.
    cut = choice.finish_reason == "length" or bool(request.stop)
    kept = [part for part in Message("assistant", choice.content).parts if not isinstance(part, TextPart)]
    match _read(text, cut=cut):
        case {"calls": list(calls)} if not cut or _read(text, cut=False) is not None:
            parts = _calls(request, calls, peer)
            return replace(choice, content=(*kept, *parts), finish_reason="tool_calls")
        case {"calls": _} if cut:
            return replace(choice, content=content_of(tuple(kept)))
        case {"answer": str(answer)} if request.response_schema is None:
            return replace(choice, content=content_of((*kept, TextPart(answer))))
        case {"answer": _} if request.response_schema is not None:
            return replace(choice, content=content_of((*kept, TextPart(_answer(text)))))
        case None | {} if cut:
            return replace(choice, content=content_of(tuple(kept)))
    raise peer.malformed(f"its reply is neither an answer nor calls of tools: {peer.quote(text, 80)!r}")


def _unfenced(text: str) -> str:
    """The text without the Markdown fence that some templates put around JSON."""
    text = text.strip()
    return text.removeprefix("```json").removesuffix("```").strip() if text.startswith("```json") else text


def _read(text: str, *, cut: bool) -> object:
    """The JSON in ``text``, or in what there is of it; None if it is none."""
    try:
        return from_json(text, allow_partial="trailing-strings") if cut else from_json(text)
    except ValueError:
        return None


def _answer(text: str) -> str:
    """The answer's own JSON as the model wrote it: numbers keep their digits."""
    _, _, answer = text.partition(":")
    return answer.strip().removesuffix("}").rstrip()


def _calls(request: LMRequest, calls: list[object], peer: Peer) -> list[ToolCallPart]:
    names = {tool.name for tool in _offered(request)}
    ids = _new_ids(request)
    parts: list[ToolCallPart] = []
    for call in calls:
        match call:
            case {"name": str(name), "arguments": dict(arguments)} if name in names:
                parts.append(ToolCallPart(next(ids), name, _dumped(arguments)))
            case _:
                raise peer.malformed(f"its reply calls no tool it was offered: {peer.quote(repr(call), 80)}")
    if not parts:
        raise peer.malformed("its reply has an empty list of calls")
    return parts


def _new_ids(request: LMRequest) -> Iterator[str]:
    """Ids that no call of the conversation has."""
    taken = {part.id for message in request.messages for part in message.parts if isinstance(part, ToolCallPart)}
    return (id for number in count() if (id := f"call_{number}") not in taken)


def _dumped(value: Mapping[str, object]) -> str:
    # Not orjson: it refuses integers beyond 64 bits.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
