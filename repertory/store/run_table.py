"""Runs in the database: accepted once, their events in order, their outcome once."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, fields
from typing import Any

import orjson
from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    String,
    Table,
    bindparam,
    cast,
    delete,
    exists,
    func,
    insert,
    literal_column,
    select,
    true,
    update,
)
from sqlalchemy.dialects import postgresql

from repertory.errors import RunTakenOver, StoreError
from repertory.store.content_table import ContentTable, write_contents
from repertory.store.database import Store
from repertory.store.given import Given, given
from repertory.store.run_piece import RunPiece
from repertory.store.run_rows import (
    NewEvent,
    NewRun,
    RunEnd,
    RunEntry,
    RunMessage,
    StoredRun,
    Uncertain,
)
from repertory.store.tables import IS_OPEN, run_events, run_messages, runs, uncertain_calls
from repertory.store.transactions import Connection

RELEASED = 1000  # runs in one transaction

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
_WAITING = (
    select(*_COLUMNS)
    .where(runs.c.program == bindparam("of", type_=String), runs.c.owner.is_(None), IS_OPEN)
    .order_by(runs.c.priority, runs.c.accepted_at)
    .limit(bindparam("most", type_=Integer))
)
_UNENDED = select(runs.c.id).where(runs.c.id.in_(bindparam("ids", expanding=True)), runs.c.status == "accepted")
_OWNERS = (
    select(runs.c.owner)
    .where(runs.c.program.in_(bindparam("programs", expanding=True)), runs.c.owner.is_not(None), IS_OPEN)
    .distinct()
)
_RELEASE = (
    update(runs)
    .where(
        runs.c.id.in_(
            select(runs.c.id)
            .where(runs.c.owner == bindparam("gone", type_=String), IS_OPEN)
            .limit(RELEASED)
            .with_for_update(skip_locked=True)  # another process does the same
        )
    )
    .values(owner=None)
)
_LET_GO = (
    update(runs)
    .where(runs.c.id == bindparam("of", type_=String), runs.c.owner == bindparam("mine", type_=String), IS_OPEN)
    .values(owner=None)
)


class RunTable:
    """The runs of a store.

    Args:
        owner: The process that executes the runs accepted here.

    Attributes:
        contents: What large values in here refer to.
    """

    def __init__(self, store: Store, owner: str, contents: ContentTable) -> None:
        self.owner = owner
        self.contents = contents
        self._store = store
        self._record = Recording(store.dialect, owner)
        self._due: list[Callable[[], None]] = []  # what is to be called in the loop's next turn

    def record(self, piece: RunPiece) -> RunPiece:
        """Write ``piece`` after all those before; await it for what became of it.

        It fails with RunTakenOver if another process executes the run, or StoreError.
        """
        try:
            self._store.hand_over(self._record, piece, piece.tell)
        except StoreError as error:  # it takes no writes any more
            piece.tell(error)
        return piece

    def in_next_turn(self, hand_over: Callable[[], None]) -> None:
        """Call ``hand_over`` in the loop's next turn, together with others that then hand over what they have."""
        if not self._due:
            asyncio.get_running_loop().call_soon(self._hand_over_due)
        self._due.append(hand_over)

    def _hand_over_due(self) -> None:
        due, self._due = self._due, []
        for hand_over in due:
            hand_over()

    async def find(self, ids: Collection[str]) -> dict[str, StoredRun]:
        """The runs with these ids. Their inputs and outputs may refer to contents."""
        return await self._runs(_FIND.params(ids=[*ids]))

    async def waiting(self, program: str, limit: int) -> list[StoredRun]:
        """The submitted runs of ``program`` that nobody owns, those first that are to be begun first.

        Their inputs may refer to contents.
        """
        rows = await self._store.read(_WAITING.params(of=program, most=limit))
        return [StoredRun(*tuple(row)) for row in rows]

    async def unended(self, ids: Collection[str]) -> set[str]:
        """Those of these runs that have no outcome."""
        return {row.id for row in await self._store.read(_UNENDED.params(ids=[*ids]))}

    async def owners(self, programs: Collection[str]) -> set[str]:
        """Who owns submitted runs of ``programs`` that have not ended."""
        rows = await self._store.read(_OWNERS.params(programs=[*programs]))
        return {row.owner for row in rows}

    async def release(self, owner: str) -> None:
        """Let the submitted runs that ``owner`` has not brought to their end wait for somebody else."""
        while await self._store.submit(_release, owner) == RELEASED:
            pass

    async def let_go(self, ids: Iterable[str]) -> None:
        """Let those of these submitted runs that this process owns wait for whoever has room for them."""
        for write in [self._store.write(_LET_GO, {"of": id, "mine": self.owner}) for id in ids]:
            await write

    async def latest(
        self, program: str | None, status: str | None, limit: int, before: StoredRun | None = None
    ) -> list[StoredRun]:
        """Runs, the latest first, from those on that come behind ``before``.

        Their inputs and outputs may refer to contents.
        """
        query = select(*_COLUMNS).order_by(runs.c.accepted_at.desc(), runs.c.id).limit(limit)
        if program is not None:
            query = query.where(runs.c.program == program)
        if status is not None:
            query = query.where(runs.c.status == status)
        if before is not None:
            as_late = (runs.c.accepted_at == before.accepted_at) & (runs.c.id > before.id)
            query = query.where((runs.c.accepted_at < before.accepted_at) | as_late)
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

    async def count(self, run: str, kind: str) -> int:
        """How many events of this kind ``run`` has."""
        query = select(func.count()).where(run_events.c.run_id == run, run_events.c.kind == kind)
        ((count,),) = await self._store.read(query)
        return int(count)

    async def last_event(self, run: str) -> int:
        """The number of the latest event of ``run``; 0 where it has none."""
        ((last,),) = await self._store.read(select(func.max(run_events.c.id)).where(run_events.c.run_id == run))
        return last or 0

    async def take_over(self, run: StoredRun) -> bool:
        """Make this process the owner of ``run`` where it still is as it was read; return whether it is now.

        It has the time that ``run`` says.
        """
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
        query = select(*(uncertain_calls.c[name] for name in Uncertain._fields))
        query = query.order_by(uncertain_calls.c.found_at.desc()).limit(limit)
        if run is not None:
            query = query.where(uncertain_calls.c.run_id == run)
        return [Uncertain(*tuple(row)) for row in await self._store.read(query)]

    async def _runs(self, query: Select[Any]) -> dict[str, StoredRun]:
        return {row.id: StoredRun(*tuple(row)) for row in await self._store.read(query)}

    async def _take(self, connection: Connection, taken: Sequence[StoredRun], /) -> list[bool]:
        """An operation of the writer."""
        outcomes = []
        for run in taken:
            same = runs.c.owner.is_(None) if run.owner is None else runs.c.owner == run.owner
            statement = update(runs).where(runs.c.id == run.id, runs.c.status == run.status, same)
            result = await connection.execute(
                statement.values(owner=self.owner, status="accepted", deadline_at=run.deadline_at)
            )
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
                select(*_values_of(runs, NewRun, value), _ACCEPTED, *(literal_column("0") for _ in _NOUGHT)).where(
                    true()
                ),  # else SQLite takes ON CONFLICT for a join's ON
            )
            .on_conflict_do_nothing()
        )
        by_me = mine | runs.c.owner.is_(None)
        self._new = select(runs.c.id).where(run, by_me, runs.c.status == _ACCEPTED, ~_HAS_EVENTS)
        self._first = insert(run_events).from_select(
            _names(NewEvent),
            select(
                value[0].as_string(), literal_column("1"), _ACCEPTED, value[1].as_string(), runs.c.accepted_at
            ).where(run),
        )
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
        self._end = update(runs).where(run, mine, runs.c.status == _ACCEPTED).values(new)

    async def __call__(self, connection: Connection, pieces: Sequence[RunPiece], /) -> "list[bool | StoreError]":
        of_kind: dict[type, list[RunEntry]] = {}
        contents: dict[str, bytes] = {}
        used_at = 0.0
        for piece in pieces:
            if piece.before is not None and (failure := piece.before.failure) is not None:
                raise failure if len(pieces) == 1 else _NotAllWritable  # it is not recorded any further
            for entry in piece.entries:
                of_kind.setdefault(type(entry), []).append(entry)
            if piece.contents:
                contents |= piece.contents
                used_at = max(used_at, piece.at)
        new: set[str] = set()
        if accepted := of_kind.get(NewRun):
            new = await self._take_in(connection, accepted)
        if contents:
            await write_contents(connection, contents, used_at)
        for kind, statement in ((NewEvent, self._append), (Uncertain, self._doubt), (RunEnd, self._end)):
            if rows := of_kind.get(kind):
                written = await connection.execute(statement, {"given": _json(rows), "mine": self._owner})
                if written.rowcount != len(rows) and kind is not Uncertain:
                    # The writer tries the pieces apart; what is written of one that fails is undone.
                    raise _taken_over(rows[0]) if len(pieces) == 1 else _NotAllWritable
        if doubted := of_kind.get(Uncertain):
            ids = sorted({entry.run_id for entry in doubted if isinstance(entry, Uncertain)})
            await connection.execute(self._count, {"given": orjson.dumps([[id] for id in ids]).decode()})
        return [
            all(_first(new, entry.id) for entry in piece.entries if isinstance(entry, NewRun)) for piece in pieces
        ]

    async def _take_in(self, connection: Connection, accepted: Sequence[RunEntry]) -> set[str]:
        """Write runs that are not there; return their ids."""
        given = _json(accepted)
        written = await connection.execute(self._accept, {"given": given})
        # Of one that comes twice the first is written.
        said = {entry.id: entry.said for entry in reversed(accepted) if isinstance(entry, NewRun)}
        if written.rowcount != len(accepted):
            found = await connection.execute(self._new, {"given": given, "mine": self._owner})
            said = {id: said[id] for (id,) in found}
        if said:
            await connection.execute(self._first, {"given": orjson.dumps([*said.items()]).decode()})
        return set(said)


