"""Runs in the database: accepted once, their events in order, their outcome once."""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, fields
from typing import Any

import orjson
from sqlalchemy import (
    ColumnElement,
    Select,
    String,
    Table,
    bindparam,
    cast,
    delete,
    func,
    insert,
    literal,
    select,
    true,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from repertory.errors import RunTakenOver, StoreError
from repertory.store.database import Store
from repertory.store.given import given
from repertory.store.run_rows import (
    Content,
    NewEvent,
    NewRun,
    RunEnd,
    RunEntry,
    RunMessage,
    StoredRun,
    Uncertain,
)
from repertory.store.tables import contents, run_events, run_messages, runs, uncertain_calls

_COLUMNS = [runs.c[field.name] for field in fields(StoredRun)]
# Made once: a list within a statement leaves cycles behind that hold all of it until the collector looks.
_FIND = select(*_COLUMNS).where(runs.c.id.in_(bindparam("ids", expanding=True)))
_MESSAGES = (
    select(*(run_messages.c[field.name] for field in fields(RunMessage)))
    .where(run_messages.c.run_id.in_(bindparam("ids", expanding=True)))
    .order_by(run_messages.c.at, run_messages.c.id)
)
_TELL = insert(run_messages)
_TAKEN = delete(run_messages).where(run_messages.c.id == bindparam("of"))


class RunTable:
    """The runs of a store.

    Args:
        owner: The process that executes the runs accepted here.
    """

    def __init__(self, store: Store, owner: str) -> None:
        self.owner = owner
        self._store = store
        self._record = Recording(store.dialect, owner)

    def record(self, entry: RunEntry) -> "asyncio.Future[bool]":
        """Write ``entry`` after all those before it; done when it is on disk.

        The result is whether it was new: False for a run that is there already. Raises RunTakenOver if another
        process executes the run, StoreError.
        """
        try:
            return self._store.submit(self._record, entry)
        except StoreError as error:  # it takes no writes any more
            refused: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            refused.set_exception(error)
            refused.exception()  # it may well be that nobody asks
            return refused

    async def find(self, ids: Collection[str]) -> dict[str, StoredRun]:
        """The runs with these ids."""
        return await self._runs(_FIND.params(ids=[*ids]))

    async def interrupted(self, program: str) -> dict[str, StoredRun]:
        """The submitted runs of ``program`` that have not ended, whoever owns them."""
        return await self._runs(
            select(*_COLUMNS).where(
                runs.c.program == program, runs.c.status == "accepted", runs.c.submitted == literal(True)
            )
        )

    async def latest(self, program: str | None, status: str | None, limit: int) -> list[StoredRun]:
        """Runs, the latest first."""
        query = select(*_COLUMNS).order_by(runs.c.accepted_at.desc(), runs.c.id).limit(limit)
        if program is not None:
            query = query.where(runs.c.program == program)
        if status is not None:
            query = query.where(runs.c.status == status)
        return list((await self._runs(query)).values())

    async def events(self, run: str, after: int, limit: int) -> list[NewEvent]:
        """The events of ``run`` whose ids are above ``after``, in order, at most ``limit``."""
        query = (
            select(run_events)
            .where(run_events.c.run_id == run, run_events.c.id > after)
            .order_by(run_events.c.id)
            .limit(limit)
        )
        return [NewEvent(*tuple(row)) for row in await self._store.read(query)]

    async def last_event(self, run: str) -> int:
        """The id of the latest event of ``run``; 0 where there is none."""
        (row,) = await self._store.read(select(func.max(run_events.c.id)).where(run_events.c.run_id == run))
        return row[0] or 0

    async def take_over(self, run: StoredRun) -> bool:
        """Make this process the owner of ``run`` where it still is as it was read; return whether it is now."""
        return await self._store.submit(self._take, run)

    async def tell(self, message: RunMessage) -> None:
        """Leave ``message`` for whoever executes its run; on disk when this returns."""
        await self._store.write(_TELL, asdict(message))

    async def messages(self, ids: Collection[str]) -> list[RunMessage]:
        """What was said to these runs and not taken yet, in the order in which it was said."""
        query = _MESSAGES.params(ids=[*ids])
        return [RunMessage(*tuple(row)) for row in await self._store.read(query)]

    async def taken(self, message: RunMessage) -> None:
        """``message`` is among its run's events."""
        await self._store.write(_TAKEN, {"of": message.id})

    async def uncertain(self, run: str | None, limit: int) -> list[Uncertain]:
        """The calls of which nobody knows whether they were billed, the latest first; of all runs if None."""
        query = select(*(uncertain_calls.c[field.name] for field in fields(Uncertain)))
        query = query.order_by(uncertain_calls.c.found_at.desc()).limit(limit)
        if run is not None:
            query = query.where(uncertain_calls.c.run_id == run)
        return [Uncertain(*tuple(row)) for row in await self._store.read(query)]

    async def _runs(self, query: Select[Any]) -> dict[str, StoredRun]:
        return {row.id: StoredRun(*tuple(row)) for row in await self._store.read(query)}

    async def _take(self, connection: AsyncConnection, taken: Sequence[StoredRun], /) -> list[bool]:
        """An operation of the writer."""
        outcomes = []
        for run in taken:
            same = runs.c.owner.is_(None) if run.owner is None else runs.c.owner == run.owner
            statement = update(runs).where(runs.c.id == run.id, runs.c.status == run.status, same)
            result = await connection.execute(statement.values(owner=self.owner, status="accepted"))
            outcomes.append(result.rowcount == 1)
        return outcomes


class Recording:
    """An operation of the writer: entries of many runs, of each run in the order in which they came.

    A run comes before its events and these before its end, which is the order they are written in. A run that is
    new gets its first event, that it was accepted. What belongs to a run that another process owns is not written:
    an owner that was taken for dead finds that out here.
    """

    def __init__(self, dialect: str, owner: str) -> None:
        value = given(dialect)
        self._owner = owner
        run = runs.c.id == value[0].as_string()
        mine = runs.c.owner == bindparam("mine", type_=String)
        self._accept = (
            postgresql.insert(runs)  # SQLite understands its clauses, here and below
            .from_select(
                [*_names(NewRun), "status", *_NOUGHT],
                select(
                    *_values_of(runs, NewRun, value), literal("accepted"), *map(literal, _NOUGHT.values())
                ).where(true()),  # else SQLite takes ON CONFLICT for a join's ON
            )
            .on_conflict_do_nothing()
            .returning(runs.c.id)
        )
        self._first = insert(run_events).from_select(
            _names(NewEvent),
            select(value[0].as_string(), literal(1), literal("accepted"), literal("{}"), runs.c.accepted_at).where(
                run
            ),
        )
        keep = postgresql.insert(contents).from_select(
            _names(Content), select(*_values_of(contents, Content, value)).where(true())
        )
        self._keep = keep.on_conflict_do_update(index_elements=["hash"], set_={"used_at": keep.excluded.used_at})
        self._append = insert(run_events).from_select(
            _names(NewEvent), select(*_values_of(run_events, NewEvent, value)).where(run, mine)
        )
        self._doubt = (
            postgresql.insert(uncertain_calls)
            .from_select(
                _names(Uncertain), select(*_values_of(uncertain_calls, Uncertain, value)).where(run, mine)
            )
            .on_conflict_do_nothing()
        )
        of_run = uncertain_calls.c.run_id == runs.c.id
        most = select(func.coalesce(func.sum(uncertain_calls.c.nano_most), 0)).where(of_run)
        calls = select(func.count()).where(of_run)
        self._count = update(runs).where(runs.c.id.in_(select(value[0].as_string())))
        self._count = self._count.values(
            uncertain_calls=calls.scalar_subquery(), nano_uncertain=most.scalar_subquery()
        )
        new = dict(zip(_names(RunEnd), _values_of(runs, RunEnd, value), strict=True))
        new.pop("run_id")
        # An outcome is recorded once: a run that has one is not "accepted" any more.
        self._end = update(runs).where(run, mine, runs.c.status == "accepted").values(new)

    async def __call__(
        self, connection: AsyncConnection, entries: Sequence[RunEntry], /
    ) -> "list[bool | StoreError]":
        of_kind: dict[type, list[RunEntry]] = {}
        for entry in entries:
            of_kind.setdefault(type(entry), []).append(entry)
        new: set[str] = set()
        if accepted := of_kind.get(NewRun):
            new = {id for (id,) in await connection.execute(self._accept, {"given": _json(accepted)})}
            if new:
                await connection.execute(self._first, {"given": orjson.dumps([[id] for id in new]).decode()})
        if kept := of_kind.get(Content):
            # A statement must not touch a row twice; in one order for all, so that no two processes wait for each
            # other.
            once = {entry.hash: entry for entry in kept if isinstance(entry, Content)}
            await connection.execute(self._keep, {"given": _json([once[hash] for hash in sorted(once)])})
        for kind, statement in ((NewEvent, self._append), (Uncertain, self._doubt), (RunEnd, self._end)):
            if rows := of_kind.get(kind):
                written = await connection.execute(statement, {"given": _json(rows), "mine": self._owner})
                if written.rowcount != len(rows) and kind is not Uncertain:
                    if len(entries) > 1:
                        raise _NotAllMine  # the writer tries them apart
                    return [_taken_over(entries[0])]
        if doubted := of_kind.get(Uncertain):
            ids = sorted({entry.run_id for entry in doubted if isinstance(entry, Uncertain)})
            await connection.execute(self._count, {"given": orjson.dumps([[id] for id in ids]).decode()})
        return [not isinstance(entry, NewRun) or _first(new, entry.id) for entry in entries]


def _first(new: set[str], id: str) -> bool:
    """Whether the run is new and nobody was told so: of those that accept it at once one has it."""
    if id not in new:
        return False
    new.remove(id)
    return True


class _NotAllMine(Exception):
    """Among the entries is one of a run that another process owns."""


_NOUGHT = dict.fromkeys(("input_tokens", "output_tokens", "lm_calls"), 0)  # columns without a server's default


def _names(kind: type) -> list[str]:
    return [field.name for field in fields(kind)]


def _values_of(table: Table, kind: type, value: ColumnElement[Any]) -> list[ColumnElement[Any]]:
    """The fields of an entry of ``kind``, which stand in ``value`` in their order, as columns of ``table``."""
    return [
        cast(value[place].as_string(), table.c[name].type) if name in table.c else value[place].as_string()
        for place, name in enumerate(_names(kind))
    ]


def _json(entries: Iterable[RunEntry]) -> str:
    # Not `astuple`, which copies each value deeply.
    return orjson.dumps([[getattr(entry, name) for name in entry.__slots__] for entry in entries]).decode()


def _taken_over(entry: RunEntry) -> RunTakenOver:
    run = entry.run_id if isinstance(entry, NewEvent | RunEnd | Uncertain) else ""
    return RunTakenOver(
        f"the run {run} is executed by another process now, or has ended", hint="Ask for its outcome."
    )
