"""A live run: one that was submitted, and that this process brings to its outcome, whoever listens."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from repertory.errors import RepertoryError, RunCancelled
from repertory.runtime.execution import Run
from repertory.runtime.history import RunHistory
from repertory.runtime.run import RunContext
from repertory.runtime.run_info import RunInfo
from repertory.runtime.run_log import RunLog
from repertory.signatures.json_text import load_json
from repertory.store.run_rows import RunMessage

if TYPE_CHECKING:
    from repertory.runtime.deployment import Deployment

TakeUp: TypeAlias = Callable[[], Awaitable[tuple[RunLog | None, RunHistory] | Run]]
"""Makes the log and the history of a run that goes on; its outcome where it has ended meanwhile."""


@dataclass(slots=True, eq=False)
class LiveRun:
    """Invariant: ``outcome`` is done exactly when the run has ended in this process.

    Attributes:
        values: Validated inputs.
        log: None where it goes on from the store: then it has to be taken up first.
        streams: Whether pieces of answers go into its log.
        cancelled: Whether somebody who may has asked it to stop.
        early: What was said to it before it began.
        take_up: Makes log and history anew, after a life in which it was begun.
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
            if not self.outcome.done():
                self.outcome.set_exception(error)
                self.outcome.exception()  # it may well be that nobody asks
        else:
            if not self.outcome.done():
                self.outcome.set_result(run)

    async def _performed(self) -> Run:
        if self.log is None or self.context is not None:
            taken = await self.take_up()
            if isinstance(taken, Run):
                return taken
            self.log, self.history = taken
        return await self.deployment.execute(
            self.info,
            self.values,
            self.log,
            self.history if self.history is not None else RunHistory(),
            streams=self.streams,
            context_of=self._know,
        )

    def hear(self, message: RunMessage) -> "asyncio.Future[bool] | None":
        """Take in what was said to it; done when that is on disk."""
        if message.kind == "cancel":
            self._cancel()
        elif self.context is None:
            self.early.append(message)
        else:
            data = load_json(message.data)
            return self.context.hear(data["name"], data["value"], message.id)
        return None

    def _cancel(self) -> None:
        self.cancelled = True
        if self.context is not None:
            id = self.info.id
            self.context.stop(RunCancelled(f"the run {id} was cancelled", hint="`retry` goes on with it."))

    def _know(self, context: RunContext) -> None:
        self.context = context
        if self.cancelled:
            self._cancel()
        while self.early:
            self.hear(self.early.pop(0))
