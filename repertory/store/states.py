"""Actors' persisted state: one row an actor, guarded by a revision that each commit compares and sets."""

from dataclasses import dataclass

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from repertory.errors import StaleState, StoreError
from repertory.store.database import Store
from repertory.store.tables import actor_states

_INSERT = insert(actor_states)
_UPDATE = (
    update(actor_states)
    .where(actor_states.c.path == bindparam("of_path"), actor_states.c.revision == bindparam("expected"))
    .values(revision=bindparam("revision"), schema_version=bindparam("schema_version"), data=bindparam("data"))
)


@dataclass(frozen=True, slots=True)
class StoredState:
    """What an actor last committed."""

    revision: int  # from 1
    schema_version: int
    data: str  # JSON


class StateTable:
    """Loads and saves states by path."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def load(self, path: str) -> StoredState | None:
        """The last commit of the actor at ``path``; None before its first."""
        columns = actor_states.c
        rows = await self._store.read(
            select(columns.revision, columns.schema_version, columns.data).where(columns.path == path)
        )
        return StoredState(**rows[0]._mapping) if rows else None

    async def save(self, path: str, expected_revision: int, schema_version: int, data: str) -> int:
        """Replace revision ``expected_revision`` (0: none yet) and return the new one.

        Raises StaleState if another life has committed since.
        """
        revision = expected_revision + 1
        values = {"revision": revision, "schema_version": schema_version, "data": data}
        if expected_revision == 0:
            try:
                await self._store.write(_INSERT, {"path": path, **values})
            except StoreError as error:
                if isinstance(error.__cause__, IntegrityError):
                    raise _stale(path, expected_revision) from error
                raise
        else:
            values |= {"of_path": path, "expected": expected_revision}
            if not await self._store.write_counted(_UPDATE, values):
                raise _stale(path, expected_revision)
        return revision


def _stale(path: str, revision: int) -> StaleState:
    return StaleState(
        f"{path}: its state is no longer at revision {revision}; another life has committed a newer one",
        hint="One runtime at a time may own a program's parameters in a store.",
    )
