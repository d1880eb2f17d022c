"""Owners: which of the processes that execute runs are alive, so that the runs of the dead can be taken over.

How that is known depends on where the store is: see `owner_files` (SQLite) and `owner_leases` (PostgreSQL), which
say what they guarantee.
"""

from collections.abc import Collection
from os import fsdecode
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from repertory.clock import Clock
from repertory.errors import ConfigError
from repertory.store.database import Store
from repertory.store.owner_files import OwnerFiles
from repertory.store.owner_leases import OwnerLeases

LEASE = 10.0  # seconds


class Presence(Protocol):
    """One owner's sign of life, and how it looks for that of others."""

    async def gone(self, ids: Collection[str]) -> set[str]:
        """As `Owners.gone`."""
        ...

    async def close(self) -> None:
        """As `Owners.close`."""
        ...


class Owners:
    """One owner of runs, and what it knows of the others. Create it with `Owners.open`; close it before the store.

    Invariant: from `open` to `close` no other finds it gone, but for what `owner_leases` says of PostgreSQL.

    Attributes:
        id: 32 hexadecimal digits, never used again; one process may be several owners.
    """

    def __init__(self, id: str, presence: Presence) -> None:
        self.id = id
        self._presence = presence

    @classmethod
    async def open(cls, store: Store, clock: Clock, *, lease: float = LEASE) -> "Owners":
        """Become an owner of runs in ``store``. Raises StoreError.

        Args:
            store: Must stay open until this is closed.
            clock: Tells when the lease wants to be renewed.
            lease: Seconds after which a killed process is known to be dead, at most; the same for all. With SQLite
                that is known at once.
        """
        if not lease > 0:
            raise ConfigError(f"owners: lease = {lease}: expected a number of seconds above 0")
        id = uuid4().hex
        if store.dialect == "postgresql":
            return cls(id, await OwnerLeases.take(store, clock, id, lease))
        if store.file is None:
            return cls(id, _Alone())
        return cls(id, OwnerFiles.create(Path(f"{fsdecode(store.file.path)}.owners"), id))

    async def gone(self, ids: Collection[str]) -> set[str]:
        """Those of ``ids`` that certainly live no more: nobody goes on with what they had begun.

        Raises StoreError.
        """
        others = set(ids) - {self.id}
        return await self._presence.gone(others) if others else others

    async def close(self) -> None:
        """Be gone: from now on the others may take over what it had begun."""
        await self._presence.close()


class _Alone:
    """The presence of an owner whose database is in memory, where nobody else can come."""

    async def gone(self, ids: Collection[str]) -> set[str]:
        return set(ids)

    async def close(self) -> None:
        return
