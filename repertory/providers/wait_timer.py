"""One timer of the loop for many waits, one after the other.

A stream waits for every token with a bound, and nearly every wait is soon over: to set a timer and cancel it each
time, as ``asyncio.timeout`` does, costs more than to read the token. Here the timer stays set when a wait ends,
and looks when it goes off how long the present wait may last.
"""

import asyncio
import math
from collections.abc import Callable


class WaitTimer:
    """Calls ``expire`` when a wait lasts too long: ``begin`` each wait, ``end`` it, and ``close`` in the end.

    Invariant: while a wait goes on, the loop's timer is set for ``_set_for``, which is no later than ``_until``,
    the end of the wait's time. Between waits ``_until`` is infinite.
    """

    __slots__ = ("_expire", "_handle", "_loop", "_set_for", "_until")

    def __init__(self, expire: Callable[[], None]) -> None:
        self._expire = expire
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None
        self._set_for = math.inf
        self._until = math.inf

    def begin(self, seconds: float) -> None:
        """A wait begins that may last ``seconds``."""
        self._until = self._loop.time() + seconds
        if self._until < self._set_for:
            self._set()

    def end(self) -> None:
        """The wait is over."""
        self._until = math.inf

    def close(self) -> None:
        """No wait will follow; the timer is taken back."""
        self._until = self._set_for = math.inf
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _set(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._set_for = self._until
        self._handle = self._loop.call_at(self._until, self._go_off)

    def _go_off(self) -> None:
        # Not compared with the present: loops call a little early, within the resolution of their clock.
        late = self._until <= self._set_for
        self._handle, self._set_for = None, math.inf
        if late:
            self._until = math.inf
            self._expire()
        elif self._until < math.inf:
            self._set()
