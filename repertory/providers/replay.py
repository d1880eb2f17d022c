"""A reply that is there already, given as if it came now."""

from collections.abc import AsyncGenerator, Iterator

from repertory.providers.messages import (
    Content,
    Delta,
    End,
    LMResponse,
    ReasoningDelta,
    ReasoningPart,
    TextDelta,
    TextPart,
    ToolCallDelta,
    ToolCallPart,
    UsageDelta,
)


async def deltas_of(response: LMResponse) -> AsyncGenerator[Delta, None]:
    """The deltas that add up to ``response``, the ``End`` last."""
    for delta in pieces_of(response):
        yield delta
    yield UsageDelta(response.usage)
    yield End(response)


def pieces_of(response: LMResponse) -> Iterator[Delta]:
    """Its words, thoughts and calls as deltas."""
    for number, content in enumerate((response.content, *[other.content for other in response.others])):
        yield from _pieces(content, number)


def _pieces(content: Content, choice: int) -> Iterator[Delta]:
    parts = (TextPart(content),) if isinstance(content, str) else content
    calls = 0
    for part in parts:
        match part:
            case TextPart(text) if text:
                yield TextDelta(text, choice)
            case ReasoningPart(text) if text:
                yield ReasoningDelta(text, choice)
            case ToolCallPart(id, name, arguments):
                yield ToolCallDelta(calls, id, name, arguments, choice)
                calls += 1
