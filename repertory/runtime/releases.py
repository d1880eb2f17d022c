"""The versions of one program: the one that is current, one that may replace it, and those that only finish."""

import asyncio
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from random import Random
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeAlias, TypeVar
from weakref import WeakValueDictionary

from repertory.clock import Clock
from repertory.errors import InputError, ProgramError, RepertoryError, RuntimeClosed
from repertory.events import (
    Event,
    Hooks,
    RolloutAdvanced,
    RolloutMetricFailed,
    RolloutPromoted,
    RolloutRolledBack,
)
from repertory.modules import Prediction
from repertory.runtime.rollout import Rollout, RolloutSnapshot, Side, State, Verdict
from repertory.runtime.rollout_plan import RolloutPlan

Metric: TypeAlias = Callable[[Mapping[str, Any], Prediction], float | None]
"""How good an answer is, from the inputs and the prediction: more is better, None is no opinion. Must be quick."""


class Version(Protocol):
    """A version of a program that can be called.

    Attributes:
        version: What tells it from the other versions, such as ``news@2``.
        fingerprint: Hash of what it declares; the journal refuses to go on with a run of another one.
    """

    @property
    def version(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    async def stop(self) -> None:
        """End its actors. Nothing runs on it."""
        ...


VersionT = TypeVar("VersionT", bound=Version)

# Nor is a cancellation, which is no Exception.
NOBODYS_FAULT = (InputError, RuntimeClosed)


@dataclass(slots=True, eq=False)
class _Living(Generic[VersionT]):
    """A version that can be called, and how many runs are under way on it: each is within it, as in a context."""

    version: VersionT
    under_way: int = 0

    def __enter__(self) -> Self:
        self.under_way += 1
        return self

    def __exit__(self, *_error: object) -> None:
        self.under_way -= 1

    def answered(self, inputs: Mapping[str, Any], prediction: Prediction) -> None:
        """The run has come to an answer, with which no other is compared."""


@dataclass(slots=True, eq=False)
class _Split(Generic[VersionT]):
    """The traffic while two versions share it: the candidate, and what decides about it."""

    candidate: VersionT
    rollout: Rollout
    metric: Metric | None
    decided: "asyncio.Future[Verdict]"
    metric_failed: bool = False


class Releases(Generic[VersionT]):
    """Routes the runs of one program to its versions, and stops a version that is out of use.

    Invariants: a run ends on the version it began with. A version is stopped only after its last run has ended,
    and gets no run from the moment it is asked to. There is at most one candidate; the switch to it is one
    assignment.

    Args:
        program: The program's name.
        current: The version that gets the runs.
    """

    def __init__(self, program: str, current: VersionT, *, clock: Clock, hooks: Hooks, rng: Random) -> None:
        self.program = program
        self.current = current
        self.turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # by run key, for all versions
        self._clock = clock
        self._hooks = hooks
        self._rng = rng
        self._living = {current.version: _Living(current)}
        self._split: _Split[VersionT] | None = None
        self._ending: list[VersionT] = []  # no run reaches them; not all of their actors have ended
        self._settled = asyncio.Event()
        self._settled.set()
        self._number = 1
        self._claimed = False

    # --- runs ---

    def pick(self, sticky: str = "") -> VersionT:
        """The version whose turn it is; runs with the same ``sticky`` text stay together."""
        split = self._split
        if split is None:
            return self.current
        return split.candidate if split.rollout.choose(sticky) == "new" else self.current

    def holder(self, fingerprint: str) -> VersionT | None:
        """The version that declares this, if it lives: a run that was accepted there goes on there."""
        for living in self._living.values():
            if living.version.fingerprint == fingerprint:
                return living.version
        return None

    def lives(self, version: VersionT) -> bool:
        """Whether runs can begin on ``version``."""
        return version.version in self._living

    def on(self, version: VersionT) -> "_Living[VersionT] | _Compared[VersionT]":
        """A run on ``version``, for as long as the context lasts. No await between this and the choice of it."""
        living, split = self._living[version.version], self._split
        if split is None or (version is not self.current and version is not split.candidate):
            return living  # where there is a rollout, it finishes what it once accepted
        return _Compared(self, living, split)

    def under_way(self) -> dict[str, int]:
        """How many runs there are on each version that lives, by its name."""
        return {name: living.under_way for name, living in self._living.items()}

    # --- releases ---

    @contextmanager
    def claim(self) -> Iterator[str]:
        """The name of the next version, for whoever starts it; meanwhile nobody else can. Raises ProgramError."""
        if self._claimed or self._split is not None:
            raise ProgramError(
                f"{self.program}: another version is being released",
                hint="Promote it or roll it back first: release.promote(), release.roll_back(reason).",
            )
        self._claimed = True
        self._number += 1
        try:
            yield f"{self.program}@{self._number}"
        finally:
            self._claimed = False

    def begin(self, candidate: VersionT, plan: RolloutPlan, metric: Metric | None = None) -> "Release":
        """Begin to move traffic to ``candidate``, which has been started."""
        rollout = Rollout(plan, self._clock, self._rng, salt=candidate.version)
        decided: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self._living[candidate.version] = _Living(candidate)
        self._split = _Split(candidate, rollout, metric, decided)
        self._settled.clear()
        self._tell(RolloutAdvanced(self.program, candidate.version, 0.0, rollout.weight))
        return Release(self, self._split)

    def look(self) -> None:
        """Go on with the rollout, if there is one, as far as what is known of it allows."""
        split = self._split
        if split is None:
            return
        before = split.rollout.weight
        verdict = split.rollout.look()
        if verdict.state == "advance":
            self._tell(RolloutAdvanced(self.program, split.candidate.version, before, verdict.weight))
        elif split.rollout.over:
            self.end(split, verdict)

    @property
    def settled(self) -> bool:
        """Whether there is one version only, and nothing to be done."""
        return self._settled.is_set()

    async def until_settled(self) -> None:
        """Return once there is one version only, the others stopped."""
        await self._settled.wait()

    async def stop_idle(self) -> None:
        """Stop the versions that are out of use and have no runs; what fails to stop is tried again next time."""
        kept = (self.current, self._split.candidate if self._split is not None else None)
        for living in tuple(self._living.values()):
            if not living.under_way and living.version not in kept:
                del self._living[living.version.version]
                self._ending.append(living.version)
        for version in tuple(self._ending):
            try:
                await version.stop()
            except RepertoryError:
                continue  # its supervisor is on its way down, or being restarted
            self._ending.remove(version)
        if self._split is None and len(self._living) == 1 and not self._ending:
            self._settled.set()

    def others(self) -> tuple[VersionT, ...]:
        """All versions that have not been stopped, but for the current one."""
        living = [each.version for each in self._living.values() if each.version is not self.current]
        return (*living, *self._ending)

    def close(self) -> None:
        """Nobody decides any more: tell those who wait for the outcome of a rollout."""
        if self._split is not None and not self._split.decided.done():
            error = RuntimeClosed(f"the runtime was closed during the release of {self.program}")
            self._split.decided.set_exception(error)
            self._split.decided.exception()  # that nobody waits is no error
        self._settled.set()

    # --- for runs and releases ---

    def end(self, split: _Split[VersionT], verdict: Verdict) -> None:
        """Do as a final verdict says, unless that has been done."""
        if split is not self._split:
            return
        won = verdict.state == "promoted"
        replaced = self.current
        self.current, self._split = split.candidate if won else replaced, None
        if not split.decided.done():
            split.decided.set_result(verdict)
        if won:
            self._tell(RolloutPromoted(self.program, split.candidate.version, replaced.version))
        else:
            self._tell(RolloutRolledBack(self.program, split.candidate.version, verdict.reason))

    def measure(self, split: _Split[VersionT], inputs: Mapping[str, Any], prediction: Prediction) -> float | None:
        """How good an answer is; None where there is no metric, or it fails."""
        if split.metric is None:
            return None
        try:
            value = split.metric(inputs, prediction)
            return None if value is None or not math.isfinite(value) else float(value)
        except Exception as error:  # noqa: BLE001  # the answer is the caller's, whatever a metric makes of it
            if not split.metric_failed:
                self._tell(RolloutMetricFailed(self.program, split.candidate.version, error))
            split.metric_failed = True
            return None

    def now(self) -> float:
        """The time on the clock that latencies are measured by."""
        return self._clock.monotonic()

    def _tell(self, event: Event) -> None:
        if self._hooks:
            self._hooks.emit(event)


class _Compared(Generic[VersionT]):
    """One run on a version, told of to the rollout it began in.

    Invariant: each run is counted once when it begins and once when it ends, however it does.
    """

    __slots__ = ("_began", "_living", "_metric", "_releases", "_side", "_split")

    def __init__(self, releases: Releases[VersionT], living: _Living[VersionT], split: _Split[VersionT]) -> None:
        self._releases = releases
        self._living = living
        self._split = split
        self._side: Side = "new" if split.candidate is living.version else "old"
        self._began = 0.0
        self._metric: float | None = None

    def __enter__(self) -> Self:
        self._living.under_way += 1
        self._began = self._releases.now()
        self._split.rollout.began(self._side)
        return self

    def answered(self, inputs: Mapping[str, Any], prediction: Prediction) -> None:
        """The run has come to this answer."""
        self._metric = self._releases.measure(self._split, inputs, prediction)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._living.under_way -= 1
        split = self._split
        if error is not None and (not isinstance(error, Exception) or isinstance(error, NOBODYS_FAULT)):
            split.rollout.cancelled(self._side)
            return
        failed = error is not None
        seconds = self._releases.now() - self._began
        split.rollout.ended(self._side, seconds, error=failed, metric=self._metric)
        if failed and self._side == "new":  # the next look may be a second away: too long, if all fail
            self._releases.look()


class Release:
    """A new version on its way; made by `Runtime.release`.

    Attributes:
        version: The new version, such as ``news@2``.
    """

    def __init__(self, releases: Releases[VersionT], split: _Split[VersionT]) -> None:
        self.version = split.candidate.version
        self._rollout = split.rollout
        self._decided = split.decided
        self._end = partial(releases.end, split)
        self._until_settled = releases.until_settled

    def snapshot(self) -> RolloutSnapshot:
        """Both versions' figures in the present step; after the end, those it ended with."""
        return self._rollout.snapshot()

    async def outcome(self) -> Verdict:
        """Wait until it is promoted or rolled back. Raises RuntimeClosed if the runtime is closed before."""
        return await asyncio.shield(self._decided)

    async def settled(self) -> None:
        """Wait until the version that lost has finished its runs and has been stopped."""
        await self._until_settled()

    async def promote(self) -> Verdict:
        """Give the new version all runs from now on. Raises ProgramError if it was rolled back."""
        return self._decide(self._rollout.promote("by hand"), "promoted")

    async def roll_back(self, reason: str) -> Verdict:
        """Give the old version all runs from now on. Raises ProgramError if it was promoted."""
        return self._decide(self._rollout.roll_back(reason), "rolled_back")

    def _decide(self, verdict: Verdict, wanted: State) -> Verdict:
        if verdict.state != wanted:
            raise ProgramError(
                f"{self.version} was {verdict.state.replace('_', ' ')}: {verdict.reason}",
                hint="Release the version you want to have anew: runtime.release(program, name=...).",
            )
        self._end(verdict)
        return verdict
