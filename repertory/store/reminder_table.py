"""Durable reminders in the database."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby

from sqlalchemy import ColumnElement, Float, bindparam, delete, or_, select, true
from sqlalchemy.dialects import postgresql

from repertory.store.database import Store
from repertory.store.reminders import ReminderRow
from repertory.store.tables import actor_reminders
from repertory.store.transactions import Connection

_NEW = postgresql.insert(actor_reminders)  # SQLite understands its clause
_PUT = _NEW.on_conflict_do_update(
    index_elements=["path", "name"], set_={"due_at": _NEW.excluded.due_at, "every": _NEW.excluded.every}
)
_DUE_AT = bindparam("of_time", type_=Float)
_DELETE = delete(actor_reminders).where(
    actor_reminders.c.path == bindparam("of_path"),
    actor_reminders.c.name == bindparam("of_name"),
    or_(_DUE_AT.is_(None), actor_reminders.c.due_at == _DUE_AT),
)


@dataclass(frozen=True, slots=True)
class _Deleted:
    of_path: str
    of_name: str
    of_time: float | None


class ReminderTable:
    """The `ReminderRows` of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def put(self, path: str, name: str, due_at: float, every: float | None) -> None:
        """As `ReminderRows.put`."""
        await self._store.submit(_changes, ReminderRow(path, name, due_at, every))

    async def delete(self, path: str, name: str, due_at: float | None = None) -> None:
        """As `ReminderRows.delete`."""
        await self._store.submit(_changes, _Deleted(path, name, due_at))

    async def all(self) -> list[ReminderRow]:
        """As `ReminderRows.all`."""
        return await self._where(true())

    async def due_before(self, time: float) -> list[ReminderRow]:
        """As `ReminderRows.due_before`."""
        return await self._where(actor_reminders.c.due_at < time)

    async def _where(self, condition: ColumnElement[bool]) -> list[ReminderRow]:
        columns = actor_reminders.c
        rows = await self._store.read(
            select(columns.path, columns.name, columns.due_at, columns.every)
            .where(condition)
            .order_by(columns.due_at, columns.path, columns.name)
        )
        return [ReminderRow(row.path, row.name, row.due_at, row.every) for row in rows]


async def _changes(connection: Connection, changes: Sequence[ReminderRow | _Deleted], /) -> list[None]:
    """An operation of the writer: puts and deletes in the order in which they came."""
    for kind, of_kind in groupby(changes, key=type):
        statement = _PUT if kind is ReminderRow else _DELETE
        await connection.execute(statement, [asdict(change) for change in of_kind])
    return [None] * len(changes)
