"""One timer of the loop for the waits of many tasks at a time, nearly all of which end long before their deadline.

``asyncio.timeout`` sets a timer for each wait and takes it back again; here entering and leaving cost a dict's.
"""

import asyncio
import math


class LateWaits:
    """Cancels a task that still waits at its deadline.

    Invariant: while a task waits, the loop's timer is set for ``_set_for``, which is no later than any deadline in
    ``_until``.
    """

    __slots__ = ("_handle", "_late", "_set_for", "_until")

    def __init__(self) -> None:
        self._until: dict[asyncio.Task[object], float] = {}
        self._late: set[asyncio.Task[object]] = set()
        self._set_for = math.inf
        self._handle: asyncio.TimerHandle | None = None

    def enter(self, seconds: float) -> "asyncio.Task[object]":
        """The present task waits from now on, for ``seconds`` at most; return it."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None
        until = self._until[task] = loop.time() + seconds
        if until < self._set_for:
            self._set(loop, until)
        return task

    def leave(self, task: "asyncio.Task[object]") -> bool:
        """``task`` waits no more; return whether it is the deadline that ended its wait."""
        del self._until[task]
        if task not in self._late:
            return False
        self._late.discard(task)
        return task.uncancel() == 0

    def _set(self, loop: asyncio.AbstractEventLoop, until: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._set_for = until
        self._handle = loop.call_at(until, self._go_off)

    def _go_off(self) -> None:
        loop = asyncio.get_running_loop()
        # Not compared with the present: loops call a little early, within the resolution of their clock.
        for task, until in self._until.items():
            if until <= self._set_for and task not in self._late:
                self._late.add(task)
                task.cancel()
        waiting = [until for task, until in self._until.items() if task not in self._late]
        self._set_for, self._handle = math.inf, None
        if waiting:
            self._set(loop, min(waiting))
