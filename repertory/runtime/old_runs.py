"""The ended runs of a store, and how they are cleared away: little by little, between the writes of others."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import (
    Executable,
    Float,
    Integer,
    String,
    and_,
    bindparam,
    cast,
    delete,
    func,
    or_,
    select,
    update,
)

from repertory.errors import StoreError
from repertory.runtime.compaction import CALLS, PIECES, Compaction
from repertory.signatures.json_text import load_json
from repertory.store import Store
from repertory.store.given import given
from repertory.store.tables import contents, run_events, runs
from repertory.store.transactions import Connection

RUNS: Final = 20  # removed in one transaction at most: each may have a long log
CONTENTS: Final = 1000
PAGE: Final = 500  # events read at a time

_ENDED = runs.c.status.in_(("ok", "failed", "cancelled"))
_BEFORE = bindparam("before", type_=Float)
# Rows that another process is writing are not waited for, or the two could wait for each other. SQLite has one
# writer at a time and no such clause: it is left out there.
_REMOVE_RUNS = delete(runs).where(
    runs.c.id.in_(
        select(runs.c.id)
        .where(_ENDED, runs.c.finished_at < _BEFORE)
        .order_by(runs.c.finished_at)
        .limit(RUNS)
        .with_for_update(skip_locked=True)
    )
)
_REMOVE_CONTENTS = delete(contents).where(
    contents.c.hash.in_(
        select(contents.c.hash)
        .where(contents.c.used_at < _BEFORE)
        .order_by(contents.c.used_at)
        .limit(CONTENTS)
        .with_for_update(skip_locked=True)
    )
)
_UNCOMPACTED = or_(runs.c.compacted_at.is_(None), runs.c.compacted_at < runs.c.finished_at)
_OF_RUN = run_events.c.run_id == bindparam("of_run", type_=String)
_MARK = (
    update(runs)
    .where(
        runs.c.id == bindparam("of_run", type_=String),
        _ENDED,
        runs.c.finished_at == bindparam("ended_at", type_=Float),
    )
    .values(compacted_at=bindparam("at", type_=Float))
)
_REMOVE_PIECES = delete(run_events).where(_OF_RUN, run_events.c.kind.in_(PIECES))


@dataclass(frozen=True, slots=True)
class EndedRun:
    """A run that has its outcome."""

    id: str
    ended_at: float


class OldRuns:
    """The ended runs of a store.

    Invariant: a run that has not ended, or is being tried again, is left as it is, whenever that began: each
    removal asks again, in its own transaction.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._compact = _Compactions(store.dialect)

    def remove_ended_before(self, time: float) -> "asyncio.Future[int]":
        """Remove up to `RUNS` runs that ended before ``time``, with their logs; the future has their number."""
        return self._store.submit(_remove_runs, time)

    def remove_contents_before(self, time: float) -> "asyncio.Future[int]":
        """Remove up to `CONTENTS` contents not used since ``time``; the future has their number."""
        return self._store.submit(_remove_contents, time)

    async def end_of_latest(self, count: int) -> float | None:
        """When the ``count``-th of the latest ended runs ended; None if there are fewer."""
        ends = select(runs.c.finished_at).where(_ENDED, runs.c.finished_at.is_not(None))
        rows = await self._store.read(ends.order_by(runs.c.finished_at.desc()).offset(count - 1).limit(1))
        return rows[0].finished_at if rows else None

    async def oldest_acceptance(self) -> float | None:
        """When the oldest run was accepted, ended or not; None if there is none."""
        ((time,),) = await self._store.read(select(func.min(runs.c.accepted_at)))
        oldest: float | None = time
        return oldest

    async def uncompacted(self, time: float, after: EndedRun | None = None) -> list[EndedRun]:
        """The first `RUNS` runs that ended before ``time``, and after ``after``, whose logs are whole."""
        place = runs.c.finished_at, runs.c.id
        query = select(runs.c.id, runs.c.finished_at).where(_ENDED, runs.c.finished_at < time, _UNCOMPACTED)
        if after is not None:
            query = query.where(
                or_(
                    runs.c.finished_at > after.ended_at,
                    and_(runs.c.finished_at == after.ended_at, runs.c.id > after.id),
                )
            )
        rows = await self._store.read(query.order_by(*place).limit(RUNS))
        return [EndedRun(row.id, row.finished_at) for row in rows]

    async def compact(self, run: EndedRun, at: float) -> bool:
        """Remove from the log of ``run`` what its outcomes supersede; return whether it was still ended."""
        superseded = (await self._read_log(run.id)).superseded()
        return await self._store.submit(self._compact, _Compact(run, at, tuple(superseded)))

    async def _read_log(self, run: str) -> Compaction:
        compaction = Compaction()
        event = run_events.c
        events = select(event.id, event.kind, event.data).where(
            event.run_id == run, event.kind.in_((*CALLS, "step"))
        )
        page = await self._store.read(events.order_by(event.id).limit(PAGE))
        while page:
            for row in page:
                compaction.take(row.id, row.kind, _data(run, row.id, row.data))
            page = await self._store.read(events.where(event.id > page[-1].id).order_by(event.id).limit(PAGE))
        return compaction


@dataclass(frozen=True, slots=True)
class _Compact:
    run: EndedRun
    at: float
    superseded: tuple[int, ...]  # numbers of events


class _Compactions:
    """An operation of the writer: logs made shorter, of runs that ended when it is said they did."""

    def __init__(self, dialect: str) -> None:
        ids = select(cast(given(dialect)[0].as_string(), Integer))
        self._remove = delete(run_events).where(_OF_RUN, run_events.c.id.in_(ids))

    async def __call__(self, connection: Connection, items: Sequence[_Compact], /) -> list[bool]:
        return [await self._compact(connection, item) for item in items]

    async def _compact(self, connection: Connection, item: _Compact) -> bool:
        of_run = {"of_run": item.run.id}
        mark = {**of_run, "ended_at": item.run.ended_at, "at": item.at}
        if not (await connection.execute(_MARK, mark)).rowcount:
            return False
        await connection.execute(_REMOVE_PIECES, of_run)
        ids = orjson.dumps([(id,) for id in item.superseded]).decode()
        await connection.execute(self._remove, {**of_run, "given": ids})
        return True


def _data(run: str, id: int, text: str) -> dict[str, Any]:
    try:
        data: dict[str, Any] = load_json(text)
    except ValueError as error:
        raise StoreError(
            f"run {run}: event {id} cannot be read: {error}", hint="Restore a backup, or remove that run."
        ) from None
    return data


async def _remove_runs(connection: Connection, times: Sequence[float], /) -> list[int]:
    """An operation of the writer: ended runs, a few for each of ``times``."""
    return [await _remove(connection, _REMOVE_RUNS, time) for time in times]


async def _remove_contents(connection: Connection, times: Sequence[float], /) -> list[int]:
    """An operation of the writer: unused contents, some for each of ``times``."""
    return [await _remove(connection, _REMOVE_CONTENTS, time) for time in times]


async def _remove(connection: Connection, statement: Executable, before: float) -> int:
    removed: int = (await connection.execute(statement, {"before": before})).rowcount
    return removed
