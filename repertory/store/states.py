"""Actors' persisted state: a snapshot and the events after it, under a revision that every write compares."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from repertory.errors import StaleState


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event recorded after the snapshot."""

    schema_version: int  # of the actor that recorded it
    data: str  # JSON


@dataclass(frozen=True, slots=True)
class StoredState:
    """What an actor last wrote.

    Attributes:
        revision: Counts what it wrote, from 1: snapshots and events together.
        schema_version: Of the snapshot.
        data: The snapshot as JSON; None where there are only events yet.
        events: Those recorded after the snapshot, in order.
    """

    revision: int
    schema_version: int
    data: str | None
    events: Sequence[StoredEvent] = ()


class States(Protocol):
    """Where actors' states are kept.

    Invariants: of all who write from one revision of a path exactly one succeeds, and its write is the next
    revision; the events of a path are those after its snapshot, without a gap up to its revision.
    """

    async def load(self, path: str) -> StoredState | None:
        """What the actor at ``path`` wrote last; None before its first write. Raises StoreError."""
        ...

    def save(self, path: str, expected_revision: int, schema_version: int, data: str) -> asyncio.Future[int]:
        """Replace revision ``expected_revision`` (0: none yet) and all its events by a snapshot.

        The future has the new revision once that is on disk. It raises StaleState if the path is no longer at
        the expected one, and StoreError; cancelling it does not undo the write.
        """
        ...

    def append(self, path: str, expected_revision: int, schema_version: int, data: str) -> asyncio.Future[int]:
        """Add an event to revision ``expected_revision`` (0: none yet); as `save` otherwise."""
        ...


def stale(path: str, revision: int) -> StaleState:
    """What the writer hears whose revision is no longer the newest."""
    return StaleState(
        f"{path}: its state is no longer at revision {revision}; another life has committed a newer one",
        hint="One runtime at a time may own a program's parameters in a store.",
    )
