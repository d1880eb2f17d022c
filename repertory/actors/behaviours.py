"""Which method handles which message, in each behaviour of an actor class."""

from collections.abc import Callable, Coroutine
from inspect import iscoroutinefunction
from typing import Any, TypeAlias

Handler: TypeAlias = Callable[[Any, Any], Coroutine[Any, Any, Any]]
BehaviourTables: TypeAlias = dict[str, dict[type, Handler]]
Mark: TypeAlias = tuple[type, str]
"""A message type and the behaviour in which it is handled ("": in every one)."""


def tables_of(actor: type) -> BehaviourTables:
    """The handlers of each behaviour, those of the class itself before inherited ones.

    An override needs no second mark; where it has one, what the method was marked with before counts no more.
    Raises TypeError where one class marks two methods for the same message, or a handler is not ``async``.
    """
    marks: dict[str, tuple[Mark, ...]] = {}
    for ancestor in reversed(actor.__mro__):
        own: dict[Mark, str] = {}
        for name, member in vars(ancestor).items():
            if (marked := getattr(member, "__handles__", None)) is not None:
                marks.pop(name, None)
                marks[name] = marked
                for mark in marked:
                    _refuse_second(ancestor, mark, name, own)
    always: dict[type, Handler] = {}
    conditional: BehaviourTables = {}
    for name, marked in marks.items():
        if not iscoroutinefunction(getattr(actor, name)):
            raise TypeError(
                f"{actor.__qualname__}.{name} overrides a handler: it must be `async def` too, or marked @blocking"
            )
        for message_type, behaviour in marked:
            table = conditional.setdefault(behaviour, {}) if behaviour else always
            table[message_type] = getattr(actor, name)
    return {"": always, **{behaviour: always | table for behaviour, table in conditional.items()}}


def _refuse_second(actor: type, mark: Mark, name: str, own: dict[Mark, str]) -> None:
    if (first := own.setdefault(mark, name)) != name:
        message_type, behaviour = mark
        now = f" while it is {behaviour!r}" if behaviour else ""
        raise TypeError(f"{actor.__qualname__}: {first} and {name} both handle {message_type.__name__}{now}")
