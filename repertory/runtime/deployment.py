"""A deployment: a program started on a runtime, its predictors alive as actors."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from repertory.actors import ActorRef
from repertory.errors import InputError, ProgramChanged, ProgramError, RepertoryError, RunTakenOver, StoreError
from repertory.events import RunFinished
from repertory.modules import Module, Parameters, Predict, Prediction
from repertory.modules.run_info import RunInfo
from repertory.providers.messages import TERMS, Terms, Usage
from repertory.runtime.code import code_fingerprint
from repertory.runtime.confined import Work
from repertory.runtime.execution import Executor, Run
from repertory.runtime.history import RunHistory
from repertory.runtime.journal import json_hash, other_inputs, run_end
from repertory.runtime.predictor import RollBackParameters, UpdateParameters, VersionedParameters
from repertory.runtime.program_options import ProgramOptions
from repertory.runtime.releases import Releases
from repertory.runtime.run import RunContext
from repertory.runtime.run_budget import RunBudget, paid_by_itself, settle_up
from repertory.runtime.run_ids import run_id
from repertory.runtime.run_log import RunLog
from repertory.runtime.surroundings import Surroundings
from repertory.runtime.terms_json import terms_as_json
from repertory.signatures import CompiledSignature, compile_signature
from repertory.signatures.json_text import dump_json, load_json
from repertory.store.run_rows import NewRun, StoredRun

if TYPE_CHECKING:
    from repertory.runtime.runtime import Runtime


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A run that was begun and has no outcome, or failed, and is to go on."""

    run: StoredRun
    log: RunLog
    history: RunHistory


