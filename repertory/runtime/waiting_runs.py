"""Runs that wait on disk for a place: until a process has room for one, it is nobody's and costs no memory."""

import asyncio
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Final

from repertory.providers.messages import Priority
from repertory.runtime.memory_levels import shed
from repertory.runtime.terms_json import terms_from_json
from repertory.store.run_rows import StoredRun

if TYPE_CHECKING:
    from repertory.runtime.journal import Journal
    from repertory.runtime.runtime import Runtime

IN_ORDER: Final[tuple[Priority, ...]] = ("interactive", "normal", "batch")


def rank(priority: Priority) -> int:
    """Where runs of this priority come among those that wait, the lowest first."""
    return IN_ORDER.index(priority)


class RunPlaces:
    """How many submitted runs may be under way in this process, and whether others wait for that.

    Invariant: at most ``most`` places are taken. While ``some_wait`` a new run gets none: it waits in its turn.

    Attributes:
        some_wait: Whether runs wait on disk, as far as this process knows.
    """

    __slots__ = ("_most", "_taken", "some_wait")

    def __init__(self, most: int) -> None:
        self.some_wait = False
        self._most = most
        self._taken = 0

    @property
    def free(self) -> int:
        """Places that nobody has."""
        return self._most - self._taken

    def take(self) -> bool:
        """Take a place for a new run; False where it has to wait."""
        if self.some_wait or self._taken >= self._most:
            return False
        self._taken += 1
        return True

    def take_for(self, waiting: int) -> int:
        """Take places for up to so many runs that waited; return how many there were."""
        taken = min(waiting, self.free)
        self._taken += taken
        return taken

    def leave(self) -> None:
        """Give a place back."""
        self._taken -= 1


class WaitingRuns:
    """Gives runs that wait the places that are free, in the order of their priority and then of their acceptance.

    Runs whose process has died wait again. For one caller at a time.
    """

    def __init__(self, runtime: "Runtime", places: RunPlaces) -> None:
        self._runtime = runtime
        self._places = places
        self._interrupted: set[str] = set()

    def interrupted(self, id: str) -> None:
        """A run of this process has no outcome, as the store failed: it is to go on later."""
        self._interrupted.add(id)

    def goes_on(self, id: str) -> None:
        """A run of this process goes on after all."""
        self._interrupted.discard(id)

    async def let_go(self, id: str) -> None:
        """Let a run of this process wait, as there is no place for it. Raises StoreError."""
        assert self._runtime.journal is not None
        await self._runtime.journal.table.let_go([id])
        self._places.some_wait = True

    async def collect(self, programs: Collection[str]) -> None:
        """Let the runs of ``programs`` wait that nobody executes any more. Raises StoreError."""
        journal = self._runtime.journal
        if journal is None:
            return
        owners = await journal.table.owners(programs) - {journal.owner}
        for owner in await journal.gone(owners):
            await journal.table.release(owner)
        interrupted = {*self._interrupted}
        await journal.table.let_go(interrupted)
        self._interrupted -= interrupted

    async def take(self) -> list[StoredRun]:
        """The runs that get a place now, as many as there are places; they are this process's from now on.

        Their inputs may refer to contents. Raises StoreError.
        """
        journal, places = self._runtime.journal, self._places
        if journal is None or not (room := places.free):
            return []
        places.some_wait = False  # a run that comes to wait while this looks says so itself
        try:
            first = await self._first(journal, room)
            admitted = [run for run in first if not shed(_priority_of(run), self._runtime.memory.level)]
            chosen = admitted[: places.take_for(len(admitted))]
            if len(first) > len(chosen) or len(first) == room:
                places.some_wait = True
            return await self._made_own(journal, chosen)
        except BaseException:
            places.some_wait = True
            raise

    async def _first(self, journal: "Journal", most: int) -> list[StoredRun]:
        found: list[StoredRun] = []
        for program in [*self._runtime.deployments]:
            found += await journal.table.waiting(program, most)
        found.sort(key=lambda run: (rank(_priority_of(run)), run.accepted_at))
        return found[:most]

    async def _made_own(self, journal: "Journal", runs: Iterable[StoredRun]) -> list[StoredRun]:
        """Those of ``runs`` that no other process was quicker to take; the places of the others are free again."""
        left = {run.id: run for run in runs}
        own: list[StoredRun] = []
        try:
            mine = await asyncio.gather(*map(journal.take_over, left.values()))
            own = [run for run, is_mine in zip(left.values(), mine, strict=True) if is_mine]
        except BaseException:
            self._interrupted |= left.keys()  # some may be ours now
            raise
        finally:
            for _ in range(len(left) - len(own)):
                self._places.leave()
        return own


def _priority_of(run: StoredRun) -> Priority:
    return terms_from_json(run.terms).priority
