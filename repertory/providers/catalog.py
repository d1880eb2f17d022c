"""The providers by name: a row says what one speaks, where it is, and how it departs from its protocol."""

from dataclasses import dataclass
from types import MappingProxyType

from repertory.providers import (
    anthropic_2023,
    anthropic_messages,
    azure,
    google_generate,
    openai_chat,
    openai_responses,
)
from repertory.providers.messages import SchemaDialect
from repertory.providers.wire import Quirks, WireProtocol


@dataclass(frozen=True, slots=True)
class Provider:
    """One row.

    Attributes:
        protocol: What it speaks.
        base_url: Where it is; None where only its user knows.
        api_key_env: The environment variable that usually holds its key; "" if it needs none.
        schema_dialect: The subset of JSON Schema it constrains replies with.
        quirks: How it departs from its protocol.
    """

    protocol: WireProtocol
    base_url: str | None
    api_key_env: str
    schema_dialect: SchemaDialect | None
    quirks: Quirks


PLAIN = Quirks()
CHAT_SERVER = Quirks(has_developer=False)

COMPATIBLE = Provider(openai_chat, None, "", "json_schema", CHAT_SERVER)
"""Any server that speaks Chat Completions and is not OpenAI's own."""

PROVIDERS = MappingProxyType(
    {
        "openai": Provider(
            openai_chat,
            "https://api.openai.com/v1",
            "OPENAI_API_KEY",
            "openai_strict",
            Quirks(max_tokens_field="max_completion_tokens"),
        ),
        "openai-responses": Provider(
            openai_responses, "https://api.openai.com/v1", "OPENAI_API_KEY", "openai_strict", PLAIN
        ),
        "azure": Provider(
            azure,
            None,
            "AZURE_OPENAI_API_KEY",
            "openai_strict",
            # What it lists are models; it is asked for deployments.
            Quirks(max_tokens_field="max_completion_tokens", lists_models=False),
        ),
        "anthropic": Provider(
            anthropic_messages,
            "https://api.anthropic.com/v1",
            "ANTHROPIC_API_KEY",
            "anthropic",
            Quirks(lacks=("temperature", "top_p")),
        ),
        "anthropic-2023-06-01": Provider(
            anthropic_2023, "https://api.anthropic.com/v1", "ANTHROPIC_API_KEY", "anthropic", PLAIN
        ),
        "google": Provider(
            google_generate,
            "https://generativelanguage.googleapis.com/v1",
            "GEMINI_API_KEY",
            "google",
            PLAIN,
        ),
        "vllm": Provider(openai_chat, "http://127.0.0.1:8000/v1", "", "json_schema", CHAT_SERVER),
        "ollama": Provider(openai_chat, "http://127.0.0.1:11434/v1", "", "json_schema", CHAT_SERVER),
        "llama_cpp": Provider(
            openai_chat,
            "http://127.0.0.1:8080/v1",
            "",
            "llama_cpp",
            Quirks(has_developer=False, lists_models=False),
        ),
        "litellm": Provider(openai_chat, "http://127.0.0.1:4000/v1", "LITELLM_API_KEY", "json_schema", PLAIN),
        "compatible": COMPATIBLE,
    }
)


def provider_named(name: str, *, elsewhere: bool = False) -> Provider | None:
    """The row of a provider; None if there is none.

    Args:
        name: The provider's name.
        elsewhere: Whether its user gave an address. ``openai`` at another address than OpenAI's is some server
            that speaks the same protocol: what only OpenAI's own models ask for is left out.
    """
    row = PROVIDERS.get(name)
    if row is None or name != "openai" or not elsewhere:
        return row
    return Provider(row.protocol, None, row.api_key_env, row.schema_dialect, PLAIN)
