"""The tables of the store. JSON is kept as text, times as seconds since the Unix epoch.

Versions of the schema:
1. actor_states, runs, steps.
2. Adds actor_events and actor_reminders; actor_states.data may be empty. Nothing of a store of version 1 changes,
   so opening it upgrades it. Version 1 must not open it again: it would take no notice of events.
3. Adds ledger_accounts, ledger_holders, ledger_reservations and lm_replies.
4. Adds run_events, which takes the place of steps, uncertain_calls, contents and owners; runs tell who executes
   them, what they cost, and when they must have ended.

How a store comes from one version to the next is in `migrations`.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    false,
    text,
)

SCHEMA_VERSION = 4

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
    Column("status", String(16), nullable=False),  # accepted | ok | failed | cancelled
    Column("outputs", Text),
    Column("error_code", String(64)),
    Column("error_message", Text),
    Column("input_tokens", Integer, nullable=False, default=0),
    Column("output_tokens", Integer, nullable=False, default=0),
    Column("lm_calls", Integer, nullable=False, default=0),
    Column("seconds", Float),
    Column("accepted_at", Float, nullable=False),
    Column("finished_at", Float),
    Column("code", String(64)),  # fingerprint of the program's code
    Column("owner", String(32)),  # the process that executes it, see `owners`
    Column(
        "submitted", Boolean, nullable=False, server_default=false()
    ),  # taken up by whoever finds it interrupted
    Column(
        "priority", SmallInteger, nullable=False, server_default="1"
    ),  # what waits is begun by it, lowest first
    Column("terms", Text),  # JSON
    Column("deadline_at", Float),
    Column("parent", String(32)),  # the run it was forked from
    Column("nano_cost", BigInteger, nullable=False, server_default="0"),
    Column("uncertain_calls", Integer, nullable=False, server_default="0"),
    Column("nano_uncertain", BigInteger, nullable=False, server_default="0"),
    Column("tags", Text),  # JSON
    Column("compacted_at", Float),  # when its events that its outcomes supersede were removed
    Index("runs_by_program", "program", "accepted_at"),
    Index("runs_by_time", "accepted_at"),
    Index("runs_by_end", "finished_at", "compacted_at"),
)
# Of those alone that are to be done whoever waits for them. What nobody owns is in the order in which it is begun.
IS_OPEN = text("status = 'accepted' AND submitted")
Index(
    "runs_open",
    runs.c.program,
    runs.c.owner,
    runs.c.priority,
    runs.c.accepted_at,
    sqlite_where=IS_OPEN,
    postgresql_where=IS_OPEN,
)

# What happened in a run, in order. The primary key fences: of two processes that write the same number, one fails.
run_events = Table(
    "run_events",
    metadata,
    Column("run_id", String(32), ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("id", Integer, primary_key=True, autoincrement=False),  # from 1, without a gap until compacted
    Column("kind", String(16), nullable=False),
    Column("data", Text, nullable=False),  # JSON
    Column("at", Float, nullable=False),
)

# What is said to a run from outside, until whoever executes it has taken it into its events.
run_messages = Table(
    "run_messages",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("run_id", String(32), ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("kind", String(16), nullable=False),  # signal | cancel
    Column("data", Text, nullable=False),  # JSON
    Column("at", Float, nullable=False),
    Index("run_messages_by_run", "run_id", "at"),
)

# Calls of models of which nobody knows whether they were billed.
uncertain_calls = Table(
    "uncertain_calls",
    metadata,
    Column("run_id", String(32), ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("event_id", Integer, primary_key=True, autoincrement=False),  # of the call's intent
    Column("endpoint", String(255), nullable=False),
    Column("request_hash", String(64), nullable=False),
    Column("nano_most", BigInteger),  # what it cost at most; NULL: nobody can say
    Column("tokens_most", BigInteger),
    Column("policy", String(8), nullable=False),  # rebuy | hold | fail
    Column("found_at", Float, nullable=False),
)

# Pieces of large values, each once, that events refer to; see `contents.py`.
contents = Table(
    "contents",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("data", Text, nullable=False),
    Column("used_at", Float, nullable=False),
    Index("contents_by_use", "used_at"),
)

# Processes that may own runs, where a lock on a file cannot tell whether they live.
owners = Table(
    "owners",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("expires_at", Float, nullable=False),
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
