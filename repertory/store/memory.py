"""States and reminders that last as long as the process: where there is no database, and in tests."""

import asyncio
from dataclasses import dataclass, field

from repertory.store.reminders import ReminderRow
from repertory.store.states import StoredEvent, StoredState, stale


@dataclass(slots=True)
class _Kept:
    revision: int = 0
    schema_version: int = 0
    data: str | None = None
    events: list[StoredEvent] = field(default_factory=list)


class MemoryStates:
    """`States` of one process. Nothing here ever waits: a future it returns is done, a load does not suspend."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}

    async def load(self, path: str) -> StoredState | None:
        """As `States.load`."""
        kept = self._kept.get(path)
        if kept is None:
            return None
        return StoredState(kept.revision, kept.schema_version, kept.data, tuple(kept.events))

    def save(self, path: str, expected_revision: int, schema_version: int, data: str) -> asyncio.Future[int]:
        """As `States.save`."""
        kept = self._at(path, expected_revision)
        if kept is not None:
            kept.schema_version, kept.data = schema_version, data
            kept.events.clear()
        return _advanced(path, expected_revision, kept)

    def append(self, path: str, expected_revision: int, schema_version: int, data: str) -> asyncio.Future[int]:
        """As `States.append`."""
        kept = self._at(path, expected_revision)
        if kept is not None:
            if kept.revision == 0:
                kept.schema_version = schema_version
            kept.events.append(StoredEvent(schema_version, data))
        return _advanced(path, expected_revision, kept)

    def _at(self, path: str, revision: int) -> _Kept | None:
        """What is kept at ``path`` if that is at ``revision``."""
        kept = self._kept.get(path)
        if kept is None and revision == 0:
            kept = self._kept[path] = _Kept()
        return kept if kept is not None and kept.revision == revision else None


def _advanced(path: str, expected_revision: int, kept: _Kept | None) -> asyncio.Future[int]:
    done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    if kept is None:
        done.set_exception(stale(path, expected_revision))
    else:
        kept.revision += 1
        done.set_result(kept.revision)
    return done


class MemoryReminders:
    """`ReminderRows` of one process."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], ReminderRow] = {}

    async def put(self, path: str, name: str, due_at: float, every: float | None) -> None:
        """As `ReminderRows.put`."""
        self._rows[path, name] = ReminderRow(path, name, due_at, every)

    async def delete(self, path: str, name: str, due_at: float | None = None) -> None:
        """As `ReminderRows.delete`."""
        row = self._rows.get((path, name))
        if row is not None and due_at in (None, row.due_at):
            del self._rows[path, name]

    async def all(self) -> list[ReminderRow]:
        """As `ReminderRows.all`."""
        return sorted(self._rows.values(), key=lambda row: (row.due_at, row.path, row.name))

    async def due_before(self, time: float) -> list[ReminderRow]:
        """As `ReminderRows.due_before`."""
        return [row for row in await self.all() if row.due_at < time]
