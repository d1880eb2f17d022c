"""Who may rest: runners without work lose their task, actors without work their object.

One sweep a second looks at all that have a task; nothing is done for this per message.
"""

import asyncio
import heapq
import math
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING

from repertory.actors.message import Message
from repertory.clock import Clock

if TYPE_CHECKING:
    from repertory.actors.cell import Cell
    from repertory.actors.runner import Runner

SWEEP = 1.0  # seconds
SHARE = 0.1  # of those that may be passivated, taken at a time while memory is short


class Idle(Message[None]):
    """To an actor from its system: nothing has come for ``idle_after`` seconds."""

    __slots__ = ()


class Resting:
    """Cells without work, by how long they may stay so.

    Invariant: each group holds cells of one patience, in the order in which they came to rest.
    """

    __slots__ = ("_groups",)

    def __init__(self) -> None:
        self._groups: dict[float, dict[Cell, float]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._groups.values()))

    def add(self, cell: "Cell", patience: float, now: float) -> None:
        """``cell`` has come to rest ``now`` and may stay for ``patience`` seconds."""
        self._groups.setdefault(patience, {})[cell] = now

    def discard(self, cell: "Cell", patience: float) -> None:
        """``cell`` has something to do, or is no more."""
        if (group := self._groups.get(patience)) is not None and group.pop(cell, None) is not None and not group:
            del self._groups[patience]

    def due(self, now: float) -> "list[Cell]":
        """Those that have rested as long as they may."""
        due: list[Cell] = []
        for patience, group in self._groups.items():
            for cell, since in group.items():
                if since + patience > now:
                    break
                due.append(cell)
        return due

    def longest(self, number: int) -> "list[Cell]":
        """The ``number`` of them that have rested longest, without those that may not be passivated now."""
        in_order = heapq.merge(*(group.items() for group in self._groups.values()), key=lambda entry: entry[1])
        return list(islice((cell for cell, _ in in_order if cell.dispensable), number))


class Residents:
    """The actors of one system that have a task or an object they may lose.

    Args:
        limit: How many actors that may be passivated keep their objects at most, as far as they have nothing
            to do; None: any number.
        memory_limit: Bytes of the process above which those at rest are passivated early; None: no limit.
        memory: Tells the bytes now.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        *,
        limit: int | None,
        memory_limit: int | None,
        memory: Callable[[], int],
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._limit = limit
        self._memory_limit = memory_limit
        self._memory = memory
        self._busy: dict[Runner, None] = {}  # in the order in which they got their tasks
        self._resting = Resting()
        self._count = 0
        self._relieving = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def count(self) -> int:
        """Actors that may be passivated and are not."""
        return self._count

    def works(self, runner: "Runner") -> None:
        """``runner`` has a task now."""
        life = runner.life
        if (patience := life.cell.spec.passivate_after) is not None:
            self._resting.discard(life.cell, patience)
        stays = runner is life.lead and life.actor.has_stopping
        # A lead that must stay and never idles has no use of being looked at.
        if not stays or patience is not None or life.actor.idle_after is not None:
            self._busy[runner] = None
            self._arm()

    def leaves(self, runner: "Runner") -> None:
        """``runner`` has no task any more."""
        self._busy.pop(runner, None)

    def rests(self, cell: "Cell", patience: float) -> None:
        """``cell`` has no task; its object may be dropped after ``patience`` seconds."""
        self._resting.add(cell, patience, self._clock.monotonic())
        self._arm()
        self._relieve()

    def came(self) -> None:
        """An actor that may be passivated has begun a life."""
        self._count += 1
        self._relieve()

    def went(self, cell: "Cell", patience: float) -> None:
        """Its life has ended."""
        self._count -= 1
        self._resting.discard(cell, patience)

    def passivate(self, share: float) -> int:
        """Passivate ``share`` (0..1) of those that may be, the longest at rest first; return how many went.

        It is one at least, if any may go: by and by a share of few comes to nothing.
        """
        return self._passivate(max(1, int(self._count * share))) if self._count else 0

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(SWEEP, self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        for runner in list(self._busy):
            if runner.parked is not None:
                self._look_at(runner, now)
        for cell in self._resting.due(now):
            cell.passivate()
        if self._memory_limit is not None and self._count and self._memory() > self._memory_limit:
            self.passivate(SHARE)
        self._relieve()  # some may have come to rest with their tasks, of which nobody is told
        if self._busy or len(self._resting):
            self._arm()

    def _look_at(self, runner: "Runner", now: float) -> None:
        """A runner that has been parked since the last sweep, without a message in between, may rest."""
        if runner.seen is not runner.parked:
            runner.seen = runner.parked
            runner.seen_at = now
            return
        life = runner.life
        idle_for = now - runner.seen_at
        after = life.actor.idle_after
        if after is not None and runner is life.lead and not runner.idled:
            if idle_for >= after and len(life.runners) == 1:
                runner.tell_idle()
        elif runner is not life.lead or not life.actor.has_stopping:
            runner.rest()
        elif (patience := life.cell.spec.passivate_after) is not None and idle_for >= patience:
            life.cell.passivate()

    def _relieve(self) -> None:
        """See that no more than the limit stay; not at once, since this may be called from within a start."""
        if self._limit is not None and self._count > self._limit and not self._relieving:
            self._relieving = True
            self._loop.call_soon(self._relieve_now)

    def _relieve_now(self) -> None:
        self._relieving = False
        if self._limit is not None and (excess := self._count - self._limit) > 0:  # it may have fallen since
            self._passivate(excess)

    def _passivate(self, number: int) -> int:
        """Passivate ``number`` of them, as far as so many may go; return how many went."""
        going = self._resting.longest(number)
        for cell in going:
            cell.passivate()
        gone = len(going)
        for runner in sorted(self._busy, key=_parked_at) if gone < number else ():
            cell = runner.life.cell
            if cell.spec.passivate_after is not None and cell.dispensable:
                cell.passivate()
                gone += 1
            if gone >= number:
                break
        return gone


def _parked_at(runner: "Runner") -> float:
    """When it was first seen without work, on the clock; later than all others where it has not been."""
    return runner.seen_at if runner.parked is not None and runner.seen is runner.parked else math.inf


def resident_bytes() -> int:
    """The process's resident memory, in bytes."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * 4096
