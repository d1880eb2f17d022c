"""What a circuit breaker hands to its successor when its owner is restarted."""

from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeGuard

Forced: TypeAlias = Literal["open", "closed"]

REASON_LENGTH = 200  # characters of a reason that are kept at most
END_OF_TIME = 1e12  # seconds; what lies beyond it, infinity and NaN included, was not written by a breaker


@dataclass(frozen=True, slots=True)
class BreakerMemory:
    """The part of a breaker's state that outlives it: plain values, as ``dataclasses.asdict`` gives them to JSON.

    Times are wall-clock, since the monotonic clock dies with the machine's uptime or the process. A half-open
    circuit is remembered as open with its interval over: the permits of its probes died with their calls, and the
    successor probes anew.

    The closed state's outcomes are not kept. They are minutes old at most, and a restart is often what mended the
    fault; writing each of them down would put the store on every call's path. What is lost is little: an
    endpoint that is still ill opens the circuit again after ``minimum_volume`` calls.

    Attributes:
        forced: What an operator forced it to be; None if it decides for itself.
        open_until: When it may probe, in seconds since the Unix epoch; None if it was closed or forced.
        interval: Length of the last open interval without its jitter, in seconds; a failed probe doubles it.
        reason: Why it is open, in words; "" if it is not.
    """

    forced: Forced | None
    open_until: float | None
    interval: float
    reason: str

    @classmethod
    def parse(cls, value: object) -> "BreakerMemory | None":
        """Read what ``asdict`` wrote; None if it is damaged, for a breaker then starts anew."""
        match value:
            case {
                "forced": None | "open" | "closed" as forced,
                "open_until": until,
                "interval": interval,
                "reason": str(reason),
            } if (until is None or _are_seconds(until)) and _are_seconds(interval):
                return cls(forced, until, interval, in_short(reason))
        return None


def in_short(reason: str) -> str:
    """``reason`` on one line and of bounded length."""
    line = " ".join(reason.split())
    return line if len(line) <= REASON_LENGTH else f"{line[: REASON_LENGTH - 3]}..."


def _are_seconds(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < END_OF_TIME
