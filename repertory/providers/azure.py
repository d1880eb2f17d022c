"""Azure OpenAI on the wire: Chat Completions with the key in a header of its own.

Source: https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle (the v1 API: the base URL is
``https://NAME.openai.azure.com/openai/v1``, the model is the deployment's name).
"""

from pydantic import SecretStr

from repertory.providers.openai_chat import (
    EMBEDDINGS,
    IDEMPOTENCY_HEADER,
    LACKS,
    PROBE_PATH,
    STORED,
    decode,
    decode_stream,
    encode,
    offers,
    path,
)

__all__ = [
    "EMBEDDINGS",
    "IDEMPOTENCY_HEADER",
    "LACKS",
    "PROBE_PATH",
    "STORED",
    "decode",
    "decode_stream",
    "encode",
    "headers",
    "offers",
    "path",
]


def headers(key: SecretStr | None) -> dict[str, SecretStr]:
    """The key; see ``WireProtocol``."""
    return {} if key is None else {"api-key": key}
