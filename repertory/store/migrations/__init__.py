"""Migrations: how a store of any version ever released becomes one of the newest, by Alembic's operations.

https://alembic.sqlalchemy.org. Two things of Alembic's are left out:

* Its version table. `store_info` is the only one, since every released version reads it, and so refuses a store
  that a newer one has upgraded.
* Its global ``op``, which knows one database at a time, while two stores may be upgraded at once. The scripts in
  ``versions`` are given their operations.

A script never uses `repertory.store.tables`: what it makes stays as it was when it was released.
"""

from pathlib import Path

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection


def upgrade(connection: Connection, version: int) -> None:
    """Bring a store of ``version`` (0: an empty database) to the newest, within the transaction under way."""
    operations = Operations(MigrationContext.configure(connection))
    scripts = ScriptDirectory(Path(__file__).parent)
    since = f"{version:04}" if version else "base"
    for script in reversed(list(scripts.iterate_revisions("head", since))):
        script.module.upgrade(operations)
