"""A store has one schema, new or upgraded: by Alembic's comparison, and by all that the database tells."""

from collections.abc import Callable

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect
from sqlalchemy.engine.interfaces import ReflectedColumn

from repertory.store import Store
from repertory.store.location import engine_at
from repertory.store.migrations import upgrade
from repertory.store.tables import SCHEMA_VERSION, metadata, store_info
from tests.store.conftest import new_location


async def test_an_upgraded_store_has_the_schema_of_a_new_one(
    released: tuple[str, str], location_like: Callable[[str], str]
) -> None:
    upgraded = await schema_at(released[1])
    assert upgraded == await schema_at(location_like(released[1]))


async def test_all_migrations_one_after_another_make_the_schema_of_a_new_store(location: str) -> None:
    engine = engine_at(location)
    async with engine.begin() as connection:
        await connection.run_sync(upgrade, 0)
        await connection.execute(store_info.insert(), {"only_row": 1, "schema_version": SCHEMA_VERSION})
    await engine.dispose()
    await schema_at(location)


@pytest.fixture
def location_like(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Where a new store of the same kind may be made."""

    def new(location: str) -> str:
        if "://" not in location:
            return location + ".new"
        return new_location("postgresql", request)

    return new


async def schema_at(location: str) -> object:
    """The schema of the store, which is that of the tables as they are defined."""
    await (await Store.open(location)).close()
    engine = engine_at(location)
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
        schema = await connection.run_sync(reflected)
    await engine.dispose()
    return schema


def differences(connection: Connection) -> object:
    context = MigrationContext.configure(connection, opts={"compare_server_default": True})
    return compare_metadata(context, metadata)


def reflected(connection: Connection) -> object:
    """All that the database tells, also of the keys, which Alembic does not compare; but no order of columns."""

    def described(column: ReflectedColumn) -> object:
        return str(column["type"]), column["nullable"], column["default"]

    found = inspect(connection)
    return {
        table: (
            {column["name"]: described(column) for column in found.get_columns(table)},
            found.get_pk_constraint(table),
            found.get_foreign_keys(table),
            sorted((index["name"], index["column_names"]) for index in found.get_indexes(table)),
        )
        for table in found.get_table_names()
    }
