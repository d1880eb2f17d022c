"""Timers: messages that an actor sends itself, later or again and again."""

import asyncio
from copy import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from repertory.actors.life import Life
    from repertory.actors.message import Message


class Timer:
    """A message that is due at some time, in the life that asked for it.

    Invariants: of a repeated message at most one waits to be handled; after ``cancel``, and after the end of
    the life, it is not handled any more.

    A single message is handled before those that wait. A repeated one takes its turn behind them: where handling
    takes longer than the period, nothing else would ever be handled.
    """

    __slots__ = ("_due", "_every", "_handle", "_life", "_message")

    def __init__(self, life: "Life", message: "Message[Any]", seconds: float, every: float | None) -> None:
        if not seconds >= 0 or (every is not None and not every > 0):
            raise ValueError(f"timer: seconds = {seconds!r}; it must be 0 or more, above 0 where repeated")
        self._life = life
        self._message = copy(message)  # an object of its own, to be known again among those that wait
        self._every = every
        self._due = life.cell.system.loop.time() + seconds
        self._handle: asyncio.TimerHandle | None = life.cell.system.loop.call_at(self._due, self._fire)

    @property
    def active(self) -> bool:
        """Whether it will fire (again)."""
        return self._handle is not None

    def cancel(self) -> None:
        """Do not fire any more, and take back the message if it still waits."""
        self._stop()
        if not self._life.ended:
            self._life.cell.retract(self._message)

    def _fire(self) -> None:
        cell = self._life.cell
        if self._life.ended:  # started by what the life did last
            self._stop()
        elif self._every is None:
            self._stop()
            cell.signal(self._message)
        else:
            # The next time is reckoned from the last one, not from now: periods do not drift.
            loop = cell.system.loop
            missed = max(0.0, loop.time() - self._due) // self._every
            self._due += (missed + 1) * self._every
            self._handle = loop.call_at(self._due, self._fire)
            if not cell.holds(self._message):
                cell.defer(self._message)

    def _stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
            if self._life.timers is not None:
                self._life.timers.discard(self)


def start(life: "Life", message: "Message[Any]", seconds: float, *, every: float | None) -> Timer:
    """A timer that ends with ``life``."""
    timer = Timer(life, message, seconds, every)
    if life.timers is None:
        life.timers = set()
    life.timers.add(timer)
    return timer
