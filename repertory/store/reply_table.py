"""Answers of language models in the database."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import bindparam, delete, select
from sqlalchemy.dialects import postgresql

from repertory.store.database import Store
from repertory.store.replies import StoredReply
from repertory.store.tables import lm_replies
from repertory.store.transactions import Connection

_NEW = postgresql.insert(lm_replies)  # SQLite understands its clause
_PUT = _NEW.on_conflict_do_update(
    index_elements=["key"],
    set_={name: _NEW.excluded[name] for name in ("data", "made_at", "kept_until")},
)
_GET = select(lm_replies).where(lm_replies.c.key.in_(bindparam("keys", expanding=True)))
# Rows that another process is writing are not waited for, or the two could wait for each other. SQLite has one
# writer at a time and no such clause: it is left out there.
_EXPIRED = (
    select(lm_replies.c.key).where(lm_replies.c.kept_until < bindparam("time")).with_for_update(skip_locked=True)
)
_DELETE = delete(lm_replies).where(lm_replies.c.key.in_(_EXPIRED))


class ReplyTable:
    """The `Replies` of a store.

    Reading goes through the writer too: many at a time are one query.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def get(self, key: str) -> StoredReply | None:
        """As `Replies.get`."""
        return await self._store.submit(_read, key)

    def put(self, reply: StoredReply) -> asyncio.Future[None]:
        """As `Replies.put`."""
        return self._store.submit(_change, reply)

    def delete_before(self, time: float) -> asyncio.Future[None]:
        """As `Replies.delete_before`."""
        return self._store.submit(_change, time)


async def _read(connection: Connection, keys: Sequence[str], /) -> list[StoredReply | None]:
    """An operation of the writer: the answers under ``keys``."""
    rows = await connection.execute(_GET, {"keys": list(set(keys))})
    found = {row.key: StoredReply(row.key, row.data, row.made_at, row.kept_until) for row in rows}
    return [found.get(key) for key in keys]


async def _change(connection: Connection, changes: Sequence[StoredReply | float], /) -> list[None]:
    """An operation of the writer: puts, the last one of each key, and then deletes up to the latest time."""
    puts = {change.key: change for change in changes if isinstance(change, StoredReply)}
    if puts:
        # In one order for all, or two processes could wait for each other's rows.
        await connection.execute(_PUT, [asdict(puts[key]) for key in sorted(puts)])
    times = [change for change in changes if not isinstance(change, StoredReply)]
    if times:
        await connection.execute(_DELETE, {"time": max(times)})
    return [None] * len(changes)
