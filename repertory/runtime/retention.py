"""Retention: how long a store keeps what has ended, and the actor that clears away the rest.

A run that has not ended is kept whatever the policy. By default so is everything else: nothing is lost unless
somebody asked for it. The file of a SQLite store does not shrink: what was freed is used again by later writes.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import Final, Self

from repertory.actors import Actor
from repertory.clock import Clock
from repertory.errors import StoreError
from repertory.events import PruningFailed, RunsPruned
from repertory.runtime.config import RetentionConfig
from repertory.runtime.old_runs import CONTENTS, RUNS, OldRuns

DAY: Final = 86_400.0
SLACK: Final = 3600.0  # seconds between contents' last use and what a run says it began, whichever clocks tell
FIRST: Final = 60.0  # seconds after the start within which the first pass begins
INTERVAL: Final = 3600.0  # seconds from one pass to the next, more or less
JITTER: Final = 0.1  # of the interval: processes that share a store take turns
BREATH: Final = 0.05  # seconds between two removals, for the writes of others


@dataclass(frozen=True, slots=True)
class Retention:
    """What is kept of ended runs.

    Attributes:
        keep_seconds: For how long after its end a run is kept; None: for ever.
        keep_runs: How many ended runs are kept at most, the latest; None: all.
        compact_after: For how long after its end the whole log of a run is kept; None: for ever.
    """

    keep_seconds: float | None = None
    keep_runs: int | None = None
    compact_after: float | None = None

    @classmethod
    def configured(cls, config: RetentionConfig) -> Self:
        """The policy that a configuration asks for."""
        keep, compact = config.keep_days, config.compact_days
        return cls(
            None if keep is None else keep * DAY,
            config.keep_runs,
            None if compact is None else compact * DAY,
        )

    @property
    def keeps_all(self) -> bool:
        """Whether nothing is ever to be cleared away."""
        return self.keep_seconds is None and self.keep_runs is None and self.compact_after is None

    def removes_before(self, now: float, end_of_latest: float | None) -> float | None:
        """The time such that the runs which ended before it can go; None: none can.

        Args:
            end_of_latest: When the last of the ``keep_runs`` latest runs ended; None if there are not that many.
        """
        bounds = [] if self.keep_seconds is None else [now - self.keep_seconds]
        if self.keep_runs is not None and end_of_latest is not None:
            bounds.append(end_of_latest)
        return max(bounds, default=None)

    def compacts_before(self, now: float) -> float | None:
        """The time such that the logs of runs which ended before it can be shortened; None: none can."""
        return None if self.compact_after is None else now - self.compact_after


def unused_before(now: float, oldest_acceptance: float | None) -> float:
    """The time such that contents not used since can go.

    A run puts everything it refers to, and so refreshes when that was used, when it is accepted or later. What was
    last used before the oldest of all runs was accepted is therefore referred to by none.
    """
    return (now if oldest_acceptance is None else min(now, oldest_acceptance)) - SLACK


async def prune(old: OldRuns, retention: Retention, clock: Clock) -> RunsPruned:
    """Clear away what ``retention`` does not keep, in many small transactions. Raises StoreError."""
    removed = await _remove_runs(old, retention, clock)
    compacted = 0
    if (before := retention.compacts_before(clock.time())) is not None:
        compacted = await _compact(old, before, clock)
    unused = unused_before(clock.time(), await old.oldest_acceptance())
    return RunsPruned(removed, compacted, await _repeat(old.remove_contents_before, unused, CONTENTS, clock))


async def _remove_runs(old: OldRuns, retention: Retention, clock: Clock) -> int:
    latest = None if retention.keep_runs is None else await old.end_of_latest(retention.keep_runs)
    before = retention.removes_before(clock.time(), latest)
    return 0 if before is None else await _repeat(old.remove_ended_before, before, RUNS, clock)


async def _repeat(remove: Callable[[float], Awaitable[int]], before: float, most: int, clock: Clock) -> int:
    """Remove what there is from before a time, where one call of ``remove`` removes ``most`` of it."""
    removed = latest = await remove(before)
    while latest == most:
        await clock.sleep(BREATH)
        removed += (latest := await remove(before))
    return removed


async def _compact(old: OldRuns, before: float, clock: Clock) -> int:
    compacted = 0
    runs = await old.uncompacted(before)
    while runs:
        for run in runs:
            compacted += await old.compact(run, clock.time())
        if len(runs) < RUNS:
            break
        await clock.sleep(BREATH)
        runs = await old.uncompacted(before, after=runs[-1])
    return compacted


class RetentionKeeper(Actor[None]):
    """Clears away what is not to be kept, once an hour and soon after the start.

    Where the store fails, that is told, and tried again an hour later: it is not worth the life of a runtime.
    Several processes at one store may each have one: they take different rows.
    """

    def __init__(self, old: OldRuns, retention: Retention, rng: Random) -> None:
        self._old = old
        self._retention = retention
        self._rng = rng

    async def started(self) -> None:
        """Begin to look after the store."""
        self.background(self._prune_for_ever())

    async def _prune_for_ever(self) -> None:
        clock = self.system.clock
        await clock.sleep(self._rng.uniform(0, FIRST))
        while True:
            await self._prune()
            await clock.sleep(INTERVAL * self._rng.uniform(1 - JITTER, 1 + JITTER))

    async def _prune(self) -> None:
        hooks = self.system.hooks
        try:
            pruned = await prune(self._old, self._retention, self.system.clock)
        except StoreError as error:
            if hooks:
                hooks.emit(PruningFailed(error))
            return
        if hooks and (pruned.removed or pruned.compacted or pruned.contents):
            hooks.emit(pruned)
