"""The file of a SQLite store: whether its path still leads to it."""

import os
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """A file that was opened, by its path and by what stays the same if the path comes to lead elsewhere.

    A file without its path goes on taking writes until it is closed, and is then gone with all of them.
    """

    path: bytes
    device: int
    inode: int

    @classmethod
    def at(cls, path: bytes) -> "OpenedFile":
        """The file that ``path`` leads to now. Raises OSError."""
        found = os.stat(path)
        return cls(path, found.st_dev, found.st_ino)

    def is_in_place(self) -> bool:
        """Whether its path leads to it."""
        try:
            return OpenedFile.at(self.path) == self
        except OSError:
            return False


async def file_of(engine: AsyncEngine) -> OpenedFile | None:
    """The file of a database; None for one that a server keeps, or memory."""
    if engine.dialect.name != "sqlite":
        return None
    async with engine.connect() as connection:
        # As bytes: a path need not be UTF-8. It is absolute, and stays right where the process changes directory.
        main = "SELECT CAST(file AS BLOB) FROM pragma_database_list WHERE name = 'main'"
        path: bytes = (await connection.exec_driver_sql(main)).scalar_one()
    return OpenedFile.at(path) if path else None
