"""Version 3: the ledger of budgets, and cached replies."""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0003"
down_revision: str | None = "0002"


def upgrade(op: Operations) -> None:
    """Add the tables."""
    op.create_table(
        "ledger_accounts",
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("nano_limit", sa.BigInteger),
        sa.Column("token_limit", sa.BigInteger),
        sa.Column("nano_spent", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("tokens_spent", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("nano_uncertain", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("tokens_uncertain", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("nano_reserved", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("tokens_reserved", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("reservations", sa.BigInteger, nullable=False, server_default="0"),
    )
    op.create_table(
        "ledger_holders",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("expires_at", sa.Float, nullable=False),
    )
    op.create_index("ledger_holders_by_time", "ledger_holders", ["expires_at"])
    op.create_table(
        "ledger_reservations",
        sa.Column("holder", sa.String(32), primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True),
        sa.Column("accounts", sa.Text, nullable=False),
        sa.Column("nano_dollars", sa.BigInteger, nullable=False),
        sa.Column("tokens", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "lm_replies",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("made_at", sa.Float, nullable=False),
        sa.Column("kept_until", sa.Float, nullable=False),
    )
    op.create_index("lm_replies_by_end", "lm_replies", ["kept_until"])
