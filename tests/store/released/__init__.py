"""Stores as released versions of Repertory wrote them: dumps of what their own code made.

``3-since-1`` began as version 1 and was opened by each later one.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.store.postgres import PostgresServer

RELEASED = {"sqlite": ("1", "2", "3", "3-since-1"), "postgresql": ("2", "3")}


def restore_file(release: str, path: Path) -> None:
    """Make the SQLite file that ``release`` left."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(_dump(release, "sqlite"))


def restore_database(release: str, server: PostgresServer, url: str) -> None:
    """Fill the empty database at ``url`` as ``release`` did."""
    server.execute(_dump(release, "postgresql"), database=url.split("/")[3].split("?")[0])


def _dump(release: str, dialect: str) -> str:
    return Path(__file__).with_name(f"{release}.{dialect}.sql").read_text()
