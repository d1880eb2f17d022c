"""Where a store is: from what the user wrote to an SQLAlchemy engine.

PostgreSQL is reached through asyncpg (extra ``postgres``), SQLite through aiosqlite, or through sqlite3 where
there is a thread to wait in.
"""

from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, NullPool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from repertory.errors import ConfigError

PATIENCE = 30.0  # seconds to wait for others: whoever is at the same file or row, a server that gives no answer
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",  # also survives a power cut; group commit shares its cost
    "foreign_keys=ON",
    "temp_store=MEMORY",  # where an INSERT keeps what it selects: a fifth of its time
    "wal_autocheckpoint=4000",  # pages, 16 MB: what is written often is copied once
)
_POSTGRESQL = ("postgresql+asyncpg", "postgresql", "postgres")


def engine_at(location: str | Path) -> AsyncEngine:
    """The engine for a SQLite file's path or a database URL. Raises ConfigError."""
    url = _url(str(location))
    if url.get_backend_name() == "sqlite":
        engine = create_async_engine(url, connect_args={"timeout": PATIENCE})
        event.listen(engine.sync_engine, "connect", _set_pragmas)
        return engine
    try:
        return create_async_engine(
            url,
            # Where a row has just been changed by another, its newest revision is what a save compares with.
            isolation_level="READ COMMITTED",
            connect_args={"timeout": PATIENCE, "command_timeout": PATIENCE},
        )
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"store: PostgreSQL needs the package {error.name}", hint="Run: pip install 'repertory[postgres]'"
        ) from error


def direct_engine(engine: AsyncEngine) -> Engine:
    """An engine for the file of a SQLite ``engine``, for whoever has a thread to wait in."""
    direct = create_engine(
        engine.url.set(drivername="sqlite"), connect_args={"timeout": PATIENCE}, poolclass=NullPool
    )
    event.listen(direct, "connect", _set_pragmas)
    return direct


def shown(location: str | Path) -> str:
    """``location`` as it may be shown: without a password."""
    text = str(location)
    if "://" not in text:
        return repr(text)
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        return repr(f"{text.partition('://')[0]}://...")
    # A query may hold a password too.
    without_query = url.set(query={}).render_as_string(hide_password=True)
    host = url.query.get("host")
    return f"{without_query!r} at {host!r}" if host else repr(without_query)


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
    hint = "Write a file's path, such as repertory.db, or postgresql://user@host/database."
    try:
        url = make_url(location)
    except (ArgumentError, ValueError):
        # Not `from error`: its text quotes the whole of it, password and all.
        raise ConfigError(f"store: {shown(location)} is not a database URL", hint=hint) from None
    if url.drivername in _POSTGRESQL:
        return _for_asyncpg(url)
    if url.drivername != "sqlite+aiosqlite":
        raise ConfigError(f"store: {url.drivername!r} is not supported", hint=hint)
    return url


def _for_asyncpg(url: URL) -> URL:
    """asyncpg calls libpq's ``sslmode`` ``ssl``."""
    query = {"ssl" if name == "sslmode" else name: value for name, value in url.query.items()}
    return url.set(drivername=_POSTGRESQL[0], query=query)


def _set_pragmas(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
