"""Finding a program by its address: ``path.py:name``, ``package.module:name``, or a file that defines a graph."""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from repertory.errors import ProgramError, RepertoryError
from repertory.modules import Module
from repertory.modules.graph.definition import SUFFIXES, load_graph_program


def load_program(address: str) -> Module:
    """The program at ``address``: a `Module`, a function or class without arguments that makes one, or a graph.

    Raises ProgramError naming what is missing, ConfigError naming what is wrong in a graph's file; what the user's
    own code raises is the ``__cause__``.
    """
    if address.endswith(SUFFIXES):
        return load_graph_program(Path(address))
    place, colon, name = address.rpartition(":")
    if not (place and colon and name):
        raise ProgramError(
            f"{address!r} is not the address of a program",
            hint="Write path.py:name or package.module:name, such as examples/news.py:classify, or GRAPH.toml.",
        )
    namespace = _load_file(Path(place)) if place.endswith(".py") else _import(place)
    found = getattr(namespace, name, None)
    if found is None:
        programs = [key for key, value in vars(namespace).items() if isinstance(value, Module)]
        hint = f"It has: {', '.join(programs)}." if programs else "Define a Module, or a function that makes one."
        raise ProgramError(f"{place} has no {name!r}", hint=hint)
    if isinstance(found, Module):
        return found
    program = _make(address, found) if callable(found) else found
    if not isinstance(program, Module):
        raise ProgramError(
            f"{address} is a {type(program).__name__}, not a program",
            hint="Name a Module, or a function or class that makes one when called without arguments.",
        )
    return program


def _make(address: str, maker: Callable[[], Any]) -> Any:
    try:
        return maker()
    except RepertoryError:
        raise
    except (Exception, SystemExit) as error:
        raise ProgramError(f"{address} failed when called: {type(error).__name__}: {error}") from error


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ProgramError(f"{path}: no such file", hint="Check the path; it is relative to where you are.")
    # A name of its own: a program called json.py must not stand in for the standard library's.
    name = f"repertory_program_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise ProgramError(f"{path}: is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # annotations of the classes in it are resolved through this table
    if str(path.resolve().parent) not in sys.path:
        sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except RepertoryError:
        raise
    except (Exception, SystemExit) as error:
        raise ProgramError(f"{path}: {type(error).__name__}: {error}") from error
    return module


def _import(place: str) -> ModuleType:
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is not None and (place == error.name or place.startswith(f"{error.name}.")):
            hint = "Write path.py:name for a file, or install the package."
            raise ProgramError(f"there is no module {place!r}", hint=hint) from None
        raise ProgramError(f"{place}: {error}") from error
    except RepertoryError:
        raise
    except (Exception, SystemExit) as error:
        raise ProgramError(f"{place}: {type(error).__name__}: {error}") from error
