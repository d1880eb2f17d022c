"""The schema of a store that is being opened: recognised, made where there is none, upgraded where it is older."""

from sqlalchemy import delete, func, insert, inspect, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from repertory.errors import ConfigError, StoreTooNew
from repertory.store.tables import SCHEMA_VERSION, metadata, store_info

_OPENING = 0x7265706572746F72  # the advisory lock of whoever makes or upgrades the tables: "repertor" in ASCII


async def prepare(engine: AsyncEngine, name: str) -> None:
    """See to it that the database has the newest schema, in one transaction: a store is upgraded or untouched.

    Whoever comes first makes or upgrades the tables; others that open the same store wait for it.
    Raises ConfigError if ``name`` is no store, StoreTooNew, and what the driver raises.
    """
    async with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            await connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            await connection.execute(select(func.pg_advisory_xact_lock(_OPENING)))
        version = await _version(connection, name)
        if version > SCHEMA_VERSION:
            raise StoreTooNew(
                f"store: {name} has schema version {version}, this Repertory knows {SCHEMA_VERSION}",
                hint="Upgrade Repertory, or choose another store.",
            )
        if version == 0:
            await connection.run_sync(metadata.create_all)
        elif version < SCHEMA_VERSION:
            # Only here: importing Alembic takes longer than opening a store.
            from repertory.store.migrations import upgrade

            await connection.run_sync(upgrade, version)
        # Anew even where it is the same: what cannot be written must not be found out by the first run. An
        # update to the same value would not do, SQLite leaves a page alone that stays as it is.
        await connection.execute(delete(store_info))
        await connection.execute(insert(store_info), {"only_row": 1, "schema_version": SCHEMA_VERSION})


async def _version(connection: AsyncConnection, name: str) -> int:
    """The version of the store's schema; 0 for an empty database. Raises ConfigError where it is no store."""
    tables = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
    if not tables:
        return 0
    another = "file" if connection.dialect.name == "sqlite" else "database"
    if store_info.name not in tables:
        raise ConfigError(
            f"store: {name} is a database of something else (it has the table {tables[0]!r})",
            hint=f"Name another {another}; this one is left as it is.",
        )
    # All columns: in a table of something else that has this name, the one that is wanted may be missing.
    rows = (await connection.execute(select(text("*")).select_from(store_info))).mappings().all()
    version = rows[0].get("schema_version") if len(rows) == 1 else None
    if not isinstance(version, int) or version < 1:
        raise ConfigError(
            f"store: {name} does not say which schema version it has (in its table {store_info.name!r})",
            hint=f"If it was a store, restore a backup; if not, name another {another}. It is left as it is.",
        )
    return version
