"""A handle on a run that was submitted."""

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from repertory.modules import Parameters, Prediction
from repertory.runtime.run_log import RunEvent
from repertory.runtime.run_status import RunStatus, StepStatus

if TYPE_CHECKING:
    from repertory.runtime.runs import Runs


class RunHandle:
    """Speaks of one run, wherever it is executed. Made by `Runtime.submit` and `Runtime.find_run`.

    Attributes:
        id: Its id in the journal.
        key: What makes it this run and not another of its program.
        durable: Whether it outlives this process.
    """

    __slots__ = ("_runs", "durable", "id", "key", "program")

    def __init__(self, runs: "Runs", id: str, program: str, key: str, *, durable: bool) -> None:
        self._runs = runs
        self.id = id
        self.program = program
        self.key = key
        self.durable = durable

    def __repr__(self) -> str:
        return f"<RunHandle {self.id} of {self.program}>"

    async def result(self, *, timeout: float | None = None) -> Prediction:
        """Wait for the outcome. Cancelling this does not cancel the run.

        Raises what the run failed with, and TimeoutError after ``timeout`` seconds (None: no limit).
        """
        return await self._runs.outcome(self.id, timeout)

    async def status(self) -> RunStatus:
        """Its present state."""
        return await self._runs.status(self.id)

    async def steps(self, *, first: int = 0, limit: int | None = None) -> list[StepStatus]:
        """Its steps that have ended, in the order in which they did, from number ``first`` on.

        Values that several of them have in common may be there once: do not change them.
        """
        return await self._runs.steps(self.id, first, limit)

    def events(self, *, after: int = 0) -> AsyncIterator[RunEvent]:
        """Its events with numbers above ``after``, as they come, up to its end."""
        return self._runs.events(self.id, after)

    async def signal(self, name: str, value: Any = None) -> None:
        """Send it a signal, for `wait_for_signal`; on disk when this returns.

        Args:
            value: JSON, or what pydantic makes JSON of.

        Raises WrongRunState if it has ended.
        """
        from pydantic_core import to_jsonable_python

        await self._runs.tell(self.id, "signal", {"name": name, "value": to_jsonable_python(value)})

    async def cancel(self) -> None:
        """Ask it to stop: its steps are cancelled, down to the sockets. Raises WrongRunState if it has ended."""
        await self._runs.tell(self.id, "cancel", {})

    async def retry(self, *, timeout: float | None = None) -> None:
        """Go on with it from where it failed, was cancelled or is held. Raises WrongRunState if it is not.

        Args:
            timeout: Seconds it may take from now on; None: what is left of its time; if nothing is, no limit.
        """
        await self._runs.retry(self.id, timeout)

    async def replay(self) -> Prediction:
        """What its program, as it is now, makes of the recorded steps: nothing is asked, nothing is done.

        Raises RunReplayIncomplete, ProgramChanged.
        """
        return await self._runs.replay(self.id)

    async def fork(
        self,
        step: int = 0,
        *,
        inputs: Mapping[str, Any] | None = None,
        parameters: Mapping[str, Parameters] | None = None,
        key: str | None = None,
    ) -> "RunHandle":
        """A new run that has this one's first ``step`` steps, and does the rest itself.

        Args:
            inputs: Exchanged inputs; steps that depend on them are done anew.
            parameters: Of predictors, by their paths, for the new run alone.
            key: The new run's; None: one of its own.
        """
        return await self._runs.fork(self.id, step, inputs, parameters or {}, key)
