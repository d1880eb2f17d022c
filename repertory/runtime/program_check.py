"""What is looked at before a program starts: how its modules are to be run, and that it can be."""

from collections.abc import Mapping

from repertory.errors import ProgramError
from repertory.modules import Module, Predict
from repertory.modules.module import module_paths, predictors_below
from repertory.modules.options import DEFAULTS, ModuleOptions


def options_of(program: Module, said: Mapping[str, ModuleOptions]) -> dict[int, ModuleOptions]:
    """How each module of ``program`` is run for which something is said, by its identity.

    Args:
        said: By the module's path; over what the code says.

    Raises ProgramError for a path that leads to no module.
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
    return options


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
    if not predictors:
        raise ProgramError(f"{name} holds no predictor", hint="Make one in __init__, such as Predict(...).")
