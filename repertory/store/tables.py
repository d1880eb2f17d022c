"""The tables of the store. JSON is kept as text, times as seconds since the Unix epoch.

Versions of the schema:
1. actor_states, runs, steps.
2. Adds actor_events and actor_reminders; actor_states.data may be empty. Nothing of a store of version 1 changes,
   so opening it upgrades it. Version 1 must not open it again: it would take no notice of events.
3. Adds ledger_accounts, ledger_holders, ledger_reservations and lm_replies; opening a store of version 2 upgrades
   it.
"""

from sqlalchemy import BigInteger, Column, Float, ForeignKey, Index, Integer, MetaData, String, Table, Text

SCHEMA_VERSION = 3

metadata = MetaData()

store_info = Table(
    "store_info",
    metadata,
    Column("only_row", Integer, primary_key=True),
    Column("schema_version", Integer, nullable=False),
)

actor_states = Table(
    "actor_states",
    metadata,
    Column("path", String(512), primary_key=True),
    Column("revision", BigInteger, nullable=False),  # counts saves and events; compared before each one
    Column("schema_version", Integer, nullable=False),  # of the snapshot
    Column("data", Text, nullable=False),  # the snapshot; "" where there are only events yet
)

# Those after the snapshot, without a gap up to the actor's revision: saving a snapshot removes them all.
actor_events = Table(
    "actor_events",
    metadata,
    Column("path", String(512), primary_key=True),
    Column("revision", BigInteger, primary_key=True),
    Column("schema_version", Integer, nullable=False),
    Column("data", Text, nullable=False),
)

actor_reminders = Table(
    "actor_reminders",
    metadata,
    Column("path", String(512), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("due_at", Float, nullable=False),
    Column("every", Float),  # seconds; NULL: once
    Index("actor_reminders_by_time", "due_at"),
)

runs = Table(
    "runs",
    metadata,
    Column("id", String(32), primary_key=True),  # derived from program and key: same key, same run
    Column("program", String(255), nullable=False),
    Column("key", String(255), nullable=False),
    Column("fingerprint", String(64), nullable=False),  # of what the program declared when it was accepted
    Column("inputs", Text, nullable=False),
    Column("status", String(8), nullable=False),  # accepted | ok | failed
    Column("outputs", Text),
    Column("error_code", String(64)),
    Column("error_message", Text),
    Column("input_tokens", Integer, nullable=False, default=0),
    Column("output_tokens", Integer, nullable=False, default=0),
    Column("lm_calls", Integer, nullable=False, default=0),
    Column("seconds", Float),
    Column("accepted_at", Float, nullable=False),
    Column("finished_at", Float),
    Index("runs_by_program", "program", "status"),
)

steps = Table(
    "steps",
    metadata,
    Column("run_id", String(32), ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("predictor", String(255), primary_key=True),  # path within the program
    Column("input_hash", String(64), primary_key=True),
    Column("occurrence", Integer, primary_key=True),  # the n-th finished call with these inputs, from 0
    Column("outputs", Text, nullable=False),
    Column("parameters_version", Integer, nullable=False),
    Column("input_tokens", Integer, nullable=False),
    Column("output_tokens", Integer, nullable=False),
    Column("seconds", Float, nullable=False),
)

# Money is in nano-dollars. `limit` is a word of SQL, so it is nowhere alone.
ledger_accounts = Table(
    "ledger_accounts",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("nano_limit", BigInteger),  # NULL: none
    Column("token_limit", BigInteger),
    *(
        Column(name, BigInteger, nullable=False, server_default="0")
        for name in (
            *("nano_spent", "tokens_spent"),
            *("nano_uncertain", "tokens_uncertain"),  # of what was spent
            *("nano_reserved", "tokens_reserved", "reservations"),  # by the rows below
        )
    ),
)

# Processes that may hold reservations.
ledger_holders = Table(
    "ledger_holders",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("expires_at", Float, nullable=False),
    Index("ledger_holders_by_time", "expires_at"),
)

ledger_reservations = Table(
    "ledger_reservations",
    metadata,
    Column("holder", String(32), primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("accounts", Text, nullable=False),  # JSON list of names
    Column("nano_dollars", BigInteger, nullable=False),
    Column("tokens", BigInteger, nullable=False),
)

lm_replies = Table(
    "lm_replies",
    metadata,
    Column("key", String(64), primary_key=True),  # digest of what was asked of whom
    Column("data", Text, nullable=False),
    Column("made_at", Float, nullable=False),
    Column("kept_until", Float, nullable=False),
    Index("lm_replies_by_end", "kept_until"),
)
