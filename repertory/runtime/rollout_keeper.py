"""The actor that looks after rollouts: it has them go on, and stops versions that are out of use."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from repertory.actors import Actor, Message, handles
from repertory.runtime.releases import Releases

LOOK_INTERVAL = 1.0  # seconds


@dataclass(frozen=True, slots=True)
class Watch(Message[None]):
    """A program has more than one version now."""


class RolloutKeeper(Actor[None]):
    """Takes a look at every program with several versions once a second, while there is one.

    Args:
        programs: The releases by the program's name; looked at anew each time.
    """

    def __init__(self, programs: Mapping[str, Releases[Any]]) -> None:
        self._programs = programs
        self._watching: asyncio.Task[None] | None = None

    async def started(self) -> None:
        """Go on where the life before this one ended."""
        await self.watch(Watch())

    @handles(Watch)
    async def watch(self, message: Watch) -> None:
        """Look until all programs have one version."""
        if self._watching is None or self._watching.done():
            self._watching = self.background(self._watch())

    async def _watch(self) -> None:
        while unsettled := [each for each in self._programs.values() if not each.settled]:
            await self.system.clock.sleep(LOOK_INTERVAL)
            for releases in unsettled:
                releases.look()
            for releases in unsettled:
                await releases.stop_idle()
