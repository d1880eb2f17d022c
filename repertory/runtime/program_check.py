"""What is looked at before a program starts: how its modules are to be run, and that it can be."""

from collections.abc import Mapping

from repertory.errors import ProgramError
from repertory.modules import Module, Predict, soundness
from repertory.modules.module import module_paths, predictors_below
from repertory.modules.options import DEFAULTS, ModuleOptions


def options_of(program: Module, said: Mapping[str, ModuleOptions]) -> dict[int, ModuleOptions]:
    """How each module of ``program`` is run for which something is said, by its identity.

    Args:
        said: By the module's path; over what the code says.

    Raises ProgramError for a path that leads to no module, and for a fallback that leads back to its module.
    """
    paths = module_paths(program)
    if unknown := set(said) - set(paths):
        raise ProgramError(f"there is no module at {min(unknown)!r}", hint=f"There are: {', '.join(paths)}.")
    options = {}
    for path, module in paths.items():
        merged = module.options.but(said[path]) if path in said else module.options
        if merged is not DEFAULTS:
            options[id(module)] = merged
    for fallback in fallbacks_in(said).values():
        options |= options_of(fallback, {})
    for path, module in paths.items():
        if _comes_back(module, options):
            raise ProgramError(
                f"{path}: its fallback leads back to it: where it fails, nobody would answer in the end",
                hint="Name a fallback that does without it.",
            )
    return options


def _comes_back(module: Module, options: Mapping[int, ModuleOptions]) -> bool:
    """Whether the fallback of ``module`` is, holds, or itself falls back to ``module``."""
    seen: set[int] = set()
    ahead = [options.get(id(module), DEFAULTS).fallback]
    while ahead:
        each = ahead.pop()
        if each is module:
            return True
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            ahead += [*module_paths(each).values(), options.get(id(each), DEFAULTS).fallback]
    return False


def predictors_of(program: Module, said: Mapping[str, ModuleOptions]) -> dict[str, Predict]:
    """The predictors of ``program`` by their paths, with those of the fallbacks that are ``said``."""
    predictors = program.predictors()
    for path, fallback in fallbacks_in(said).items():
        predictors |= dict(predictors_below(path, fallback, set()))
    return predictors


def fallbacks_in(said: Mapping[str, ModuleOptions]) -> dict[str, Module]:
    """The modules that stand in for others, by their paths."""
    named = {path: options.fallback for path, options in said.items()}
    return {f"{path}.fallback": fallback for path, fallback in named.items() if fallback is not None}


def check_program(name: str, program: Module, predictors: Mapping[str, Predict]) -> None:
    """Raise ProgramError for a program that holds no predictor, holds itself, or has two modules at one path."""
    if faults := soundness.check_program(program):
        more = f" And {len(faults) - 1} more of the kind." if len(faults) > 1 else ""
        raise ProgramError(f"{name} cannot be started: {faults[0]}{more}")
    if not predictors:
        raise ProgramError(f"{name} holds no predictor", hint="Make one in __init__, such as Predict(...).")
    for path in predictors:
        if "/" in path:
            raise ProgramError(
                f"{name} cannot be started: {path} is to be part of an actor's path, which has slashes of its own",
                hint="Give the dict that holds it another key.",
            )
