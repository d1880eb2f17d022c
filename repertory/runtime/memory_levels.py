"""How short memory is, in three levels, and which work is begun, refused or ended at each.

New work is refused by its importance before anything is ended that is under way: "Handling Overload", Site
Reliability Engineering (Beyer et al., O'Reilly 2016), chapter 21.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from repertory.clock import Clock
from repertory.errors import ConfigError, Overloaded
from repertory.providers.messages import Priority

Level: TypeAlias = Literal["normal", "high", "critical"]

LEVELS: Final[tuple[Level, ...]] = ("normal", "high", "critical")
PRIORITIES: Final[tuple[Priority, ...]] = ("batch", "normal", "interactive")  # the first to go first
SHED_IN_TURN: Final[tuple[Priority, ...]] = ("batch", "normal")
SOONEST = 1.0  # seconds until repeating makes sense, at least


@dataclass(frozen=True, slots=True)
class Reading:
    """The memory at one moment, in bytes; ``limit`` is above 0."""

    used: int
    limit: int

    @property
    def share(self) -> float:
        """What is used of the limit, 0..1, or more."""
        return self.used / self.limit


@dataclass(frozen=True, slots=True)
class LevelSettings:
    """Where the levels begin and end.

    Args:
        high, critical: The shares of the limit at which these levels are entered.
        margin: How far the share must fall below that before the level is left.
        dwell: Seconds it is not left for, in any case.
        patience: Seconds critical lasts before work under way is ended, and from one such step to the next.

    Raises ConfigError.
    """

    high: float = 0.80
    critical: float = 0.90
    margin: float = 0.05
    dwell: float = 5.0
    patience: float = 5.0

    def __post_init__(self) -> None:
        self._check(0 < self.high < 1, "high", "a share of the limit: above 0, below 1")
        self._check(self.high < self.critical < 1, "critical", f"above high = {self.high}, and below 1")
        self._check(0 <= self.margin < self.high, "margin", f"0 or more, and below high = {self.high}")
        self._check(self.dwell >= 0, "dwell", "seconds, 0 or more")
        self._check(self.patience > 0, "patience", "seconds above 0")

    def _check(self, valid: bool, name: str, wanted: str) -> None:
        if not valid:
            raise ConfigError(f"memory: {name} = {getattr(self, name)!r}", hint=f"It must be {wanted}.")


def shed(priority: Priority, level: Level) -> bool:
    """Whether new work of this priority is turned away at this level."""
    match level:
        case "normal":
            return False
        case "high":
            return priority == "batch"
        case "critical":
            return priority != "interactive"


class MemoryLevels:
    """The level, from one reading to the next, and the answer to who wants to begin something.

    Invariants: a higher level is entered with the reading that reaches it; a level is left for the one below it,
    ``dwell`` seconds after it was entered at the soonest, and only below its share less the margin. ``_refused``
    holds the priorities refused at present.

    While critical persists, what is under way is ended step by step, batch work first and interactive work never;
    when even that has not helped, new interactive work is refused as well: a process that the kernel kills has
    served nobody.

    Attributes:
        reading: The latest; None: the memory cannot be told.
        level: At present.
    """

    __slots__ = (
        "_clock",
        "_entered",
        "_refused",
        "_settings",
        "_steps",
        "_steps_at",
        "_turned_away",
        "level",
        "reading",
    )

    def __init__(self, clock: Clock, settings: LevelSettings | None = None) -> None:
        self._clock = clock
        self._settings = settings if settings is not None else LevelSettings()
        self._turned_away: Counter[Priority] = Counter()
        self.reading: Reading | None = None
        self.level: Level = "normal"
        self._entered = self._steps_at = clock.monotonic()
        self._steps = 0
        self._refused: frozenset[Priority] = frozenset()

    def check(self, priority: Priority) -> None:
        """Raise Overloaded if new work of this priority is not begun now."""
        if priority in self._refused:
            raise self._overloaded(priority)

    def take(self, reading: Reading | None) -> Level:
        """The level after ``reading``. None: memory cannot be told, so nothing says that it is short."""
        self.reading = reading
        share = reading.share if reading is not None else 0.0
        reached = self._reached(share)
        if LEVELS.index(reached) > LEVELS.index(self.level):
            self._enter(reached)
        elif share < self._left_below() and self._clock.monotonic() - self._entered >= self._settings.dwell:
            self._enter(LEVELS[LEVELS.index(self.level) - 1])
        return self.level

    def next_to_end(self) -> Priority | None:
        """Which work under way is to be ended now, with all below it; None: none. It is told once a step."""
        now = self._clock.monotonic()
        if self.level != "critical" or now - self._steps_at < self._settings.patience:
            return None
        self._steps_at = now
        self._steps += 1
        if self._steps > len(SHED_IN_TURN):
            self._refused = frozenset(PRIORITIES)
        return SHED_IN_TURN[min(self._steps, len(SHED_IN_TURN)) - 1]

    def turned_away(self) -> Mapping[Priority, int]:
        """How many were refused since this was asked last."""
        counts, self._turned_away = self._turned_away, Counter()
        return counts

    def _reached(self, share: float) -> Level:
        if share >= self._settings.critical:
            return "critical"
        return "high" if share >= self._settings.high else "normal"

    def _left_below(self) -> float:
        """The share below which the present level may be left."""
        match self.level:
            case "normal":
                return 0.0  # there is none below it
            case "high":
                return self._settings.high - self._settings.margin
            case "critical":
                return self._settings.critical - self._settings.margin

    def _enter(self, level: Level) -> None:
        self.level = level
        self._entered = self._steps_at = self._clock.monotonic()
        self._steps = 0
        self._refused = frozenset(priority for priority in PRIORITIES if shed(priority, level))

    def _overloaded(self, priority: Priority) -> Overloaded:
        self._turned_away[priority] += 1
        reading = self.reading
        told = f", {reading.used / 2**20:.0f} of {reading.limit / 2**20:.0f} MiB are in use" if reading else ""
        return Overloaded(
            f"memory is short (level {self.level}{told}): no new {priority} work is begun",
            hint="Ask again later; if it stays so, send less, give the process more memory, or see [memory].",
            retry_after=self._soonest(priority),
        )

    def _soonest(self, priority: Priority) -> float:
        """Seconds until work of this priority may be begun again, if memory is free from now on."""
        levels = LEVELS.index(self.level) if priority == "batch" else 1  # that have to be left first
        stayed = self._clock.monotonic() - self._entered
        return max(SOONEST, levels * self._settings.dwell - stayed)
