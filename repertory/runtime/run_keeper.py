"""The actor that owns the runs which were submitted: each is a task of its own, until it has its outcome."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from repertory.actors import Actor, Exit, Message, handles
from repertory.errors import StoreError
from repertory.runtime.live_run import LiveRun

if TYPE_CHECKING:
    from repertory.runtime.runs import Runs

LOOK_INTERVAL = 1.0  # seconds between two looks for what other processes have said to runs
SWEEP_INTERVAL = 10.0  # seconds between two looks for runs whose process has died


@dataclass(frozen=True, slots=True)
class Begin(Message[None]):
    """Bring this run to its outcome."""

    run: LiveRun


@dataclass(frozen=True, slots=True)
class Look(Message[None]):
    """See what has been said to the runs."""


@dataclass(frozen=True, slots=True)
class Sweep(Message[None]):
    """See whether there are runs whose process has died."""


class RunKeeper(Actor[None]):
    """Owns the tasks of submitted runs. A new life goes on with those that the one before had begun."""

    def __init__(self, runs: "Runs", closing: Callable[[], bool]) -> None:
        self._runs = runs
        self._closing = closing

    async def started(self) -> None:
        """Go on with what an earlier life had begun."""
        for run in [*self._runs.live.values()]:
            if not run.outcome.done():
                self.background(self._perform(run))
        self.send_every(LOOK_INTERVAL, Look())
        self.send_every(SWEEP_INTERVAL, Sweep())

    async def stopping(self, exit: Exit) -> None:
        """Where there is no next life, tell those who wait."""
        if self._closing():
            self._runs.close()

    @handles(Begin)
    async def begin(self, message: Begin) -> None:
        """Begin a run."""
        self.background(self._perform(message.run))

    @handles(Look)
    async def look(self, message: Look) -> None:
        """Hand on what was said to the runs."""
        try:
            await self._runs.deliver()
        except StoreError:
            return  # the next look will do; that the store fails is told by those who write to it

    @handles(Sweep)
    async def sweep(self, message: Sweep) -> None:
        """Take up runs whose process has died."""
        try:
            for run in await self._runs.orphans():
                self.background(self._perform(run))
        except StoreError:
            return  # as above

    async def _perform(self, run: LiveRun) -> None:
        try:
            await run.perform()
        finally:
            if run.outcome.done():  # else the next life goes on with it
                self._runs.ended(run)
