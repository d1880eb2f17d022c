"""An actor's state and its revisions, as one life sees them."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from repertory.errors import StoreError, StoreTooNew
from repertory.store import StateTable

ModelT = TypeVar("ModelT", bound=BaseModel)
Migrations = Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]


class Persistence(Generic[ModelT]):
    """The state of one life of the actor at ``path``.

    Invariant: ``state`` is what the store holds at ``_revision``, or the model's defaults before the first
    commit. Commits of one life run one after the other. Without a table nothing outlives the process.
    """

    def __init__(self, table: StateTable | None, path: str, model: type[ModelT], schema_version: int) -> None:
        self._table = table
        self._path = path
        self._model = model
        self._schema_version = schema_version
        self._revision = 0
        self._commit_order = asyncio.Lock()
        self.state: ModelT

    async def load(self, migrations: Migrations) -> None:
        """Read the last commit. Raises StoreTooNew for a newer schema, StoreError for one that does not fit."""
        stored = await self._table.load(self._path) if self._table is not None else None
        if stored is None:
            self.state = self._model()
            return
        if stored.schema_version > self._schema_version:
            raise StoreTooNew(
                f"{self._path}: its stored state has schema version {stored.schema_version}, "
                f"this program knows {self._schema_version}",
                hint="Run the newer program, or choose another store.",
            )
        try:
            data = orjson.loads(stored.data)
            for version in range(stored.schema_version, self._schema_version):
                if version not in migrations:
                    raise StoreError(f"{self._path}: no migration from schema version {version}")
                data = migrations[version](data)
            self.state = self._model.model_validate(data)
        except (orjson.JSONDecodeError, ValidationError) as error:
            raise StoreError(
                f"{self._path}: its stored state does not fit {self._model.__name__}: {error}",
                hint="Raise schema_version and add a migration when a state's model changes.",
            ) from error
        self._revision = stored.revision

    async def commit(self, state: ModelT) -> None:
        """Save ``state``. Raises StaleState if another life has committed since this one loaded.

        A write on its way cannot be called back: a caller that is cancelled meanwhile hears of it afterwards.
        """
        async with self._commit_order:
            if self._table is None:
                self.state = state
                return
            saving = asyncio.ensure_future(
                self._table.save(self._path, self._revision, self._schema_version, state.model_dump_json())
            )
            cancelled: asyncio.CancelledError | None = None
            while not saving.done():
                try:
                    await asyncio.wait({saving})
                except asyncio.CancelledError as error:
                    cancelled = error
            try:
                self._revision = saving.result()
                self.state = state
            finally:
                if cancelled is not None:
                    raise cancelled
