"""A live run: one that was submitted, and that this process brings to its outcome, whoever listens."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from repertory.errors import ProgramError, RepertoryError, RunCancelled, RuntimeClosed
from repertory.modules.run_info import RunInfo
from repertory.providers.messages import Usage
from repertory.runtime.execution import Run
from repertory.runtime.history import RunHistory
from repertory.runtime.run import RunContext
from repertory.runtime.run_log import RunLog
from repertory.runtime.run_status import RunStatus
from repertory.signatures.json_text import load_json
from repertory.store.ledger import in_dollars
from repertory.store.run_rows import RunMessage

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


TakeUp: TypeAlias = Callable[[], Awaitable[TakenUp | Run]]
"""Reads what a run goes on from; its outcome where it has ended meanwhile."""


@dataclass(slots=True, eq=False)
class LiveRun:
    """Invariant: ``outcome`` is done exactly when the run has ended in this process.

    Attributes:
        values: Validated inputs; empty until it is taken up.
        log: None where it goes on from the store: then it has to be taken up first.
        streams: Whether pieces of answers go into its log.
        cancelled: Whether somebody who may has asked it to stop.
        early: What was said to it before it began, or between two lives of its keeper.
        take_up: Reads what it goes on from, also after a life of its keeper in which it was begun.
    """

    info: RunInfo
    deployment: "Deployment"
    values: dict[str, Any]
    take_up: TakeUp
    log: RunLog | None = None
    history: RunHistory | None = None
    streams: bool = False
    cancelled: bool = False
    early: list[RunMessage] = field(default_factory=list)
    context: RunContext | None = None
    outcome: "asyncio.Future[Run]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    async def perform(self) -> None:
        """Bring it to its outcome. Raises nothing but CancelledError, where this process is to end."""
        try:
            run = await self._performed()
        except RepertoryError as error:
            self.fail(error)
        except Exception as error:  # noqa: BLE001  # a log that nobody can read must not be the end of other runs
            reason = f"the run {self.info.id} cannot go on: {type(error).__name__}: {error}"
            self.fail(ProgramError(reason))
        else:
            if not self.outcome.done():
                self.outcome.set_result(run)

    @property
    def listens(self) -> bool:
        """Whether what is said to it now reaches its program."""
        context, log = self.context, self.log
        return context is not None and context.task is not None and log is not None and not log.closed

    def hear(self, message: RunMessage) -> None:
        """Take in what was said to it; its log records that."""
        if message.kind == "cancel":
            if self.log is not None:
                self.log.append("cancel", {})
            self._cancel()
        elif self.context is None or not self.listens:
            self.early.append(message)
        else:
            data = load_json(message.data)
            self.context.effects.hear(data["name"], data["value"], message.id)

    def status(self) -> RunStatus:
        """Its state, where there is no store to ask."""
        context, outcome = self.context, self.outcome
        error = outcome.exception() if outcome.done() else None
        run = outcome.result() if outcome.done() and error is None else None
        ended = "ok" if error is None else "cancelled" if self.cancelled else "failed"
        usage, lm_calls, nano_cost = context.questions.spent() if context is not None else (Usage(), 0, 0)
        return RunStatus(
            id=self.info.id,
            program=self.info.program,
            key="",
            status=ended if outcome.done() else "accepted",
            durable=False,
            inputs=self.deployment.compiled.dump_inputs(self.values),
            outputs=run.prediction.outputs if run is not None else None,
            error=(getattr(error, "code", "error"), str(error)) if error is not None else None,
            usage=usage,
            lm_calls=lm_calls,
            cost=in_dollars(nano_cost),
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

    def fail(self, why: RepertoryError) -> None:
        """Tell whoever waits for it that it has no outcome in this process but ``why``, unless it has one."""
        if not self.outcome.done():
            self.outcome.set_exception(why)
            self.outcome.exception()  # it may well be that nobody asks

    # --- inside ---

    async def _performed(self) -> Run:
        if self.log is None or self.context is not None:
            taken = await self.take_up()
            if isinstance(taken, Run):
                return taken
            self.go_on_from(taken)
        return await self.deployment.execute(
            self.info,
            self.values,
            self.log,
            self.history if self.history is not None else RunHistory(),
            streams=self.streams,
            submitted=True,
            context_of=self._know,
        )

    def _cancel(self) -> None:
        self.cancelled = True
        if self.context is not None:
            self.context.stop(run_cancelled(self.info.id))

    def _know(self, context: RunContext) -> None:
        self.context = context
        if self.cancelled:
            self._cancel()
        early, self.early = self.early, []
        for message in early:
            self.hear(message)


def cut_off(*, durable: bool) -> RuntimeClosed:
    """What whoever waits for a run, or reads its events, is told where the runtime closes before it has ended."""
    return RuntimeClosed(
        "the runtime was closed before the run had ended",
        hint="It goes on when its program is started again."
        if durable
        else "It was submitted with durable=False.",
    )


def run_cancelled(id: str) -> RunCancelled:
    """What a run ends with that was cancelled."""
    return RunCancelled(f"the run {id} was cancelled", hint="`retry` goes on with it.")
