"""The registry: actors by name and in groups.

Semantics: Elixir ``Registry`` and Erlang ``pg``. An entry is a life's, not a path's: it goes when the life
ends, and the next life makes it anew (``started`` is the place). Passivation is no end.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from repertory.actors.bonds import bonds_of
from repertory.actors.message import Message
from repertory.errors import ActorDown, ActorError, DeadlineExceeded, NameTaken

if TYPE_CHECKING:
    from repertory.actors.cell import Cell
    from repertory.actors.ref import ActorRef


@dataclass(frozen=True, slots=True)
class Joined(Message[None]):
    """To a watcher: an actor is now known by this name, or a member of this group."""

    key: str
    ref: "ActorRef"
    kind: Literal["name", "group"]


@dataclass(frozen=True, slots=True)
class Left(Message[None]):
    """To a watcher: an actor is not known by this name, or a member of this group, any more."""

    key: str
    ref: "ActorRef"
    kind: Literal["name", "group"]


@dataclass(eq=False, slots=True)
class _Entries:
    """What the registry holds of one life, in the order in which it came."""

    names: dict[str, None] = field(default_factory=dict)
    groups: dict[str, None] = field(default_factory=dict)
    watches: dict[str, None] = field(default_factory=dict)


class Registry:
    """Names (one actor each) and groups (any number).

    Invariant: every entry belongs to a life that has not ended; an actor is in a group at most once. Each
    change is made, and each answer given, in one step: nothing can come between.
    """

    def __init__(self) -> None:
        self._names: dict[str, Cell] = {}
        self._groups: dict[str, dict[Cell, None]] = {}
        self._watchers: dict[str, dict[Cell, None]] = {}
        self._awaited: dict[str, list[asyncio.Future[ActorRef]]] = {}
        self._entries: dict[Cell, _Entries] = {}

    # --- names ---

    def register(self, name: str, ref: "ActorRef") -> None:
        """Let the actor be found by ``name`` while its present life lasts. Raises NameTaken, ActorDown."""
        cell = _cell_of(ref)
        holder = self._names.get(name)
        if holder is not None and holder is not cell:
            raise NameTaken(f"the name {name!r} is taken by {holder.path}", hint="Unregister it there first.")
        if holder is None:
            self._names[name] = cell
            self._of(cell).names[name] = None
            self._announce(Joined(name, cell.ref, "name"))
            for waiting in self._awaited.pop(name, ()):
                if not waiting.done():
                    waiting.set_result(cell.ref)

    def unregister(self, name: str) -> None:
        """Forget ``name``, if it is known."""
        if (cell := self._names.pop(name, None)) is not None:
            del self._entries[cell].names[name]
            self._announce(Left(name, cell.ref, "name"))

    def whereis(self, name: str) -> "ActorRef | None":
        """The actor of this name, if there is one."""
        cell = self._names.get(name)
        return cell.ref if cell is not None else None

    async def wait_for(self, name: str, *, timeout: float | None = 5.0) -> "ActorRef":
        """The actor of this name, as soon as there is one. Raises DeadlineExceeded after ``timeout`` seconds."""
        if (known := self.whereis(name)) is not None:
            return known
        waiting: asyncio.Future[ActorRef] = asyncio.get_running_loop().create_future()
        self._awaited.setdefault(name, []).append(waiting)
        try:
            async with asyncio.timeout(timeout):
                return await waiting
        except TimeoutError:
            raise DeadlineExceeded(f"no actor was registered as {name!r} within {timeout:g} s") from None
        finally:
            if waiting in (others := self._awaited.get(name, [])):
                others.remove(waiting)
                if not others:
                    del self._awaited[name]

    # --- groups ---

    def join(self, group: str, ref: "ActorRef") -> None:
        """Make the actor a member while its present life lasts. Raises ActorDown."""
        cell = _cell_of(ref)
        members = self._groups.setdefault(group, {})
        if cell not in members:
            members[cell] = None
            self._of(cell).groups[group] = None
            self._announce(Joined(group, cell.ref, "group"))

    def leave(self, group: str, ref: "ActorRef") -> None:
        """Make it a member no more, if it is one."""
        cell = ref.find_cell()
        if cell is not None and cell in self._groups.get(group, ()):
            del self._entries[cell].groups[group]
            self._announce(self._leave(group, cell))

    def members(self, group: str) -> "tuple[ActorRef, ...]":
        """The members, in the order they joined."""
        return tuple(cell.ref for cell in self._groups.get(group, ()))

    def broadcast(self, group: str, message: Message[Any]) -> int:
        """Tell every member; return how many did not refuse it. One whose mailbox is full stops nobody else.

        One that drops messages when its mailbox is full refuses none.
        """
        told = 0
        for ref in self.members(group):
            with suppress(ActorError):  # reported where it was refused
                ref.tell(message)
                told += 1
        return told

    # --- watching ---

    def watch(self, key: str, watcher: "ActorRef") -> "tuple[ActorRef, ...]":
        """Tell ``watcher`` of later changes of this name or group, by `Joined` and `Left`; return who is there."""
        cell = _cell_of(watcher)
        self._watchers.setdefault(key, {})[cell] = None
        self._of(cell).watches[key] = None
        named = self._names.get(key)
        return ((named.ref,) if named is not None else ()) + self.members(key)

    def unwatch(self, key: str, watcher: "ActorRef") -> None:
        """Tell it no more."""
        cell = watcher.find_cell()
        if cell is not None and cell in self._watchers.get(key, ()):
            del self._entries[cell].watches[key]
            self._unwatch(key, cell)

    def forget(self, cell: "Cell") -> None:
        """The life in ``cell`` has ended."""
        entries = self._entries.pop(cell, None)
        if entries is None:
            return
        for key in entries.watches:
            self._unwatch(key, cell)
        changes = []
        for name in entries.names:
            del self._names[name]
            changes.append(Left(name, cell.ref, "name"))
        changes += [self._leave(group, cell) for group in entries.groups]
        # Last: telling a passivated watcher begins a life, whose code must find nothing half done.
        for change in changes:
            self._announce(change)

    def _of(self, cell: "Cell") -> _Entries:
        entries = self._entries.get(cell)
        if entries is None:
            entries = self._entries[cell] = _Entries()
            bonds_of(cell).registered = True
        return entries

    def _leave(self, group: str, cell: "Cell") -> Left:
        members = self._groups[group]
        del members[cell]
        if not members:
            del self._groups[group]
        return Left(group, cell.ref, "group")

    def _unwatch(self, key: str, cell: "Cell") -> None:
        watchers = self._watchers[key]
        del watchers[cell]
        if not watchers:
            del self._watchers[key]

    def _announce(self, change: Joined | Left) -> None:
        # A copy: telling a passivated watcher begins a life, and where that fails, ends what it watched.
        for watcher in list(self._watchers.get(change.key, ())):
            watcher.signal(change)


def _cell_of(ref: "ActorRef") -> "Cell":
    cell = ref.find_cell()
    if cell is None or (cell.life is None and cell.starting is None and not cell.passivated):
        raise ActorDown(f"{ref.path} has no life", hint="Register or join in `started`.")
    return cell
