"""Modules: definitions of how to ask. They compose into programs by holding each other.

```python
class Report(Module):
    def __init__(self) -> None:
        self.facts = ChainOfThought("document -> facts: list[str]")
        self.write = Predict("facts: list[str] -> report: str")

    async def forward(self, document: str) -> Prediction:
        facts = self.facts(document=document)
        return await self.write(facts=facts.facts)
```

A call gives a `Pending` prediction. Under a runtime it is on its way at once, so that calls which do not need each
other run side by side; elsewhere it begins when it is awaited.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from repertory.errors import ProgramError
from repertory.modules.dispatch import current_dispatcher
from repertory.modules.options import DEFAULTS, ModuleOptions, Restart
from repertory.modules.pending import Pending, arrived, whole
from repertory.modules.prediction import Prediction
from repertory.signatures import Signature

if TYPE_CHECKING:
    from repertory.modules.dspy_state.report import DspyReport
    from repertory.modules.dspy_state.state import DspyFile
    from repertory.modules.predict import Predict


async def _no_forward(self: "Module", **_inputs: Any) -> Prediction:
    raise _without_forward(self)


def _without_forward(module: "Module") -> ProgramError:
    return ProgramError(
        f"{type(module).__name__} has no forward", hint="Define `async def forward(self, ...) -> Prediction`."
    )


class Module:
    """Base class of modules: define ``forward``, an async method with annotated parameters.

    It answers its inputs by calling the modules this one holds.
    """

    # A callable and not a method: each subclass's forward takes parameters of its own.
    forward: Callable[..., Awaitable[Prediction | Pending]] = _no_forward
    options: ModuleOptions = DEFAULTS
    _dspy: "DspyFile | None" = None  # the state it was loaded from, as far as no predictor carries it

    def __call__(self, **inputs: Any) -> Pending:
        """Answer ``inputs``, which may hold references into predictions that are still to come."""
        if (dispatcher := current_dispatcher.get()) is not None:
            return dispatcher.dispatch(self, inputs)
        return Pending(type(self).__name__, partial(self._answer, inputs))

    async def _answer(self, inputs: Mapping[str, Any]) -> Prediction:
        """The answer to ``inputs``, asked directly, by nobody but the caller."""
        answer: Prediction = await whole(await self.forward(**await arrived(inputs)))
        return answer

    @property
    def signature(self) -> type[Signature]:
        """What goes in and comes out; a program's inputs are those of its ``forward``."""
        if getattr(self.forward, "__func__", None) is _no_forward:
            raise _without_forward(self)
        return Signature.of_call(type(self).__name__, self.forward)

    def supervised(
        self,
        *,
        replicas: int | None = None,
        concurrency: int | None = None,
        timeout: float | None = None,
        retries: int = 0,
        fallback: "Module | None" = None,
        restart: Restart = "permanent",
    ) -> Self:
        """This module, to be run as said; the arguments are those of `ModuleOptions`. Raises ConfigError.

        ```python
        self.facts = Predict("document -> facts: list[str]").supervised(timeout=10, retries=2)
        ```
        """
        self.options = ModuleOptions(replicas, concurrency, timeout, retries, fallback, restart)
        return self

    def predictors(self) -> dict[str, "Predict"]:
        """Every predictor of this program by its path, such as ``facts`` or ``steps[0].write``.

        A predictor held in two places counts once, at the first; the program's own path is ``self``. One that
        stands in for a module is at that one's path, and ``fallback``.
        """
        found: dict[str, Predict] = {}
        seen: set[int] = set()
        for path, predictor in predictors_below("", self, seen):
            found[path or "self"] = predictor
        return found

    def load_dspy_state(
        self,
        state: Mapping[str, object] | str | Path,
        *,
        strict: bool = True,
        lms: Mapping[str, str] = MappingProxyType({}),
    ) -> "DspyReport":
        """Take over what DSPy's optimizers tuned, before the program is started. All of it, or nothing.

        Demonstrations, instructions, field descriptions, temperature and token limit come into effect; the rest
        is kept for `dump_dspy_state`. What an earlier call of this took over is undone first.

        Args:
            state: A file that ``dspy.Module.save`` wrote (JSON), or what ``dump_state`` returned.
            strict: Refuse a state that does not fit the program; else skip and report what does not.
            lms: Names of the runtime's language models by their addresses in DSPy, such as
                ``{"openai/gpt-4.1-mini": "default"}``.

        Raises:
            ConfigError: Naming the file, the predictor, the place in it, the value and the remedy.
        """
        from repertory.modules.dspy_state.state import load_dspy_state

        self._dspy, report = load_dspy_state(self, state, strict=strict, lms=lms, earlier=self._dspy)
        return report

    def dump_dspy_state(self) -> dict[str, Any]:
        """The program's state as ``dspy.Module.save`` writes it and ``load`` reads it, ready for JSON.

        A program that was loaded from a state, and not changed since, gives that state.

        Raises:
            ConfigError: A demonstration cannot be written as JSON, or DSPy has no name for a predictor.
        """
        from repertory.modules.dspy_state.state import dump_dspy_state

        return dump_dspy_state(self, self._dspy)


def module_paths(program: Module) -> "dict[str, Module]":
    """Every module of ``program`` by its path; its own is ``self``. One held in two places counts at the first."""
    found: dict[str, Module] = {}
    seen: set[int] = set()

    def look(path: str, value: object) -> None:
        if not isinstance(value, Module | list | tuple | dict) or id(value) in seen:
            return
        seen.add(id(value))
        if isinstance(value, Module):
            found[path or "self"] = value
            look(f"{path or 'self'}.fallback", value.options.fallback)
            for name, member in vars(value).items():
                look(f"{path}.{name}" if path else name, member)
        elif isinstance(value, dict):
            for key, member in value.items():
                look(f"{path}[{key!r}]", member)
        else:
            for position, member in enumerate(value):
                look(f"{path}[{position}]", member)

    look("", program)
    return found


def predictors_below(
    path: str, value: Any, seen: set[int], key_text: Callable[[object], str] = repr
) -> "Iterator[tuple[str, Predict]]":
    """The predictors that ``value`` holds, by their paths below ``path``; ``key_text`` writes a dict's keys."""
    from repertory.modules.predict import Predict  # predict.py derives from this module's class

    if not isinstance(value, Module | list | tuple | dict) or id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, Module) and value.options.fallback is not None:
        yield from predictors_below(f"{path or 'self'}.fallback", value.options.fallback, seen, key_text)
    if isinstance(value, Predict):
        yield path, value
    elif isinstance(value, Module):
        for name, member in vars(value).items():
            if name != "options":
                yield from predictors_below(f"{path}.{name}" if path else name, member, seen, key_text)
    elif isinstance(value, dict):
        for key, member in value.items():
            yield from predictors_below(f"{path}[{key_text(key)}]", member, seen, key_text)
    else:
        for position, member in enumerate(value):
            yield from predictors_below(f"{path}[{position}]", member, seen, key_text)