class Deployment:
    """A started program. Call it like the program itself; made by `Runtime.start`.

    It is one version of the program, and at the same time the way to all of them: a call goes to the version whose
    turn it is, whichever of them it is made on.

    Attributes:
        name: The program's name in the journal, the same for every version.
        version: What tells this version from others, such as ``news@2``; its path is below ``root/programs``.
        options: How it was started.
        releases: The versions of the program.
    """

    def __init__(
        self,
        runtime: "Runtime",
        name: str,
        program: Module,
        predictors: Mapping[str, Predict],
        around: Surroundings,
        keepers: Mapping[str, ActorRef],
        options: ProgramOptions,
        *,
        version: str | None = None,
        releases: "Releases[Deployment] | None" = None,
    ) -> None:
        self.name = name
        self.version = version or name
        self.program = program
        self._predictors = predictors
        self.compiled: CompiledSignature = compile_signature(program.signature)
        self.fingerprint = self._fingerprint(runtime)
        self.code = code_fingerprint(program)
        self._runtime = runtime
        self._around = around
        self._keepers = keepers
        self.options = options
        self._stuck: set[Work[Prediction]] = set()  # left behind
        self.releases: Releases[Deployment] = releases or Releases(
            name, self, clock=runtime.clock, hooks=runtime.hooks, rng=Random(self.fingerprint)
        )
        self.executor = Executor(
            *(name, program, around, runtime.journal, runtime.hooks, runtime.explained, self._leave_behind)
        )

    def _fingerprint(self, runtime: "Runtime") -> str:
        """A hash of all that is declared about the program: what it is asked, how, and which models it asks.

        The code of ``forward`` and data it holds are not part of it.
        """
        predictors = {
            path: [
                predict.compiled.fingerprint,
                predict.parameters.model_dump(mode="json"),
                runtime.models.address(predict),
            ]
            for path, predict in self._predictors.items()
        }
        return json_hash(self.compiled.fingerprint, predictors)

    @property
    def current(self) -> "Deployment":
        """The version that is not on trial: the one that calls go to, but for those of a rollout."""
        return self.releases.current

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
        trace: str = "",
        tags: Mapping[str, str] | None = None,
        budget: RunBudget | None = None,
    ) -> Run:
        """Run the program once; what is finished under ``key`` already is read, not asked again.

        Args:
            key: What makes it this run and not another; None: a new one.
            timeout: Seconds it may take; None: the runtime's default.
            terms: On whose behalf models are asked, who pays, and whether an old answer will do.
            trace: The caller's trace context (W3C ``traceparent``).
            tags: What to find the run by.
            budget: What it may spend.

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
            made = key or self._runtime.keys.new()
            if budget is not None:
                terms = await paid_by_itself(terms, run_id(self.name, made), budget, self._runtime.ledger)
            return await version.resume(values, made, None, timeout=timeout, terms=terms, trace=trace, tags=tags)
        # Who comes second with the same key waits for the first, and then reads what came of it.
        async with releases.turns.setdefault(key, asyncio.Lock()):
            recorded = (await journal.find(self.name, [key])).get(key)
            if recorded is None:
                recorded = await self._runtime.runs.submitted(run_id(self.name, key))
            held_by = releases.holder(recorded.fingerprint) if recorded is not None else None
            version = held_by or releases.pick(terms.sticky)
            values = version.compiled.validate_inputs(inputs)
            if recorded is not None:
                version.check_same(key, values, recorded)
            terms = await paid_by_itself(terms, run_id(self.name, key), budget, self._runtime.ledger)
            return await version.resume(
                values, key, recorded, timeout=timeout, terms=terms, trace=trace, tags=tags
            )

    async def recorded(self, keys: Iterable[str]) -> dict[str, StoredRun]:
        """What the journal knows of runs under these keys."""
        journal = self._runtime.journal
        return await journal.find(self.name, keys) if journal is not None else {}

    async def resume(
        self,
        values: dict[str, Any],
        key: str,
        recorded: StoredRun | None,
        *,
        timeout: float | None = None,
        terms: Terms = TERMS,
        trace: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> Run:
        """As `run`, for validated ``values`` and what the journal has under ``key``, already looked up.

        The run is this version's, as long as it lives.
        """
        runtime = self._runtime
        timeout = runtime.timeout if timeout is None else timeout
        deadline = runtime.clock.monotonic() + timeout
        if recorded is not None and recorded.status == "ok":
            return self.replayed(recorded)
        runtime.memory.check(terms.priority)
        id = run_id(self.name, key)
        info = RunInfo(
            *(id, self.name, deadline, runtime.charged(terms), trace, tags or {}),
            durable=runtime.journal is not None,
        )
        with runtime.working():
            if runtime.journal is None:
                return await self.execute(info, values, None, None)
            if recorded is None:
                log = runtime.journal.accept(self.new_run(key, values, id=id, terms=terms, tags=tags))
                return await self.execute(info, values, log, None)
            if (ended := await runtime.runs.outcome_elsewhere(recorded, deadline)) is not None:
                return self.replayed(ended)
            with runtime.runs.taken(id):
                interrupted = await self.take_up(recorded)
                return await self.execute(info, values, interrupted.log, interrupted.history)

    async def execute(
        self,
        info: RunInfo,
        values: dict[str, Any],
        log: RunLog | None,
        history: RunHistory | None,
        *,
        streams: bool = False,
        submitted: bool = False,
        context_of: Callable[[RunContext], None] = lambda _: None,
    ) -> Run:
        """Bring a run to its outcome on this version, or where that lives no more, on the current one."""
        version = self if self.releases.lives(self) else self.current
        with version.releases.on(version) as counted:
            run = await version.executor.execute(
                info, values, log, history, streams=streams, submitted=submitted, context_of=context_of
            )
            counted.answered(values, run.prediction)
        if info.terms.accounts:
            await settle_up(info.terms, info.id, self._runtime.ledger)
        return run

    async def stop(self) -> None:
        """End the actors of this version. For `Releases`; a program is stopped by `Runtime.stop`."""
        await self._runtime.programs.stop_version(self.version)

    def new_run(
        self,
        key: str,
        values: dict[str, Any],
        *,
        terms: Terms = TERMS,
        tags: Mapping[str, str] | None = None,
        id: str | None = None,
        submitted: bool = False,
        deadline_at: float | None = None,
        parent: str | None = None,
    ) -> NewRun:
        """What the journal is told of a run with validated ``values``."""
        journal = self._runtime.journal
        assert journal is not None
        return NewRun(
            id or run_id(self.name, key),
            self.name,
            key,
            self.fingerprint,
            self.code,
            dump_json(self.compiled.dump_inputs(values)).decode(),
            journal.owner,
            submitted,
            terms_as_json(terms),
            deadline_at,
            parent,
            dump_json(dict(tags)).decode() if tags else None,
            self._runtime.clock.time(),
        )

    async def take_up(self, recorded: StoredRun) -> Interrupted:
        """Make a run that has no outcome, or failed, one that this process goes on with.

        Raises RunTakenOver if another process has it; ProgramChanged by the program's policy.
        """
        journal = self._runtime.journal
        assert journal is not None
        if not await journal.take_over(recorded):
            raise RunTakenOver(f"the run {recorded.id} is executed already", hint="Ask for its outcome.")
        try:
            history = await journal.history(recorded.id)
        except (KeyError, TypeError, ValueError) as cause:
            damaged = StoreError(f"{self.name}: the run {recorded.id}: its log cannot be read: {cause!r}")
            history = RunHistory(last=await journal.table.last_event(recorded.id))
            await self.refuse(Interrupted(recorded, journal.log(recorded.id, history), history), damaged)
            raise damaged from cause
        log = journal.log(recorded.id, history)
        history = await journal.inherit(log, history, recorded.parent)
        code = history.code or recorded.code
        declared_otherwise = history.code is None and recorded.fingerprint != self.fingerprint
        if (code is not None and code != self.code) or declared_otherwise:
            if self.options.changed == "refuse":
                what = "signatures, parameters or models" if declared_otherwise and code == self.code else "code"
                error = ProgramChanged(
                    f"{self.name}: the run {recorded.id} was begun with other {what} of its program",
                    hint='Give it another key, or start the program with changed="continue" or "restart".',
                )
                await self.refuse(Interrupted(recorded, log, history), error)
                raise error
            if self.options.changed == "restart":
                log.append("restart", {"code": self.code})
                history.restart(self.code)
        if recorded.status != "accepted" or history.ended:
            history.forget_failures()
        for step in history.cut_off:
            log.append("reset", step.data())
        return Interrupted(recorded, log, history)

    async def fitting_inputs(self, interrupted: Interrupted) -> dict[str, Any]:
        """The inputs of a run that was taken up. Raises ProgramChanged if the program takes them no more."""
        try:
            return self.compiled.validate_inputs(load_json(interrupted.run.inputs))
        except InputError as misfit:
            run = interrupted.run.id
            error = ProgramChanged(
                f"{self.name}: the run {run} has inputs that its program takes no more: {misfit.message}",
                hint="Submit it anew, with inputs that fit, under another key.",
            )
            await self.refuse(interrupted, error)
            raise error from None

    async def refuse(self, interrupted: Interrupted, error: RepertoryError) -> None:
        """Record that a run which this process owns cannot go on; `retry` does, once what is wrong is mended."""
        journal = self._runtime.journal
        assert journal is not None
        spent = (*interrupted.history.spent(), interrupted.run.seconds or 0.0)
        end = run_end(interrupted.run.id, "failed", *spent, self._runtime.clock.time(), error=error)
        await journal.end(interrupted.log, end)

    # --- parameters ---

    def parameters(self) -> dict[str, Parameters]:
        """The present parameters of each predictor of the current version, by its path."""
        stations = self.current._around.stations.values()
        return {station.path: station.parameters.parameters for station in stations}

    def parameter_versions(self, predictor: str) -> dict[int, Parameters]:
        """The versions of a predictor's parameters that are kept, the oldest first; the last one holds.

        Raises ProgramError for an unknown path.
        """
        if self is not self.current:
            return self.current.parameter_versions(predictor)
        self._keeper(predictor)
        (station,) = (each for each in self._around.stations.values() if each.path == predictor)
        return station.parameters.versions()

    async def update_parameters(self, predictor: str, parameters: Parameters) -> int:
        """Exchange a predictor's parameters, on disk before this returns; return their version.

        Runs under way go on with what each of their steps began with. Raises ProgramError for an unknown path.
        """
        if self is not self.current:
            return await self.current.update_parameters(predictor, parameters)
        keeper = self._keeper(predictor)
        self.check_model(predictor, parameters)
        changed: VersionedParameters = await keeper.ask(UpdateParameters(parameters))
        return changed.version

    async def roll_back_parameters(self, predictor: str, version: int) -> int:
        """Bring back the parameters that were ``version``, as a new version; return that.

        Raises ProgramError for an unknown path, a version that is not kept, or one whose model is gone.
        """
        if self is not self.current:
            return await self.current.roll_back_parameters(predictor, version)
        if (earlier := self.parameter_versions(predictor).get(version)) is not None:
            self.check_model(predictor, earlier)
        changed: VersionedParameters = await self._keeper(predictor).ask(RollBackParameters(version))
        return changed.version

    def check_model(self, predictor: str, parameters: Parameters) -> None:
        """Raise ProgramError if there is no language model that ``parameters`` of this predictor name."""
        self._runtime.models.check(predictor, self._predictors[predictor], parameters.lm)

    def busiest_worker(self) -> ActorRef:
        """The actor with the most to do, among those that make predictions."""
        return max(
            (station.pool.busiest() for station in self._around.stations.values()), key=lambda ref: ref.load
        )

    # --- inside ---

    def _keeper(self, predictor: str) -> ActorRef:
        keeper = self._keepers.get(predictor)
        if keeper is None:
            raise ProgramError(
                f"{self.name} has no predictor {predictor!r}", hint=f"It has: {', '.join(self._keepers)}."
            )
        return keeper

    def _leave_behind(self, task: Work[Prediction]) -> None:
        self._stuck.add(task)
        task.add_done_callback(self._stuck.discard)

    def check_same(self, key: str, values: dict[str, Any], recorded: StoredRun) -> None:
        """Raise unless the run recorded under ``key`` asks the same of the same program."""
        if load_json(recorded.inputs) != self.compiled.dump_inputs(values):
            raise other_inputs(key)
        if recorded.fingerprint != self.fingerprint:
            raise ProgramChanged(
                f"the key {key!r} stands for a run of another version of {self.name}",
                hint="Signatures, parameters or model have changed since: give the run another key.",
            )

    def replayed(self, recorded: StoredRun) -> Run:
        """A run that had ended well."""
        outputs = load_json(recorded.outputs) if recorded.outputs is not None else {}
        if isinstance(self.program, Predict):
            outputs = self.compiled.validate_outputs(outputs)
        usage = Usage(recorded.input_tokens, recorded.output_tokens)
        prediction = Prediction(outputs, usage=usage, lm_calls=recorded.lm_calls)
        seconds = recorded.seconds or 0.0
        if hooks := self._runtime.hooks:
            hooks.emit(RunFinished(self.name, recorded.id, seconds, None, replayed=True))
        return Run(recorded.id, prediction, seconds, replayed=True, durable=True)
