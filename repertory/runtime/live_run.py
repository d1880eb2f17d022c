"""A live run: one that was submitted, and that this process brings to its outcome, whoever listens."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from repertory.errors import ProgramError, RepertoryError, RunCancelled, RuntimeClosed
from repertory.providers.messages import Usage
from repertory.runtime.execution import Run
from repertory.runtime.history import RunHistory
from repertory.runtime.run import RunContext
from repertory.runtime.run_info import RunInfo
from repertory.runtime.run_log import RunLog
from repertory.runtime.run_status import RunStatus
from repertory.store.ledger import in_dollars

if TYPE_CHECKING:
    from repertory.runtime.deployment import Deployment


@dataclass(frozen=True, slots=True)
class TakenUp:
    """What a run goes on from.

    Attributes:
        values: Validated inputs.
    """

    values: dict[str, Any]
    log: RunLog | None
    history: RunHistory


@dataclass(slots=True, eq=False)
class LiveRun:
    """Invariant: ``outcome`` is done exactly when the run has ended in this process.

    Attributes:
        values: Validated inputs; empty until it is taken up.
        log: None where it goes on from the store: then it has to be taken up first.
        streams: Whether pieces of answers go into its log.
        cancelled: Whether somebody who may has asked it to stop.
        take_up: Reads what it goes on from, also after a life of its keeper in which it was begun.
    """

    info: RunInfo
    deployment: "Deployment"
    values: dict[str, Any]
    take_up: "Callable[[], Awaitable[TakenUp]]"
    log: RunLog | None = None
    history: RunHistory | None = None
    streams: bool = False
    cancelled: bool = False
    context: RunContext | None = None
    outcome: "asyncio.Future[Run]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    async def perform(self) -> None:
        """Bring it to its outcome. Raises nothing but CancelledError, where this process is to end."""
        try:
            if self.log is None or self.context is not None:
                self.go_on_from(await self.take_up())
            run = await self.deployment.execute(
                self.info,
                self.values,
                self.log,
                self.history if self.history is not None else RunHistory(),
                streams=self.streams,
                context_of=self._know,
            )
        except RepertoryError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001  # a log that nobody can read must not be the end of other runs
            reason = f"the run {self.info.id} cannot go on: {type(error).__name__}: {error}"
            self._fail(ProgramError(reason))
        else:
            if not self.outcome.done():
                self.outcome.set_result(run)

    def cancel(self) -> None:
        """Have it end as cancelled."""
        self.cancelled = True
        if self.context is not None:
            self.context.stop(run_cancelled(self.info.id))

    def status(self) -> RunStatus:
        """Its state, where there is no store to ask."""
        context, outcome = self.context, self.outcome
        error = outcome.exception() if outcome.done() else None
        run = outcome.result() if outcome.done() and error is None else None
        ended = "ok" if error is None else "cancelled" if self.cancelled else "failed"
        return RunStatus(
            id=self.info.id,
            program=self.info.program,
            key="",
            status=ended if outcome.done() else "accepted",
            durable=False,
            inputs=self.deployment.compiled.dump_inputs(self.values),
            outputs=run.prediction.outputs if run is not None else None,
            error=(getattr(error, "code", "error"), str(error)) if error is not None else None,
            usage=context.usage if context is not None else Usage(),
            lm_calls=context.lm_calls if context is not None else 0,
            cost=in_dollars(context.nano_cost if context is not None else 0),
            uncertain_calls=0,
            uncertain_cost=in_dollars(0),
            accepted_at=0.0,
            finished_at=None,
            seconds=run.seconds if run is not None else None,
            tags=self.info.tags,
            parent=None,
        )

    def go_on_from(self, taken: TakenUp) -> None:
        """Take what it goes on from."""
        self.values, self.log, self.history = taken.values, taken.log, taken.history
        if taken.log is not None and self.info.durable:
            self.streams = taken.history.streams
            self.cancelled = self.cancelled or taken.history.cancelled
            self.info = replace(self.info, trace=taken.history.trace)

    def close(self) -> None:
        """This process ends, and the run with it, for now."""
        self._fail(RuntimeClosed("the runtime was closed during the run", hint="It can be resumed by its key."))

    def _fail(self, error: RepertoryError) -> None:
        if not self.outcome.done():
            self.outcome.set_exception(error)
            self.outcome.exception()  # it may well be that nobody asks

    def _know(self, context: RunContext) -> None:
        self.context = context
        if self.cancelled:
            self.cancel()


def run_cancelled(id: str) -> RunCancelled:
    """What a run ends with that was cancelled."""
    return RunCancelled(f"the run {id} was cancelled", hint="`retry` goes on with it.")
