"""An execution: one run of a program, from what is recorded of it to its outcome."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic_core import to_jsonable_python

from repertory.errors import (
    CallUncertain,
    DeadlineExceeded,
    ProgramChanged,
    ProgramError,
    RepertoryError,
    RunCancelled,
    RunTakenOver,
    StoreError,
)
from repertory.events import Hooks, RunFinished, RunStuck
from repertory.modules import Module, Predict, Prediction
from repertory.modules.dispatch import current_dispatcher
from repertory.modules.effects import current_run
from repertory.modules.options import DEFAULTS
from repertory.modules.pending import whole
from repertory.modules.run_info import RunInfo
from repertory.runtime.confined import Overdue, Work, confined
from repertory.runtime.history import OpenCall, RunHistory
from repertory.runtime.journal import Journal, run_end
from repertory.runtime.run import RunContext
from repertory.runtime.run_log import RunLog
from repertory.runtime.step_witness import call_uncertain
from repertory.runtime.surroundings import Surroundings
from repertory.signatures.json_text import dump_json


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run.

    Attributes:
        id: Its id in the journal.
        prediction: What the program returned. Read back from the journal, values other than those of a single
            predictor are as JSON has them.
        seconds: How long it took, when it was really run.
        replayed: Whether it had been finished earlier and was only read.
        durable: Whether it is in the journal.
    """

    id: str
    prediction: Prediction
    seconds: float
    replayed: bool
    durable: bool = False


