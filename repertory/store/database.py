"""The store: an SQL database reached through SQLAlchemy's async Core.

SQLite (write-ahead log) is the default; its file survives ``kill -9`` at any moment.
"""

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Executable, Row, event, insert, inspect, make_url, select
from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from repertory.clock import SystemClock
from repertory.errors import ConfigError, StoreError, StoreTooNew
from repertory.store.tables import SCHEMA_VERSION, metadata, store_info
from repertory.store.writer import Values, Writer

PATIENCE = 30.0  # seconds to wait for another process that is at the same file


class Store:
    """One open database. Create it with `Store.open`, end it with `close`."""

    def __init__(self, engine: AsyncEngine, writer: Writer) -> None:
        self._engine = engine
        self._writer = writer

    @classmethod
    async def open(cls, location: str | Path) -> "Store":
        """Open, or create, the store at a SQLite file's path or an SQLAlchemy URL.

        Raises ConfigError if the location cannot be used and StoreTooNew if a newer version wrote it.
        """
        engine = _engine(location)
        clock = SystemClock()
        try:
            until = clock.monotonic() + PATIENCE
            while not await _prepared(engine, location, last_try=clock.monotonic() >= until):
                await clock.sleep(0.02)
        except SQLAlchemyError as error:
            await engine.dispose()
            raise ConfigError(
                f"store: cannot use {str(location)!r}: {getattr(error, 'orig', None) or error}",
                hint="Name a file in a writable directory, or delete the file if it is not a Repertory store.",
            ) from error
        except BaseException:
            await engine.dispose()
            raise
        return cls(engine, Writer(engine))

    def write(self, statement: Executable, values: Values) -> asyncio.Future[int]:
        """Execute ``statement`` with ``values``: at once in the queue, on disk when the future is done.

        The future raises StoreError if the write failed.
        """
        return self._writer.write(statement, values)

    def write_counted(self, statement: Executable, values: Values) -> asyncio.Future[int]:
        """As `write`; the future tells how many rows changed."""
        return self._writer.write_counted(statement, values)

    async def read(self, statement: Executable) -> Sequence[Row[Any]]:
        """All rows of a query. Raises StoreError."""
        try:
            async with self._engine.connect() as connection:
                return (await connection.execute(statement)).all()
        except SQLAlchemyError as error:
            raise StoreError(f"a read failed: {getattr(error, 'orig', None) or error}") from error

    async def close(self) -> None:
        """Commit what is pending and let go of the database."""
        try:
            await self._writer.close()
        finally:
            await self._engine.dispose()


def _engine(location: str | Path) -> AsyncEngine:
    url = _url(str(location))
    engine = create_async_engine(url, connect_args={"timeout": PATIENCE})
    event.listen(engine.sync_engine, "connect", _set_pragmas)
    return engine


def _url(location: str) -> URL:
    if "://" not in location:
        path = Path(location)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"store: cannot create the directory {str(path.parent)!r}: {error.strerror}",
                hint="Name a file in a writable directory.",
            ) from error
        return URL.create("sqlite+aiosqlite", database=str(path))
    try:
        url = make_url(location)
    except ArgumentError as error:
        raise ConfigError(
            f"store: {location!r} is not a database URL", hint="Write a file's path, such as repertory.db."
        ) from error
    if url.drivername != "sqlite+aiosqlite":
        raise ConfigError(
            f"store: {url.drivername!r} is not supported", hint="Write a SQLite file's path, such as repertory.db."
        )
    return url


def _set_pragmas(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    # FULL also survives a power cut; group commit shares its cost.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


async def _prepared(engine: AsyncEngine, location: str | Path, *, last_try: bool) -> bool:
    """Prepare the store; return whether that was done.

    Of several that switch the same new file to the write-ahead log at once, SQLite turns some away as busy
    without the patience it otherwise has.
    """
    try:
        await _prepare(engine, location)
    except OperationalError as error:
        if last_try or getattr(error.orig, "sqlite_errorcode", None) != sqlite3.SQLITE_BUSY:
            raise
        return False
    return True


async def _prepare(engine: AsyncEngine, location: str | Path) -> None:
    async with engine.begin() as connection:
        # Whoever comes first makes the tables; others that open the same new store wait for it.
        await connection.exec_driver_sql("BEGIN IMMEDIATE")
        tables = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
        if tables and store_info.name not in tables:
            raise ConfigError(
                f"store: {str(location)!r} is a database of something else (it has the table {tables[0]!r})",
                hint="Name another file; this one is left as it is.",
            )
        await connection.run_sync(store_info.create, checkfirst=True)
        version = (await connection.execute(select(store_info.c.schema_version))).scalar()
        if version is None:
            await connection.execute(insert(store_info), {"only_row": 1, "schema_version": SCHEMA_VERSION})
        elif version > SCHEMA_VERSION:
            raise StoreTooNew(
                f"store: {str(location)!r} has schema version {version}, this Repertory knows {SCHEMA_VERSION}",
                hint="Upgrade Repertory, or choose another store.",
            )
        await connection.run_sync(metadata.create_all)
