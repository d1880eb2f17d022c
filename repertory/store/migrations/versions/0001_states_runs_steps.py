"""Version 1: actors' states, runs and their steps, in SQLite only."""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0001"
down_revision: str | None = None


def upgrade(op: Operations) -> None:
    """Make the tables."""
    op.create_table(
        "store_info",
        sa.Column("only_row", sa.Integer, primary_key=True),
        sa.Column("schema_version", sa.Integer, nullable=False),
    )
    op.create_table(
        "actor_states",
        sa.Column("path", sa.String(512), primary_key=True),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("schema_version", sa.Integer, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("program", sa.String(255), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("inputs", sa.Text, nullable=False),
        sa.Column("status", sa.String(8), nullable=False),
        sa.Column("outputs", sa.Text),
        sa.Column("error_code", sa.String(64)),
        sa.Column("error_message", sa.Text),
        sa.Column("input_tokens", sa.Integer, nullable=False),
        sa.Column("output_tokens", sa.Integer, nullable=False),
        sa.Column("lm_calls", sa.Integer, nullable=False),
        sa.Column("seconds", sa.Float),
        sa.Column("accepted_at", sa.Float, nullable=False),
        sa.Column("finished_at", sa.Float),
    )
    op.create_index("runs_by_program", "runs", ["program", "status"])
    op.create_table(
        "steps",
        sa.Column("run_id", sa.String(32), sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("predictor", sa.String(255), primary_key=True),
        sa.Column("input_hash", sa.String(64), primary_key=True),
        sa.Column("occurrence", sa.Integer, primary_key=True),
        sa.Column("outputs", sa.Text, nullable=False),
        sa.Column("parameters_version", sa.Integer, nullable=False),
        sa.Column("input_tokens", sa.Integer, nullable=False),
        sa.Column("output_tokens", sa.Integer, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
    )
