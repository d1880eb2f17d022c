"""Version 2: actors' events and reminders; from here on ``actor_states.data`` may be empty.

Version 2 made ``actor_states.revision`` a BIGINT in new stores and left it as it was in those of version 1, which
version 4 puts right.
"""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0002"
down_revision: str | None = "0001"


def upgrade(op: Operations) -> None:
    """Add the tables."""
    op.create_table(
        "actor_events",
        sa.Column("path", sa.String(512), primary_key=True),
        sa.Column("revision", sa.BigInteger, primary_key=True),
        sa.Column("schema_version", sa.Integer, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
    )
    op.create_table(
        "actor_reminders",
        sa.Column("path", sa.String(512), primary_key=True),
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("due_at", sa.Float, nullable=False),
        sa.Column("every", sa.Float),
    )
    op.create_index("actor_reminders_by_time", "actor_reminders", ["due_at"])
