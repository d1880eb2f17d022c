"""Where everything that must survive a crash is kept: one SQL database, written by group commit.

What needs the database is loaded when it is first used: actors without one do without SQLAlchemy.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from repertory.store.ledger import AccountLimit, Amount, Balance, Ledger, Reservation, WorstCase
from repertory.store.memory import MemoryReminders, MemoryStates
from repertory.store.memory_ledger import MemoryLedger
from repertory.store.reminders import ReminderRow, ReminderRows
from repertory.store.replies import Replies, StoredReply
from repertory.store.states import States, StoredEvent, StoredState

if TYPE_CHECKING:
    from repertory.store.content_table import ContentTable
    from repertory.store.database import Store
    from repertory.store.ledger_table import LedgerTable
    from repertory.store.owners import Owners
    from repertory.store.reminder_table import ReminderTable
    from repertory.store.reply_table import ReplyTable
    from repertory.store.state_table import StateTable

_HOMES = {
    "ContentTable": "repertory.store.content_table",
    "LedgerTable": "repertory.store.ledger_table",
    "Owners": "repertory.store.owners",
    "ReminderTable": "repertory.store.reminder_table",
    "ReplyTable": "repertory.store.reply_table",
    "StateTable": "repertory.store.state_table",
    "Store": "repertory.store.database",
}

__all__ = [
    "AccountLimit",
    "Amount",
    "Balance",
    "ContentTable",
    "Ledger",
    "LedgerTable",
    "MemoryLedger",
    "MemoryReminders",
    "MemoryStates",
    "Owners",
    "ReminderRow",
    "ReminderRows",
    "ReminderTable",
    "Replies",
    "ReplyTable",
    "Reservation",
    "StateTable",
    "States",
    "Store",
    "StoredEvent",
    "StoredReply",
    "StoredState",
    "WorstCase",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'repertory.store' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value
