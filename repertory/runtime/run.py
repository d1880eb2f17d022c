"""A run: one execution of a program, step by step, each step answered by an actor or by the journal."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import to_jsonable_python

from repertory.clock import Clock
from repertory.errors import ActorDown, DeadlineExceeded, ProgramError, RuntimeClosed
from repertory.modules import Module, Predict, Prediction
from repertory.modules.pending import Pending, arrived
from repertory.providers.messages import Terms, Usage
from repertory.runtime.journal import Journal, RecordedStep, StepKey, json_hash
from repertory.runtime.predictor import Answer, VersionedParameters
from repertory.supervisors import PoolRef

ATTEMPTS = 3  # times a step is given to an actor, where the life that held it ends each time
PAUSE = 0.1  # seconds before the last of these


@dataclass(slots=True)
class Station:
    """Where the calls of one predictor go, and the snapshot of parameters they go with."""

    path: str
    pool: PoolRef
    parameters: VersionedParameters = field(default_factory=VersionedParameters)

    def take(self, parameters: VersionedParameters) -> None:
        """Have later calls go with ``parameters``."""
        self.parameters = parameters


class RunContext:
    """Dispatches the steps of one run; implements `Dispatcher`.

    Args:
        run: The run's id.
        recorded: Steps finished earlier; they are read instead of asked again.
        journal: Where finished steps are recorded; None: nowhere.
        deadline: Point on the clock after which nobody waits for the run.
        closing: Whether the actors are being stopped for good, so that a step they dropped is not given out again.
        terms: On whose behalf models are asked, and who pays.
    """

    def __init__(
        self,
        run: str,
        stations: Mapping[int, Station],
        recorded: Mapping[StepKey, RecordedStep],
        journal: Journal | None,
        clock: Clock,
        deadline: float,
        closing: Callable[[], bool],
        terms: Terms,
    ) -> None:
        self.usage = Usage()
        self.lm_calls = 0
        self.run = run
        self._stations = stations
        self._journal = journal
        self._clock = clock
        self._deadline = deadline
        self._closing = closing
        self._terms = terms
        self._unread: dict[tuple[str, str], deque[RecordedStep]] = {}
        self._finished: Counter[tuple[str, str]] = Counter()  # steps recorded, by predictor and input hash
        for key in sorted(recorded, key=lambda key: key.occurrence):
            self._unread.setdefault((key.predictor, key.input_hash), deque()).append(recorded[key])
            self._finished[key.predictor, key.input_hash] += 1
        self._ended = False
        self._dispatching: set[asyncio.Task[Any]] = set()  # tasks with a step under way
        self._writes: list[asyncio.Future[None]] = []

    def dispatch(
        self, module: Module, inputs: Mapping[str, Any], demos: Sequence[Mapping[str, Any]] | None = None
    ) -> Pending:
        """Begin the work of a module."""
        work = self._step(module, inputs, demos) if isinstance(module, Predict) else self._inner(module, inputs)
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        fields = module.output_names if isinstance(module, Predict) else None
        return Pending(type(module).__name__, outcome=task, fields=fields)

    async def _inner(self, module: Module, inputs: Mapping[str, Any]) -> Prediction:
        answer = await module.forward(**await arrived(inputs))
        return await answer if isinstance(answer, Pending) else answer

    async def _step(
        self, predictor: Predict, given: Mapping[str, Any], demos: Sequence[Mapping[str, Any]] | None
    ) -> Prediction:
        return await self.step(predictor, predictor.compiled.validate_inputs(await arrived(given)), demos)

    async def step(
        self, predictor: Predict, inputs: dict[str, Any], demos: Sequence[Mapping[str, Any]] | None
    ) -> Prediction:
        """One step."""
        station = self._stations.get(id(predictor))
        if station is None:
            raise ProgramError(
                f"{type(predictor).__name__}({predictor.compiled.name}) was not there when the program started",
                hint="Make predictors in __init__ and keep them as attributes, or in lists or dicts of these.",
            )
        if self._ended:  # the caller is a task that `forward` left behind
            raise RuntimeClosed(f"the run of {station.path} has ended", hint="Await all that forward begins.")
        task = asyncio.current_task()
        assert task is not None
        self._dispatching.add(task)
        try:
            if self._journal is None:
                prediction = await self._ask(station, inputs, demos)
            else:
                prediction = await self._journaled(self._journal, station, predictor, inputs, demos)
        finally:
            self._dispatching.discard(task)
        self.usage += prediction.usage
        self.lm_calls += prediction.lm_calls
        return prediction

    async def settle(self) -> None:
        """Return once every recorded step is on disk. Raises StoreError."""
        for write in self._writes:
            await write

    def end(self) -> None:
        """Nobody waits for the run any more: cancel steps still under way, let writes end by themselves.

        Steps are left over where ``forward`` made tasks, as `asyncio.gather` does, and one of them failed.
        """
        self._ended = True
        for task in self._dispatching:
            if task is not asyncio.current_task():
                task.cancel()
        for write in self._writes:
            write.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _journaled(
        self,
        journal: Journal,
        station: Station,
        predictor: Predict,
        inputs: dict[str, Any],
        demos: Sequence[Mapping[str, Any]] | None,
    ) -> Prediction:
        compiled = predictor.compiled
        shown = to_jsonable_python([dict(demo) for demo in demos]) if demos is not None else None
        asked = json_hash(compiled.dump_inputs(inputs), shown)
        if unread := self._unread.get((station.path, asked)):
            step = unread.popleft()
            return Prediction(
                compiled.validate_outputs(step.outputs),
                usage=step.usage,
                lm_calls=1,
                parameters_version=step.parameters_version,
            )
        started = self._clock.monotonic()
        prediction = await self._ask(station, inputs, demos)
        seconds = self._clock.monotonic() - started
        outputs = compiled.dump_outputs(prediction)
        # Numbered when it is finished: calls that fail and are repeated leave no gap that a resume would fill.
        key = StepKey(station.path, asked, self._finished[station.path, asked])
        self._finished[station.path, asked] += 1
        # Not awaited: the step is on its way to the disk while the next one runs; `settle` waits for all.
        self._writes.append(journal.record_step(self.run, key, outputs, prediction, seconds))
        return prediction

    async def _ask(
        self, station: Station, inputs: Mapping[str, Any], demos: Sequence[Mapping[str, Any]] | None
    ) -> Prediction:
        """Have an actor answer; if its life ends meanwhile, another one."""
        message = Answer(inputs, demos, station.parameters, self._deadline, self._terms)
        for attempt in range(1, ATTEMPTS + 1):
            timeout = self._deadline - self._clock.monotonic()
            if timeout <= 0:
                raise DeadlineExceeded(f"{station.path}: the deadline passed before the step began")
            try:
                return await station.pool.ask(message, timeout=timeout)
            except ActorDown:
                if attempt == ATTEMPTS or self._closing():
                    raise
            if attempt > 1:  # not one worker then but a branch of the tree: it takes a moment to come back
                await self._clock.sleep(PAUSE)
        raise AssertionError("unreachable: the last attempt returns or raises")
