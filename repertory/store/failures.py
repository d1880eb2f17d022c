"""What a failure of the database means to whoever reads of it: which store, what happened, what to do.

Result codes: https://www.sqlite.org/rescode.html, https://www.postgresql.org/docs/current/errcodes-appendix.html.
"""

import sqlite3

from repertory.errors import StoreError
from repertory.store.connection import is_away, sql_state, sqlite_code

_TAKEN = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
_FORBIDDEN = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM})
_READ_ONLY = "25006"  # what PostgreSQL calls a transaction that may not write


def transaction_failed(store: str, error: BaseException) -> StoreError:
    """The error of a write that was undone; ``store`` is its location as it may be shown."""
    if isinstance(error, StoreError):  # an operation's own
        return error
    what = "the database cannot be reached" if is_away(error) else "a transaction failed"
    return _failure(f"store {store}: {what}: {reason(error)}", remedy(store, error), error)


def outcome_unknown(store: str, error: BaseException) -> StoreError:
    """The error of a write whose connection broke while it was committed."""
    what = "the connection broke during a commit: whether the write took place is unknown"
    return _failure(
        f"store {store}: {what} ({reason(error)})", "Read what the store holds before writing again.", error
    )


def file_lost(store: str) -> StoreError:
    """The error of a write to a file that its path no longer leads to."""
    return StoreError(
        f"store {store}: the file was deleted or replaced while it was open: what is written to it would be lost",
        hint="Stop this process before you put the file back or restore a backup; then start it again.",
    )


def read_failed(store: str, error: BaseException) -> StoreError:
    """The error of a read."""
    return _failure(f"store {store}: a read failed: {reason(error)}", remedy(store, error), error)


def concerns_every_write(error: BaseException) -> bool:
    """Whether no single write can be the cause: without the others it would fail too, after as long a wait."""
    code = sqlite_code(error)
    return code in _TAKEN or code in _FORBIDDEN or code == sqlite3.SQLITE_IOERR or sql_state(error) == _READ_ONLY


def reason(error: BaseException) -> str:
    """What the driver said, without the statement and its values."""
    told = getattr(error, "orig", None) or error
    return str(told.__cause__ or told) or type(told).__name__


def remedy(store: str, error: BaseException) -> str | None:
    """What to do about ``error``; None where only the write itself can be at fault."""
    if is_away(error):
        return "Check that the database server runs; later work tries to reach it again."
    code, state = sqlite_code(error), sql_state(error)
    if code in _TAKEN:
        return f"Another process holds {store}: end it, or wait until it has done its work."
    if code in _FORBIDDEN:
        return f"{store} must be a file, and it and its directory must be writable for this user."
    if code == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR:
        return (
            f"Free space on the disk of {store}, or mend the disk; nothing acknowledged is lost, "
            "and later writes work again."
        )
    if code == sqlite3.SQLITE_CORRUPT:
        return f"Keep {store} as it is; restore a backup, or save what can be read with sqlite3's .recover."
    if code == sqlite3.SQLITE_NOTADB:
        return (
            f"Keep {store} as it is and name another file; if it was a store, restore a backup, "
            "or save what can be read with sqlite3's .recover."
        )
    if state == _READ_ONLY:
        return "Name a server and a database that take writes: a standby takes none."
    if state.startswith("53"):
        return "Check the database server's disk, memory and connections; nothing acknowledged is lost."
    return None


def _failure(message: str, hint: str | None, cause: BaseException) -> StoreError:
    failure = StoreError(message, hint=hint)
    failure.__cause__ = cause
    return failure
