"""What a program does besides asking models, on the record of its run."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from repertory.errors import DeadlineExceeded, ProgramError, RepertoryError, RunReplayIncomplete
from repertory.modules.effects import as_json, performed, performing
from repertory.modules.run_info import RunInfo
from repertory.runtime.history import RunHistory, StepKey
from repertory.runtime.journal import json_hash
from repertory.runtime.run_record import RunRecord, told_of
from repertory.runtime.time_limit import within
from repertory.runtime.working import Working

LONGEST_SLEEP = 60.0  # seconds at a time, as the wall clock may be set meanwhile


class RunEffects:
    """Effects, sleep and signals of one run; implements `CurrentRun`.

    Args:
        at_work: Where the run stands still as the process ends; None: it does not.
    """

    __slots__ = ("_at_work", "_record", "_signalled", "info")

    def __init__(self, info: RunInfo, record: RunRecord, at_work: Working | None) -> None:
        self.info = info
        self._record = record
        self._at_work = at_work
        self._signalled: asyncio.Event | None = None

    async def effect(self, name: str, arguments: Any, work: Callable[[], Awaitable[Any]]) -> Any:
        """The outcome of ``work`` as JSON has it, recorded once; ``arguments`` tell it from others of its name."""
        record, asked = self._record, json_hash(as_json(f"step {name!r} was given", arguments))
        if record.log is None and record.history is None:
            return await performed(name, work)
        key = record.key(f"step:{name}", asked)
        if (recorded := await record.outcome(key)) is not None:
            return recorded.outputs
        if self._at_work is None or performing.get() is not None:
            return await self._recorded(key, name, work)
        async with self._at_work:
            return await self._recorded(key, name, work)

    async def _recorded(self, key: StepKey, name: str, work: Callable[[], Awaitable[Any]]) -> Any:
        record = self._record
        assert record.log is not None
        started = record.clock.monotonic()
        told = told_of(key)
        enclosing = performing.set(key.step)
        try:
            # What it is done with must be the same if it has to be done again: that is on disk first.
            await record.log.written()
            outcome = await performed(name, work)
        except (RepertoryError, asyncio.CancelledError) as error:
            record.note_failure(told, error, (), started)
            raise
        finally:
            performing.reset(enclosing)
        seconds = record.clock.monotonic() - started
        # An effect must not happen twice: it is on disk before the program goes on.
        record.log.append("step", {**told, "outputs": outcome, "seconds": seconds})
        await record.log.written()
        return outcome

    async def sleep_until(self, time: float) -> None:
        """Return when it is ``time``, in seconds since the Unix epoch, or was when the run first came here."""
        record = self._record
        key = record.key("sleep", "")
        if record.history is not None and key in record.history.timers:
            time = record.history.timers.pop(key)
        elif record.log is not None:
            record.log.append("timer", {**told_of(key), "until": time})
            await record.log.written()
        while (left := time - record.clock.time()) > 0:
            if record.dry:
                raise RunReplayIncomplete("the run sleeps, and has not gone on yet", hint="Wait for its end.")
            await record.clock.sleep(min(left, LONGEST_SLEEP))

    async def wait_for_signal(self, name: str, timeout: float | None) -> Any:
        """The value that was said to the run under ``name``, the first that was not heard yet."""
        record = self._record
        if record.history is None:
            raise ProgramError(
                f"wait_for_signal({name!r}): nobody can send a signal to a run that was not submitted",
                hint="Begin it with Runtime.submit, and wait for its result.",
            )
        key = record.key(f"signal:{name}", "")
        await record.failure(key)  # it had waited long enough, whatever was said later
        started = record.clock.monotonic()
        try:
            return await within(partial(self._next_signal, record.history, name), timeout, f"signal {name!r}")
        except DeadlineExceeded as late:
            error = DeadlineExceeded(f"no signal {name!r} within {timeout or 0:g} s")
            if record.log is not None:
                record.note_failure(told_of(key), error, (), started)
            raise error from late

    def hear(self, name: str, value: Any, message: str) -> None:
        """Take in what was said to the run, which its log records. Nothing is heard twice."""
        history = self._record.history
        assert history is not None, "only a run that was submitted is told anything"
        if message in history.said:
            return
        history.said.append(message)
        history.signals.append((name, value, message))
        if self._signalled is not None:
            self._signalled.set()
        if self._record.log is not None:
            self._record.log.append("signal", {"name": name, "value": value, "message": message})

    async def _next_signal(self, history: RunHistory, name: str) -> Any:
        while True:
            for place, (said, value, _) in enumerate(history.signals):
                if said == name:
                    del history.signals[place]
                    return await history.whole(value)
            if self._record.dry:
                raise RunReplayIncomplete(f"the run waits for a signal {name!r}", hint="Send it one.")
            if self._signalled is None or self._signalled.is_set():
                self._signalled = asyncio.Event()
            await self._signalled.wait()
