"""What a list of models tells: a name that is there, or one that was meant."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis.strategies import binary

from repertory.errors import LMError, LMReplyMalformed
from repertory.providers import google_generate
from repertory.providers.catalog import PROVIDERS
from repertory.providers.failures import Peer
from repertory.providers.local import LocalModelSettings, LocalServerProcess
from repertory.providers.probe import misspelt
from repertory.providers.transport import HttpTransport
from repertory.providers.wire import WireProtocol

PEER = Peer("qa")
OPENAI = {"object": "list", "data": [{"id": "gpt-5", "object": "model"}, {"id": "gpt-5-mini"}]}
ANTHROPIC = {"data": [{"type": "model", "id": "claude-opus-5-5-20261021"}], "has_more": False}
GOOGLE = {"models": [{"name": "models/gemini-3-pro"}, {"name": "tunedModels/mine"}]}


@pytest.mark.parametrize(
    ("provider", "answer", "names"),
    [
        ("openai", OPENAI, ("gpt-5", "gpt-5-mini")),
        ("openai-responses", OPENAI, ("gpt-5", "gpt-5-mini")),
        ("azure", OPENAI, ("gpt-5", "gpt-5-mini")),
        ("anthropic", ANTHROPIC, ("claude-opus-5-5-20261021",)),
        ("anthropic-2023-06-01", ANTHROPIC, ("claude-opus-5-5-20261021",)),
        ("google", GOOGLE, ("gemini-3-pro", "tunedModels/mine")),
        ("llama_cpp", {"data": [{"id": "a.gguf", "aliases": ["a", "a.gguf"]}, None, {}]}, ("a.gguf", "a")),
    ],
)
def test_the_models_are_read(provider: str, answer: dict[str, Any], names: tuple[str, ...]) -> None:
    protocol = PROVIDERS[provider].protocol
    assert protocol.PROBE_PATH.startswith("/models")
    assert protocol.offers(orjson.dumps(answer), PEER) == names


@pytest.mark.parametrize("protocol", [PROVIDERS["openai"].protocol, google_generate])
@given(body=binary(max_size=20))
def test_what_is_no_list_of_models_is_malformed(protocol: WireProtocol, body: bytes) -> None:
    with pytest.raises(LMReplyMalformed, match="qa: "):
        protocol.offers(body, PEER)
    with pytest.raises(LMReplyMalformed, match=r"qa: .* list of models, is missing or not a list"):
        protocol.offers(b"{}", PEER)
    with pytest.raises(LMError, match="qa: answered with an error: no"):
        protocol.offers(b'{"error":{"message":"no"}}', PEER)


@pytest.mark.parametrize(
    ("model", "remedy"),
    [
        ("gpt-5", None),
        ("gtp-5", "It has no model 'gtp-5'. Did you mean 'gpt-5' or 'gpt-5-mini'?"),
        ("opus", "It has no model 'opus'. Did you mean 'claude-opus-5-5-20261021'?"),
        ("xyz", "It has no model 'xyz', but for instance 'gpt-5', 'gpt-5-mini', 'claude-opus-5-5-20261021'."),
    ],
)
def test_a_misspelt_model_is_told_with_the_nearest(model: str, remedy: str | None) -> None:
    assert misspelt(model, ("gpt-5", "gpt-5-mini", "claude-opus-5-5-20261021", "other")) == remedy
    assert misspelt(model, ()) is None


@pytest.mark.local_model
async def test_the_packaged_models_server_lists_it() -> None:
    process = LocalServerProcess(LocalModelSettings(threads=1))
    transport = HttpTransport(f"{await process.start(timeout=60)}/v1")
    try:
        protocol = PROVIDERS["llama_cpp"].protocol
        status, _, body = await transport.get(protocol.PROBE_PATH, timeout=10)
        assert status == 200
        assert any(name.endswith(".gguf") for name in protocol.offers(body, PEER))
    finally:
        await transport.close()
        await process.stop(timeout=10)
