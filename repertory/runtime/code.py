"""A fingerprint of a program's code: whether what a run was begun with is still what goes on with it."""

import ast
import hashlib
import inspect
import textwrap
from types import CodeType, FunctionType

from repertory.modules import Module
from repertory.modules.module import module_paths


def code_fingerprint(program: Module) -> str:
    """A hash of the methods of ``program`` and of the modules it holds, as far as they are not the library's own.

    Comments, docstrings and layout do not count. What the methods call elsewhere is not part of it.
    """
    kinds = {type(module) for module in module_paths(program).values()}
    digest = hashlib.blake2b(digest_size=16)
    for kind in sorted(kinds, key=lambda kind: (kind.__module__, kind.__qualname__)):
        for each in kind.__mro__:
            if each.__module__.partition(".")[0] in ("repertory", "builtins"):
                continue
            for name, member in sorted(vars(each).items()):
                if isinstance(member, FunctionType):
                    digest.update(f"{each.__qualname__}.{name}\0{_text(member)}\0".encode())
    return digest.hexdigest()


def _text(function: FunctionType) -> str:
    """What tells a function from a changed one."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, SyntaxError, TypeError):  # typed at a prompt, or cut out of a larger expression
        return repr(_instructions(function.__code__))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and ast.get_docstring(node):
            node.body = node.body[1:]
    return ast.dump(tree)


def _instructions(code: CodeType) -> tuple[object, ...]:
    constants = (_instructions(each) if isinstance(each, CodeType) else each for each in code.co_consts)
    return (code.co_code.hex(), code.co_names, *constants)
