"""Values in the text of a signature: ``3``, ``[1, 2]``, ``date(2020, 1, 31)``, ``Decimal('1.5')``, ``Mood.GOOD``.

They are read from the syntax tree: literals, the names of enum members, and calls of the few constructors below.
Nothing else is called and nothing is evaluated.
"""

import ast
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, EnumType
from types import MappingProxyType
from typing import Any, Final, cast
from uuid import UUID

from repertory.signatures.scope import Scope, dotted

# What the constructors raise on arguments that make no value.
_REFUSED: Final = (ValueError, TypeError, ArithmeticError)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class NotPlain(Exception):
    """``node`` cannot be read as a value, for ``reason``: words that go on "it ..."."""

    def __init__(self, node: ast.expr, reason: str = "is not a plain value") -> None:
        super().__init__(reason)
        self.node = node
        self.reason = reason


def read_value(node: ast.expr, scope: Scope) -> object:
    """The value that ``node`` writes.

    Raises:
        NotPlain: It writes none, or one that text cannot hold.
    """
    match node:
        case ast.Constant(value=str() as text) if found := _SURROGATE.search(text):
            raise NotPlain(node, f"holds U+{ord(found[0]):04X}, half of a surrogate pair")
        case ast.Constant(value=None | bool() | int() | float() | str() | bytes() as value):
            return value
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=ast.Constant(value=int() | float() as value)):
            if isinstance(value, bool):
                raise NotPlain(node)
            return -value if isinstance(sign, ast.USub) else value
        case ast.List(elts=items):
            return [read_value(item, scope) for item in items]
        case ast.Tuple(elts=items):
            return tuple(read_value(item, scope) for item in items)
        case ast.Set(elts=items):
            return _made(node, set, [read_value(item, scope) for item in items])
        case ast.Dict(keys=keys, values=values) if all(keys):
            pairs = [
                (read_value(cast("ast.expr", key), scope), read_value(each, scope))
                for key, each in zip(keys, values, strict=True)
            ]
            return _made(node, dict, pairs)
        case ast.Call(func=ast.Name() | ast.Attribute() as function, args=arguments, keywords=keywords):
            return _called(node, function, arguments, keywords, scope)
        case ast.Attribute(value=ast.Name() | ast.Attribute() as holder, attr=name):
            kind = scope.find(dotted(holder))
            if isinstance(kind, EnumType) and name in kind.__members__:
                return kind.__members__[name]
    raise NotPlain(node)


def _called(
    node: ast.expr, function: ast.expr, arguments: list[ast.expr], keywords: list[ast.keyword], scope: Scope
) -> object:
    make = _CONSTRUCTORS.get(scope.plain(dotted(function)))
    if make is None or any(keyword.arg is None for keyword in keywords):
        raise NotPlain(node)
    given = [read_value(argument, scope) for argument in arguments]
    named = {str(keyword.arg): read_value(keyword.value, scope) for keyword in keywords}
    return _made(node, make, *given, **named)


def _made(node: ast.expr, make: Callable[..., object], *arguments: object, **keywords: object) -> object:
    try:
        return make(*arguments, **keywords)
    except _REFUSED as error:
        raise NotPlain(node, f"makes no value: {error}") from None


def _iso_or_numbers(kind: Any) -> Callable[..., object]:
    def make(*arguments: object, **keywords: object) -> object:
        if len(arguments) == 1 and isinstance(arguments[0], str) and not keywords:
            return kind.fromisoformat(arguments[0])
        if not all(type(value) is int for value in (*arguments, *keywords.values())):
            raise TypeError("it takes whole numbers, or one text in ISO 8601")
        return kind(*arguments, **keywords)

    return make


def _from_text(kind: Any) -> Callable[..., object]:
    def make(text: str) -> object:
        if not isinstance(text, str):
            raise TypeError("it takes one text")
        return kind(text)

    return make


def _collected(kind: Any) -> Callable[..., object]:
    def make(items: object = ()) -> object:
        if not isinstance(items, list | tuple | set):
            raise TypeError("it takes one list")
        return kind(items)

    return make


_CONSTRUCTORS: Final[Mapping[str, Callable[..., object]]] = MappingProxyType(
    {
        "date": _iso_or_numbers(date),
        "datetime": _iso_or_numbers(datetime),
        "time": _iso_or_numbers(time),
        "timedelta": timedelta,
        "Decimal": _from_text(Decimal),
        "UUID": _from_text(UUID),
        "set": _collected(set),
        "frozenset": _collected(frozenset),
    }
)


def value_text(value: object) -> str:
    """``value`` as ``read_value`` reads it; what it could not read, as Python shows it."""
    kind = type(value)
    if isinstance(value, Enum):
        return f"{kind.__name__}.{value.name}"
    if kind in (list, tuple, set, frozenset):
        return _items_text(kind, cast("list[object]", value))
    if kind is dict:
        pairs = cast("dict[object, object]", value).items()
        return f"{{{', '.join(f'{value_text(key)}: {value_text(each)}' for key, each in pairs)}}}"
    if isinstance(value, datetime | time) and value.tzinfo is not None:
        return f"{kind.__name__}('{value.isoformat()}')"
    if kind in (date, datetime, time, timedelta):
        return repr(value).removeprefix("datetime.")
    return repr(value)


def _items_text(kind: type, items: Any) -> str:
    texts = list(map(value_text, items))
    if kind is list:
        return f"[{', '.join(texts)}]"
    if kind is tuple:
        return f"({texts[0]},)" if len(texts) == 1 else f"({', '.join(texts)})"
    texts.sort()  # the order of a set differs between processes
    braced = f"{{{', '.join(texts)}}}" if texts else ""
    return braced if kind is set and braced else f"{kind.__name__}({braced})"
