"""The questions of a run to its models, each answered by an actor once, and from the record after that."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from pydantic_core import to_jsonable_python

from repertory.errors import ActorDown, DeadlineExceeded, OutputsInvalid, ProgramChanged, RepertoryError
from repertory.modules import Parameters, Predict, Prediction
from repertory.modules.effects import performing
from repertory.modules.pending import arrived
from repertory.modules.run_info import RunInfo
from repertory.providers.messages import NO_USAGE, Usage
from repertory.runtime.history import RecordedStep
from repertory.runtime.journal import json_hash
from repertory.runtime.predictor import Answer, VersionedParameters
from repertory.runtime.run_record import RunRecord, told_of
from repertory.runtime.step_witness import StepWitness
from repertory.runtime.surroundings import Station, Surroundings
from repertory.runtime.working import Working
from repertory.signatures import CompiledSignature

ATTEMPTS = 3  # times a question is given to an actor, where the life that held it ends each time
PAUSE = 0.1  # seconds before the last of these


class RunQuestions:
    """Asks the models of one run.

    Args:
        at_work: Where the run stands still as the process ends; None: it does not.
        streams: Whether pieces of answers go into its log.

    Attributes:
        usage: Of all answers so far, also of those that were read.
        lm_calls: Likewise.
        nano_cost: What they cost, and what was paid for those that failed, in 1e-9 dollars.
    """

    __slots__ = ("_around", "_at_work", "_info", "_record", "_streams", "lm_calls", "nano_cost", "usage")

    def __init__(
        self, info: RunInfo, record: RunRecord, around: Surroundings, at_work: Working | None, *, streams: bool
    ) -> None:
        self.usage = NO_USAGE
        self.lm_calls = 0
        self.nano_cost = record.history.nano_paid if record.history is not None else 0
        self._info = info
        self._record = record
        self._around = around
        self._at_work = at_work
        self._streams = streams

    def spent(self) -> tuple[Usage, int, int]:
        """Usage, calls, and cost in 1e-9 dollars."""
        return self.usage, self.lm_calls, self.nano_cost

    async def put(
        self,
        station: Station,
        predictor: Predict,
        inputs: Mapping[str, Any],
        demos: Sequence[Mapping[str, Any]] | None,
    ) -> Prediction:
        """Ask once all is there that ``inputs`` and ``demos`` refer to."""
        values = predictor.compiled.validate_inputs(await arrived(inputs))
        return await self.ask(station, predictor, values, await arrived(demos))

    def ask(
        self,
        station: Station,
        predictor: Predict,
        inputs: dict[str, Any],
        demos: Sequence[Mapping[str, Any]] | None,
        *,
        alone: bool = False,
    ) -> Coroutine[Any, Any, Prediction]:
        """The answer to a question whose inputs are validated.

        Args:
            alone: Whether it is all that the run asks, so that its inputs are the run's.
        """
        answered = self._answered(station, predictor, inputs, demos, alone=alone)
        # What an effect asks belongs to what is under way.
        if self._at_work is None or performing.get() is not None:
            return answered
        return self._at_work.during(answered)

    async def _answered(
        self,
        station: Station,
        predictor: Predict,
        inputs: dict[str, Any],
        demos: Sequence[Mapping[str, Any]] | None,
        *,
        alone: bool,
    ) -> Prediction:
        record = self._record
        if record.log is None and record.history is None:
            prediction = await self._asked(station, inputs, demos, None)
            self._count_in(prediction)
            return prediction
        compiled = predictor.compiled
        dumped = compiled.dump_inputs(inputs)
        shown = to_jsonable_python([dict(demo) for demo in demos]) if demos is not None else None
        key = record.key(station.path, json_hash(dumped, shown))
        if record.history is not None and (recorded := await record.outcome(key)) is not None:
            prediction = Prediction(
                _outputs_of(station.path, compiled, recorded),
                usage=recorded.usage,
                lm_calls=recorded.calls,
                parameters_version=recorded.version,
            )
            self._count_in(prediction)
            return prediction
        log = record.log
        assert log is not None
        witness = StepWitness(log, key, record.history, self._around.uncertain)
        paid_before = witness.nano_cost
        started = self._around.clock.monotonic()
        told = told_of(key)
        told["begun"] = log.last
        if not alone:  # else they are the run's
            told["inputs"] = dumped
        try:
            prediction = await self._asked(station, inputs, demos, witness)
        except (RepertoryError, asyncio.CancelledError) as error:
            told["nano"] = witness.nano_cost
            record.note_failure(told, error, witness.take_settled(), started)
            raise
        finally:
            self.nano_cost += witness.nano_cost - paid_before
            witness.end()
        seconds = self._around.clock.monotonic() - started
        told["outputs"] = compiled.dump_outputs(prediction.outputs)
        told["version"] = prediction.parameters_version
        told["usage"] = (prediction.usage.input_tokens, prediction.usage.output_tokens)
        told["calls"] = prediction.lm_calls
        told["nano"] = witness.nano_cost
        told["settled"] = witness.take_settled()
        told["seconds"] = seconds
        log.append("step", told)
        self._count_in(prediction)
        return prediction

    def _count_in(self, prediction: Prediction) -> None:
        self.usage = self.usage + prediction.usage if self.lm_calls else prediction.usage
        self.lm_calls += prediction.lm_calls

    async def _asked(
        self,
        station: Station,
        inputs: Mapping[str, Any],
        demos: Sequence[Mapping[str, Any]] | None,
        witness: StepWitness | None,
    ) -> Prediction:
        """Have an actor answer; if its life ends meanwhile, another one."""
        clock, deadline = self._around.clock, self._info.deadline
        message = Answer(inputs, demos, self._parameters_of(station), self._info, witness, self._streams)
        for attempt in range(1, ATTEMPTS + 1):
            timeout = deadline - clock.monotonic()
            if timeout <= 0:
                raise DeadlineExceeded(f"{station.path}: the deadline passed before the step began")
            try:
                return await station.pool.ask(message, timeout=timeout)
            except ActorDown:
                if attempt == ATTEMPTS or self._around.closing():
                    raise
            if attempt > 1:  # not one worker then but a branch of the tree: it takes a moment to come back
                await clock.sleep(PAUSE)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _parameters_of(self, station: Station) -> VersionedParameters:
        history = self._record.history
        if history is None or (own := history.parameters.get(station.path)) is None:
            return station.parameters
        return VersionedParameters(parameters=Parameters.model_validate(own))


def _outputs_of(path: str, compiled: CompiledSignature, recorded: RecordedStep) -> dict[str, Any]:
    try:
        return compiled.validate_outputs(recorded.outputs)
    except OutputsInvalid as error:
        raise ProgramChanged(
            f"{path}: what is recorded of this step does not fit its signature any more: {error.message}",
            hint="`fork` the run from before it, or give it another key.",
        ) from error
