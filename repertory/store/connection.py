"""Connections that are lost and come back: what a restart of the database server looks like from here."""

import sqlite3

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from repertory.clock import Clock

RECONNECTING = 20.0  # seconds a server may be away before what waits for it fails
PAUSE = 0.05  # seconds between two attempts


async def connect(engine: AsyncEngine, clock: Clock) -> AsyncConnection:
    """A connection, waiting a while for a server that is away. Raises what the last attempt raised."""
    until = clock.monotonic() + RECONNECTING
    while True:
        try:
            return await engine.connect()
        except Exception as error:
            if not is_away(error) or clock.monotonic() >= until:
                raise
        await clock.sleep(PAUSE)


def is_away(error: BaseException) -> bool:
    """Whether the server could not be reached or ended the connection: another attempt may succeed."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    return isinstance(error, OSError) or sql_state(error).startswith(("08", "57P"))


def is_starting(error: BaseException) -> bool:
    """Whether the database is about to be ready.

    A PostgreSQL server says so as it starts. Of several that switch the same new file to the write-ahead log
    at once, SQLite turns some away as busy without the patience it otherwise has.
    """
    return sqlite_code(error) == sqlite3.SQLITE_BUSY or sql_state(error) == "57P03"


def sql_state(error: BaseException) -> str:
    """The five characters by which PostgreSQL names an error, "" where there are none."""
    return getattr(getattr(error, "orig", None) or error, "sqlstate", None) or ""


def sqlite_code(error: BaseException) -> int | None:
    """SQLite's primary result code, None where there is none."""
    code = getattr(getattr(error, "orig", None) or error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF  # what is above tells more about the same
