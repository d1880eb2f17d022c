"""What makes two requests the same question: a digest over all that can change the answer, and nothing else.

BLAKE2b (RFC 7693) of one JSON text, in which every field has a place of its own, so that no two requests run into
each other. Mappings are sorted: the order of their keys does not matter. 1, 1.0 and true are three values.
"""

from collections.abc import Mapping
from dataclasses import fields
from hashlib import blake2b

import orjson

from repertory.errors import LMRequestRejected
from repertory.providers.messages import (
    LMRequest,
    MediaPart,
    Message,
    Part,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)

FORM = 1  # of that text. Answers outlive the program: a place that changes its meaning makes it another form
DIGEST = 32  # bytes; callers share answers, so nobody may be able to find a request that gets another's
UNASKED = ("terms", "witness")  # fields of a request that no wire carries
NAMED_DEPTH = 5  # steps into a value that an error leads to what is wrong with it


def cache_key(request: LMRequest, identity: str) -> str:
    """Return the key of the answers that the endpoint ``identity`` gives to ``request``, in hexadecimal.

    Left out is what says who waits for it, pays for it and keeps it: the deadline, the terms but for their
    ``rollout``, the witness, and ``Message.cache``.

    Args:
        request: What is asked.
        identity: Of whom: protocol, model and base URL. No secret: keys are written to the store.

    Raises:
        LMRequestRejected: It holds something that JSON cannot carry; the message says where.
    """
    thinking = request.thinking
    form = (
        FORM,
        identity,
        [(turn.role, _content(turn)) for turn in request.messages],
        request.response_schema,
        request.schema_name,
        request.temperature,
        request.max_tokens,
        request.seed,
        request.stop,
        request.top_p,
        [(tool.name, tool.description, tool.parameters, tool.strict) for tool in request.tools],
        request.tool_choice,
        request.parallel_tool_calls,
        request.n,
        request.top_logprobs,
        None if thinking is None else (thinking.effort, thinking.tokens),
        request.extra,
        request.terms.rollout,
    )
    try:
        text = orjson.dumps(form, _mapping, orjson.OPT_SORT_KEYS)
    except TypeError as error:
        raise unspeakable(request, str(error)) from None
    return blake2b(text, digest_size=DIGEST).hexdigest()


def _content(turn: Message) -> object:
    content = turn.content
    return content if isinstance(content, str) else list(map(_part, content))


def _part(part: Part) -> tuple[object, ...]:
    match part:
        case TextPart():
            return ("text", part.text)
        case MediaPart():
            # Their digest stands for the bytes: it is made sooner than their base64.
            data = None if part.data is None else blake2b(part.data, digest_size=DIGEST).hexdigest()
            return ("media", part.kind, part.mime, data, part.url, part.name)
        case ToolCallPart():
            return ("call", part.id, part.name, part.arguments, part.signature)
        case ToolResultPart():
            return ("result", part.call_id, part.name, part.content, part.failed)
        case ReasoningPart():
            return ("reasoning", part.text, part.signature, part.redacted, part.id)


def _mapping(value: object) -> dict[object, object]:
    """What is written for a value that orjson does not know: of mappings it knows only dict."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError


def unspeakable(request: LMRequest, reason: str) -> LMRequestRejected:
    """The error that ``request`` holds something that JSON cannot carry; it says where."""
    form = {each.name: getattr(request, each.name) for each in fields(LMRequest) if each.name not in UNASKED}
    form["terms.rollout"] = request.terms.rollout
    form["messages"] = [{"role": turn.role, "content": _content(turn)} for turn in request.messages]
    where = next((found for name, value in form.items() if (found := _where(value, name))), "request")
    return LMRequestRejected(
        f"{where}: {reason}",
        hint="A request may hold what JSON can carry: Unicode text, booleans, numbers of 64 bits, lists, and "
        "mappings from text to these.",
    )


def _where(value: object, path: str, depth: int = NAMED_DEPTH) -> str | None:
    """The path to what JSON cannot carry in ``value``, which is at ``path``; None if it can carry all of it."""
    try:
        orjson.dumps(value, _mapping)
    except TypeError:
        inside: list[tuple[str, object]] = []
        if isinstance(value, Mapping):
            inside = [(f"{path}.{name}", each) for name, each in value.items()]
        elif isinstance(value, list | tuple):
            inside = [(f"{path}[{number}]", each) for number, each in enumerate(value)]
        deeper = (_where(each, at, depth - 1) for at, each in inside) if depth else iter(())
        return next(filter(None, deeper), path)
    return None
