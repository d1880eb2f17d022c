"""A fingerprint of a program's code: whether what a run was begun with is still what goes on with it."""

import ast
import builtins
import hashlib
import inspect
import sys
import textwrap
from collections.abc import Iterator
from functools import cached_property, partialmethod
from types import CellType, CodeType, FunctionType

from repertory.modules import Module
from repertory.modules.module import module_paths


def code_fingerprint(program: Module) -> str:
    """A hash of the methods of ``program`` and of the modules it holds, as far as they are not the library's own.

    Comments, docstrings and layout do not count, nor does data. What the methods call elsewhere is not part of it.
    """
    kinds = {each for module in module_paths(program).values() for each in type(module).__mro__}
    texts = [
        f"{kind.__qualname__}.{name}\0{_text(function)}\0"
        for kind in kinds
        if not _is_the_librarys(kind)
        for name, member in vars(kind).items()
        for function in _functions_in(member)
    ]
    # Sorted as texts: classes made in a loop may be called alike.
    return hashlib.blake2b("".join(sorted(texts)).encode(), digest_size=16).hexdigest()


def _is_the_librarys(kind: type) -> bool:
    home = kind.__module__.partition(".")[0]
    if home == "builtins":  # or it was made by code that says not where
        return getattr(builtins, kind.__name__, None) is kind
    return home == "repertory" or home in sys.stdlib_module_names


def _functions_in(member: object) -> Iterator[FunctionType]:
    """The functions that make up a member of a class, those that a decorator has wrapped as well."""
    found = [member]
    seen: set[int] = set()
    while found:
        each = found.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        match each:
            case FunctionType():
                yield each
                found += [cell.cell_contents for cell in each.__closure__ or () if _is_filled(cell)]
            case staticmethod() | classmethod():
                found.append(each.__func__)
            case property():
                found += [each.fget, each.fset, each.fdel]
            case cached_property() | partialmethod():
                found.append(each.func)


def _is_filled(cell: CellType) -> bool:
    try:
        return isinstance(cell.cell_contents, FunctionType)
    except ValueError:  # a function that was never defined
        return False


def _text(function: FunctionType) -> str:
    """What tells a function from a changed one."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, SyntaxError, TypeError):  # typed at a prompt, or cut out of a larger expression
        return repr((_instructions(function.__code__, function.__doc__), _constant(function.__defaults__)))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and ast.get_docstring(node):
            node.body = node.body[1:]
    return ast.dump(tree)


def _instructions(code: CodeType, docstring: str | None = None) -> tuple[object, ...]:
    constants = code.co_consts
    if docstring is not None and constants and constants[0] == docstring:
        constants = constants[1:]
    told = (_instructions(each) if isinstance(each, CodeType) else _constant(each) for each in constants)
    return (code.co_code.hex(), code.co_names, *told)


def _constant(value: object) -> str:
    """``value`` as text that is the same in every process."""
    match value:
        case frozenset():
            return f"frozenset({sorted(map(_constant, value))})"
        case tuple():
            return f"({', '.join(map(_constant, value))})"
        case str() | bytes() | int() | float() | complex() | None:
            return repr(value)
        case _:
            return type(value).__name__
