"""Restart intensity: how many restarts a supervisor tolerates before it gives up.

Semantics: Erlang/OTP ``supervisor``, "Maximum Restart Intensity".
"""

from collections import deque
from dataclasses import dataclass, field

from repertory.clock import Clock


@dataclass(slots=True)
class RestartIntensity:
    """A sliding window over the times of past restarts.

    Invariant: after ``record``, ``_times`` holds, oldest first, exactly the restarts younger than ``period``.

    Args:
        limit: Restarts tolerated within ``period``; 0 gives up at the first one.
        period: Length of the window in seconds, above 0.
    """

    limit: int
    period: float
    clock: Clock
    _times: deque[float] = field(default_factory=deque)

    def record(self) -> bool:
        """Count one restart; return whether it is still within the limit."""
        now = self.clock.monotonic()
        self._times.append(now)
        # A restart exactly `period` old has left the window, as in OTP.
        while self._times[0] <= now - self.period:
            self._times.popleft()
        return len(self._times) <= self.limit
