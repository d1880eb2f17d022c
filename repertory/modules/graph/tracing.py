"""Tracing: running a program's own code with references in place of values, to see what it would ask."""

import asyncio
import os
from asyncio import events
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from traceback import walk_tb
from types import FrameType
from typing import TYPE_CHECKING, Any

from repertory.errors import ProgramError, RepertoryError
from repertory.modules.dispatch import current_dispatcher
from repertory.modules.effects import current_run
from repertory.modules.graph.graph import Graph, Node, in_order_of_need
from repertory.modules.graph.links import Constant, Link, Value, several
from repertory.modules.graph.still_loop import StillLoop, StoodStill
from repertory.modules.pending import Key, Pending, Reference, arrived, source_of, value_at
from repertory.modules.predict import Predict
from repertory.modules.prediction import Prediction

if TYPE_CHECKING:
    from repertory.modules.module import Module

MOST_NODES = 10_000
"""Calls that are noted before a program is taken for one that does not end."""

_ASYNCIO = f"{Path(events.__file__).parent}{os.sep}"
_DYNAMIC = "A program that decides by values has no graph before it runs; it runs as it is."
_OWN = f"{Path(__file__).parents[2]}{os.sep}"  # where this package lies: places in it are none of the program's


def traced(program: "Module", examples: Mapping[str, Any]) -> Graph:
    """The graph of ``program``. Raises as `Graph.trace`."""
    signature = program.signature
    name = program.label if isinstance(program, Predict) else signature.__name__
    known = [each.name for each in signature.inputs]
    if unknown := [each for each in examples if each not in known]:
        raise ProgramError(f"{name} has no input {unknown[0]!r}", hint=f"It takes: {', '.join(known)}.")
    tracer = Tracer(program)
    context = copy_context()
    # In a thread of its own: the caller may be in the middle of a loop, and loops do not nest.
    with ThreadPoolExecutor(1, thread_name_prefix="trace") as own:
        answer = own.submit(context.run, tracer.run, name, known, examples).result()
    return Graph(name, signature, tuple(tracer.nodes()), tracer.linked_all(answer))


class Tracer:
    """Notes the calls that a program makes, and answers each at once with references; implements `Dispatcher`.

    Invariant: ``_calls`` holds the calls of predictors in the order they were made, ``_composites`` what other
    modules were asked for; a pending prediction of this run is in one of them, or ``_inputs``.
    """

    def __init__(self, program: "Module") -> None:
        self._program = program
        self._paths = {id(predict): path for path, predict in program.predictors().items()}
        self._calls: dict[Pending, tuple[str, Predict, Mapping[str, Any]]] = {}
        self._composites: dict[Pending, asyncio.Task[Prediction]] = {}
        self._inputs: Pending
        self._times: dict[str, int] = {}

    def run(self, name: str, inputs: Sequence[str], examples: Mapping[str, Any]) -> Prediction:
        """What the program gives, with references in it. Raises as `Graph.trace`."""
        current_dispatcher.set(self)
        current_run.set(None)  # what the caller's own run may do is nothing for the program that is looked at
        loop = StillLoop()  # type: ignore[abstract]  # what it lacks, asyncio answers with NotImplementedError
        try:
            return loop.run(self._answer(loop, inputs, examples))
        except StoodStill as still:
            raise ProgramError(
                f"{name} cannot be traced: {_place(still.frames)} waits for something that no module gives",
                hint="While it is traced there is no time, no network and no file: do that before, or after.",
            ) from None
        except RecursionError as error:
            raise ProgramError(f"{name} cannot be traced: {error}", hint=_DYNAMIC) from None
        except Exception as error:
            raise _untraceable(name, error) from error

    async def _answer(self, loop: StillLoop, inputs: Sequence[str], examples: Mapping[str, Any]) -> Prediction:
        self._inputs = _answered(loop, "inputs", inputs)
        given = {name: examples.get(name, self._inputs[name]) for name in inputs}
        if isinstance(self._program, Predict):
            return await self._program(**given)
        answer = await self._program.forward(**given)
        answer = await answer if isinstance(answer, Pending) else answer
        if not isinstance(answer, Prediction):
            raise ProgramError(
                f"forward returned {type(answer).__name__}, not a Prediction",
                hint="Return what a predictor gave, or Prediction(name=value, ...).",
            )
        return answer

    def dispatch(
        self, module: "Module", inputs: Mapping[str, Any], demos: Sequence[Mapping[str, Any]] | None = None
    ) -> Pending:
        """Note the call of a predictor; have any other module make its own."""
        loop = asyncio.get_running_loop()
        if not isinstance(module, Predict):
            task = loop.create_task(_composite(module, inputs))
            pending = Pending(type(module).__name__, outcome=task)
            self._composites[pending] = task
            return pending
        if len(self._calls) >= MOST_NODES:
            raise RecursionError(f"it has not ended after {MOST_NODES} calls")
        path = self._paths.get(id(module), module.label)
        times = self._times[path] = self._times.get(path, 0) + 1
        name = path if times == 1 else f"{path}#{times}"
        # Which fields it has is not told: a name that is none of them is for `Graph.check` to report.
        pending = _answered(loop, name, module.output_names)
        self._calls[pending] = (name, module, dict(inputs))
        return pending

    # --- afterwards ---

    def nodes(self) -> list[Node]:
        """A node for each call, those first that others need: what stands inside of a module is called late."""
        nodes = [
            Node(
                name,
                self._paths.get(id(predict)),
                type(predict).__name__,
                predict.compiled,
                self.linked_all(inputs),
            )
            for name, predict, inputs in self._calls.values()
        ]
        return in_order_of_need(nodes)

    def linked_all(self, values: Mapping[str, Any]) -> dict[str, Value]:
        """``values`` with links in place of references."""
        return {name: self._linked(value) for name, value in values.items()}

    def _linked(self, value: Any) -> Value:
        if isinstance(value, Reference):
            return self._followed(value)
        if isinstance(value, Pending):
            return Link(self._node_of(value), ()) if value in self._calls else Constant(value)
        if isinstance(value, dict | Prediction):
            return several(dict, [(key, self._linked(part)) for key, part in value.items()])
        if isinstance(value, list | tuple):
            kind = list if isinstance(value, list) else tuple
            return several(kind, [(key, self._linked(part)) for key, part in enumerate(value)])
        return Constant(value)

    def _followed(self, reference: Reference) -> Value:
        """Where ``reference`` leads, through the modules that only hand on what others gave."""
        pending, path = source_of(reference)
        if (composite := self._composites.get(pending)) is not None:
            if not composite.done() or composite.cancelled() or composite.exception() is not None:
                raise ProgramError(f"{pending.label} gave nothing that could be handed on")
            return self._linked(value_at(composite.result(), path))
        if pending is self._inputs:
            return Link(None, path)
        if pending not in self._calls:
            raise ProgramError(
                f"{pending.label} was asked before the program was traced", hint="Call it in forward instead."
            )
        return Link(self._node_of(pending), path)

    def _node_of(self, pending: Pending) -> str:
        return self._calls[pending][0]


