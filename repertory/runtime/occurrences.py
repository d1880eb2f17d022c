"""Occurrences: how often the content of a row has come before, counted exactly and on disk."""

import sqlite3
from collections import Counter
from collections.abc import Sequence
from typing import Self

from repertory.errors import StoreError

STATEMENT = 256  # contents counted by one statement, at most


class Occurrences:
    """Counts contents, given by their SHA-256 in hexadecimal.

    Invariant: what `number` says of a content is how often it was given before, earlier in the same call included.

    The counts are in a private database that SQLite keeps in a temporary file without a name, of which 2 MB are
    held in memory (https://www.sqlite.org/inmemorydb.html#temp_db): some 60 bytes of disk a content, however many
    there are. Meant for one thread at a time, not always the same one. Use it as a context manager.
    """

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        # Nothing is ever rolled back: after an error no number would be right any more.
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute(
            "CREATE TABLE occurrences (content BLOB PRIMARY KEY, times INTEGER NOT NULL) WITHOUT ROWID"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._database.close()

    def number(self, contents: Sequence[str]) -> list[int]:
        """How often each content has come before. Raises StoreError if the disk refuses the counts."""
        numbers: list[int] = []
        for start in range(0, len(contents), STATEMENT):
            numbers += self._number([bytes.fromhex(content) for content in contents[start : start + STATEMENT]])
        return numbers

    def _number(self, contents: Sequence[bytes]) -> list[int]:
        given = Counter(contents)
        try:
            rows = self._database.execute(
                f"INSERT INTO occurrences VALUES {', '.join(['(?, ?)'] * len(given))} "
                "ON CONFLICT DO UPDATE SET times = times + excluded.times RETURNING content, times",
                [value for pair in given.items() for value in pair],
            ).fetchall()
        except sqlite3.Error as error:
            raise StoreError(
                f"the occurrences of rows cannot be counted: {error}",
                hint="Free some space in the directory for temporary files, or name another one in SQLITE_TMPDIR.",
            ) from error
        following = {content: times - given[content] for content, times in rows}
        numbers = []
        for content in contents:
            numbers.append(following[content])
            following[content] += 1
        return numbers
