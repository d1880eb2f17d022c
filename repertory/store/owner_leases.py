"""Owners on several machines: each has a lock of its session with PostgreSQL, and a lease for when that breaks.

https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS. Neither would do alone. A lock is
lost with its connection, though its process lives on: a server that restarts loses all at once. A lease is lost by
a process that is suspended, or whose event loop is held up, while it goes on afterwards as if nothing had been. So
an owner is gone when it has neither, which is to say:

* one whose session lasts is never taken for dead, whatever holds it up;
* one whose session broke is not before a lease has passed since it last renewed its own, nor since the server
  started; it has a new session long before, where the server is there;
* one that was killed is known to be dead after a lease at most; on a machine that lost its power or network, after
  about two more, when the server's keep-alive packets have had no answer.

What is left: a process cut off from the server for longer than that is taken for dead while it lives, as may be
one that is not back within a lease after a standby took the server's place. It records nothing while it is cut
off, and of two that then write the same event of a run one fails; but what it asks of models by then is paid for.

Times are the server's, no machine's own clock counts. A pooler that hands one session to many clients in turn
keeps the locks of the dead: connect without one, or have it pool by session.
"""

import asyncio
from collections.abc import Collection
from contextlib import suppress

from sqlalchemy import bindparam, text
from sqlalchemy.ext.asyncio import AsyncConnection

from repertory.clock import Clock
from repertory.store.connection import PAUSE
from repertory.store.database import Store
from repertory.store.failures import transaction_failed

LEAVING = 5.0  # seconds `close` waits for the server to take note

_LOCK = text("SELECT pg_try_advisory_lock(:key)")
_UNLOCK = text("SELECT pg_advisory_unlock(:key)")
# Without them a server hears of a machine that vanished after two hours.
_KEEP_ALIVE = text(
    "SELECT set_config('tcp_keepalives_idle', :idle, false), set_config('tcp_keepalives_count', '3', false),"
    " set_config('tcp_keepalives_interval', :between, false)"
)
_NOW = "extract(epoch FROM clock_timestamp())::float8"
_RENEW = text(
    f"INSERT INTO owners (id, expires_at) VALUES (:id, {_NOW} + CAST(:lease AS float8))"
    " ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at"
)
_LEAVE = text("DELETE FROM owners WHERE id = :id")
_FORGET = text(f"DELETE FROM owners WHERE expires_at < {_NOW} - 86400")
_LEASED = text(
    f"SELECT id FROM owners WHERE id IN :ids AND {_NOW} <"
    " greatest(expires_at, extract(epoch FROM pg_postmaster_start_time())::float8 + CAST(:lease AS float8))"
).bindparams(bindparam("ids", expanding=True))
_LOCKED = text(
    "SELECT (classid::bigint << 32) | objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1"
    " AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


class OwnerLeases:
    """One owner's lock and lease, among those of the others in the database.

    Invariant: from `take` to `close` it has a lease that has not run out, or holds its lock, or its task is trying
    to reach the server.
    """

    def __init__(self, store: Store, clock: Clock, id: str, lease: float) -> None:
        self._store = store
        self._clock = clock
        self._id = id
        self._lease = lease
        self._session: AsyncConnection | None = None
        self._locked = False  # by that session
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def take(cls, store: Store, clock: Clock, id: str, lease: float) -> "OwnerLeases":
        """Be there as ``id``. Raises StoreError."""
        owner = cls(store, clock, id, lease)
        try:
            await owner._renew()
            assert owner._session is not None
            await owner._session.execute(_FORGET)
        except Exception as error:
            await owner._hang_up()
            raise transaction_failed(store.name, error) from error
        except BaseException:
            await owner._hang_up()
            raise
        owner._task = asyncio.get_running_loop().create_task(owner._keep(), name="owner-lease")
        return owner

    async def gone(self, ids: Collection[str]) -> set[str]:
        """As `Owners.gone`: those that have neither lease nor lock."""
        leased = await self._store.read(_LEASED.bindparams(ids=list(ids), lease=self._lease))
        silent = set(ids) - {id for (id,) in leased}
        if not silent:
            return silent
        locked = {key for (key,) in await self._store.read(_LOCKED)}
        return {id for id in silent if _key(id) not in locked}

    async def close(self) -> None:
        """As `Owners.close`; where the server cannot be reached, the others know when the lease has run out."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        try:
            await asyncio.wait({task})
            with suppress(Exception):
                async with asyncio.timeout(LEAVING):
                    # Not by its own session, which may have been stopped in the midst of something.
                    await self._store.write(_LEAVE, {"id": self._id})
                    if self._session is not None:
                        await self._session.execute(_UNLOCK, {"key": _key(self._id)})
        finally:
            await self._hang_up()

    async def _keep(self) -> None:
        """Renew the lease three times as often as must be; on another session where one broke."""
        pause = self._lease / 3
        while True:
            await self._clock.sleep(pause)
            try:
                async with asyncio.timeout(self._lease):
                    await self._renew()
                pause = self._lease / 3
            except Exception:  # noqa: BLE001  # drivers have errors of every kind, and each is worth another session
                await self._hang_up()
                pause = PAUSE

    async def _renew(self) -> None:
        session = self._session
        if session is None:
            session = self._session = await self._store.connect()
            await session.execution_options(isolation_level="AUTOCOMMIT")
            seconds = {"idle": str(max(1, round(self._lease))), "between": str(max(1, round(self._lease / 3)))}
            await session.execute(_KEEP_ALIVE, seconds)
        await session.execute(_RENEW, {"id": self._id, "lease": self._lease})
        if not self._locked:
            # Not waited for: the server may take a while to notice that the session that had it has ended.
            self._locked = (await session.execute(_LOCK, {"key": _key(self._id)})).scalar_one()

    async def _hang_up(self) -> None:
        session, self._session = self._session, None
        self._locked = False
        if session is not None:
            with suppress(Exception):
                # Not just closed: back among the store's connections it might still hold the lock.
                await session.invalidate()
                await session.close()


def _key(id: str) -> int:
    """The number of an owner's lock: the first 64 bits of its id."""
    return int.from_bytes(bytes.fromhex(id)[:8], signed=True)
