"""Errors as the journal keeps them, and the same errors made again."""

from collections.abc import Iterator, Mapping
from typing import Any

from repertory.errors import RepertoryError


def dump_error(error: RepertoryError) -> dict[str, Any]:
    """``error`` as JSON: its code and message, and those of its attributes that are plain values."""
    told = {
        name: value
        for name, value in vars(error).items()
        if value is None or isinstance(value, str | int | float | bool)
    }
    return {**told, "code": error.code, "message": storable(error.message)}


def load_error(told: Mapping[str, Any]) -> RepertoryError:
    """The error that ``told`` tells of, of the class it had: a program that catches it does so again."""
    kind = next((kind for kind in _kinds(RepertoryError) if kind.code == told["code"]), RepertoryError)
    error = kind.__new__(kind)
    # Constructors differ in what they take; what they made of it is what was kept.
    RepertoryError.__init__(error, told["message"], hint=told.get("hint"), retry_after=told.get("retry_after"))
    for name, value in told.items():
        if name != "code":
            setattr(error, name, value)
    return error


def storable(text: str) -> str:
    """``text`` as any database can keep it: lone surrogates are not UTF-8, and PostgreSQL has no NUL."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def _kinds(kind: type[RepertoryError]) -> Iterator[type[RepertoryError]]:
    yield kind
    for narrower in kind.__subclasses__():
        yield from _kinds(narrower)
