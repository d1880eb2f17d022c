"""The children of a supervisor, as cells: begun, ended, forgotten and described, one at a time.

Which of them, and when, is `Supervisor`'s to say.
"""

import asyncio
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from repertory.actors import SHUTDOWN, Actor, ActorInfo, Cell, Exit, Timer
from repertory.errors import ActorDown, NameTaken
from repertory.supervisors.child import ChildSpec
from repertory.supervisors.decision import Restarts
from repertory.supervisors.messages import ChildInfo


@dataclass(slots=True, eq=False)
class Record:
    """What is noted about a child that has ended at least once.

    Attributes:
        restarts: How often it was tried to start it again.
        streak: Restarts in a row, for the back-off.
        restarted_at: When its present life began, on the clock; None: it was not restarted, or could not be.
    """

    restarts: int = 0
    last_error: BaseException | None = None
    streak: int = 0
    restarted_at: float | None = None


class Parent(Actor[None], ABC):
    """An actor that has children.

    Invariants: ``_cells`` and the specs of ``_restarts`` have the same ids in the same order, but in the middle of
    a step; the cell of a child that is stopped for good is closed; ``_retries`` are of children without a life.
    """

    stays: ClassVar[bool] = True
    has_children: ClassVar[bool] = True

    def __init__(self) -> None:
        self._cells: dict[str, Cell] = {}
        self._records: dict[str, Record] = {}  # of those children that have ended at least once
        self._supervisors: set[str] = set()  # ids of those children that have children themselves
        self._retries: dict[str, Timer | None] = {}  # restarts that are due later, and what they wait for
        self._prefix = ""  # of the children's paths
        self._restarts: Restarts

    def children_info(self) -> tuple[ActorInfo, ...]:
        """The children and all below them, seen from outside: nothing waits for this actor's turn."""
        return tuple(self._info_of(id, cell) for id, cell in self._cells.items())

    # --- beginning ---

    async def _add(self, id: str, spec: ChildSpec) -> Cell:
        """Start a further child. Raises NameTaken, StartFailed."""
        if id in self._cells:
            raise NameTaken(
                f"{self.path} has a child {id!r} already",
                hint="Give each child its own id."
                if self._restarts.standing(id) != "stopped"
                else "It is stopped: send RestartChild to start it, or DeleteChild to forget it.",
            )
        cell = self._cells[id] = self.system.new_cell(self._prefix + id, spec, self)
        self._restarts.add(id, spec)
        try:
            await self._start(id, cell)
        except BaseException:
            self._forget(id)
            raise
        return cell

    async def _begin(self, id: str) -> None:
        """Begin another life of a child. Raises StartFailed, NameTaken."""
        self._drop_retry(id)
        cell = self._cells[id]
        if cell.closed:  # it was stopped for good
            old = cell
            cell = self.system.new_cell(old.path, self._restarts.specs[id], self)
            cell.incarnation = old.incarnation
            self._cells[id] = cell
        await self._start(id, cell)

    async def _start(self, id: str, cell: Cell) -> None:
        if await cell.start():
            self._restarts.started(id)
        elif self._restarts.stopped(id):
            cell.close()
        else:
            self._forget(id)

    @abstractmethod
    def child_ended(self, cell: Cell, exit: Exit) -> None:
        """A child's life has ended by itself."""

    def has_supervisor(self, id: str) -> None:
        """The child ``id`` has begun, and is itself a supervisor."""
        self._supervisors.add(id)

    # --- ending ---

    async def _terminate(self, id: str) -> None:
        """Stop a child; it stays known unless it is temporary."""
        retried = self._drop_retry(id)
        cell = self._cells[id]
        try:
            await self._end_child(cell)
        finally:
            if not cell.has_life:  # else this supervisor is itself being stopped, and stops it with the others
                cell.close()
                if not self._restarts.stopped(id):
                    self._forget(id)
                if retried and not self._retries:
                    self._call_off()

    async def _end_sibling(self, id: str, *, for_good: bool) -> None:
        """End a child's life because that of another has ended."""
        await self._end_child(self._cells[id])
        if for_good:
            self._forget(id)

    async def _end_child(self, cell: Cell) -> None:
        """End a child's life within its own time, and at once if whoever asked for that is gone."""
        try:
            await cell.end(SHUTDOWN, patience_of(cell))
        except asyncio.CancelledError:
            if self._life.exit is None:
                await cell.end(SHUTDOWN, 0)
            raise

    def _forget(self, id: str) -> None:
        """``id`` is no child any more; its name is free."""
        self._drop_retry(id)
        self._cells.pop(id).close()
        self._supervisors.discard(id)
        self._records.pop(id, None)
        if id in self._restarts.specs:
            self._restarts.remove(id)

    def _drop_retry(self, id: str) -> bool:
        """Call off the restart of ``id`` that is due later; return whether there was one."""
        if id not in self._retries:
            return False
        timer = self._retries.pop(id)
        if timer is not None:
            timer.cancel()
        return True

    def _call_off(self) -> None:
        """The restart of a group is called off: those of it that wait to be started are stopped for good."""
        for id in self._restarts.call_off():
            self._cells[id].close()

    async def _stop_children(self) -> None:
        """Stop all children, the last one first."""
        for id in list(self._retries):
            self._drop_retry(id)
        try:
            if not self._life.forced:
                for id, cell in reversed(list(self._cells.items())):
                    await cell.end(SHUTDOWN, patience_of(cell))
                    cell.close()
                    del self._cells[id]
        finally:
            await self._kill_children()

    async def _kill_children(self) -> None:
        """Only a stop that is itself cut short leaves children: they must not outlive their supervisor."""
        cells = list(self._cells.values())
        try:
            for cell in cells:
                cell.force(Exit("error", ActorDown(f"{self.path} was killed")))
            for cell in cells:
                await cell.end(SHUTDOWN, 0)
        finally:
            for cell in cells:
                cell.close()

    def _record_of(self, id: str) -> Record:
        """What is noted about the child ``id``."""
        record = self._records.get(id)
        if record is None:
            record = self._records[id] = Record()
        return record

    # --- what can be seen of them ---

    def _describe(self, id: str, cell: Cell) -> ChildInfo:
        record = self._records.get(id)
        standing = self._restarts.standing(id)
        kind: Literal["worker", "supervisor"] = "supervisor" if id in self._supervisors else "worker"
        return ChildInfo(
            id,
            cell.path,
            kind,
            "passivated" if standing == "running" and cell.passivated else standing,
            record.restarts if record is not None else 0,
            cell.load,
            record.last_error if record is not None else None,
        )

    def _info_of(self, id: str, cell: Cell) -> ActorInfo:
        record = self._records.get(id)
        standing = self._restarts.standing(id)
        state = None  # what the cell says: it has a life, or rests
        if cell.life is None and not cell.passivated and (cell.starting is None or standing == "restarting"):
            # One whose end this supervisor has not come to yet is about to be restarted, as far as anybody knows.
            state = "restarting" if standing == "running" else standing
        return cell.info(
            state=state,
            restarts=record.restarts if record is not None else 0,
            last_error=record.last_error if record is not None else None,
            children=children_of(cell),
        )


def children_of(cell: Cell) -> tuple[ActorInfo, ...]:
    """The children of the actor in ``cell``, if it has any."""
    life = cell.life or cell.starting
    actor = life.actor if life is not None else None
    return actor.children_info() if isinstance(actor, Parent) else ()


def patience_of(cell: Cell) -> float | None:
    """Seconds the child in ``cell`` may take to stop; None: as long as it takes; 0: it is killed."""
    assert isinstance(cell.spec, ChildSpec)
    return cell.spec.patience(supervisor=cell.has_children)
