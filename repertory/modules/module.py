"""Modules: definitions of how to ask. They compose into programs by holding each other.

```python
class Report(Module):
    def __init__(self) -> None:
        self.facts = ChainOfThought("document -> facts: list[str]")
        self.write = Predict("facts: list[str] -> report: str")

    async def forward(self, document: str) -> Prediction:
        facts = await self.facts(document=document)
        return await self.write(facts=facts.facts)
```
"""

from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

from repertory.errors import ProgramError
from repertory.modules.prediction import Prediction
from repertory.signatures import Signature

if TYPE_CHECKING:
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
    forward: Callable[..., Awaitable[Prediction]] = _no_forward

    async def __call__(self, **inputs: Any) -> Prediction:
        """Answer ``inputs``."""
        return await self.forward(**inputs)

    @property
    def signature(self) -> type[Signature]:
        """What goes in and comes out; a program's inputs are those of its ``forward``."""
        if getattr(self.forward, "__func__", None) is _no_forward:
            raise _without_forward(self)
        return Signature.of_call(type(self).__name__, self.forward)

    def predictors(self) -> dict[str, "Predict"]:
        """Every predictor of this program by its path, such as ``facts`` or ``steps[0].write``.

        A predictor held in two places counts once, at the first; the program's own path is ``self``.
        """
        found: dict[str, Predict] = {}
        seen: set[int] = set()
        for path, predictor in _predictors("", self, seen):
            found[path or "self"] = predictor
        return found


def _predictors(path: str, value: Any, seen: set[int]) -> "Iterator[tuple[str, Predict]]":
    from repertory.modules.predict import Predict  # predict.py derives from this module's class

    if not isinstance(value, Module | list | tuple | dict) or id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, Predict):
        yield path, value
    elif isinstance(value, Module):
        for name, member in vars(value).items():
            yield from _predictors(f"{path}.{name}" if path else name, member, seen)
    elif isinstance(value, dict):
        for key, member in value.items():
            yield from _predictors(f"{path}[{key!r}]", member, seen)
    else:
        for position, member in enumerate(value):
            yield from _predictors(f"{path}[{position}]", member, seen)
