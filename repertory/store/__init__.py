"""Where everything that must survive a crash is kept: one SQL database, written by group commit."""

from repertory.store.database import Store
from repertory.store.states import StateTable, StoredState

__all__ = ["StateTable", "Store", "StoredState"]
