"""Actors' states in the database."""

import asyncio
from collections.abc import Sequence, Set
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    Executable,
    Select,
    Table,
    bindparam,
    case,
    cast,
    delete,
    exists,
    insert,
    literal_column,
    or_,
    select,
    union_all,
)
from sqlalchemy.dialects import postgresql

from repertory.store.database import Store
from repertory.store.given import given
from repertory.store.states import StoredEvent, StoredState, stale
from repertory.store.tables import actor_events, actor_states
from repertory.store.transactions import Connection

_ADD_EVENT = insert(actor_events)
_PRUNE = delete(actor_events).where(actor_events.c.path == bindparam("of_path"))


@dataclass(frozen=True, slots=True, eq=False)
class _Change:
    """A step from one revision of a path to the next: a snapshot or an event."""

    path: str
    revision: int  # the new one
    schema_version: int
    data: str
    is_event: bool


class StateTable:
    """The `States` of a store.

    Loads go through the writer too: many at a time are one query, and each sees whatever this process wrote
    before, also what a life that was left behind had only begun to write.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._do = _Steps(store.dialect)

    async def load(self, path: str) -> StoredState | None:
        """As `States.load`."""
        return await self._store.submit(self._do, path)

    def save(self, path: str, expected_revision: int, schema_version: int, data: str) -> asyncio.Future[int]:
        """As `States.save`."""
        return self._store.submit(
            self._do, _Change(path, expected_revision + 1, schema_version, data, is_event=False)
        )

    def append(self, path: str, expected_revision: int, schema_version: int, data: str) -> asyncio.Future[int]:
        """As `States.append`."""
        return self._store.submit(
            self._do, _Change(path, expected_revision + 1, schema_version, data, is_event=True)
        )


class _Steps:
    """An operation of the writer: many actors' changes, and then the loads of the paths among the items."""

    def __init__(self, dialect: str) -> None:
        self._advance = _advance(dialect)
        self._load = _load(dialect)

    async def __call__(self, connection: Connection, items: Sequence[_Change | str], /) -> list[Any]:
        changes = [item for item in items if isinstance(item, _Change)]
        done: set[_Change] = set()
        for turn in _turns(changes):
            # In one order for all, or two processes could wait for each other's rows.
            turn.sort(key=lambda change: change.path)
            done |= await self._take(connection, turn)
        wanted = {item for item in items if isinstance(item, str)}
        states = await self._read(connection, wanted) if wanted else {}
        return [
            states.get(item)
            if isinstance(item, str)
            else item.revision
            if item in done
            else stale(item.path, item.revision - 1)
            for item in items
        ]

    async def _take(self, connection: Connection, turn: list[_Change]) -> set[_Change]:
        """Make changes of different paths; return those that were allowed."""
        given = [
            (change.path, change.revision, change.schema_version, "" if change.is_event else change.data)
            for change in turn
        ]
        rows = await connection.execute(self._advance, {"given": orjson.dumps(given).decode()})
        advanced = {path for (path,) in rows}
        done = {change for change in turn if change.path in advanced}
        if events := [change for change in done if change.is_event]:
            await connection.execute(
                _ADD_EVENT,
                [
                    {
                        "path": event.path,
                        "revision": event.revision,
                        "schema_version": event.schema_version,
                        "data": event.data,
                    }
                    for event in events
                ],
            )
        if saved := [change.path for change in done if not change.is_event]:
            await connection.execute(_PRUNE, [{"of_path": path} for path in saved])
        return done

    async def _read(self, connection: Connection, paths: Set[str]) -> dict[str, StoredState]:
        given = orjson.dumps([(path,) for path in paths]).decode()
        states: dict[str, StoredState] = {}
        rows = await connection.execute(self._load, {"given": given})
        for path, parts in groupby(rows, key=lambda row: row.path):
            snapshot, *events = parts
            states[path] = StoredState(
                events[-1].revision if events else snapshot.revision,
                snapshot.schema_version,
                snapshot.data or None,
                tuple(StoredEvent(event.schema_version, event.data) for event in events),
            )
        return states


def _turns(changes: Sequence[_Change]) -> list[list[_Change]]:
    """``changes`` in the order in which they came, with each path at most once a turn."""
    turns: list[list[_Change]] = []
    seen: dict[str, int] = {}
    for change in changes:
        turn = seen[change.path] = seen.get(change.path, -1) + 1
        if turn == len(turns):
            turns.append([])
        turns[turn].append(change)
    return turns


def _load(dialect: str) -> Executable:
    """The statement that reads the ``given`` [path]s: one for both tables, so that all is of one moment."""

    def part(table: Table, is_event: int) -> Select[Any]:
        columns = table.c
        return select(
            columns.path,
            literal_column(str(is_event)).label("is_event"),
            columns.revision,
            columns.schema_version,
            columns.data,
        ).where(columns.path.in_(select(given(dialect)[0].as_string())))

    return union_all(part(actor_states, 0), part(actor_events, 1)).order_by("path", "is_event", "revision")


def _advance(dialect: str) -> Executable:
    """The statement that moves many actors to their next revision; it returns those that were at the one before.

    ``given`` are [path, revision, schema version, snapshot or ""]: an event leaves the snapshot as it is.
    """
    table = actor_states.c
    value = given(dialect)
    path, data = value[0].as_string(), value[3].as_string()
    revision, schema_version = (cast(value[number].as_string(), BigInteger) for number in (1, 2))
    may_begin = or_(revision == 1, exists().where(table.path == path))
    # SQLite understands PostgreSQL's clause.
    changed = postgresql.insert(actor_states).from_select(
        ["path", "revision", "schema_version", "data"],
        select(path, revision, schema_version, data).where(may_begin),
    )
    new = changed.excluded
    is_event = new.data == ""
    return changed.on_conflict_do_update(
        index_elements=["path"],
        set_={
            "revision": new.revision,
            "schema_version": case((is_event, table.schema_version), else_=new.schema_version),
            "data": case((is_event, table.data), else_=new.data),
        },
        where=table.revision == new.revision - 1,
    ).returning(table.path)
