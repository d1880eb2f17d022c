"""What an endpoint cannot do is known before it is asked: nothing that a caller set is passed over in silence."""

from collections.abc import Iterable
from dataclasses import MISSING, fields
from types import MappingProxyType
from typing import Final

from repertory.errors import LMRequestRejected
from repertory.providers.messages import LMRequest
from repertory.providers.wire import Quirks, WireProtocol

SAMPLING: Final = "Leave it out; a model of Anthropic's that heeds it is reached as anthropic-2023-06-01/NAME."
REMEDIES: Final = MappingProxyType(
    {
        "temperature": SAMPLING,
        "top_p": SAMPLING,
        "seed": "Leave it out, or take an endpoint with OpenAI's chat protocol or Google's.",
        "stop": "Leave it out and cut the text, or take Anthropic's or an endpoint with OpenAI's chat protocol.",
        "n": "Make that many calls, or take an endpoint with OpenAI's chat protocol or Google's.",
        "top_logprobs": "Leave it out, or take an endpoint of OpenAI's or Google's.",
        "parallel_tool_calls": "Leave it out, or take an endpoint of OpenAI's or Anthropic's.",
        "tools": "Take another endpoint, or ask for the call as an output with a schema of its own.",
    }
)
DEFAULTS: Final = MappingProxyType(
    {each.name: each.default for each in fields(LMRequest) if each.default is not MISSING}
)


def gaps(protocol: WireProtocol, quirks: Quirks) -> tuple[str, ...]:
    """The fields of ``LMRequest`` that an endpoint can neither heed nor have emulated; what ``require`` wants."""
    lacks = (*protocol.LACKS, *quirks.lacks)
    if quirks.constrains != "json_schema":  # which emulation is made of
        return (*lacks, *quirks.emulates)
    return tuple(name for name in lacks if name not in quirks.emulates)


def is_plain(request: LMRequest) -> bool:
    """Whether ``request`` holds nothing but words, which every protocol can carry."""
    return request.thinking is None and all(isinstance(message.content, str) for message in request.messages)


def require(request: LMRequest, lacks: Iterable[str], endpoint: str) -> None:
    """Do nothing if ``request`` leaves all that the endpoint ``lacks`` at its default.

    Args:
        request: What is to be asked.
        lacks: Names of fields of ``LMRequest``.
        endpoint: The endpoint's name.

    Raises:
        LMRequestRejected: Naming the field, its value and what to do instead.
    """
    for name in lacks:
        value = getattr(request, name)
        if value != DEFAULTS[name]:
            shown = [tool.name for tool in request.tools] if name == "tools" else value
            raise LMRequestRejected(
                f"{endpoint}: {name} = {shown!r}: the endpoint cannot heed it",
                endpoint=endpoint,
                hint=REMEDIES[name],
            )
