"""Errors as the journal keeps them, and the same errors made again."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from repertory.errors import RepertoryError

OF_ITS_OWN = ("code", "class")  # what is told of an error that is no attribute to be set


def dump_error(error: RepertoryError) -> dict[str, Any]:
    """``error`` as JSON: its class, code and message, and those of its attributes that are plain values."""
    told = {
        name: storable(value) if isinstance(value, str) else value
        for name, value in vars(error).items()
        if value is None or isinstance(value, str | int | float | bool)
    }
    return {**told, "code": error.code, "class": _name_of(type(error))}


def load_error(told: Mapping[str, Any]) -> RepertoryError:
    """The error that ``told`` tells of, of the class it had: a program that catches it does so again.

    Attributes that were not kept have the values that the class gives them by default, or None.
    """
    kinds = [kind for kind in _kinds(RepertoryError) if kind.code == told["code"]]
    kind = next((kind for kind in kinds if _name_of(kind) == told.get("class")), next(iter(kinds), RepertoryError))
    error = kind.__new__(kind)
    # Constructors differ in what they take; what they made of it is what was kept.
    RepertoryError.__init__(error, told["message"], hint=told.get("hint"), retry_after=told.get("retry_after"))
    for parameter in inspect.signature(kind).parameters.values():
        if not hasattr(error, parameter.name):
            default = parameter.default
            setattr(error, parameter.name, default if default is not parameter.empty else None)
    for name, value in told.items():
        if name not in OF_ITS_OWN:
            setattr(error, name, value)
    return error


def storable(text: str) -> str:
    """``text`` as any database can keep it: lone surrogates are not UTF-8, and PostgreSQL has no NUL."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def _kinds(kind: type[RepertoryError]) -> Iterator[type[RepertoryError]]:
    yield kind
    for narrower in kind.__subclasses__():
        yield from _kinds(narrower)


def _name_of(kind: type[RepertoryError]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
