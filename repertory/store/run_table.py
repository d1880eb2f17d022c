"""Runs in the database: accepted once, their events in order, their outcome once."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, fields
from typing import Any

from sqlalchemy import (
    Integer,
    Select,
    String,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from repertory.errors import StoreError
from repertory.store.content_table import ContentTable
from repertory.store.database import Store
from repertory.store.recording import Recording
from repertory.store.run_piece import RunPiece
from repertory.store.run_rows import (
    NewEvent,
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
        self._record = Recording(store.dialect, owner, at_once=store.file is not None)
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


async def _release(connection: Connection, owners: Sequence[str], /) -> list[int]:
    """An operation of the writer: how many runs of each owner belong to nobody now."""
    return [(await connection.execute(_RELEASE, {"gone": owner})).rowcount for owner in owners]