@dataclass(frozen=True, slots=True)
class Executor:
    """Executes the runs of one program.

    Args:
        explained: Says why there are no actors any more, where an error only says that there are none.
        on_stuck: Gets the task of a ``forward`` that withstands its cancellation.
    """

    name: str
    program: Module
    around: Surroundings
    journal: Journal | None
    hooks: Hooks
    explained: Callable[[RepertoryError], RepertoryError]
    on_stuck: Callable[[Work[Prediction]], None]

    async def execute(
        self,
        info: RunInfo,
        values: dict[str, Any],
        log: RunLog | None,
        history: RunHistory | None = None,
        *,
        streams: bool = False,
        submitted: bool = False,
        context_of: Callable[[RunContext], None] = lambda _: None,
    ) -> Run:
        """Bring a run to its outcome, and record that.

        Args:
            values: Validated inputs.
            history: What is recorded of it already.
            submitted: Whether no caller waits for it, so that another process may as well go on with it.
            context_of: Is given the run's context as soon as there is one.

        Raises what the program fails with, as `RepertoryError`.
        """
        clock = self.around.clock
        started = clock.monotonic()
        resumes = submitted and info.durable
        context = RunContext(info, self.around, log, history, streams=streams, resumes=resumes)
        fetchable: list[OpenCall] = []
        outcome: str | None = "cancelled"  # unless it ends in one of the ways below
        try:
            context_of(context)
            if history is not None and log is not None:
                fetchable = history.fetchable()
                self._doubt(history, log)
            prediction = await self._answer(context, values)
            seconds = clock.monotonic() - started
            if log is not None:
                outputs = dump_json(to_jsonable_python(prediction.outputs)).decode()
                if fetchable:
                    self._doubt_the_rest(fetchable, history, log)
                await self._recorded(context, log, "ok", seconds, outputs=outputs, resumes=resumes)
            outcome = None
            return Run(info.id, prediction, seconds, replayed=False, durable=info.durable)
        except (Exception, asyncio.CancelledError, SystemExit) as failure:
            error = self._reason(failure, context)
            if error is None:
                raise  # it is us who are cancelled; else it is a mishap of the program's own
            outcome = error.code
            if log is not None and not isinstance(error, RunTakenOver):
                try:
                    self._doubt_the_rest(fetchable, history, log)
                    seconds = clock.monotonic() - started
                    await self._recorded(context, log, _status_of(error), seconds, error=error, resumes=resumes)
                except StoreError as unwritten:
                    # It is told what went wrong, not that this could not be noted; but a run that is new, and so
                    # never came into the journal, was not accepted.
                    if history is None:
                        raise unwritten from error
            raise error from error.__cause__
        finally:
            context.end()
            if self.hooks:
                seconds = clock.monotonic() - started
                self.hooks.emit(RunFinished(self.name, info.id, seconds, outcome, replayed=False))

    async def replay(self, info: RunInfo, values: dict[str, Any], history: RunHistory) -> Prediction:
        """What the program makes of the recorded steps alone. Raises as `execute`, and RunReplayIncomplete."""
        context = RunContext(info, self.around, None, history, dry=True)
        try:
            prediction = await self._answer(context, values)
            self._check_all_read(context)
            return prediction
        except (Exception, SystemExit) as failure:  # noqa: BLE001  # the program's code may raise anything
            error = self.told(failure)
            raise error from error.__cause__
        finally:
            context.end()

    # --- inside ---

    def _doubt(self, history: RunHistory, log: RunLog) -> None:
        """List the calls of which nobody knows whether they were billed. Raises CallUncertain by the policy."""
        policy = self.around.uncertain
        new = [call for call in history.unsettled() if call.event not in history.uncertain]
        for call in new:
            log.append("uncertain", {"call": call.event, "policy": policy})
            log.doubt(call, policy)
        if new and policy != "rebuy":
            raise call_uncertain(new, policy)

    def _doubt_the_rest(self, calls: Sequence[OpenCall], history: RunHistory | None, log: RunLog) -> None:
        """List those of ``calls`` whose answers could have been fetched, as the run ends and they were not."""
        for call in calls:
            if history is not None and history.is_open(call):
                log.append("uncertain", {"call": call.event, "policy": self.around.uncertain})
                log.doubt(call, self.around.uncertain)

    def _answer(self, context: RunContext, values: dict[str, Any]) -> Awaitable[Prediction]:
        timeout = context.info.deadline - self.around.clock.monotonic()
        if timeout <= 0:
            hint = "`retry` gives it new time." if context.info.durable else None
            raise DeadlineExceeded(f"{self.name}: its time was over before it went on", hint=hint)
        if (
            isinstance(self.program, Predict)
            and self.around.options.get(id(self.program), DEFAULTS).fallback is None
        ):
            return context.answer(self.program, values)
        return self._composed(context, values, timeout)

    async def _composed(self, context: RunContext, values: dict[str, Any], timeout: float) -> Prediction:
        try:
            prediction = await confined(
                self._forward(context, values), timeout, partial(self._leave_behind, context.info.id)
            )
        except Overdue as error:
            raise DeadlineExceeded(f"{self.name}: not done within {timeout:.6g} s") from error
        if not isinstance(prediction, Prediction):
            raise ProgramError(
                f"{self.name}: forward returned {type(prediction).__name__}, not a Prediction",
                hint="Return what a predictor gave, or Prediction(name=value, ...).",
            )
        self._check_all_read(context)
        whole_run = Prediction(
            prediction.outputs, usage=context.questions.usage, lm_calls=context.questions.lm_calls
        )
        if isinstance(self.program, Predict):
            whole_run.parameters_version, whole_run.trace = prediction.parameters_version, prediction.trace
        return whole_run

    async def _forward(self, context: RunContext, values: dict[str, Any]) -> Prediction:
        current_dispatcher.set(context)
        current_run.set(context.effects)
        try:
            answer: Prediction = await whole(await self.program.forward(**values))
            await context.settle()
            return answer
        except SystemExit as failure:
            raise self.told(failure) from failure
        finally:
            for task in await context.wind_up():
                self._leave_behind(context.info.id, task)

    def _check_all_read(self, context: RunContext) -> None:
        """Raise unless the program asked again for everything that is recorded of its run."""
        if unread := context.record.unread:
            steps = ", ".join(sorted({key.step for key in unread})[:3])
            raise ProgramChanged(
                f"{self.name}: the run has recorded steps that its program does not ask for any more: {steps}",
                hint="Its code, or what that goes by, has changed since. `fork` the run, or give it another key.",
            )

    def _leave_behind(self, run: str, task: Work[Prediction]) -> None:
        task.set_name(f"run {run} of {self.name}")
        self.on_stuck(task)
        if self.hooks:
            self.hooks.emit(RunStuck(self.name, run))

    def _recorded(
        self,
        context: RunContext,
        log: RunLog,
        status: str,
        seconds: float,
        *,
        outputs: str | None = None,
        error: RepertoryError | None = None,
        resumes: bool,
    ) -> Awaitable[object]:
        """Record the outcome; done when that is on disk."""
        context.task = None  # who stops it now comes too late: it has its outcome
        if self.journal is None:
            log.append("done", {"status": status, "error": error.code if error is not None else None})
            return log.written()
        end = run_end(
            *(
                context.info.id,
                status,
                context.questions.usage,
                context.questions.lm_calls,
                context.questions.nano_cost,
                seconds,
            ),
            self.around.clock.time(),
            outputs=outputs,
            error=error,
        )
        ended = self.journal.end(log, end)
        return self.around.at_work.during(ended) if resumes else ended

    def _reason(self, failure: BaseException, context: RunContext) -> RepertoryError | None:
        """Why the run failed; None where it did not, but whoever executes it is cancelled."""
        task = context.task
        if isinstance(failure, asyncio.CancelledError):
            if context.stopped is not None:
                if task is not None:
                    task.uncancel()
                return context.stopped
            if task is None or task.cancelling():
                return None
        if isinstance(context.failure, RepertoryError):  # what failed it, not what was cancelled because of that
            return self.explained(context.failure)
        return self.explained(self.told(failure))

    def told(self, failure: BaseException) -> RepertoryError:
        """``failure``, or what the program's own code raised as an answer: its mishap ends this run, no other."""
        if isinstance(failure, RepertoryError):
            return failure
        forgotten = "Put `await` before the call of a module." if "coroutine" in str(failure) else None
        what = f"{type(failure).__name__}: {_innermost(failure)}"
        error = ProgramError(f"{self.name}: its code raised {what}", hint=forgotten)
        error.__cause__ = failure
        return error


def _status_of(error: RepertoryError) -> str:
    if isinstance(error, RunCancelled):
        return "cancelled"
    return "held" if isinstance(error, CallUncertain) and error.held else "failed"


def _innermost(failure: BaseException) -> BaseException:
    """The first error in a group of groups, which says more than that there was one."""
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure
