"""The record of a run: what of it has an outcome already, and where what happens next is written down."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from repertory.clock import Clock
from repertory.errors import (
    RepertoryError,
    RunReplayIncomplete,
    RuntimeClosed,
    StepCancelled,
    StepSkipped,
    StoreError,
)
from repertory.modules.effects import performing
from repertory.runtime.history import Kept, RecordedStep, RunHistory, StepKey
from repertory.runtime.recorded_errors import dump_error, load_error
from repertory.runtime.run_log import RunLog

NOT_THE_STEPS_OWN = (RuntimeClosed, StoreError, StepCancelled, StepSkipped, RunReplayIncomplete)
"""Failures that say nothing of the step they come out of: it is asked again when the run goes on."""


class RunRecord:
    """Tells equal steps of a run apart by the order in which they are begun, and has the outcome of each once.

    Args:
        log: Where what happens is recorded; None: nowhere.
        history: What is recorded already; it is read instead of being done again.
        dry: Whether the recorded past is all there is: nothing is asked, nothing is done.
    """

    __slots__ = ("_begun", "clock", "dry", "history", "log")

    def __init__(self, log: RunLog | None, history: RunHistory | None, clock: Clock, *, dry: bool) -> None:
        self.log = log
        self.history = history
        self.clock = clock
        self.dry = dry
        self._begun: dict[tuple[str, str], int] = {}

    def key(self, step: str, asked: str) -> StepKey:
        """Which step it is that is begun now."""
        occurrence = self._begun.get((step, asked), 0)
        history = self.history
        key = StepKey(step, asked, occurrence) if history is None else history.begin(step, asked, occurrence)
        self._begun[step, asked] = key.occurrence + 1
        return key

    async def failure(self, key: StepKey) -> RecordedStep | None:
        """The recorded outcome of a step, which it then has no more; raised if it is a failure."""
        recorded = await self.history.take_outcome(key) if self.history is not None else None
        if recorded is not None and recorded.error is not None:
            assert not isinstance(recorded.error, Kept)
            raise load_error(recorded.error)
        return recorded

    async def outcome(self, key: StepKey) -> RecordedStep | None:
        """The recorded outcome of a step; None where it has none. Raises the failure that is recorded."""
        recorded = await self.failure(key)
        if recorded is None and self.dry:
            raise RunReplayIncomplete(
                f"{key.step}: the journal has no outcome of this step", hint="Resume or retry the run to get it."
            )
        return recorded

    def note_failure(
        self, told: Mapping[str, Any], error: BaseException, settled: Sequence[object], started: float
    ) -> None:
        """Note that a step failed, or was given up; not where the fault is not the step's own.

        Args:
            started: Point on the clock at which it began.
        """
        assert self.log is not None
        if isinstance(error, asyncio.CancelledError):
            error = StepCancelled(0, 0, name=str(told["step"]))
        elif isinstance(error, NOT_THE_STEPS_OWN) or not isinstance(error, RepertoryError):
            return
        seconds = self.clock.monotonic() - started
        self.log.append("step", {**told, "error": dump_error(error), "settled": settled, "seconds": seconds})

    @property
    def unread(self) -> list[StepKey]:
        """The recorded steps that the program did not ask for again, though it should."""
        history = self.history
        return [key for key in history.steps if key not in history.optional] if history is not None else []


def told_of(key: StepKey) -> dict[str, Any]:
    """What an event says about which step it tells of."""
    told = key.data()
    if (enclosing := performing.get()) is not None:
        told["within"] = enclosing
    return told
