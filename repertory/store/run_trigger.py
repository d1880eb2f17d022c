"""Entries of runs brought into a SQLite database by one statement.

Each call of SQLite gives the interpreter's lock away, and the thread waits to get it back from the event loop's,
again and again in one transaction. Where that is the common one, of entries which are all new and of runs which
are all this process's, SQLite executes all of it by itself, as a trigger.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

from sqlalchemy import String, Text, literal_column
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql import ClauseElement

from repertory.store.given import given
from repertory.store.run_rows import NewEvent, NewRun, RunEnd, RunEntry
from repertory.store.run_statements import RunStatements

AT_ONCE: Final[Mapping[str, type[RunEntry]]] = {"accepted": NewRun, "events": NewEvent, "ends": RunEnd}
RECORD: Final = "INSERT INTO recorded (accepted, events, ends, mine) VALUES (?, ?, ?, ?)"


def prepare(connection: Any, _record: object = None) -> None:
    """Have a connection of SQLite's driver record entries at once; the database does not keep how.

    An IntegrityError says that not all could be written, and that nothing was.
    """
    cursor = connection.cursor()
    cursor.execute("CREATE TEMP VIEW recorded AS SELECT '' AS accepted, '' AS events, '' AS ends, '' AS mine")
    cursor.execute(_trigger())
    cursor.close()


def _statement(name: str, which: Callable[[RunStatements], ClauseElement]) -> str:
    """What the trigger does with the rows of ``name``: all of them, or it is given up."""
    rows = given("sqlite", literal_column(f"NEW.{name}", Text), apart=True)
    statement = which(RunStatements(rows, literal_column("NEW.mine", String)))
    done = f"SELECT RAISE(ABORT, 'not all') WHERE changes() <> json_array_length(NEW.{name});"
    return f"{statement.compile(dialect=sqlite.dialect())}; {done}"


@cache
def _trigger() -> str:
    done = [
        _statement("accepted", lambda statements: statements.accept),
        _statement("accepted", lambda statements: statements.first),
        _statement("events", lambda statements: statements.append),
        _statement("ends", lambda statements: statements.end),
    ]
    return f"CREATE TEMP TRIGGER record INSTEAD OF INSERT ON recorded BEGIN {' '.join(done)} END"
