"""A predictor's actors: one that keeps its parameters, and a pool of those that make its predictions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from repertory.actors import Actor, Message, handles
from repertory.errors import ProgramError, RepertoryError, ReplyError, StaleState
from repertory.events import ParametersChanged, ReplyMended, ReplyRefused
from repertory.modules import Parameters, Predict, Prediction
from repertory.modules.run_info import RunInfo
from repertory.modules.trace import AskedAgain
from repertory.providers.lm import LM
from repertory.runtime.journal import json_hash
from repertory.runtime.recorded_lm import RecordedLM
from repertory.runtime.step_witness import StepWitness
from repertory.signatures.changes import Change

VERSIONS_KEPT = 32  # before the present one
ATTEMPTS = 3  # times a change is tried that other processes are quicker to make


class EarlierParameters(BaseModel):
    """Parameters that held once."""

    model_config = ConfigDict(frozen=True)

    version: int
    parameters: Parameters


class VersionedParameters(BaseModel):
    """The persisted state of a predictor.

    Attributes:
        parameters: The present snapshot.
        version: Counts changes, from 1; 0 before the first life.
        declared: Hash of what the code declared when it last changed.
        earlier: The versions before, as far as they are kept, the oldest first.
    """

    model_config = ConfigDict(frozen=True)

    parameters: Parameters = Parameters()
    version: int = 0
    declared: str = ""
    earlier: tuple[EarlierParameters, ...] = ()

    def versions(self) -> dict[int, Parameters]:
        """The versions that are kept, the oldest first; the last one holds."""
        return {**{each.version: each.parameters for each in self.earlier}, self.version: self.parameters}


@dataclass(frozen=True, slots=True)
class UpdateParameters(Message[VersionedParameters]):
    """Make these the parameters."""

    parameters: Parameters


@dataclass(frozen=True, slots=True)
class RollBackParameters(Message[VersionedParameters]):
    """Make the parameters those that were this version."""

    version: int


@dataclass(frozen=True, slots=True)
class Answer(Message[Prediction]):
    """Make one prediction with the given snapshot of parameters."""

    inputs: Mapping[str, Any]
    demos: Sequence[Mapping[str, Any]] | None
    parameters: VersionedParameters
    run: RunInfo
    witness: StepWitness | None  # who keeps the record of what is asked; None: nobody
    streams: bool  # whether pieces of the answer are recorded as they come


class ParameterKeeper(Actor[VersionedParameters]):
    """Owns a predictor's parameters.

    What the store holds is kept as long as the code declares what it declared then; a changed declaration
    becomes the next version. So tuned parameters survive restarts, and edited code is never ignored.

    Args:
        publish: Told the present snapshot at the start and after each change.
    """

    def __init__(self, declared: Parameters, publish: Callable[[VersionedParameters], None]) -> None:
        self._declared = declared
        self._publish = publish

    async def started(self) -> None:
        """Take over what the code declares, if that is new."""
        # Defaults left out: a parameter that a later release adds is no change of the declaration.
        declared = json_hash(self._declared.model_dump(mode="json", exclude_defaults=True))
        if declared != self.state.declared:
            await self._change(self._declared, declared)
        self._publish(self.state)

    @handles(UpdateParameters)
    async def update(self, message: UpdateParameters) -> VersionedParameters:
        """Exchange the parameters; on disk before the reply."""
        await self._change(message.parameters, self.state.declared)
        return self.state

    @handles(RollBackParameters)
    async def roll_back(self, message: RollBackParameters) -> VersionedParameters:
        """Bring back an earlier version, as a new one; on disk before the reply."""
        kept = self.state.versions()
        if message.version not in kept:
            raise ProgramError(
                f"{self.path}: there is no version {message.version} of the parameters",
                hint=f"Kept are: {', '.join(map(str, kept))}.",
            )
        await self._change(kept[message.version], self.state.declared)
        return self.state

    async def _change(self, parameters: Parameters, declared: str) -> None:
        """Make them the next version; where another process was quicker, the one after its."""
        for attempt in range(1, ATTEMPTS + 1):
            before = self.state
            changed = self._next(parameters, declared)
            try:
                await self.commit(changed)
                break
            except StaleState:
                if attempt == ATTEMPTS:
                    raise
                await self.reload()
                if before.declared != declared == self.state.declared:
                    return  # it runs the same code
            finally:
                self._publish(self.state)  # also where the caller was cancelled while the commit went through
        if hooks := self.system.hooks:
            hooks.emit(ParametersChanged(self.path, changed.version))

    def _next(self, parameters: Parameters, declared: str) -> VersionedParameters:
        before = self.state
        version = before.version + 1
        earlier = before.earlier
        if before.version:
            earlier = (*earlier, EarlierParameters(version=before.version, parameters=before.parameters))
        return VersionedParameters(
            parameters=parameters, version=version, declared=declared, earlier=earlier[-VERSIONS_KEPT:]
        )


class Predictor(Actor[None]):
    """Makes predictions; what goes wrong with a model or its reply is an answer, not a crash."""

    expected: ClassVar[tuple[type[Exception], ...]] = (RepertoryError,)
    interrupt_on_stop: ClassVar[bool] = True  # there is nothing to finish: waiting for runs is `Runtime.drain`

    def __init__(self, predict: Predict, models: Mapping[str, LM]) -> None:
        self._predict = predict
        self._models = models

    @handles(Answer)
    async def answer(self, message: Answer) -> Prediction:
        """Ask the model."""
        versioned = message.parameters
        lm = self._predict.lm or self._models[versioned.parameters.lm]
        recorded: Callable[[LM], LM] = _as_it_is
        if message.witness is not None:
            message.witness.begin()
            recorded = partial(RecordedLM, witness=message.witness, streams=message.streams)
        try:
            prediction = await self._predict.complete(
                *(lm, versioned.parameters, message.inputs, message.demos),
                deadline=message.run.deadline,
                terms=message.run.terms,
                witness=message.witness,
                recorded=recorded,
            )
        except ReplyError as error:
            self._tell(error.trace)
            if hooks := self.system.hooks:
                hooks.emit(ReplyRefused(self.path, error.field, asked_again=False))
            raise
        except RepertoryError:
            raise
        except Exception as error:
            # A validator's or a foreign model's mishap concerns this prediction, not those beside it.
            raise ProgramError(f"{self.path}: {type(error).__name__}: {error}") from error
        prediction.parameters_version = versioned.version
        if prediction.trace:
            self._tell(prediction.trace)
        return prediction

    def _tell(self, trace: tuple[object, ...]) -> None:
        hooks = self.system.hooks
        if not (trace and hooks):
            return
        for entry in trace:
            if isinstance(entry, AskedAgain):
                hooks.emit(ReplyRefused(self.path, entry.field, asked_again=True))
        kinds = [entry.kind for entry in trace if isinstance(entry, Change)]
        if kinds:
            hooks.emit(ReplyMended(self.path, kinds.count("repair"), kinds.count("coercion")))


def _as_it_is(lm: LM) -> LM:
    return lm
