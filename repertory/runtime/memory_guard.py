"""The actor that keeps the process from running out of memory."""

import asyncio
import gc
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Final, TypeAlias

from repertory.actors import Actor
from repertory.events import MemoryFreed, MemoryLevelChanged, WorkRefused, WorkShed
from repertory.providers.messages import Priority
from repertory.runtime.memory_levels import Level, MemoryLevels, Reading
from repertory.runtime.memory_trim import trim

Shrink: TypeAlias = Callable[[float], int | None]
"""Gives up a share (0..1) of what a cache holds, the least valuable first; returns the bytes, if it knows them."""

End: TypeAlias = Callable[[Priority], int]
"""Ends work under way of a priority and of those below it; returns how much there was."""

LOOK_INTERVAL = 1.0  # seconds from one look to the next
SHARES: Final = MappingProxyType({"normal": 0.0, "high": 0.1, "critical": 0.5})
"""Of what caches hold and of the actors without work, what is given up with each look at a level."""


class MemoryGuard(Actor[None]):
    """Looks at the memory once a second, and does what the level asks for.

    While memory is short it has the caches shrink and passivates actors without work; the levels refuse new work
    meanwhile, and tell when what is under way must be ended. All of it is told by events.

    Args:
        levels: Survives this actor's lives; who begins work asks it.
        read: Tells the memory.
        caches: Asked to shrink, each by the same share.
        end: Ends work under way.
        give_back: Gives what was freed back to the system; called in a thread.
    """

    def __init__(
        self,
        levels: MemoryLevels,
        read: Callable[[], Reading | None],
        *,
        caches: Sequence[Shrink] = (),
        end: End,
        give_back: Callable[[], None] = trim,
    ) -> None:
        self._levels = levels
        self._read = read
        self._caches = caches
        self._end = end
        self._give_back = give_back

    async def started(self) -> None:
        """Look, before anything is begun, and from then on."""
        self._look()
        self.background(self._watch())

    async def _watch(self) -> None:
        while True:
            if self._levels.level != "normal":
                await asyncio.to_thread(self._give_back)
            await self.system.clock.sleep(LOOK_INTERVAL)
            self._look()

    def _look(self) -> None:
        self._tell_refusals()
        before = self._levels.level
        after = self._levels.take(self._read())
        if after != before:
            self._tell_change(before, after)
            if after == "critical":
                gc.collect()  # what only cycles hold is not waited for
        if after != "normal":
            self._free(SHARES[after])
        if (priority := self._levels.next_to_end()) is not None:
            self._shed(priority)

    def _free(self, share: float) -> None:
        freed = sum(shrink(share) or 0 for shrink in self._caches)
        actors = self.system.passivate_idle(share)
        if (freed or actors) and (hooks := self.system.hooks):
            hooks.emit(MemoryFreed(freed, actors))

    def _shed(self, priority: Priority) -> None:
        ended = self._end(priority)
        if ended and (hooks := self.system.hooks):
            hooks.emit(WorkShed(priority, ended))

    def _tell_change(self, before: Level, after: Level) -> None:
        if hooks := self.system.hooks:
            reading = self._levels.reading
            used, limit = (reading.used, reading.limit) if reading is not None else (None, None)
            hooks.emit(MemoryLevelChanged(before, after, used, limit))

    def _tell_refusals(self) -> None:
        turned_away = self._levels.turned_away()
        if turned_away and (hooks := self.system.hooks):
            interactive, normal, batch = (turned_away.get(each, 0) for each in ("interactive", "normal", "batch"))
            hooks.emit(WorkRefused(self._levels.level, interactive, normal, batch))
