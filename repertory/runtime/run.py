"""A run: one execution of a program, step by step, each step answered by an actor or by the journal."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from repertory.actors.runner import GRACE
from repertory.errors import (
    DeadlineExceeded,
    ProgramError,
    RepertoryError,
    RuntimeClosed,
    StepCancelled,
    StepSkipped,
)
from repertory.modules import Module, Pending, Predict, Prediction
from repertory.modules.dispatch import current_dispatcher
from repertory.modules.options import DEFAULTS, ModuleOptions
from repertory.modules.pending import arrived, references_in, source_of, whole
from repertory.modules.run_info import RunInfo
from repertory.runtime.history import RunHistory
from repertory.runtime.run_effects import RunEffects
from repertory.runtime.run_log import RunLog
from repertory.runtime.run_questions import RunQuestions
from repertory.runtime.run_record import NOT_THE_STEPS_OWN, RunRecord
from repertory.runtime.scheduler import Consequences
from repertory.runtime.surroundings import Station, Surroundings
from repertory.runtime.time_limit import within

T = TypeVar("T")

SECOND_THOUGHT = 0.1  # seconds before a step that failed is asked for again, doubled each time
MANY_FAILED = 64  # failures that are remembered before it is worth to look which of them have been heard of
DEEPEST = 200  # modules that are asked by one another; each takes a frame where the run is cancelled


class RunContext:
    """Dispatches the steps of one run; implements `Dispatcher`.

    Invariant: ``_steps`` are the steps begun that have no outcome yet, by their numbers, which count up in the
    order in which the program begins them.

    Args:
        log: Where what happens is recorded; None: nowhere.
        history: What is recorded already; it is read instead of being done again.
        dry: Whether the recorded past is all there is: nothing is asked, nothing is done.
        resumes: Whether another process can go on with it, so that it begins nothing any more as this one ends.
    """

    __slots__ = (
        *("_around", "_at_work", "_because", "_children", "_count", "_effects", "_ended", "_failed", "_loop"),
        *("_many_failed", "_names", "_news", "_pendings", "_steps"),
        *("failure", "info", "questions", "record", "stopped", "task"),
    )

    def __init__(
        self,
        info: RunInfo,
        around: Surroundings,
        log: RunLog | None,
        history: RunHistory | None = None,
        *,
        streams: bool = False,
        dry: bool = False,
        resumes: bool = False,
    ) -> None:
        self.info = info
        self.record = RunRecord(log, history, around.clock, dry=dry)
        self.failure: BaseException | None = None  # what failed the run by its policy
        self.stopped: RepertoryError | None = None  # why it was stopped from outside
        self._loop = asyncio.get_running_loop()
        self.task = asyncio.current_task(self._loop)
        self._around = around
        self._at_work = around.at_work if resumes else None
        self.questions = RunQuestions(info, self.record, around, self._at_work, streams=streams)
        self._count = 0
        self._steps: dict[int, asyncio.Task[Prediction]] = {}
        self._failed: dict[int, tuple[Pending, BaseException]] = {}  # steps that may not have been heard of
        self._many_failed = MANY_FAILED
        self._pendings: dict[int, Pending] = {}  # of steps under way
        self._names: dict[int, str] = {}
        self._because: dict[int, int] = {}  # steps given up, by the step that failed
        self._children: dict[int, list[int]] = {}  # steps begun, by the step that began them
        self._news: asyncio.Future[None] | None = None  # what `settle` waits for
        self._effects: RunEffects | None = None  # made when they are needed: a run that is one step has none
        self._ended = False
        around.stage.open(info.id, info.terms.priority, around.policy)
        around.under_way.add(self)

    @property
    def effects(self) -> RunEffects:
        """What the program does besides asking models."""
        if self._effects is None:
            self._effects = RunEffects(self.info, self.record, self._at_work)
        return self._effects

    # --- steps ---

    def dispatch(
        self, module: Module, inputs: Mapping[str, Any], demos: Sequence[Mapping[str, Any]] | None = None
    ) -> Pending:
        """Begin the work of a module, once what its inputs refer to is there."""
        return self.begin(module, inputs, demos, None)

    def begin(
        self,
        module: Module,
        inputs: Mapping[str, Any],
        demos: Sequence[Mapping[str, Any]] | None,
        parent: int | None,
    ) -> Pending:
        """As `dispatch`, by the step with the number ``parent``."""
        station = self._station_of(module) if isinstance(module, Predict) else None
        if station is not None:
            name, options = station.path, station.options
        else:
            name, options = type(module).__name__, self._around.options.get(id(module), DEFAULTS)
        if self._ended:  # the caller is a task that `forward` left behind
            raise RuntimeClosed(f"the run of {name} has ended", hint="Await all that forward begins.")
        self._require_loop(name)
        number = self._count
        self._count += 1
        sources = _sources_of(inputs, demos)
        after = {place[1] for each in sources if (place := each.place) is not None and place[0] is self}
        try:
            turn = self._around.stage.enter(
                *(self.info.id, number, after),
                parent=parent,
                composite=station is None,
                has_fallback=options.fallback is not None,
            )
        except (StepCancelled, StepSkipped) as refusal:
            return self._refused(name, refusal, module)
        work: Callable[[], Coroutine[Any, Any, Prediction]]
        if station is not None and isinstance(module, Predict):
            work = partial(self.questions.put, station, module, inputs, demos)
        else:
            work = partial(self._compose, number, module, inputs)
        if options is not DEFAULTS:
            work = partial(self._governed, number, name, options, work, inputs)
        task = self._loop.create_task(self._perform(number, name, turn, work), name=name)
        task.add_done_callback(partial(self._ended_with, number, name, sources))
        self._steps[number] = task
        for source in sources:
            source.waiting += 1
        if parent is not None:
            self._children.setdefault(parent, []).append(number)
        pending = Pending(name, outcome=task, fields=_fields_of(module), place=(self, number))
        self._pendings[number] = pending
        return pending

    def answer(self, predictor: Predict, inputs: dict[str, Any]) -> Awaitable[Prediction]:
        """The only step of a program that is one predictor without a fallback; ``inputs`` are validated."""
        station = self._station_of(predictor)
        self._count = 1
        turn = self._around.stage.enter(self.info.id, 0)
        if turn is None and station.options is DEFAULTS:
            return self.questions.ask(station, predictor, inputs, None, alone=True)
        return self._answer_in_turn(turn, station, predictor, inputs)

    async def _answer_in_turn(
        self, turn: "asyncio.Future[None] | None", station: Station, predictor: Predict, inputs: dict[str, Any]
    ) -> Prediction:
        if turn is not None:
            left = self.info.deadline - self._around.clock.monotonic()
            await within(partial(_done, turn), left, station.path)
        work = partial(self.questions.ask, station, predictor, inputs, None, alone=True)
        if station.options is not DEFAULTS:
            return await self._governed(0, station.path, station.options, work, inputs)
        return await work()

    async def settle(self) -> None:
        """Return once every step has ended that the program began.

        Raises what the first one failed with whose outcome the program did not ask for.
        """
        while True:
            if self.failure is not None:
                raise self.failure
            for pending, error in self._failed.values():
                if not pending.heard:
                    raise error
            if not self._steps:
                self._ended = True  # what is begun from here on would have no part in the outcome
                return
            self._news = self._loop.create_future()
            await self._news

    async def wind_up(self) -> "set[asyncio.Task[Prediction]]":
        """Give up the steps under way; return those that have not ended even so, after `GRACE` seconds."""
        self._ended = True
        if not self._steps:
            return set()
        for task in self._steps.values():
            task.cancel()
        _, left = await asyncio.wait(self._steps.values(), timeout=GRACE)
        return left

    def stop(self, error: RepertoryError) -> None:
        """Have the run end with ``error``: all its steps are cancelled."""
        if self.stopped is None and self.task is not None and not self._ended:
            self.stopped = error
            self.task.cancel()

    def end(self) -> None:
        """Nobody waits for the run any more: its steps are cancelled."""
        self._ended = True
        for task in self._steps.values():
            if task is not asyncio.current_task():
                task.cancel()
        self._around.stage.close(self.info.id)
        self._around.under_way.discard(self)
        if self.record.log is not None:
            self.record.log.abandon()

    async def _perform(
        self,
        number: int,
        name: str,
        turn: "asyncio.Future[None] | None",
        work: Callable[[], Coroutine[Any, Any, Prediction]],
    ) -> Prediction:
        """Do the work of a step when it is its turn, and tell the stage how it ended."""
        run, stage = self.info.id, self._around.stage
        try:
            if turn is not None:
                await turn
            prediction = await work()
        except asyncio.CancelledError:
            error = self._given_up(number, name)
            self._follow(stage.cancel(run, number, error), number, name, error)
            if number in self._because:
                raise error from None
            raise
        except BaseException as error:
            self._keep_unheard(number, error)
            self._follow(stage.fail(run, number, error), number, name, error)
            raise
        else:
            stage.finish(run, number)
            return prediction

    def _keep_unheard(self, number: int, error: BaseException) -> None:
        """Remember what a step failed with, until the program asks for its outcome."""
        if (pending := self._pendings[number]).heard:
            return
        self._failed[number] = pending, error
        if len(self._failed) > self._many_failed:
            self._failed = {step: each for step, each in self._failed.items() if not each[0].heard}
            self._many_failed = max(MANY_FAILED, 2 * len(self._failed))

    def _ended_with(
        self, number: int, name: str, sources: Sequence[Pending], task: "asyncio.Task[Prediction]"
    ) -> None:
        """The task of a step has ended, be it that it was cancelled before it began."""
        del self._steps[number], self._pendings[number]
        for source in sources:
            source.waiting -= 1
        if task.cancelled():
            error = self._given_up(number, name)
            self._follow(self._around.stage.cancel(self.info.id, number, error), number, name, error)
        elif task.exception() is not None and self._news is not None and not self._news.done():
            self._news.set_result(None)
        elif (below := self._children.get(number)) is not None and not any(map(self._matters, below)):
            del self._children[number]
        if self._steps:
            return
        self._names.clear()  # nobody is left who could have been given up because of one of these
        self._because.clear()
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def _follow(self, consequences: Consequences, number: int, name: str, error: BaseException) -> None:
        """Give up those steps that are not to go on, as step ``number`` has ended with ``error``."""
        if consequences.fails_run and self.failure is None:
            self.failure = error
        self._names[number] = name
        for sibling in consequences.cancelled:
            if (task := self._steps.get(sibling)) is not None:
                self._because[sibling] = number
                # In the next turn, when it has begun at the latest: it says why it is given up.
                self._loop.call_soon(task.cancel)

    def _given_up(self, number: int, name: str) -> StepCancelled:
        failed = self._because.get(number, number)
        return StepCancelled(number, failed, name=name, failed_name=self._names.get(failed, ""))

    def _refused(self, name: str, error: RepertoryError, module: Module) -> Pending:
        refused: asyncio.Future[Prediction] = asyncio.get_running_loop().create_future()
        refused.set_exception(error)
        refused.exception()  # it may well be that nobody asks
        return Pending(name, outcome=refused, fields=module.output_names if isinstance(module, Predict) else None)

    def _station_of(self, predictor: Predict) -> Station:
        station = self._around.stations.get(id(predictor))
        if station is None:
            raise ProgramError(
                f"{predictor.label} was not there when the program started",
                hint="Make predictors in __init__ and keep them as attributes, or in lists or dicts of these.",
            )
        return station

    def _require_loop(self, name: str) -> None:
        """Raise where ``name`` is called outside of the event loop of this run."""
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if here is not self._loop:
            raise ProgramError(
                f"{name} was called in another thread than its program runs in",
                hint="Call modules in `forward`, and hand the thread what they gave.",
            )

    def _matters(self, number: int) -> bool:
        """Whether there is anything to a step that would have to be given up, or is yet to be heard of."""
        return number in self._steps or number in self._failed or number in self._children

    def _give_up_below(self, number: int) -> None:
        """Give up what step ``number`` began, as it has failed; what of it failed too is covered by that."""
        for child in self._children.pop(number, ()):
            if (pending := self._pendings.get(child)) is not None:
                pending.heard = True
            self._failed.pop(child, None)
            if (task := self._steps.get(child)) is not None:
                self._because.setdefault(child, number)
                self._loop.call_soon(task.cancel)
            self._give_up_below(child)

    # --- the work of a step ---

    async def _compose(self, number: int, module: Module, inputs: Mapping[str, Any]) -> Prediction:
        """The work of a module that holds others."""
        outer = current_dispatcher.get()
        within = _Within(self, number, outer.depth + 1 if isinstance(outer, _Within) else 1)
        if within.depth > DEEPEST:
            raise ProgramError(
                f"{type(module).__name__}: modules call each other more than {DEEPEST} deep",
                hint="Does one call itself, and never ends? A loop goes as long as you like.",
            )
        current_dispatcher.set(within)
        try:
            answer: Prediction = await whole(await module.forward(**await arrived(inputs)))
        except BaseException as failure:
            self._names[number] = type(module).__name__
            self._give_up_below(number)
            if isinstance(failure, SystemExit):  # out of a task it would end the loop
                raise ProgramError(f"{type(module).__name__}: its code raised SystemExit: {failure}") from failure
            raise
        return answer

    async def _governed(
        self,
        number: int,
        name: str,
        options: ModuleOptions,
        work: Callable[[], Coroutine[Any, Any, Prediction]],
        inputs: Mapping[str, Any],
    ) -> Prediction:
        """``work`` within its time, again where that may help, and by its fallback where nothing does."""
        clock = self._around.clock
        tried = 0
        while True:
            try:
                return await within(work, options.timeout, name)
            except NOT_THE_STEPS_OWN:
                raise
            except Exception as failure:  # a composite's own code may raise anything
                if self._at_work is not None:  # its time may be over as it stood still
                    await self._at_work.stand_still()
                if tried == (options.retries or 0) or (pause := self._second_thought(failure, tried)) is None:
                    if options.fallback is None:
                        raise
                    self._replace(number, name, failure)
                    return await self.begin(options.fallback, inputs, None, number)
                tried += 1
            await clock.sleep(pause)

    def _second_thought(self, failure: Exception, tried: int) -> float | None:
        """Seconds before a step that failed is asked for again; None where that is of no use, or too late."""
        if not isinstance(failure, RepertoryError):
            return None
        pause = max(failure.retry_after or 0.0, SECOND_THOUGHT * 2**tried)
        late = self._around.clock.monotonic() + pause >= self.info.deadline
        again = failure.retryable or isinstance(failure, DeadlineExceeded)
        return pause if again and not late else None

    def _replace(self, number: int, name: str, failure: Exception) -> None:
        """Step ``number`` goes on as its fallback."""
        if self._around.policy.replaces:
            self._follow(self._around.stage.fail(self.info.id, number, failure), number, name, failure)


class _Within:
    """Dispatches what a composite step begins, which is ``depth`` steps below the program."""

    __slots__ = ("_number", "context", "depth")

    def __init__(self, context: RunContext, number: int, depth: int) -> None:
        self.context = context
        self.depth = depth
        self._number = number

    def dispatch(
        self, module: Module, inputs: Mapping[str, Any], demos: Sequence[Mapping[str, Any]] | None = None
    ) -> Pending:
        """As `RunContext.dispatch`."""
        return self.context.begin(module, inputs, demos, self._number)


async def _done(future: "asyncio.Future[None]") -> None:
    await future


def _fields_of(module: Module) -> tuple[str, ...] | None:
    return module.output_names if isinstance(module, Predict) else None


def _sources_of(inputs: Mapping[str, Any], demos: Sequence[Mapping[str, Any]] | None) -> "list[Pending]":
    """The predictions to come that ``inputs`` and ``demos`` refer to, each once."""
    found: dict[Pending, None] = {}
    for value in (*inputs.values(), *(demos or ())):
        for reference in references_in(value):
            source, _ = source_of(reference)
            source.heard = True  # the step that waits for it will tell
            if not source.done:
                found[source] = None
    return list(found)
