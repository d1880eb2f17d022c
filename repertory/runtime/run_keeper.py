"""The actor that owns the runs which were submitted: each is a task of its own, until it has its outcome."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from repertory.actors import Actor, Exit, Message, handles
from repertory.errors import StoreError
from repertory.runtime.live_run import LiveRun

if TYPE_CHECKING:
    from repertory.runtime.live_runs import LiveRuns

LOOK_INTERVAL = 1.0  # seconds between two looks for what other processes have said to runs
SWEEP_INTERVAL = 10.0  # seconds between two looks for runs whose process has died


@dataclass(frozen=True, slots=True)
class Begin(Message[None]):
    """There are runs to be begun, or places for some that wait."""


@dataclass(frozen=True, slots=True)
class Look(Message[None]):
    """See what has been said to the runs."""


@dataclass(frozen=True, slots=True)
class Sweep(Message[None]):
    """See whether there are runs whose process has died."""


class RunKeeper(Actor[None]):
    """Owns the tasks of submitted runs. A new life goes on with those that the one before had begun."""

    def __init__(self, runs: "LiveRuns", closing: Callable[[], bool]) -> None:
        self._runs = runs
        self._closing = closing

    async def started(self) -> None:
        """Go on with what an earlier life had begun."""
        self._runs.begun()  # they are among those
        for run in [*self._runs.by_id.values()]:
            if not run.outcome.done():
                self.background(self._perform(run))
        if self._runs.table is not None:
            self.background(self._runs.awaited.watch(self._runs.table, self.system.clock))
        self.send_every(LOOK_INTERVAL, Look())
        self.send_every(SWEEP_INTERVAL, Sweep())

    async def stopping(self, exit: Exit) -> None:
        """Where there is no next life, tell those who wait."""
        if self._closing():
            self._runs.close()

    @handles(Begin)
    async def begin(self, message: Begin) -> None:
        """Begin runs."""
        self._perform_begun()
        await self._begin_waiting()

    @handles(Look)
    async def look(self, message: Look) -> None:
        """Hand on what was said to the runs, and begin those that wait, if there is room again."""
        with suppress(StoreError):  # the next look will do; that the store fails is told by those who write to it
            await self._runs.deliver()
        await self._begin_waiting()

    @handles(Sweep)
    async def sweep(self, message: Sweep) -> None:
        """Have the runs go on whose process has died, and those that wait for whoever has room."""
        with suppress(StoreError):  # as above
            await self._runs.collect()
        await self._begin_waiting(whoever=True)

    async def _begin_waiting(self, *, whoever: bool = False) -> None:
        with suppress(StoreError):  # as above
            await self._runs.begin_waiting(whoever=whoever)
        self._perform_begun()

    def _perform_begun(self) -> None:
        for run in self._runs.begun():
            self.background(self._perform(run))

    async def _perform(self, run: LiveRun) -> None:
        try:
            await run.perform()
        finally:
            if run.outcome.done():  # else the next life goes on with it
                self._runs.end(run)
