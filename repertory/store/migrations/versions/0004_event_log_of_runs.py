"""Version 4: runs have owners, costs and a log of events, in which the steps are recorded from now on."""

from collections.abc import Iterator, Sequence
from typing import Any

import orjson
import sqlalchemy as sa
from alembic.operations import Operations

revision = "0004"
down_revision: str | None = "0003"

PAGE = 200  # steps in memory at a time: each may be large

_KEPT = (
    *("id", "program", "key", "fingerprint", "inputs", "status", "outputs", "error_code", "error_message"),
    *("input_tokens", "output_tokens", "lm_calls", "seconds", "accepted_at", "finished_at"),
)

_STEP_KEY = ("run_id", "predictor", "input_hash", "occurrence")
_STEP = (*_STEP_KEY, "outputs", "parameters_version", "input_tokens", "output_tokens", "seconds")
_EVENT = ("run_id", "id", "kind", "data", "at")

_runs = sa.table("runs", *(sa.column(name) for name in _KEPT))
_steps = sa.table("steps", *(sa.column(name) for name in _STEP))
_ADD_EVENTS = sa.insert(sa.table("run_events", *(sa.column(name) for name in _EVENT)))


def upgrade(op: Operations) -> None:
    """Add the columns and tables, and turn steps into events."""
    if op.get_bind().dialect.name == "sqlite":
        _make_runs_anew(op)
    else:
        op.alter_column("runs", "status", type_=sa.String(16))
        for column in _added():
            op.add_column("runs", column)
        op.drop_index("runs_by_program", "runs")
    op.create_index("runs_by_program", "runs", ["program", "accepted_at"])
    is_open = sa.text("status = 'accepted' AND submitted")
    open_by = ["program", "owner", "priority", "accepted_at"]
    op.create_index("runs_open", "runs", open_by, sqlite_where=is_open, postgresql_where=is_open)
    op.create_index("runs_by_time", "runs", ["accepted_at"])
    op.create_index("runs_by_end", "runs", ["finished_at", "compacted_at"])
    _add_tables(op)
    _fill_events(op.get_bind())
    op.drop_table("steps")
    if op.get_bind().dialect.name == "sqlite":
        op.drop_table("runs_3")
    # In a store that began as version 1 it is still an INTEGER.
    with op.batch_alter_table("actor_states") as actor_states:
        actor_states.alter_column("revision", type_=sa.BigInteger, existing_nullable=False)


def _added() -> list[sa.Column[Any]]:
    return [
        sa.Column("code", sa.String(64)),
        sa.Column("owner", sa.String(32)),
        sa.Column("submitted", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("priority", sa.SmallInteger, nullable=False, server_default="1"),
        sa.Column("terms", sa.Text),
        sa.Column("deadline_at", sa.Float),
        sa.Column("parent", sa.String(32)),
        sa.Column("nano_cost", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("uncertain_calls", sa.Integer, nullable=False, server_default="0"),
        sa.Column("nano_uncertain", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("tags", sa.Text),
        sa.Column("compacted_at", sa.Float),
    ]


def _make_runs_anew(op: Operations) -> None:
    """SQLite cannot change a column's type.

    The old table is renamed, and dropped when nothing refers to it any more: Alembic's batch mode would drop it
    here, and with it, by their foreign key, all steps.
    """
    op.drop_index("runs_by_program", "runs")
    op.rename_table("runs", "runs_3")
    op.create_table(
        "runs",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("program", sa.String(255), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("inputs", sa.Text, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("outputs", sa.Text),
        sa.Column("error_code", sa.String(64)),
        sa.Column("error_message", sa.Text),
        sa.Column("input_tokens", sa.Integer, nullable=False),
        sa.Column("output_tokens", sa.Integer, nullable=False),
        sa.Column("lm_calls", sa.Integer, nullable=False),
        sa.Column("seconds", sa.Float),
        sa.Column("accepted_at", sa.Float, nullable=False),
        sa.Column("finished_at", sa.Float),
        *_added(),
    )
    old = sa.table("runs_3", *(sa.column(name) for name in _KEPT))
    op.execute(sa.insert(_runs).from_select(_KEPT, sa.select(*old.c)))


def _add_tables(op: Operations) -> None:
    op.create_table(
        "run_events",
        sa.Column("run_id", sa.String(32), sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
    )
    op.create_table(
        "run_messages",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("run_id", sa.String(32), sa.ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
    )
    op.create_index("run_messages_by_run", "run_messages", ["run_id", "at"])
    op.create_table(
        "uncertain_calls",
        sa.Column("run_id", sa.String(32), sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("event_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("endpoint", sa.String(255), nullable=False),
        sa.Column("request_hash", sa.String(64), nullable=False),
        sa.Column("nano_most", sa.BigInteger),
        sa.Column("tokens_most", sa.BigInteger),
        sa.Column("policy", sa.String(8), nullable=False),
        sa.Column("found_at", sa.Float, nullable=False),
    )
    op.create_table(
        "contents",
        sa.Column("hash", sa.String(64), primary_key=True),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("used_at", sa.Float, nullable=False),
    )
    op.create_index("contents_by_use", "contents", ["used_at"])
    op.create_table(
        "owners",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("expires_at", sa.Float, nullable=False),
    )


def _fill_events(connection: sa.Connection) -> None:
    """Give each run the events it would have had: accepted, its steps, done.

    When a step ended was not recorded, nor in which order they did: they come in that of their keys.
    """
    run = _runs.c
    accepted = sa.select(run.id, sa.literal(1), sa.literal("accepted"), sa.literal("{}"), run.accepted_at)
    connection.execute(_ADD_EVENTS.from_select(_EVENT, accepted))
    id, number = "", 1
    for page in _pages_of_steps(connection):
        events = []
        for step in page:
            id, number = step.run_id, number + 1 if step.run_id == id else 2
            events.append(dict(zip(_EVENT, (id, number, "step", _told(step), step.accepted_at), strict=True)))
        connection.execute(_ADD_EVENTS, events)
    last = sa.select(sa.func.count() + 2).where(_steps.c.run_id == run.id).scalar_subquery()
    outcome = sa.literal('{"status":"') + run.status + sa.literal('"}')
    ended_at = sa.func.coalesce(run.finished_at, run.accepted_at)
    done = sa.select(run.id, last, sa.literal("done"), outcome, ended_at).where(run.status != "accepted")
    connection.execute(_ADD_EVENTS.from_select(_EVENT, done))


def _pages_of_steps(connection: sa.Connection) -> Iterator[Sequence[sa.Row[Any]]]:
    key = sa.tuple_(*(_steps.c[name] for name in _STEP_KEY))
    steps: sa.Select[Any] = (
        sa.select(*_steps.c, _runs.c.accepted_at)
        .join_from(_steps, _runs, _runs.c.id == _steps.c.run_id)
        .order_by(*key)
        .limit(PAGE)
    )
    page = connection.execute(steps).all()
    while page:
        yield page
        last = page[-1]._mapping
        page = connection.execute(steps.where(key > sa.tuple_(*(last[name] for name in _STEP_KEY)))).all()


def _told(step: sa.Row[Any]) -> str:
    """The data of a step's event."""
    data = {
        "step": step.predictor,
        "asked": step.input_hash,
        "occurrence": step.occurrence,
        "outputs": orjson.Fragment(step.outputs),
        "version": step.parameters_version,
        "usage": [step.input_tokens, step.output_tokens],
        "calls": 1,
        "seconds": step.seconds,
    }
    return orjson.dumps(data).decode()