async def _composite(module: "Module", inputs: Mapping[str, Any]) -> Prediction:
    answer = await module.forward(**await arrived(inputs))
    return await answer if isinstance(answer, Pending) else answer


def _answered(loop: asyncio.AbstractEventLoop, label: str, fields: Sequence[str]) -> Pending:
    """A prediction that is there, and whose every field is a reference into it."""
    outcome: asyncio.Future[Prediction] = loop.create_future()
    pending = Pending(label, outcome=outcome)
    outcome.set_result(Prediction({name: Reference(pending, (Key(name),)) for name in fields}))
    return pending


def _untraceable(name: str, error: Exception) -> ProgramError:
    """Why a program could not be traced in which ``error`` was raised."""
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    place = _place(frames, error)
    innermost = frames[-1].f_code
    if innermost is Reference._is_needed.__code__ and isinstance(error, ProgramError):
        needed = error.message.partition(" is not there yet")[0]
        hint = f"{_DYNAMIC} To trace it all the same, do without the value there"
        if needed.startswith("inputs."):
            example = needed.removeprefix("inputs.").partition(".")[0].partition("[")[0]
            return ProgramError(
                f"{name} cannot be traced: {place} uses the value of its input {example!r}",
                hint=f"{hint}, or give an example: Graph.trace(program, {example}=...).",
            )
        return ProgramError(
            f"{name} cannot be traced: {place} uses the value of {needed}",
            hint=f"{hint}: hand the reference on to a module.",
        )
    if isinstance(error, NotImplementedError) and innermost.co_filename == events.__file__:
        return ProgramError(
            f"{name} cannot be traced: {place} waits for what is outside ({innermost.co_name})",
            hint="While it is traced there is no time, no network and no file: do that before, or after.",
        )
    if isinstance(error, RepertoryError):
        return ProgramError(f"{name} cannot be traced: {place}: {error.message}", hint=error.hint)
    return ProgramError(
        f"{name} cannot be traced: {place} raised {type(error).__name__}: {error}",
        hint=f"While it is traced, references stand in for values. {_DYNAMIC}",
    )


def _place(frames: Sequence[FrameType], error: BaseException | None = None) -> str:
    """The innermost place in the program's own code, as ``path.py:12``."""
    lines = (
        [line for _, line in walk_tb(error.__traceback__)] if error is not None else [f.f_lineno for f in frames]
    )
    for frame, line in reversed(list(zip(frames, lines, strict=True))):
        file = frame.f_code.co_filename
        if not file.startswith((_OWN, _ASYNCIO)):
            return f"{file}:{line}"
    return "its code"
