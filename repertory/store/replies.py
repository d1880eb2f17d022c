"""Answers of language models, kept for requests that ask the same again."""

import asyncio
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StoredReply:
    """One answer; ``key`` tells what was asked of whom.

    Attributes:
        key: At most 64 characters.
        data: JSON.
        made_at: When it was given, in seconds since the Unix epoch.
        kept_until: From when on nobody wants it any more, likewise.
    """

    key: str
    data: str
    made_at: float
    kept_until: float


class Replies(Protocol):
    """Where answers are kept, at most one under a key: the one that was put last."""

    async def get(self, key: str) -> StoredReply | None:
        """The answer under ``key``, however old; None if there is none. Raises StoreError."""
        ...

    def put(self, reply: StoredReply) -> asyncio.Future[None]:
        """Keep an answer, in place of the one under its key.

        The future is done once that is on disk. It raises StoreError; cancelling it does not undo the write.
        """
        ...

    def delete_before(self, time: float) -> asyncio.Future[None]:
        """Delete the answers whose ``kept_until`` is before ``time``, as far as no other process is writing them.

        The future as that of `put`.
        """
        ...
