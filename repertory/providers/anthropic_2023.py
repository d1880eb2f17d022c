"""Anthropic's Messages API in its version before 2026-10-21, which still takes ``temperature`` and ``top_p``."""

from pydantic import SecretStr

from repertory.providers import anthropic_messages
from repertory.providers.anthropic_messages import (
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

VERSION = SecretStr("2023-06-01")


def headers(key: SecretStr | None) -> dict[str, SecretStr]:
    """The key and the version of the protocol; see ``WireProtocol``."""
    return {**anthropic_messages.headers(key), "anthropic-version": VERSION}
