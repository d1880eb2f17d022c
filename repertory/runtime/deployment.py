"""A deployment: a program started on a runtime, its predictors alive as actors."""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from pydantic_core import to_jsonable_python

from repertory.actors import ActorRef
from repertory.errors import DeadlineExceeded, InputError, ProgramError, RepertoryError, StoreError
from repertory.events import RunFinished, RunStuck
from repertory.modules import Module, Parameters, Predict, Prediction
from repertory.modules.dispatch import current_dispatcher
from repertory.providers.messages import TERMS, Terms
from repertory.runtime.confined import Overdue, Work, confined
from repertory.runtime.journal import RecordedRun, json_hash, run_id
from repertory.runtime.predictor import UpdateParameters
from repertory.runtime.releases import Releases
from repertory.runtime.run import RunContext, Station
from repertory.signatures import CompiledSignature, compile_signature
from repertory.signatures.json_text import load_json

if TYPE_CHECKING:
    from repertory.runtime.runtime import Runtime


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run.

    Attributes:
        id: Its id in the journal.
        prediction: What the program returned. Read back from the journal, values other than those of a single
            predictor are as JSON has them.
        seconds: How long it took, when it was really run.
        replayed: Whether it had been finished earlier and was only read.
    """

    id: str
    prediction: Prediction
    seconds: float
    replayed: bool


class Deployment:
    """A started program. Call it like the program itself; made by `Runtime.start`.

    It is one version of the program, and at the same time the way to all of them: a call goes to the version whose
    turn it is, whichever of them it is made on.

    Attributes:
        name: The program's name in the journal, the same for every version.
        version: What tells this version from others, such as ``news@2``; its path is below ``root/programs``.
        releases: The versions of the program.
    """

    def __init__(
        self,
        runtime: "Runtime",
        name: str,
        program: Module,
        stations: Mapping[int, Station],
        keepers: Mapping[str, ActorRef],
        *,
        version: str | None = None,
        releases: "Releases[Deployment] | None" = None,
    ) -> None:
        self.name = name
        self.version = version or name
        self.program = program
        self.compiled: CompiledSignature = compile_signature(program.signature)
        self.fingerprint = self._fingerprint(runtime)
        self._runtime = runtime
        self._stations = stations
        self._keepers = keepers
        self._stuck: set[Work[Prediction]] = set()  # left behind
        self.releases: Releases[Deployment] = releases or Releases(
            name, self, clock=runtime.clock, hooks=runtime.hooks, rng=Random(self.fingerprint)
        )

    @property
    def current(self) -> "Deployment":
        """The version that is not on trial: the one that calls go to, but for those of a rollout."""
        return self.releases.current

    def _fingerprint(self, runtime: "Runtime") -> str:
        """A hash of all that is declared about the program: what it is asked, how, and which models it asks.

        The code of ``forward`` and data it holds are not part of it.
        """
        predictors = {
            path: [
                predict.compiled.fingerprint,
                predict.parameters.model_dump(mode="json"),
                runtime.lm_of(predict),
            ]
            for path, predict in self.program.predictors().items()
        }
        return json_hash(self.compiled.fingerprint, predictors)

    async def __call__(self, **inputs: Any) -> Prediction:
        """Run the program once. Raises as `run`."""
        return (await self.run(inputs)).prediction

    async def run(
        self,
        inputs: Mapping[str, Any],
        *,
        key: str | None = None,
        timeout: float | None = None,
        terms: Terms = TERMS,
    ) -> Run:
        """Run the program once; what is finished under ``key`` already is read, not asked again.

        Args:
            key: What makes it this run and not another; None: a new one.
            timeout: Seconds it may take; None: the runtime's default.
            terms: On whose behalf models are asked, who pays, and whether an old answer will do.

        Raises:
            InputError: The inputs do not fit the program, or are not those that ``key`` stands for.
            ProgramError: The program's own code failed; its error is the ``__cause__``.
            DeadlineExceeded, LMError, ReplyError: A step failed.
            RuntimeClosed: The runtime is stopping, or its supervision tree has given up.
        """
        releases, journal = self.releases, self._runtime.journal
        if key is None or journal is None:
            version = releases.pick(terms.sticky)
            values = version.compiled.validate_inputs(inputs)
            return await version.resume(values, key or uuid4().hex, None, timeout=timeout, terms=terms)
        # Who comes second with the same key waits for the first, and then reads what came of it.
        async with releases.turns.setdefault(key, asyncio.Lock()):
            recorded = (await journal.find(self.name, [key])).get(key)
            held_by = releases.holder(recorded.fingerprint) if recorded is not None else None
            version = held_by or releases.pick(terms.sticky)
            values = version.compiled.validate_inputs(inputs)
            if recorded is not None:
                version._check_same(key, values, recorded)
            return await version.resume(values, key, recorded, timeout=timeout, terms=terms)

    async def recorded(self, keys: Iterable[str]) -> dict[str, RecordedRun]:
        """What the journal knows of runs under these keys."""
        journal = self._runtime.journal
        return await journal.find(self.name, keys) if journal is not None else {}

    async def resume(
        self,
        values: dict[str, Any],
        key: str,
        recorded: RecordedRun | None,
        *,
        timeout: float | None = None,
        terms: Terms = TERMS,
    ) -> Run:
        """As `run`, for validated ``values`` and what the journal has under ``key``, already looked up.

        The run is this version's, as long as it lives.
        """
        if recorded is not None and recorded.outputs is not None:
            return self._replayed(recorded)
        if not self.releases.lives(self):
            values = self.current.compiled.validate_inputs(values)
            return await self.current.resume(values, key, recorded, timeout=timeout, terms=terms)
        runtime = self._runtime
        clock, journal = runtime.clock, runtime.journal
        timeout = runtime.timeout if timeout is None else timeout
        with runtime.working(), self.releases.on(self) as run:
            started = clock.monotonic()
            id = run_id(self.name, key)
            steps = {}
            if journal is not None:
                if recorded is None:
                    await journal.accept(self.name, key, self.fingerprint, self.compiled.dump_inputs(values))
                else:
                    steps = await journal.steps_of(id)
            context = RunContext(
                *(id, self._stations, steps, journal, clock, started + timeout),
                closing=lambda: runtime.closing,
                terms=runtime.charged(terms),
            )
            outcome: str | None = "cancelled"  # unless it ends in one of the ways below
            try:
                prediction = await self._execute(context, values, timeout)
                seconds = clock.monotonic() - started
                if journal is not None:
                    finished = journal.finish(id, prediction, to_jsonable_python(prediction.outputs), seconds)
                    await asyncio.gather(context.settle(), finished)
                outcome = None
                run.answered(values, prediction)
                return Run(id, prediction, seconds, replayed=False)
            except (Exception, asyncio.CancelledError, SystemExit) as failure:
                task = asyncio.current_task()
                if isinstance(failure, asyncio.CancelledError) and (task is None or task.cancelling()):
                    raise  # it is us who are cancelled; else it is a mishap of the program's own
                error = runtime.explained(self._told(failure))
                outcome = error.code
                if journal is not None:
                    with suppress(StoreError):  # it is told what went wrong, not that this could not be noted
                        await journal.fail(id, error, context.usage, context.lm_calls, clock.monotonic() - started)
                raise error from error.__cause__
            finally:
                context.end()
                if hooks := runtime.hooks:
                    hooks.emit(RunFinished(self.name, id, clock.monotonic() - started, outcome, replayed=False))

    def parameters(self) -> dict[str, Parameters]:
        """The present parameters of each predictor of the current version, by its path."""
        return {station.path: station.parameters.parameters for station in self.current._stations.values()}

    async def update_parameters(self, predictor: str, parameters: Parameters) -> int:
        """Exchange a predictor's parameters, on disk before this returns; return their version.

        Runs under way go on with what each of their steps began with. Raises ProgramError for an unknown path.
        """
        if self is not self.current:
            return await self.current.update_parameters(predictor, parameters)
        keeper = self._keepers.get(predictor)
        if keeper is None:
            raise ProgramError(
                f"{self.name} has no predictor {predictor!r}", hint=f"It has: {', '.join(self._keepers)}."
            )
        if self.program.predictors()[predictor].lm is None:
            self._runtime.check_lm(predictor, parameters.lm)
        return (await keeper.ask(UpdateParameters(parameters))).version

    async def stop(self) -> None:
        """End the actors of this version. For `Releases`; a program is stopped by `Runtime.stop`."""
        await self._runtime.stop_version(self.version)

    def busiest_worker(self) -> ActorRef:
        """The actor with the most to do, among those that make predictions."""
        return max((station.pool.busiest() for station in self._stations.values()), key=lambda ref: ref.load)

    async def _execute(self, context: RunContext, values: dict[str, Any], timeout: float) -> Prediction:
        if isinstance(self.program, Predict):
            return await context.dispatch(self.program, values, None)
        try:
            prediction = await confined(
                self._forward(context, values), timeout, partial(self._leave_behind, context.run)
            )
        except Overdue as error:
            raise DeadlineExceeded(f"{self.name}: not done within {timeout:g} s") from error
        if not isinstance(prediction, Prediction):
            raise ProgramError(
                f"{self.name}: forward returned {type(prediction).__name__}, not a Prediction",
                hint="Return what a predictor gave (awaited), or Prediction(name=value, ...).",
            )
        return Prediction(
            prediction.outputs,
            usage=context.usage,
            lm_calls=context.lm_calls,
        )

    async def _forward(self, context: RunContext, values: dict[str, Any]) -> Prediction:
        current_dispatcher.set(context)
        try:
            return await self.program.forward(**values)
        except SystemExit as failure:
            raise self._told(failure) from failure

    def _leave_behind(self, run: str, task: Work[Prediction]) -> None:
        task.set_name(f"run {run} of {self.name}")
        self._stuck.add(task)
        task.add_done_callback(self._stuck.discard)
        if hooks := self._runtime.hooks:
            hooks.emit(RunStuck(self.name, run))

    def _check_same(self, key: str, values: dict[str, Any], recorded: RecordedRun) -> None:
        """Raise unless the run recorded under ``key`` asks the same of the same program."""
        if load_json(recorded.inputs) != self.compiled.dump_inputs(values):
            reason = f"the key {key!r} stands for a run with other inputs"
            raise InputError("", reason, hint="Give each run a key of its own.")
        if recorded.fingerprint != self.fingerprint:
            raise ProgramError(
                f"the key {key!r} stands for a run of another version of {self.name}",
                hint="Signatures, parameters or model have changed since: give the run another key.",
            )

    def _told(self, failure: BaseException) -> RepertoryError:
        """``failure``, or what the program's own code raised as an answer: its mishap ends this run, no other."""
        if isinstance(failure, RepertoryError):
            return failure
        forgotten = "Put `await` before the call of a module." if "coroutine" in str(failure) else None
        what = f"{type(failure).__name__}: {_innermost(failure)}"
        error = ProgramError(f"{self.name}: its code raised {what}", hint=forgotten)
        error.__cause__ = failure
        return error

    def _replayed(self, recorded: RecordedRun) -> Run:
        outputs = recorded.outputs or {}
        if isinstance(self.program, Predict):
            outputs = self.compiled.validate_outputs(outputs)
        prediction = Prediction(outputs, usage=recorded.usage, lm_calls=recorded.lm_calls)
        if hooks := self._runtime.hooks:
            hooks.emit(RunFinished(self.name, recorded.id, recorded.seconds, None, replayed=True))
        return Run(recorded.id, prediction, recorded.seconds, replayed=True)


def _innermost(failure: BaseException) -> BaseException:
    """The first error in a group of groups, which says more than that there was one."""
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure
