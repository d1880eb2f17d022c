"""How fast turns come, to tell those who ask whether theirs can come in time."""

import math
from collections import deque

from repertory.clock import Clock

REMEMBERED = 32  # turns the pace is taken over
NEEDED = 4  # from fewer nothing is foretold


class Pace:
    """The pace at which waiting calls got their turns lately.

    A forecast by which a call is refused must err to the hopeful side. The pace is therefore taken two standard
    errors above the one seen (of ``n`` turns that come by chance the number is uncertain by its root), and silence
    after the last turn does not slow it: the next turns may all come at once.

    Invariant: ``_times`` holds, oldest first, when the latest turns were given to waiting calls, all of them since
    there last was nobody waiting.
    """

    __slots__ = ("_clock", "_times")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._times: deque[float] = deque(maxlen=REMEMBERED + 1)

    def note(self) -> None:
        """A waiting call got its turn."""
        self._times.append(self._clock.monotonic())

    def forget(self) -> None:
        """Nobody waits: how long it takes until the next turn says nothing about the pace."""
        self._times.clear()

    def seconds_for(self, turns: int) -> float:
        """About how long that many turns take; 0 if too few were seen to tell."""
        seen = len(self._times) - 1
        return turns * self._seconds() / seen if seen >= NEEDED else 0.0

    def at_least_for(self, turns: int) -> float:
        """How long that many turns take if things go well; 0 if too few were seen to tell."""
        seen = len(self._times) - 1
        return turns * self._seconds() / (seen + 2 * math.sqrt(seen)) if seen >= NEEDED else 0.0

    def _seconds(self) -> float:
        return self._times[-1] - self._times[0]
