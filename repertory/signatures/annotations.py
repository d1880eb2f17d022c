"""Reading type annotations: how the string form writes one, and which values it can take."""

import types
from enum import EnumType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from repertory.signatures.type_writer import TypeWriter


def annotation_text(annotation: Any) -> str:
    """``annotation`` in the notation of the string form; a custom type by its bare name.

    Metadata that text cannot hold, such as a validator, is left out.
    """
    return TypeWriter().text(annotation)


def annotation_choices(annotation: Any) -> tuple[object, ...] | None:
    """The values ``annotation`` admits, each once, in the order written; None if they are not countable by name.

    Countable are Literal, Enum, bool, None and unions of these.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return annotation_choices(arguments[0])
    if origin is Literal:
        return arguments
    if origin in (Union, types.UnionType):
        return _union_choices(arguments)
    if annotation is bool:
        return (False, True)
    if annotation is types.NoneType:
        return (None,)
    if isinstance(annotation, EnumType):
        return tuple(annotation)
    return None


def _union_choices(members: tuple[Any, ...]) -> tuple[object, ...] | None:
    found: dict[tuple[type, object], object] = {}  # keyed by type too, for 1 == True
    for member in members:
        choices = annotation_choices(member)
        if choices is None:
            return None
        found.update({(type(choice), choice): choice for choice in choices})
    return tuple(found.values())
