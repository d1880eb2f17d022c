"""The statements that bring entries of runs into the database: any number of a kind, given as one JSON text."""

from typing import Any

from sqlalchemy import (
    ColumnElement,
    String,
    Table,
    cast,
    exists,
    func,
    insert,
    literal_column,
    select,
    true,
    update,
)
from sqlalchemy.dialects import postgresql

from repertory.store.given import Given
from repertory.store.run_rows import NewEvent, NewRun, RunEnd, RunEntry, Uncertain
from repertory.store.tables import run_events, runs, uncertain_calls

# Not a parameter: SQLite would plan a statement anew for each value, which decides whether it can use `runs_open`.
_ACCEPTED = literal_column("'accepted'", String)
_HAS_EVENTS = exists().where(run_events.c.run_id == runs.c.id)  # as every run that was taken in
_NOUGHT = ("input_tokens", "output_tokens", "lm_calls")  # columns without a server's default
_BESIDE = frozenset(("said",))  # fields of entries that are no columns of theirs


class RunStatements:
    """What writes entries of a kind.

    Args:
        value: The fields of one of them, by their places.
        owner: The process that executes the runs.
    """

    def __init__(self, value: Given, owner: ColumnElement[str]) -> None:
        run = runs.c.id == value[0].as_string()
        mine = runs.c.owner == owner
        nought: list[ColumnElement[int]] = [literal_column("0") for _ in _NOUGHT]
        self.accept = (
            postgresql.insert(runs)  # SQLite understands its clauses, here and below
            .from_select(
                [*_names(NewRun), "status", *_NOUGHT],
                # Without a WHERE, SQLite takes ON CONFLICT for a join's ON.
                select(*_values_of(runs, NewRun, value), _ACCEPTED, *nought).where(true()),
            )
            .on_conflict_do_nothing()
        )
        self.new = select(runs.c.id).where(
            run, mine | runs.c.owner.is_(None), runs.c.status == _ACCEPTED, ~_HAS_EVENTS
        )
        said, at = (value[NewRun._fields.index(name)].as_string() for name in ("said", "accepted_at"))
        self.first = insert(run_events).from_select(
            _names(NewEvent),
            select(value[0].as_string(), literal_column("1"), _ACCEPTED, said, cast(at, run_events.c.at.type)),
        )
        self.append = insert(run_events).from_select(
            _names(NewEvent), select(*_values_of(run_events, NewEvent, value)).where(run, mine)
        )
        self.doubt = (
            postgresql.insert(uncertain_calls)
            .from_select(
                _names(Uncertain), select(*_values_of(uncertain_calls, Uncertain, value)).where(run, mine)
            )
            .on_conflict_do_nothing()
        )
        of_run = uncertain_calls.c.run_id == runs.c.id
        most = select(func.coalesce(func.sum(uncertain_calls.c.nano_most), 0)).where(of_run)
        calls = select(func.count()).where(of_run)
        self.count = update(runs).where(runs.c.id.in_(select(value[0].as_string())))
        self.count = self.count.values(
            uncertain_calls=calls.scalar_subquery(), nano_uncertain=most.scalar_subquery()
        )
        new = dict(zip(_names(RunEnd), _values_of(runs, RunEnd, value), strict=True))
        new.pop("run_id")
        # An outcome is recorded once: a run that has one is not "accepted" any more.
        self.end = update(runs).where(run, mine, runs.c.status == _ACCEPTED).values(new)


def _names(kind: type[RunEntry]) -> list[str]:
    return [name for name in kind._fields if name not in _BESIDE]


def _values_of(table: Table, kind: type, value: Given) -> list[ColumnElement[Any]]:
    """The fields of an entry of ``kind``, which stand in ``value`` in their order, as columns of ``table``."""
    return [
        cast(value[place].as_string(), table.c[name].type) if name in table.c else value[place].as_string()
        for place, name in enumerate(_names(kind))
    ]
