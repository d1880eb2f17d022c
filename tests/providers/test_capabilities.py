"""What an endpoint cannot do is refused before the call, and what a caller left alone never is."""

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from repertory.clock import SystemClock
from repertory.errors import LMRequestRejected
from repertory.events import Hooks
from repertory.providers.capabilities import REMEDIES
from repertory.providers.catalog import PROVIDERS
from repertory.providers.endpoint import Endpoint
from repertory.providers.messages import LMRequest, Message, Thinking, ToolDefinition
from repertory.providers.settings import EndpointSettings
from tests.endpoint import ScriptedEndpoint

ASK = LMRequest((Message("user", "Hi"),))
WEATHER = ToolDefinition("weather", "Tells the weather.", {"type": "object"})
SET: dict[str, Any] = {
    "temperature": 0.0,
    "top_p": 1.0,
    "seed": 0,
    "stop": ("END",),
    "n": 2,
    "top_logprobs": 0,
    "parallel_tool_calls": False,
    "tools": (WEATHER,),
}
CANNOT = {
    "anthropic": {"temperature", "top_p", "seed", "n", "top_logprobs"},
    "anthropic-2023-06-01": {"seed", "n", "top_logprobs"},
    "openai-responses": {"seed", "n", "stop"},
    "google": {"parallel_tool_calls"},
}


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("name", REMEDIES)
async def test_a_field_is_sent_or_refused_with_a_remedy(provider: str, name: str) -> None:
    row = PROVIDERS[provider]
    plain = replace(ASK, tools=(WEATHER,)) if name == "parallel_tool_calls" else ASK
    request = replace(plain, **{name: SET[name]})
    body = row.protocol.encode(plain, "m", row.quirks)
    if name not in CANNOT.get(provider, set()):
        assert row.protocol.encode(request, "m", row.quirks) != body
        return
    async with ScriptedEndpoint([]) as server:
        settings = EndpointSettings("qa", "m", server.url, protocol=row.protocol, quirks=row.quirks)
        lm = Endpoint(settings, clock=SystemClock(), hooks=Hooks(), rng=Random(1))
        with pytest.raises(LMRequestRejected, match=rf"^qa: {name} = .*: the endpoint cannot heed it\n  \w"):
            await lm.complete(request)
        await lm.close()
        assert server.requests == []


@pytest.mark.parametrize("provider", ["openai", "openai-responses"])
def test_a_number_of_thoughts_is_refused_where_only_steps_are_known(provider: str) -> None:
    row = PROVIDERS[provider]
    with pytest.raises(LMRequestRejected, match=r"take no number of tokens\n  Say it in steps"):
        row.protocol.encode(replace(ASK, thinking=Thinking(tokens=1024)), "m", row.quirks)
