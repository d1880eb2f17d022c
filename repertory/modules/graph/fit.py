"""Types of values on their way: whether one could be taken for another, and what lies inside of it.

What inputs accept is what pydantic converts in its lax mode, given Python values
(https://docs.pydantic.dev/latest/concepts/conversion_table/).
"""

import types
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Final, Literal, NewType, TypeAlias, Union, get_args, get_origin
from uuid import UUID

from pydantic import BaseModel, RootModel
from typing_extensions import TypeAliasType, is_typeddict

Kind: TypeAlias = Literal["none", "scalar", "enum", "sequence", "mapping", "object", "unknown"]

DEEPEST: Final = 20
"""How far types are looked into; what is deeper is taken to fit."""

_TEXT: Final = frozenset({str, bytes})
_NUMBERS: Final = frozenset({bool, int, float, Decimal})
_ACCEPTED: Final[Mapping[type, frozenset[type]]] = types.MappingProxyType(
    {
        str: _TEXT,
        bytes: _TEXT,
        bool: _TEXT | _NUMBERS,
        int: _TEXT | _NUMBERS | {timedelta},
        float: _TEXT | _NUMBERS,
        Decimal: _TEXT | _NUMBERS,
        date: _TEXT | _NUMBERS | {date, datetime},
        datetime: _TEXT | _NUMBERS | {date, datetime},
        time: _TEXT | _NUMBERS | {time},
        timedelta: _TEXT | _NUMBERS | {timedelta},
        UUID: _TEXT | {UUID},
    }
)
"""Of which types a value can become one of these: some value, not every one."""

_SEQUENCES: Final = (list, tuple, set, frozenset, Sequence)
_MAPPINGS: Final = (dict, Mapping)


def could_fit(source: Any, target: Any, depth: int = 0) -> bool:
    """Whether any value of type ``source`` would be accepted as ``target``; None and empty lists do not count.

    What cannot be known, such as what a validator does, is taken to fit.
    """
    source, target = bare(source), bare(target)
    if depth > DEEPEST or "unknown" in (kind_of(source), kind_of(target)):
        return True
    if (members := _members(source)) is not None:
        there = [member for member in members if kind_of(bare(member)) != "none"] or members
        return any(could_fit(member, target, depth + 1) for member in there)
    if (members := _members(target)) is not None:
        return any(could_fit(source, member, depth + 1) for member in members)
    if get_origin(source) is Literal:
        return any(_value_fits(value, target, depth) for value in get_args(source))
    if get_origin(target) is Literal:
        return any(could_fit(source, type(value), depth + 1) for value in get_args(target))
    return _kinds_fit(source, target, depth)


def bare(annotation: Any) -> Any:
    """``annotation`` without aliases, and without what is said about it; ``Any`` where that may change values."""
    while True:
        if isinstance(annotation, TypeAliasType):
            annotation = annotation.__value__
        elif isinstance(annotation, NewType):
            annotation = annotation.__supertype__
        elif get_origin(annotation) is Annotated:
            annotation, *said = get_args(annotation)
            if any(hasattr(each, "__get_pydantic_core_schema__") for each in said):
                return Any
        else:
            return types.NoneType if annotation is None else annotation


def kind_of(annotation: Any) -> Kind:
    """What kind of values a bare type has; unions and Literals are of the kind ``scalar``."""
    origin = get_origin(annotation) or annotation
    if origin in (Union, types.UnionType, Literal):
        return "scalar"
    if not isinstance(origin, type):
        return "unknown"
    if origin is types.NoneType:
        return "none"
    if issubclass(origin, Enum):
        return "enum"
    if origin in _ACCEPTED:
        return "scalar"
    if origin in _SEQUENCES:
        return "sequence"
    if origin in _MAPPINGS or is_typeddict(origin):
        return "mapping"
    if (issubclass(origin, BaseModel) or is_dataclass(origin)) and not _reads_for_itself(origin):
        return "object"
    return "unknown"


def element_of(annotation: Any, position: int) -> Any:
    """The type of what is at ``position`` in a sequence. Raises IndexError on a tuple that is shorter."""
    origin, arguments = get_origin(annotation) or annotation, get_args(annotation)
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        return arguments[position]
    return arguments[0] if arguments else Any


def _kinds_fit(source: Any, target: Any, depth: int) -> bool:
    given, wanted = kind_of(source), kind_of(target)
    match wanted:
        case "scalar":
            return given == "enum" or (given == "scalar" and source in _ACCEPTED[target])
        case "enum":
            return given == "scalar" or (given == "enum" and (issubclass(source, target) or _of_text(source)))
        case "sequence":
            if given == "object" and issubclass(get_origin(source) or source, BaseModel):
                return _elements_fit(list[tuple[str, Any]], target, depth)  # it gives its fields one by one
            return given == "sequence" and _elements_fit(source, target, depth)
        case "mapping":
            return given == "mapping" and _items_fit(source, target, depth)
        case "object":
            return given == "mapping" or (given == "object" and _related(source, target))
        case _:
            return given == wanted


def _elements_fit(source: Any, target: Any, depth: int) -> bool:
    given, wanted = _positions(source), _positions(target)
    if given is not None and wanted is not None and len(given) != len(wanted):
        return False
    for position in range(len(given or wanted or (None,))):
        if not could_fit(element_of(source, position), element_of(target, position), depth + 1):
            return False
    return True


def _positions(annotation: Any) -> tuple[Any, ...] | None:
    """The types of a tuple of a known length."""
    arguments = get_args(annotation)
    fixed = get_origin(annotation) is tuple and arguments and arguments[-1] is not Ellipsis
    return arguments if fixed else None


def _items_fit(source: Any, target: Any, depth: int) -> bool:
    given, wanted = get_args(source), get_args(target)
    if len(given) != 2 or len(wanted) != 2:
        return True
    return all(could_fit(each, other, depth + 1) for each, other in zip(given, wanted, strict=True))


def _value_fits(value: object, target: Any, depth: int) -> bool:
    if get_origin(target) is Literal:
        return value in get_args(target) or isinstance(value, Enum)
    return could_fit(type(value), target, depth + 1)


def _members(annotation: Any) -> tuple[Any, ...] | None:
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else None


def _of_text(enum: type) -> bool:
    return issubclass(enum, str | int)


def _related(source: Any, target: Any) -> bool:
    source, target = get_origin(source) or source, get_origin(target) or target
    generics = {_generic(source), _generic(target)}
    return issubclass(source, target) or issubclass(target, source) or len(generics) == 1


def _generic(model: type) -> object:
    known = getattr(model, "__pydantic_generic_metadata__", None)
    return (known["origin"] if known else None) or model


def _reads_for_itself(kind: type) -> bool:
    """Whether a class may accept more than its fields say."""
    if "__get_pydantic_core_schema__" in {
        name for each in kind.__mro__ if each is not BaseModel for name in vars(each)
    }:
        return True
    if issubclass(kind, RootModel) or getattr(kind, "model_config", {}).get("from_attributes"):
        return True
    decorators = getattr(kind, "__pydantic_decorators__", None)
    return decorators is not None and any(
        validator.info.mode != "after" for validator in decorators.model_validators.values()
    )
