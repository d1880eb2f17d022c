"""An actor's state and its revisions, as one life sees them."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Generic, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json, to_json

from repertory.errors import StaleState, StoreError, StoreTooNew
from repertory.store import MemoryStates, States, StoredEvent

ModelT = TypeVar("ModelT", bound=BaseModel)
Migrations = Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]


class EventLog(Generic[ModelT]):
    """The events an actor may record, and what they do to its state.

    An event is stored as ``{"NameOfItsType": {...its fields...}}``, which is also what migrations get: a
    renamed type is a migration that renames the key.
    """

    __slots__ = ("apply", "migrations", "snapshot_every", "types")

    def __init__(
        self, types: Any, apply: Callable[[ModelT, Any], ModelT], migrations: Migrations, snapshot_every: int
    ) -> None:
        if snapshot_every < 1:
            raise ValueError(f"snapshot_every = {snapshot_every!r}; it must be 1 or more")
        members = _members(types)
        self.types = {member.__name__: member for member in members}
        if len(self.types) < len(members):
            raise TypeError(f"two of the declared events have the same name: {types}")
        self.apply = apply
        self.migrations = migrations
        self.snapshot_every = snapshot_every

    def dump(self, event: BaseModel) -> str:
        """``event`` as it is stored. Raises TypeError unless its type was declared, ValueError as `_dump`."""
        name = type(event).__name__
        if self.types.get(name) is not type(event):
            raise TypeError(f"{name} is not a declared event; declared: {', '.join(self.types)}")
        return f'{{"{name}":{_dump(event, type(event))}}}'

    def read(self, path: str, stored: StoredEvent, schema_version: int) -> BaseModel:
        """The event of the actor at ``path`` that was stored. Raises StoreTooNew, StoreError."""
        try:
            data = _migrated(
                from_json(stored.data),
                stored.schema_version,
                schema_version,
                self.migrations,
                f"{path}: a stored event",
            )
            ((name, fields),) = data.items()
            return self.types[name].model_validate_json(to_json(fields))
        except (KeyError, AttributeError, ValueError) as error:  # JSON and validation errors are ValueErrors
            raise StoreError(
                f"{path}: a stored event fits none of {', '.join(self.types)}: {error}",
                hint="Raise schema_version and add an event migration when an event's model changes.",
            ) from error


class Persistence(Generic[ModelT]):
    """The state of one life of the actor at ``path``.

    Invariants:
    * ``state`` is what the store holds at ``_revision``, or the model's defaults before the first write.
    * It is the newest snapshot with the events after it applied in order, now and whenever it is loaded,
      provided that ``apply`` is pure and that models survive being written as JSON and read again. What would
      not even be read again is never written.
    * Writes of one life run one after the other, and each compares the revision: a life that another one has
      overtaken, in this process or elsewhere, raises StaleState and changes nothing. A life that was left
      behind in this process raises it from `fence` on, before its replacement has written anything.
    * Where a commit's outcome is unknown (a broken connection) ``state`` stays as it was; if the write did take
      place, the next one raises StaleState, and the next life begins from it.

    Args:
        states: Where states are kept; None keeps this one for this life alone.
        events: The type, or union of types, of the events that `record` takes; None: there are none.
        apply: What an event makes of a state; pure.
        event_migrations: For each older schema version, the pure step of an event's JSON to the next one.
        snapshot_every: Events after which the whole state is saved in place of the last of them.
    """

    __slots__ = (
        "_fenced",
        "_log",
        "_model",
        "_path",
        "_revision",
        "_schema_version",
        "_since_snapshot",
        "_states",
        "_turn",
        "_writers",
        "state",
    )

    def __init__(
        self,
        states: States | None,
        path: str,
        model: type[ModelT],
        schema_version: int,
        *,
        events: Any = None,
        apply: Callable[[ModelT, Any], ModelT] | None = None,
        event_migrations: Migrations | None = None,
        snapshot_every: int = 100,
    ) -> None:
        self._states = states if states is not None else MemoryStates()
        self._path = path
        self._model = model
        self._schema_version = schema_version
        self._log: EventLog[ModelT] | None = None
        if events is not None:
            if apply is None:
                raise TypeError(f"{path}: it declares events, but not what they do: apply is missing")
            self._log = EventLog(events, apply, event_migrations or {}, snapshot_every)
        self._revision = 0
        self._since_snapshot = 0  # events
        self._fenced = False
        self._turn: asyncio.Lock | None = None  # while there are writers
        self._writers = 0
        self.state: ModelT

    async def load(self, migrations: Migrations) -> None:
        """Read what was written last; without a database this does not suspend.

        Raises StoreTooNew for a newer schema, StoreError for a state or event that does not fit.
        """
        stored = await self._states.load(self._path)
        if stored is None:
            self.state = self._model()
            return
        if stored.data is None:
            self.state = self._model()
        else:
            self._restore(stored.data, stored.schema_version, migrations)
        for event in stored.events:
            self._replay(event)
        self._since_snapshot = len(stored.events)
        self._revision = stored.revision

    async def commit(self, state: ModelT) -> None:
        """Save ``state``. Raises StaleState if another life has committed since this one loaded, StoreError.

        Raises TypeError for what is no state of this actor, and ValueError for a state that could not be read
        again (built without validation, or holding what JSON cannot tell): nothing is written then.

        A write on its way cannot be called back: a caller that is cancelled meanwhile hears of it afterwards.
        """
        await self._write(lambda: self._save(state))

    async def record(self, event: BaseModel) -> None:
        """Append ``event`` to the log, then apply it to the state; as `commit` otherwise.

        Raises TypeError unless its type was declared, ValueError for an event that could not be read again, and
        whatever ``apply`` raises: nothing is written then.
        """
        log = self._log
        if log is None:
            raise TypeError(f"{self._path}: it declares no events")
        await self._write(lambda: self._append(log, event))

    def fence(self) -> None:
        """This life has been left behind: refuse whatever it still wants to write.

        What it began to write before is not called back: it belongs to what its replacement loads.
        """
        self._fenced = True

    async def _write(self, begin: Callable[[], "_Write[ModelT]"]) -> None:
        """Begin a write when it is its turn; once it is on disk, take over the state it leads to."""
        turn = self._turn = self._turn or asyncio.Lock()
        self._writers += 1
        try:
            async with turn:
                if self._fenced:
                    raise StaleState(f"{self._path}: this life was left behind; its state belongs to another one")
                write = begin()
                cancelled: asyncio.CancelledError | None = None
                while not write.done.done():
                    try:
                        await asyncio.wait({write.done})
                    except asyncio.CancelledError as error:
                        cancelled = error
                try:
                    self._revision = write.done.result()
                    self.state = write.state
                    self._since_snapshot = write.since_snapshot
                finally:
                    if cancelled is not None:
                        raise cancelled
        finally:
            self._writers -= 1
            if not self._writers:
                self._turn = None

    def _append(self, log: EventLog[ModelT], event: BaseModel) -> "_Write[ModelT]":
        dumped = log.dump(event)
        state = self._applied(log, event)
        since_snapshot = self._since_snapshot + 1
        if since_snapshot >= log.snapshot_every:
            return self._save(state)  # the event is in it, and would be removed at once
        done = self._states.append(self._path, self._revision, self._schema_version, dumped)
        return _Write(state, done, since_snapshot)

    def _save(self, state: ModelT) -> "_Write[ModelT]":
        if not isinstance(state, self._model):
            got = type(state).__name__
            raise TypeError(f"{self._path}: its state is a {self._model.__name__}, it would commit a {got}")
        dumped = _dump(state, self._model)
        return _Write(state, self._states.save(self._path, self._revision, self._schema_version, dumped), 0)

    def _applied(self, log: EventLog[ModelT], event: BaseModel) -> ModelT:
        state = log.apply(self.state, event)
        if not isinstance(state, self._model):
            got = type(state).__name__
            raise TypeError(f"{self._path}: apply must return a {self._model.__name__}, it returned a {got}")
        return state

    def _replay(self, stored: StoredEvent) -> None:
        if self._log is None:
            raise StoreError(
                f"{self._path}: it has stored events, but this program declares none",
                hint="Run the program that recorded them, or declare them again.",
            )
        event = self._log.read(self._path, stored, self._schema_version)
        try:
            self.state = self._applied(self._log, event)
        except Exception as error:
            raise StoreError(
                f"{self._path}: a stored {type(event).__name__} cannot be applied again: {error!r}",
                hint="apply must accept every event that it accepted once.",
            ) from error

    def _restore(self, data: str | bytes, schema_version: int, migrations: Migrations) -> None:
        what = f"{self._path}: its stored state"
        try:
            if schema_version != self._schema_version:
                migrated = _migrated(from_json(data), schema_version, self._schema_version, migrations, what)
                data = to_json(migrated)
            self.state = self._model.model_validate_json(data)
        except ValueError as error:  # JSON and validation errors
            raise StoreError(
                f"{self._path}: its stored state does not fit {self._model.__name__}: {error}",
                hint="Raise schema_version and add a migration when a state's model changes.",
            ) from error


@dataclass(frozen=True, slots=True)
class _Write(Generic[ModelT]):
    """A write on its way, and what holds once it is done."""

    state: ModelT
    done: asyncio.Future[int]
    since_snapshot: int


def _members(declared: Any) -> list[type[BaseModel]]:
    """The types in a union, or the one type."""
    if get_origin(declared) is Annotated:
        return _members(get_args(declared)[0])
    if get_origin(declared) in (Union, UnionType):
        return [member for each in get_args(declared) for member in _members(each)]
    return [declared]


def _dump(model: BaseModel, read_as: type[BaseModel]) -> str:
    """``model`` as JSON. Raises ValueError unless it will be read again: it could be neither loaded nor left."""
    dumped = model.model_dump_json(by_alias=True, round_trip=True, warnings=False)  # what they warn of is refused
    try:
        read_as.model_validate_json(dumped)
    except ValidationError as error:
        raise ValueError(f"this {type(model).__name__} could not be read again: {error}") from error
    return dumped


def _migrated(data: Any, written: int, known: int, migrations: Migrations, what: str) -> Any:
    """``data`` of the schema version ``written``, brought step by step to the one ``known``."""
    if written > known:
        raise StoreTooNew(
            f"{what} has schema version {written}, this program knows {known}",
            hint="Run the newer program, or choose another store.",
        )
    for version in range(written, known):
        if version not in migrations:
            raise StoreError(
                f"{what} has schema version {written}, and there is no migration from schema version {version}",
                hint="Add one; where nothing changed, one that returns what it is given.",
            )
        data = migrations[version](data)
    return data
