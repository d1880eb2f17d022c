"""How entries of runs come into the database: those of many runs together, of each run in their order."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence

import orjson
from sqlalchemy import String, bindparam
from sqlalchemy.exc import IntegrityError, OperationalError

from repertory.errors import RunTakenOver, StoreError
from repertory.store.connection import sqlite_code
from repertory.store.content_table import write_contents
from repertory.store.given import given
from repertory.store.run_piece import RunPiece
from repertory.store.run_rows import NewEvent, NewRun, RunEnd, RunEntry, Uncertain
from repertory.store.run_statements import RunStatements
from repertory.store.run_trigger import AT_ONCE, RECORD
from repertory.store.transactions import Connection, Direct


class Recording:
    """An operation of the writer: entries of many runs, of each run in the order in which they came.

    A run comes before its events and these before its end, which is the order they are written in. A run that is
    new gets its first event, that it was accepted. What belongs to a run that another process owns is not written:
    an owner that was taken for dead finds that out here.

    Args:
        at_once: Whether the connection has what `run_trigger` prepares.
    """

    def __init__(self, dialect: str, owner: str, *, at_once: bool = False) -> None:
        self._owner = owner
        self._at_once = at_once
        statements = RunStatements(given(dialect), bindparam("mine", type_=String))
        self._statements = statements
        self._append = ((NewEvent, statements.append), (Uncertain, statements.doubt), (RunEnd, statements.end))

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
        if contents:
            await write_contents(connection, contents, used_at)
        if self._at_once and Uncertain not in of_kind and self._written_at_once(connection, of_kind):
            return [True] * len(pieces)
        new: set[str] = set()
        if accepted := of_kind.get(NewRun):
            new = await self._take_in(connection, accepted)
        for kind, statement in self._append:
            if rows := of_kind.get(kind):
                written = await connection.execute(statement, {"given": _json(rows), "mine": self._owner})
                if written.rowcount != len(rows) and kind is not Uncertain:
                    # The writer tries the pieces apart; what is written of one that fails is undone.
                    raise _taken_over(rows[0]) if len(pieces) == 1 else _NotAllWritable
        if doubted := of_kind.get(Uncertain):
            ids = sorted({entry.run_id for entry in doubted if isinstance(entry, Uncertain)})
            await connection.execute(self._statements.count, {"given": _json([(id,) for id in ids])})
        return [
            all(_first(new, entry.id) for entry in piece.entries if isinstance(entry, NewRun)) for piece in pieces
        ]

    def _written_at_once(
        self, connection: Connection, of_kind: Mapping[type, Sequence[tuple[object, ...]]]
    ) -> bool:
        """Whether all was new and could be written; else nothing of it is."""
        assert isinstance(connection, Direct)
        rows = [_json(of_kind.get(kind, ())) for kind in AT_ONCE.values()]
        try:
            connection.execute_text(RECORD, (*rows, self._owner))
        except IntegrityError:
            return False
        except OperationalError as error:
            if sqlite_code(error) == sqlite3.SQLITE_ERROR:
                return False  # something is missing, or was: of what is back a trigger does not learn
            raise
        return True

    async def _take_in(self, connection: Connection, accepted: Sequence[RunEntry]) -> set[str]:
        """Write runs that are not there; return their ids."""
        statements, rows = self._statements, _json(accepted)
        # Of one that comes twice the first is written.
        first = {entry.id: entry for entry in reversed(accepted) if isinstance(entry, NewRun)}
        if (await connection.execute(statements.accept, {"given": rows})).rowcount != len(accepted):
            found = await connection.execute(statements.new, {"given": rows, "mine": self._owner})
            first = {id: first[id] for (id,) in found}
        if first:
            await connection.execute(statements.first, {"given": _json(first.values())})
        return set(first)


def _first(new: set[str], id: str) -> bool:
    """Whether the run is new and nobody was told so: of those that accept it at once one has it."""
    if id not in new:
        return False
    new.remove(id)
    return True


class _NotAllWritable(Exception):
    """Among the pieces is one that cannot be written: the writer tries them apart."""


def _json(entries: Iterable[tuple[object, ...]]) -> str:
    return orjson.dumps([*map(tuple, entries)]).decode()


def _taken_over(entry: RunEntry) -> RunTakenOver:
    run = entry.run_id if isinstance(entry, NewEvent | RunEnd | Uncertain) else ""
    return RunTakenOver(
        f"the run {run} is executed by another process now, or has ended", hint="Ask for its outcome."
    )
