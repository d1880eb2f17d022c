"""Which predictor of a program a predictor in a DSPy state stands for."""

import re
from dataclasses import dataclass
from typing import Final, Literal

from repertory.modules.chain_of_thought import ChainOfThought
from repertory.modules.dspy_state.format import SavedField, SavedPredictor
from repertory.modules.module import Module, predictors_below
from repertory.modules.predict import Predict
from repertory.signatures import Signature
from repertory.signatures.fields import DeclaredField

_NAMED: Final = re.compile(r"\$\{(\w+)\}")  # DSPy's description of a field that has none


@dataclass(frozen=True, slots=True)
class Pair:
    """A predictor in the state and the program's own."""

    dspy_path: str
    path: str
    how: Literal["name", "position"]


def pairs(saved: dict[str, SavedPredictor], program: Module) -> list[Pair]:
    """The predictors that belong together, in the program's order.

    First those whose names agree. Of the rest, one goes with the other by position, provided that there are as
    many on either side and that all of them fit.
    """
    predictors = program.predictors()
    found: dict[str, Pair] = {}
    taken: set[str] = set()
    for path, names in _dspy_names(program).items():
        if (name := next((name for name in names if name in saved and name not in taken), None)) is not None:
            found[path] = Pair(name, path, "name")
            taken.add(name)
    rest = [name for name in saved if name not in taken]
    ours = [path for path in predictors if path not in found]
    if len(rest) == len(ours) and all(
        misfit(saved[name].fields, predictors[path]) is None for name, path in zip(rest, ours, strict=True)
    ):
        found.update((path, Pair(name, path, "position")) for name, path in zip(rest, ours, strict=True))
    return [found[path] for path in predictors if path in found]


def dspy_paths(program: Module) -> dict[str, str]:
    """What DSPy would call each predictor of the program, by our own name for it."""
    return {path: names[0] for path, names in _dspy_names(program).items()}


def misfit(fields: list[SavedField] | None, predict: Predict) -> str | None:
    """Why saved fields cannot be those of ``predict``; None if they can.

    A state of before 2.5.6 has none, which fits anything.
    """
    if fields is None:
        return None
    declared = fields_of(predict.signature)
    if len(fields) != len(declared):
        return (
            f"{len(fields)} fields in the state, {len(declared)} here ({', '.join(one.name for one in declared)})"
        )
    for saved, own in zip(fields, declared, strict=True):
        named = _NAMED.fullmatch(saved.description or "")
        if named and named[1] != own.name and (named[1], own.name) != ("rationale", "reasoning"):
            return f"the state has the field {named[1]!r} where {own.name!r} is here"
    return None


def fields_of(signature: type[Signature]) -> tuple[DeclaredField, ...]:
    """The fields in DSPy's order: inputs first."""
    return (*signature.inputs, *signature.outputs)


def _dspy_names(program: Module) -> dict[str, tuple[str, str]]:
    """The names a predictor can have in a state, the likeliest first, by our own name for it.

    DSPy's ChainOfThought holds a predictor called ``predict``; up to 2.5 it was not told in the name.
    """
    names = {}
    written = predictors_below("", program, set(), lambda key: f"'{key}'")
    for path, (own, predict) in zip(program.predictors(), written, strict=True):
        bare, inner = own or "self", f"{own}.predict" if own else "predict"
        names[path] = (inner, bare) if isinstance(predict, ChainOfThought) else (bare, inner)
    return names