def _first(new: set[str], id: str) -> bool:
    """Whether the run is new and nobody was told so: of those that accept it at once one has it."""
    if id not in new:
        return False
    new.remove(id)
    return True


async def _release(connection: Connection, owners: Sequence[str], /) -> list[int]:
    """An operation of the writer: how many runs of each owner belong to nobody now."""
    return [(await connection.execute(_RELEASE, {"gone": owner})).rowcount for owner in owners]


class _NotAllWritable(Exception):
    """Among the pieces is one that cannot be written: the writer tries them apart."""


# Not a parameter: SQLite would plan a statement anew for each value, which decides whether it can use `runs_open`.
_ACCEPTED = literal_column("'accepted'", String)
_HAS_EVENTS = exists().where(run_events.c.run_id == runs.c.id)  # as every run that was taken in
_NOUGHT = ("input_tokens", "output_tokens", "lm_calls")  # columns without a server's default


_BESIDE = frozenset(("said",))  # fields of entries that are no columns of theirs


def _names(kind: type[RunEntry]) -> list[str]:
    return [name for name in kind._fields if name not in _BESIDE]


def _values_of(table: Table, kind: type, value: Given) -> list[ColumnElement[Any]]:
    """The fields of an entry of ``kind``, which stand in ``value`` in their order, as columns of ``table``."""
    return [
        cast(value[place].as_string(), table.c[name].type) if name in table.c else value[place].as_string()
        for place, name in enumerate(_names(kind))
    ]


def _json(entries: Iterable[RunEntry]) -> str:
    return orjson.dumps([tuple(entry) for entry in entries]).decode()


def _taken_over(entry: RunEntry) -> RunTakenOver:
    run = entry.run_id if isinstance(entry, NewEvent | RunEnd | Uncertain) else ""
    return RunTakenOver(
        f"the run {run} is executed by another process now, or has ended", hint="Ask for its outcome."
    )
